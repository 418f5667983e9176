"""The design table: one row for every model of a study, with everything in which models differ.

`Arm` is what a study reports on, `design` the table of the models that its arms need, `chunks_of` the repeats that are
trained together.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.data.splits import n_teachers
from lupi.methods.options import StudyOptions
from lupi.methods.table import Method
from lupi.methods.twins import ABSENT, NOISE, NONE, SHUFFLED, SHUFFLED_WEIGHTS, TRUE, UNIT_WEIGHTS, twins_of
from lupi.settings import HYPER_PARAMETERS, PLAIN, Setting, per_model, sweeps

#: What the privileged block of a network's input holds.
HIDDEN, GIVEN, PREDICTED = "hidden", "given", "predicted"

#: The stage of models that are fitted one by one.
CLASSICAL = "classical"

#: Stages whose second head learns columns made from X, not privileged ones.
OWN_TASKS = ("derived", "masked")

#: Soft labels that are made, not learned: see `twins.unit_weights` and `twins.shuffled_weights`.
UNIT, PERMUTED = "unit", " permuted"


@dataclasses.dataclass(frozen=True)
class Arm:
    """What a study reports on: a method, or one of its twins, at one setting.

    control : the twin; "none": the method itself.
    setting : what is swept, and its value; `PLAIN`: the study's own options.
    options : those that hold for it.
    """

    method: Method
    control: str
    setting: Setting
    options: StudyOptions

    @property
    def key(self) -> tuple[str, str, Setting]:
        """Names of method and control, and the setting: what the design table and the records call it."""
        return self.method.name, self.control, self.setting


def arms_of(options: StudyOptions) -> list[Arm]:
    """All arms of a study, in the order of its methods."""
    arms = []
    for method in options.weighed_methods:
        controls = (NONE, *(twin for twin in twins_of(method) if twin in options.twins))
        settings = [(PLAIN, options)]
        for swept, values in options.sweeps:
            if responds(method, swept):
                settings += [(at, options.at(at)) for at in (Setting(swept, value) for value in values)]
        arms += [Arm(method, control, *setting) for setting in settings for control in controls]
    return arms


def responds(method: Method, swept: str) -> bool:
    """Whether what is swept means something to the method. Strategies set the weights that ε and λ would, but for the
    static one, whose weights are fixed."""
    sweep, parameter = sweeps()[swept]
    if method.balance and parameter.weighs_tasks:
        if method.balance != "static":
            return False
        if method.privileged_task == "joint" and swept == "epsilon":  # nothing is learned: it is "fixed_epsilon"
            return False
    return method.reads(parameter, sweep.read_by)


def design(options: StudyOptions, splits: int) -> pd.DataFrame:
    """The table of models for `splits` outer splits: one row each. Arms that would train the same model share it.

    Columns that decide what is trained: stage (the call of the engine it trains in: "first" for lower, upper and
    teachers, "regressors", "students", "joint", "shared", "tram", "tram++", and shared trunks without Z: "derived",
    "masked"; "classical" ones are fitted one by one, and have one member, as they draw nothing), split, inner (-1: on
    all training rows), member, sees_x, z (what the privileged block of its input holds: hidden, given, predicted),
    version (of Z, that it reads or learns to predict), teacher (whose soft labels it learns from), balance (the
    strategy that weighs its tasks), fits (what of `classical.CLASSICAL`), and its hyper-parameters and
    loss weights (see `numbers_of`).
    Columns that say what it is for: model (a number; its members and splits share it), arms (those that it serves: a
    tuple of `Arm.key`), teaches and predicts (the name under which its soft labels, or its ẑ, serve others).
    """
    return design_of_arms(arms_of(options), options, splits)


def design_of_arms(arms: Sequence[Arm], options: StudyOptions, splits: int) -> pd.DataFrame:
    """The design table of any arms, whose options differ from `options` in nothing but what is a matter of rows."""
    models = _Models(options)
    teachers = n_teachers(options.members) if options.bagging else options.inner
    for arm in arms:
        models.add(arm, list(range(teachers)) or [-1])
    table = pd.DataFrame(models.table()).merge(pd.DataFrame({"split": range(splits)}), how="cross")
    table = table.merge(pd.DataFrame({"member": range(options.members)}), how="cross")
    for i, entry in enumerate(options.portfolio):
        at = (table["member"] + table["inner"].clip(lower=0)) % len(options.portfolio) == i
        for name, value in entry:
            table.loc[at, HYPER_PARAMETERS[name].column] = HYPER_PARAMETERS[name].number(value)
    once = (table["stage"] == CLASSICAL) | (options.bagging & (table["inner"] >= 0))
    return table[~once | (table["member"] == 0)].reset_index(drop=True)


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
        given_z = method.model_family != "network" and not method.teacher and control != ABSENT
        reads = method.sees == "XZ" or given_z
        if task == "before" and control != ABSENT:
            for k in [-1] if self._options.bagging else sorted({-1, *inner}):  # members hold rows out themselves
                content = _content(options, stage="regressors", inner=k, version=version)
                self._model(content)["predicts"] = version + otherwise
        predicted = task == "before" and control != ABSENT
        shared = task if method.auxiliary == "privileged" else method.auxiliary
        stage = shared if task in ("joint", "shared") else "students" if teacher or predicted else "first"
        content = _content(
            options,
            stage=stage if method.model_family in ("network", "marginal") else method.model_family,
            fits=method.name if method.model_family == CLASSICAL else "",
            z=GIVEN if reads else PREDICTED if predicted else HIDDEN,
            version=version + otherwise if predicted else version if reads or stage in ("joint", "shared") else "",
            teacher=teacher,
            balance=method.balance,
            numbers=numbers_of(options, arm),
        )
        self._model(content)["arms"].append(arm.key)

    def _otherwise(self, options: StudyOptions) -> str:
        """How teachers and regressors under these options differ from the study's own, for their names."""
        names = [row.name for row in per_model() if row.read_by == "networks"]
        different = [name for name in names if getattr(options, name) != getattr(self._options, name)]
        return "".join(f" {name}={HYPER_PARAMETERS[name].number(getattr(options, name)):.17g}" for name in different)

    def _teacher(self, sight: str, options: StudyOptions, inner: int) -> dict[str, Any]:
        sees, _, version = sight.partition(" ")
        z = GIVEN if "Z" in sees else HIDDEN
        return _content(options, stage="first", inner=inner, sees_x="X" in sees, z=z, version=version)


