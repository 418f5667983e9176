"""--balance in studies: methods with each way of weighing their tasks, twins and sweeps included."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lupi.balancing import STRATEGIES, parse
from lupi.methods.design import design, responds
from lupi.methods.options import StudyOptions
from lupi.methods.table import METHODS, named, place
from lupi.methods.twins import twins_of
from tests.commands.test_commands import QUICK as LINE
from tests.commands.test_commands import TABLE, dc_dr, stored, weigh, workplace  # noqa: F401
from tests.conftest import Command
from tests.lupi.study.test_study import QUICK, results, simulated


def test_balanced_methods__are_methods_like_any_other() -> None:
    options = StudyOptions(methods=("lower", "KT", "PFD", "MT-TPD"), balance=("own", "nash-mtl", "dwa:temperature=1"))
    names = [method.name for method in options.weighed_methods]
    assert names == ["lower", "KT", "PFD", "PFD+nash-mtl", "PFD+dwa:temperature=1", "MT-TPD", "MT-TPD+nash-mtl",
                     "MT-TPD+dwa:temperature=1"]  # fmt: skip
    for method in options.weighed_methods:
        assert named(method.name) == method
        assert twins_of(method) == twins_of(METHODS[method.base])
    assert sorted(names, key=place) == ["lower", "PFD", "PFD+dwa:temperature=1", "PFD+nash-mtl", "KT",
                                                  "MT-TPD", "MT-TPD+dwa:temperature=1", "MT-TPD+nash-mtl"]  # fmt: skip
    assert place("nobody's method") > place("AUX+equal")


def test_named__unknown() -> None:
    for name in ("MTT", "MTT+equal"):
        with pytest.raises(KeyError):
            named(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balance": ("nash",)}, "no balancing strategy is called 'nash'; there are equal, static.*Did you mean"),
        ({"balance": ()}, "balance needs a strategy: own, equal"),
        ({"balance": ("auxinash:rate=1",)}, "auxinash has no knob 'rate'; it has lr, momentum, held_out"),
        ({"balance": ("auxinash:lr=2",)}, r"auxinash:lr must lie in \[0, 1\]; found 2"),
        ({"balance": ("auxinash:lr=",)}, "auxinash:lr must be a number; found ''"),
        ({"balance": ("equal:lr=1",)}, "equal has no knob 'lr'; it has none"),
        ({"balance": ("torchjd:Nobody",)}, "found 'torchjd:Nobody'"),
        (
            {"balance": ("equal",), "methods": ("lower", "KT")},
            "equal weigh at least two tasks, and lower, KT have one.*MT",
        ),
        ({"trace": True}, "trace follows balancing strategies, and there is none"),
    ],
)
def test_options__bad_balance__says_what_there_is(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudyOptions(**{"methods": ("MT",), **changes})


def test_parse__fills_in_the_papers_defaults() -> None:
    assert parse("auxinash") == ("auxinash", {"lr": 5e-3, "momentum": 0.9, "held_out": 0.0})
    assert parse("auxinash:held_out=1,lr=0.01")[1] == {"lr": 0.01, "momentum": 0.9, "held_out": 1.0}
    for name, strategy in STRATEGIES.items():
        assert parse(name) == (name, {knob.name: knob.default for knob in strategy.knobs})
        assert all(knob.low <= knob.default <= knob.high for knob in strategy.knobs)


def test_design__balance_changes_no_other_model() -> None:
    options = dataclasses.replace(QUICK, methods=("lower", "upper", "GD", "MT", "AUX"), twins=("shuffled", "absent"))
    plain = design(options, splits=2)
    weighed = design(dataclasses.replace(options, balance=("own", "equal")), splits=2)
    added = weighed[weighed["balance"] != ""]
    assert len(weighed) == len(plain) + len(added)
    assert {method for arms in added["arms"] for method, _, _ in arms} == {"GD+equal", "MT+equal", "AUX+equal"}
    assert (added["learned"] == 0).all()
    # The balanced GD learns from the teachers that are there anyway.
    assert set(added["teacher"]) <= set(plain["teacher"])


@pytest.mark.parametrize(
    ("name", "swept", "reads"),
    [("MT+static", "fixed_epsilon", True), ("MT+static", "epsilon", False), ("AUX+static", "epsilon", True),
     ("MT+auxinash", "fixed_epsilon", False), ("PFD+auxinash", "imitation", False), ("PFD+static", "imitation", True),
     ("TPD+auxinash", "repulsion", True), ("MT+auxinash", "epochs", True)],
)  # fmt: skip
def test_responds__to_weights_that_the_strategy_leaves_alone(name: str, swept: str, reads: bool) -> None:
    assert responds(named(name), swept) is reads


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_study__every_strategy__trains_every_kind_of_method(kind: str) -> None:
    methods = ("PFD", "MT", "AUX") if kind == "numeric" else ("PFD", "MT-TPD", "AUX")
    options = dataclasses.replace(QUICK, methods=("lower", *methods), balance=tuple(STRATEGIES), twins=("absent",))
    found = results(simulated(80, kind=kind), options)
    assert set(found["method"]) == {"lower", *(f"{m}+{s}" for m in methods for s in STRATEGIES)}
    assert all(np.isfinite(prediction).all() for prediction in found["prediction"])


def test_study__static_strategy_of_aux__is_aux() -> None:
    options = dataclasses.replace(QUICK, methods=("AUX",), balance=("own", "static"), dtype="float64", epochs=20)
    found = results(simulated(80), options).set_index(["method", "fold"])["prediction"]
    for fold in (0, 1):
        np.testing.assert_allclose(found["AUX+static", fold], found["AUX", fold], atol=1e-10)


def test_study__knobs_differ_between_rows_of_one_engine() -> None:
    ways = ("auxinash-fixed:preference=0.2", "auxinash-fixed", "auxinash-fixed:preference=0.95")
    options = dataclasses.replace(QUICK, methods=("AUX",), balance=ways, dtype="float64", epochs=10)
    together = results(simulated(80), options).set_index(["method", "fold"])["prediction"]
    assert not np.allclose(together[f"AUX+{ways[0]}", 0], together[f"AUX+{ways[2]}", 0])
    for way in ways:
        alone = results(simulated(80), dataclasses.replace(options, balance=(way,))).set_index("fold")["prediction"]
        np.testing.assert_allclose(together[f"AUX+{way}", 0], alone[0], atol=1e-9)


def test_study__lower__is_the_same_with_and_without_strategies() -> None:
    options = dataclasses.replace(QUICK, methods=("lower", "AUX"))
    one, two = (
        results(simulated(80), dataclasses.replace(options, balance=balance)).set_index(["method", "fold"])
        for balance in (("own",), ("own", "pcgrad"))
    )
    for method in ("lower", "AUX"):
        np.testing.assert_array_equal(one.loc[(method, 0), "prediction"], two.loc[(method, 0), "prediction"])


@pytest.mark.slow
def test_command__strategies_have_rows_verdicts_and_figures(command: Command, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False)
    done = command(f"{TABLE} --methods lower upper MT --balance own auxinash equal {LINE}")
    assert done.status == 0, done.err
    for name in ("MT", "MT+auxinash", "MT+equal"):
        assert len([line for line in done.out.splitlines() if line.split()[:1] == [name]]) >= 2  # table and verdicts
    found = stored()[0]
    assert set(found.loc[found["method"] == "MT+auxinash", "control"]) == {"none", "shuffled", "noise", "absent"}


def test_command__bad_strategy__one_clear_error_and_nothing_written(command: Command, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False)
    done = command(f"{TABLE} --methods MT --balance auxinsh {LINE}")
    assert done.status == 2
    assert "Did you mean auxinash?" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.slow
def test_weights__with_strategies__sweeps_where_weights_are_fixed(weigh: Command) -> None:  # noqa: F811
    done = weigh(f"{TABLE} --methods MT --balance own static auxinash --fixed-epsilons 0.5 2 --epsilons {LINE}")
    assert done.status == 0, done.err
    found = stored()[0]
    swept = found[found["swept"] != ""]
    assert set(swept["swept"]) == {"fixed_epsilon"}
    values = swept.groupby("method")["value"].agg(set)
    assert values.loc[["MT", "MT+static"]].map(lambda of_method: of_method == {0.5, 2.0}).all()
    assert "MT+auxinash" in set(found.loc[found["swept"] == "", "method"])


@pytest.mark.slow
def test_dc_dr__explains_balanced_methods(dc_dr: Command) -> None:  # noqa: F811
    done = dc_dr(f"{TABLE} --methods MT --balance nash-mtl {LINE}")
    assert done.status == 0, done.err
    assert "MT+nash-mtl" in done.out
