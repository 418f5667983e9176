"""The design table: one row for every model of a study, with all that tells it from the others."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.methods.options import StudyOptions
from lupi.methods.table import Method
from lupi.methods.twins import ABSENT, NOISE, NONE, SHUFFLED, SHUFFLED_WEIGHTS, UNIT_WEIGHTS, controls_of

#: What the privileged block of a network's input holds.
HIDDEN, GIVEN, PREDICTED = "hidden", "given", "predicted"

#: The stage of models that are fitted one by one.
CLASSICAL = "classical"

#: Which version of Z a model reads or learns to predict: the true one, or that of a twin.
TRUE = "true"

#: Soft labels that are made, not learned: see `controls.unit_weights` and `controls.shuffled_weights`.
UNIT, PERMUTED = "unit", " permuted"


@dataclasses.dataclass(frozen=True)
class Arm:
    """What a study reports on: a method or one of its twins, at the study's own options ("") or one swept value.

    options : those that hold for it.
    """

    method: Method
    control: str
    setting: str
    options: StudyOptions

    @property
    def name(self) -> tuple[str, str, str]:
        return self.method.name, self.control, self.setting


def arms_of(options: StudyOptions) -> list[Arm]:
    """All arms of a study, in the order of its methods."""
    arms = []
    for method in options.arms:
        controls = (NONE, *(control for control in controls_of(method) if control in options.twins))
        settings = [("", options)]
        for swept, values in options.sweeps:
            if responds(method, swept):
                settings += [(f"{swept}={value:g}", options.at(swept, value)) for value in values]
        arms += [Arm(method, control, *setting) for setting in settings for control in controls]
    return arms


def responds(method: Method, swept: str) -> bool:
    """Whether the swept option is one that the method reads. Strategies set the weights that ε and λ would, but for
    the static one, whose weights are fixed. A classical method without a teacher trains no network."""
    network = method.machine != "classical"
    if method.balance and swept in ("epsilon", "fixed_epsilon", "imitation"):
        if method.balance != "static":
            return False
        if method.privileged_task == "joint" and swept == "epsilon":
            return False
    return {
        "epsilon": method.privileged_task in ("joint", "shared"),
        "fixed_epsilon": method.privileged_task == "joint",
        "imitation": method.distillation != "none" and network,  # logistic-TPD has no true labels to weigh
        "repulsion": method.distillation == "teacher-privileged",
        "temperature": method.distillation != "none",
        "epochs": network or method.teacher is not None,
    }[swept]


def design(options: StudyOptions, splits: int) -> pd.DataFrame:
    """The table of models for `splits` outer splits: one row each. Arms that would train the same model share it.

    Columns that decide what is trained: stage (the call of the engine it trains in: "first" for lower, upper and
    teachers, "regressors", "students", "joint", "shared", "tram", "tram++", and shared trunks without Z: "derived",
    "masked"; "classical" ones are fitted one by one, and have one member, as they draw nothing), split, inner (-1: on
    all training rows), member, sees_x, z (what the privileged block of its input holds: hidden, given, predicted),
    version (of Z, that it reads or learns to predict), teacher (whose soft labels it learns from), balance (the
    strategy that weighs its tasks), fits (what of `classical.CLASSICAL`), and the knobs.
    Columns that say what it is for: model (a number; its members and splits share it), arms (tuple of (method, control,
    setting)), teaches and predicts (the name under which its soft labels, or its ẑ, serve others).
    """
    return table_of(arms_of(options), options, splits)


def table_of(arms: Sequence[Arm], options: StudyOptions, splits: int) -> pd.DataFrame:
    """The design table of any arms, whose options differ from `options` in nothing but what is a matter of rows."""
    models = _Models(options)
    inner = list(range(options.inner)) or [-1]
    for arm in arms:
        models.add(arm, inner)
    table = pd.DataFrame(models.table()).merge(pd.DataFrame({"split": range(splits)}), how="cross")
    table = table.merge(pd.DataFrame({"member": range(options.members)}), how="cross")
    return table[(table["stage"] != CLASSICAL) | (table["member"] == 0)].reset_index(drop=True)


class _Models:
    """Models under construction: those of equal content are one.

    options : of the study; what trains otherwise (for another number of epochs, say) learns from teachers and
        regressors that do too.
    """

    def __init__(self, options: StudyOptions) -> None:
        self._options = options
        self._rows: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}

    def table(self) -> list[dict[str, Any]]:
        return [{"model": i, **row, "arms": tuple(row["arms"])} for i, row in enumerate(self._rows.values())]

    def _model(self, content: dict[str, Any]) -> dict[str, Any]:
        uses: dict[str, Any] = {"arms": [], "teaches": "", "predicts": ""}
        return self._rows.setdefault(tuple(content.items()), {**content, **uses})

    def add(self, arm: Arm, inner: list[int]) -> None:
        """The model of an arm, and those that it learns from."""
        method, control, options = arm.method, arm.control, arm.options
        task = method.privileged_task
        version = control if control in (SHUFFLED, NOISE) else TRUE
        otherwise = self._otherwise(options)
        teacher = ""
        if method.teacher:
            sight = "X" if control == ABSENT else f"{method.teacher} {version}"
            teacher = UNIT if control == UNIT_WEIGHTS else sight + otherwise
            if teacher != UNIT:
                for k in inner:
                    self._model(self._teacher(sight, options, k))["teaches"] = teacher
            teacher += PERMUTED if control == SHUFFLED_WEIGHTS else ""
        told = method.machine != "network" and not method.teacher and control != ABSENT
        reads = method.sees == "XZ" or told
        if task == "before" and control != ABSENT:
            for k in sorted({-1, *inner}):
                content = _content(options, stage="regressors", inner=k, version=version)
                self._model(content)["predicts"] = version + otherwise
        predicted = task == "before" and control != ABSENT
        shared = task if method.auxiliary == "privileged" else method.auxiliary
        stage = shared if task in ("joint", "shared") else "students" if teacher or predicted else "first"
        content = _content(
            options,
            stage=stage if method.machine in ("network", "marginal") else method.machine,
            fits=method.name if method.machine == CLASSICAL else "",
            z=GIVEN if reads else PREDICTED if predicted else HIDDEN,
            version=version + otherwise if predicted else version if reads or stage in ("joint", "shared") else "",
            teacher=teacher,
            balance=method.balance,
            **method.coefficients(options.imitation),
            **_distillation(method, options),
            **_privileged_task(arm),
        )
        self._model(content)["arms"].append(arm.name)

    def _otherwise(self, options: StudyOptions) -> str:
        """How teachers and regressors under these options differ from the study's own, for their names."""
        names = ("epochs", "lr", "weight_decay", "label_smoothing")
        different = [name for name in names if getattr(options, name) != getattr(self._options, name)]
        return "".join(f" {name}={getattr(options, name):.17g}" for name in different)

    def _teacher(self, sight: str, options: StudyOptions, inner: int) -> dict[str, Any]:
        sees, _, version = sight.partition(" ")
        z = GIVEN if "Z" in sees else HIDDEN
        return _content(options, stage="first", inner=inner, sees_x="X" in sees, z=z, version=version)