def _content(options: StudyOptions, numbers: dict[str, float] | None = None, **what: Any) -> dict[str, Any]:
    """What decides the training of a model, for one that learns from the true target alone unless `what` and `numbers`
    say more."""
    plain = {"stage": "first", "inner": -1, "sees_x": True, "z": HIDDEN, "version": "", "teacher": "", "balance": "",
             "fits": ""}  # fmt: skip
    return {**plain, **what, **(numbers or numbers_of(options))}


def numbers_of(options: StudyOptions, arm: Arm | None = None) -> dict[str, float]:
    """The hyper-parameters and loss weights of the model of an arm, or of one that learns from the true target alone:
    a column of the design table for each.

    Those of hyper-parameters are 1 where the model does not read them. hard, imitate, privileged_teacher : weights of
    the parts of the target loss. learned : whether σ and T are (1), which then weigh the privileged task.
    """
    numbers = {"hard": 1.0, "imitate": 0.0, "privileged_teacher": 0.0, "learned": 0.0}
    if arm is not None:
        learned = arm.method.privileged_task == "joint" and not options.fixed_weights and not arm.method.balance
        numbers = {**arm.method.loss_weights(options.imitation), "learned": float(learned)}
    for row in per_model():
        if row.column:
            read = row.read_by == "networks" or (arm is not None and arm.method.reads(row))
            value = getattr(options, row.name) if read else 1.0
            numbers[row.column] = row.number(arm.method.epsilon if arm is not None and value is None else value)
    if arm is not None and arm.control == ABSENT and arm.method.reads(HYPER_PARAMETERS["epsilon"]):
        numbers["epsilon"] = 0.0
    return numbers


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
    positions = table.groupby(list(by), sort=False).indices
    return [(key if isinstance(key, tuple) else (key,), np.asarray(at)) for key, at in positions.items()]
