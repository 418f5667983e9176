"""The table of hyper-parameters: what reads it agrees with it, and a new row is read everywhere. Settings as pairs."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.methods.design import design, responds
from lupi.methods.options import PROTOCOLS, StudyOptions
from lupi.methods.presets import PRESETS
from lupi.methods.table import METHODS
from lupi.settings import (
    HYPER_PARAMETERS,
    PLAIN,
    HyperParameter,
    Range,
    Setting,
    Sweep,
    number_text,
    per_model,
    sweeps,
)
from studies.options import hyper_parameter_options, sweep_options
from studies.parsing import parse

ROOT = Path(__file__).parents[2]

# ---------------------------------------------------------------------- what reads the table agrees with it


def test_study_options__fields__have_the_defaults_of_the_table() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(StudyOptions)}
    assert {name: defaults[name] for name in HYPER_PARAMETERS} == {
        name: row.default for name, row in HYPER_PARAMETERS.items()
    }
    others = [
        "methods", "balance", "trace", "twins", "train_sizes", "sweeps", "portfolio", "architecture", "device", "width",
    ]  # fmt: skip
    assert sorted(defaults) == sorted([*HYPER_PARAMETERS, *others])


def test_protocol__choices__are_the_protocols() -> None:
    assert HYPER_PARAMETERS["protocol"].choices == tuple(PROTOCOLS)


@pytest.mark.parametrize("estimator", [PrivilegedClassifier, PrivilegedRegressor])
def test_estimators__parameters__have_the_presets_or_the_tables_defaults_and_are_documented(estimator: Any) -> None:
    """None is what the preset says."""
    parameters = inspect.signature(estimator).parameters
    shared = [name for name in HYPER_PARAMETERS if name in parameters]
    assert len(shared) >= 14
    for name in shared:
        assert parameters[name].default in (None, HYPER_PARAMETERS[name].default)
        assert name in (PrivilegedClassifier.__doc__ or "")
    of_preset = (set(PRESETS["best"]) | set(PRESETS["fast"])) & set(shared) - {"target_prior"}  # no matter of the fit
    assert len(of_preset) >= 14
    assert all(parameters[name].default is None for name in of_preset)


def test_command_line__every_hyper_parameter__is_an_option_with_its_default() -> None:
    values = parse("", [], {"hyper-parameters": hyper_parameter_options()})
    assert list(values) == list(HYPER_PARAMETERS)
    several = {"epochs": [1000], "regressor_layers": [20, 20], "classifier_layers": [20, 20]}
    assert values == {name: row.default for name, row in HYPER_PARAMETERS.items()} | several


def test_sweep_options__names__are_those_of_sweeps() -> None:
    names = {option.name.removesuffix("s") for option in sweep_options()}
    assert names == {"epsilon", "fixed_epsilon", "imitation", "repulsion", "temperature"}
    assert names | {"epochs"} == set(sweeps())


def test_sweeps__every_one__is_of_a_hyper_parameter_that_differs_between_models_and_some_method_reads() -> None:
    by_model = set(per_model())
    for name, (_, row) in sweeps().items():
        assert row in by_model
        assert any(responds(method, name) for method in METHODS.values())


def test_table__defaults__lie_in_their_ranges() -> None:
    for row in HYPER_PARAMETERS.values():
        row.check(row.default)


# ---------------------------------------------------------------------- adding a hyper-parameter is one line

MOMENTUM = HyperParameter("momentum", 0.9, Range(0, 1), "share of the last step in the next", read_by="networks",
                          column="momentum", sweeps=(Sweep("momentum", "momentum", (0, 0.9), "momentum"),))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class WithMomentum(StudyOptions):
    """The field that a new row needs for its type."""

    momentum: float = MOMENTUM.default


def test_new_row__command_line__has_its_option_and_its_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HYPER_PARAMETERS, "momentum", MOMENTUM)
    groups = {"hyper-parameters": hyper_parameter_options(), "sweeps": sweep_options()}
    values = parse("", ["--momentum", "0.5", "--momentums", "0.1", "0.2"], groups)
    assert (values["momentum"], values["momentums"]) == (0.5, [0.1, 0.2])


def test_new_row__help_of_the_commands__shows_it() -> None:
    line = (
        "from lupi.settings import HYPER_PARAMETERS, HyperParameter, Range\n"
        "HYPER_PARAMETERS['momentum'] = HyperParameter('momentum', 0.9, Range(0, 1), 'share of the last step')\n"
        "import MT_main; MT_main.main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert "--momentum MOMENTUM" in done.stdout
    assert "share of the last step (default: 0.9)" in done.stdout


def test_new_row__study_options__are_checked_swept_and_in_the_design_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HYPER_PARAMETERS, "momentum", MOMENTUM)
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\]; found 2"):
        WithMomentum(momentum=2)
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\]; found 3"):
        WithMomentum(sweeps=(("momentum", (0.5, 3)),))
    table = design(WithMomentum(methods=("lower", "MT"), twins=(), sweeps=(("momentum", (0.25, 0.5)),)), splits=1)
    swept = {(method, setting): row.momentum for row in table.itertuples() for method, _, setting in row.arms}
    assert swept == {
        (method, setting): value
        for method in ("lower", "MT")
        for setting, value in ((PLAIN, 0.9), (("momentum", 0.25), 0.25), (("momentum", 0.5), 0.5))
    }


def test_new_row__without_a_sweep__is_not_swept_and_says_what_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HYPER_PARAMETERS, "momentum", dataclasses.replace(MOMENTUM, sweeps=()))
    with pytest.raises(ValueError, match="nothing called 'momentum' can be swept; there are epsilon"):
        WithMomentum(sweeps=(("momentum", (0.5,)),))


# ---------------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("folds", 1, "folds must be a whole number of at least 2; found 1"),
        ("folds", 2.5, "folds must be a whole number of at least 2; found 2.5"),
        ("members", True, "members must be a whole number of at least 1; found True"),
        ("patience", 0, "patience must be a whole number of at least 1; found 0"),
        ("seed", -1, r"seed must lie in \[0, 2\^63\); found -1"),
        ("seed", 2**63, r"seed must lie in \[0, 2\^63\)"),
        ("lr", 0.0, "lr must lie between 0 and inf; found 0.0"),
        ("lr", "fast", "lr must be a number; found 'fast'"),
        ("epsilon", -1.0, "epsilon must be at least 0; found -1.0"),
        ("epsilon", math.inf, "epsilon must be at least 0; found inf"),
        ("weight_decay", math.nan, "weight_decay must be at least 0; found nan"),
        ("label_smoothing", 1.0, r"label_smoothing must lie in \[0, 0.999\]; found 1.0"),
        ("classifier_layers", 20, "classifier_layers must be a tuple of whole numbers of at least 1, .*found 20"),
        ("classifier_layers", (20, 0), r"classifier_layers must be .*found \(20, 0\)"),
        ("dtype", "float16", "dtype must be one of float32, float64; found 'float16'"),
        ("protocol", "lax", "protocol must be one of strict, paper; found 'lax'"),
        ("class_weight", "odd", "class_weight must be one of balanced; found 'odd'"),
        ("compile", 2, "compile must be one of True, False; found 2"),
    ],
)
def test_study_options__outside_its_range__says_what_is_allowed_and_what_was_found(
    name: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StudyOptions(**{name: value})


@pytest.mark.parametrize("value", [np.int64(3), 3])
def test_study_options__whole_numbers_of_numpy__are_whole_numbers(value: Any) -> None:
    assert StudyOptions(folds=value).folds == 3


def test_at__whole_hyper_parameter__takes_no_fraction() -> None:
    assert StudyOptions().at(Setting("epochs", 30.0)).epochs == 30
    with pytest.raises(ValueError, match=r"epochs must be a whole number of at least 1; found 2\.5"):
        StudyOptions(sweeps=(("epochs", (2.5,)),))


def test_classifier__layers_that_are_a_number__are_refused_before_training() -> None:
    model = PrivilegedClassifier(method="lower", classifier_layers=20)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"classifier_layers must be a tuple of whole numbers of at least 1, .*found 20"
    ):
        model.fit(np.arange(20.0).reshape(10, 2), np.arange(10) % 2, privileged=np.arange(10.0))


# ---------------------------------------------------------------------- settings


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=5, unique=True))
def test_number_text__different_numbers__have_different_texts_that_read_back(values: list[float]) -> None:
    texts = [number_text(value) for value in values]
    assert [float(text) for text in texts] == values
    assert len(set(texts)) == len(values)


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (0.25, "0.25"), (0.1234567, "0.1234567"), (400, "400")])
def test_setting_text__is_the_shortest(value: float, text: str) -> None:
    assert Setting("epsilon", value).text == f"epsilon={text}"
    assert PLAIN.text == ""


def test_setting_of__columns_of_a_frame__are_the_pair() -> None:
    assert Setting.of("", math.nan) == PLAIN == ("", None)
    assert Setting.of("epochs", np.int64(3)) == ("epochs", 3.0)


def test_setting_place__sorts_by_name_then_by_number() -> None:
    settings = [PLAIN, Setting("epochs", 9.0), Setting("epochs", 10.0), Setting("epsilon", 0.5)]
    for order in itertools.permutations(settings):
        assert sorted(order, key=lambda setting: setting.place) == settings