def _content(options: StudyOptions, **what: Any) -> dict[str, Any]:
    """What decides the training of a model, for one that learns from the true target alone unless `what` says more."""
    plain = {"stage": "first", "inner": -1, "sees_x": True, "z": HIDDEN, "version": "", "teacher": "", "balance": "",
             "fits": ""}  # fmt: skip
    return {**plain, **knobs(options), **what}


def knobs(options: StudyOptions) -> dict[str, float]:
    """Coefficients of a model that learns from the true target alone."""
    return {
        "epochs": float(options.epochs),
        "lr": options.lr,
        "weight_decay": options.weight_decay,
        "hard": 1.0,
        "imitate": 0.0,
        "privileged_teacher": 0.0,
        "repulsion": 1.0,
        "temperature": 1.0,
        "epsilon": 1.0,
        "learned": 0.0,
        "smoothing": options.label_smoothing,
    }


def _distillation(method: Method, options: StudyOptions) -> dict[str, float]:
    if method.distillation == "none":
        return {}
    return {"repulsion": options.repulsion, "temperature": options.temperature}


def _privileged_task(arm: Arm) -> dict[str, float]:
    method, options = arm.method, arm.options
    if method.privileged_task not in ("joint", "shared"):
        return {}
    epsilon = method.epsilon if options.epsilon is None else options.epsilon
    return {
        "epsilon": 0.0 if arm.control == ABSENT else epsilon,
        "learned": float(method.privileged_task == "joint" and not options.fixed_weights and not method.balance),
    }


_MODELS_A_CHUNK = 6000  # enough to fill the engine
_WORK_A_CHUNK = 2.5e7  # models times data rows: what a kill may lose is some minutes


def models_of(options: StudyOptions) -> int:
    """How many models one repeat of a study trains."""
    sizes = len(design(dataclasses.replace(options, sweeps=()), options.folds)) * len(options.train_sizes)
    return len(design(options, options.folds)) + sizes


def chunks_of(options: StudyOptions, rows: int) -> list[range]:
    """The repeats of a study on `rows` data rows, in chunks of like size: enough models to fill the engine, not too
    much work to lose."""
    models = models_of(options) * options.repeats
    count = min(max(-(-models // _MODELS_A_CHUNK), round(models * rows / _WORK_A_CHUNK)), options.repeats)
    ends = [round(i * options.repeats / count) for i in range(count + 1)]
    return [range(first, end) for first, end in itertools.pairwise(ends)]


def groups(table: pd.DataFrame, *by: str) -> list[tuple[tuple[Any, ...], npt.NDArray[np.intp]]]:
    """(values, positions) of the rows of `table` that agree in the columns `by`, in the order of their appearance."""
    found = table.groupby(list(by), sort=False).indices
    return [(key if isinstance(key, tuple) else (key,), np.asarray(at)) for key, at in found.items()]
