"""The design table: one row for every model of a study, with all that tells it from the others."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lupi.methods import Method
from lupi.options import StudyOptions

#: What the privileged block of a network's input holds.
HIDDEN, TRUE, PREDICTED = "hidden", "true", "predicted"


def design(options: StudyOptions, splits: int) -> pd.DataFrame:
    """The table of models for `splits` outer splits: one row each.

    Columns: stage (the call of the engine it trains in: "first" for lower, upper and teachers, "regressors",
    "students", "joint", "shared"), role ("arm", or what an arm needs: "teacher", "regressor"), method (of an arm; of a
    teacher what it sees: "Z" or "XZ"), split, inner (-1: on all training rows), member, sees_x, z (what
    the privileged block of its input holds: hidden, true, predicted), teacher (whose soft labels it learns from: "",
    "Z", "XZ"), teaches (whose it gives), and the coefficients of its loss.
    """
    arms = options.arms
    base = {"sees_x": True, "z": HIDDEN, "teacher": "", "teaches": "", **knobs(options)}
    models: list[dict[str, Any]] = []
    inner = list(range(options.inner)) or [-1]
    sights = {method.teacher for method in arms if method.teacher}
    for sight in sorted(sights):
        if inner == [-1] and sight == "XZ" and "upper" in {method.name for method in arms}:
            continue  # the upper bound is that teacher
        sees = {"sees_x": sight == "XZ", "z": TRUE, "teaches": sight}
        models += [{**base, **sees, "stage": "first", "role": "teacher", "method": sight, "inner": k} for k in inner]
    if any(method.privileged_task == "before" for method in arms):
        before = {**base, "stage": "regressors", "role": "regressor", "method": "r"}
        models += [{**before, "inner": k} for k in sorted({-1, *inner})]
    for method in arms:
        teaches = "XZ" if method.name == "upper" and inner == [-1] and "XZ" in sights else ""
        models.append({**base, **_arm(method, options), "teaches": teaches})
    one = pd.DataFrame(models)
    table = one.merge(pd.DataFrame({"split": range(splits)}), how="cross")
    return table.merge(pd.DataFrame({"member": range(options.members)}), how="cross")


def knobs(options: StudyOptions) -> dict[str, float]:
    """Coefficients of a model that learns from the true target alone."""
    return {
        "lr": options.lr,
        "weight_decay": options.weight_decay,
        "hard": 1.0,
        "imitate": 0.0,
        "privileged_teacher": 0.0,
        "repulsion": options.repulsion,
        "temperature": options.temperature,
        "epsilon": 1.0,
        "learned": 0.0,
        "smoothing": options.label_smoothing,
    }


def _arm(method: Method, options: StudyOptions) -> dict[str, Any]:
    task = method.privileged_task
    taught = method.teacher is not None or task == "before"
    return {
        **method.coefficients(options.imitation),
        "stage": task if task in ("joint", "shared") else "students" if taught else "first",
        "role": "arm",
        "method": method.name,
        "inner": -1,
        "z": TRUE if method.sees == "XZ" else PREDICTED if task == "before" else HIDDEN,
        "teacher": method.teacher or "",
        "epsilon": method.epsilon if options.epsilon is None else options.epsilon,
        "learned": float(task == "joint" and not options.fixed_weights),
    }
