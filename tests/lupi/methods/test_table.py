"""The table of methods: rows that contradict themselves are refused, groups name what there is."""

from __future__ import annotations

from typing import Any

import pytest

from lupi.methods.table import GROUPS, METHODS, Method, named, place, select


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"sees": "Q"}, "'m': sees must be one of 'X', 'XZ'; found 'Q'"),
        ({"sees": "Z"}, "sees must be one of 'X', 'XZ'; found 'Z'"),
        ({"teacher": "X"}, "teacher must be one of None, 'Z', 'XZ'; found 'X'"),
        ({"teacher": "XZ", "distillation": "oops"}, "distillation must be one of 'none', 'imitate', .*found 'oops'"),
        ({"privileged_task": "after"}, "privileged_task must be one of 'none', 'before', .*found 'after'"),
        ({"auxiliary": "spare"}, "auxiliary must be one of 'privileged', 'derived', .*found 'spare'"),
        ({"model_family": "forest"}, "model_family must be one of 'network', 'tram', .*found 'forest'"),
        ({"target": "numbers"}, "target must be one of 'any', 'classes'; found 'numbers'"),
        ({"epsilon": -0.5}, "epsilon must be at least 0; found -0.5"),
        ({"epsilon": float("nan")}, "epsilon must be at least 0; found nan"),
        ({"distillation": "imitate"}, "distillation='imitate' needs a teacher"),
        ({"teacher": "XZ"}, "teacher='XZ' is of no use without a distillation"),
        ({"teacher": "XZ", "distillation": "teacher-privileged"}, "needs target='classes'"),
        ({"auxiliary": "masked"}, "auxiliary='masked' .*needs privileged_task='shared'"),
        ({"auxiliary": "derived", "privileged_task": "joint"}, "auxiliary='derived' .*needs privileged_task='shared'"),
        ({"sees": "XZ", "privileged_task": "joint"}, "sees='XZ' is given the true Z"),
        ({"sees": "XZ", "teacher": "XZ", "distillation": "imitate"}, "sees='XZ' is given the true Z"),
        ({"model_family": "tram", "privileged_task": "shared"}, "model_family='tram' sees X alone"),
        ({"model_family": "marginal", "sees": "XZ"}, "model_family='marginal' sees X alone"),
        ({"model_family": "tram++", "teacher": "Z", "distillation": "imitate"}, "'tram\\+\\+' learns from no teacher"),
        ({"balance": "equal"}, "balance='equal' weighs at least two tasks, and it has one"),
    ],
)
def test_method__choice_that_there_is_not_or_contradicts_another__is_refused(
    choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Method("m", **choices)


def test_groups__every_name__is_a_method_once() -> None:
    for names in GROUPS.values():
        assert len(set(names)) == len(names)
        assert set(names) <= set(METHODS)
        assert [method.name for method in select(names)] == list(names)


def test_groups__all__is_everything_in_the_order_of_the_table() -> None:
    assert GROUPS["all"] == tuple(METHODS)
    assert set(GROUPS["all"]) == {name for group in ("standard", "baselines") for name in GROUPS[group]} | {
        "AUX-derived", "CompL",
    }  # fmt: skip


def test_groups__standard_and_baselines__are_networks_for_z_and_the_others_that_use_it() -> None:
    networks = [m for m in METHODS.values() if m.model_family == "network" and m.auxiliary == "privileged"]
    assert GROUPS["standard"] == tuple(method.name for method in networks)
    others = [method.name for method in METHODS.values() if method.model_family != "network"]
    assert GROUPS["baselines"] == ("lower", "upper", *others)


def test_named__method_with_one_task_and_a_strategy__there_is_none() -> None:
    assert named("MT+equal") == METHODS["MT"].weighed("equal")
    with pytest.raises(KeyError):
        named("lower+equal")
    assert place("lower+equal") == (len(METHODS), "lower+equal")
