"""Presets: whole recipes, and what is asked for beside them."""

import subprocess
import sys

import pytest

from lupi.engine.mlp import MLPPair
from lupi.engine.tabular import TabularPair
from lupi.methods.options import StudyOptions
from lupi.methods.presets import DEFAULT, PRESETS, chosen, values_of
from lupi.settings import HYPER_PARAMETERS


@pytest.mark.parametrize("preset", list(PRESETS))
def test_values_of__any_preset__are_options_of_a_study(preset: str) -> None:
    values = values_of(preset)
    assert set(values) == {*HYPER_PARAMETERS, "portfolio"}
    assert {name: values[name] for name in PRESETS[preset]} == PRESETS[preset]
    options = StudyOptions(**values)
    assert options.members >= 1
    assert set(PRESETS[preset]) <= {*HYPER_PARAMETERS, "portfolio"}, "a preset sets hyper-parameters alone"


def test_values_of__paper__is_what_the_library_has_without() -> None:
    assert StudyOptions(**values_of("paper")) == StudyOptions()
    assert isinstance(StudyOptions().networks, MLPPair)


def test_values_of__best__is_the_default_and_bags_networks_with_ingredients() -> None:
    assert DEFAULT == "best"
    options = StudyOptions(**values_of("best"))
    assert isinstance(options.networks, TabularPair)
    assert options.bagging
    assert options.members >= 5
    assert len(options.portfolio) > 1


def test_values_of__unknown__names_those_there_are() -> None:
    for ask in (values_of, lambda name: chosen(name, {})):
        with pytest.raises(ValueError, match="preset must be one of best, fast, paper; found 'worst'"):
            ask("worst")


def test_chosen__what_is_asked_for__wins_for_all_members() -> None:
    values = chosen("best", {"dropout": 0.5, "members": 4})
    assert (values["dropout"], values["members"]) == (0.5, 4)
    names = {name for entry in values["portfolio"] for name, _ in entry}
    assert names == {name for entry in PRESETS["best"]["portfolio"] for name, _ in entry} - {"dropout"}
    assert len(values["portfolio"]) == len(PRESETS["best"]["portfolio"]), "members still take entries in turn"
    untouched = set(values) - {"dropout", "members", "portfolio"}
    assert {n: values[n] for n in untouched} == {n: values_of("best")[n] for n in untouched}


def test_chosen__portfolio__can_be_asked_for() -> None:
    assert chosen("best", {"portfolio": ()})["portfolio"] == ()


def test_chosen__nothing__is_the_preset() -> None:
    for preset in PRESETS:
        assert chosen(preset, {}) == values_of(preset)


def test_presets__imported__bring_nothing_heavy() -> None:
    line = "import sys, lupi.methods.presets; print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
