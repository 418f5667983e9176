"""Methods trained on all rows of a table, and what is left of them: students that predict for new rows.

Training is that of a study, whose splits here have training rows alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lupi.balancing import OWN
from lupi.data.encoding import FARTHEST
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split
from lupi.engine.mlp import MLPPair
from lupi.engine.models import Trained
from lupi.engine.network import Workspace
from lupi.engine.programs import PROGRAMS, Program
from lupi.estimators import tabular
from lupi.estimators.tabular import Feature, columns_of, raw_rows, units_of
from lupi.methods.design import Arm, table_of
from lupi.methods.options import StudyOptions
from lupi.methods.twins import NONE
from lupi.study.preparation import Fitting, Prepared
from lupi.study.run import Trainer, check_methods, stages

Floats = npt.NDArray[np.float64]

#: Rows that are predicted at once: what a cache holds of a network's activations.
ROWS_AT_ONCE = 4096


class Student(TypedDict):
    """What predicts: plain data and arrays, that any format can keep.

    kind : of the target's program (see `engine.programs`).
    features, privileged : the columns of X that it reads, and those of Z that it was taught.
    outputs : width of the target: 1 for two classes or a number, K for K classes.
    numeric : whether the target is a number.
    target : [members, P] parameters of the target's networks (and of those that predict Z end to end with them).
    regressor : [members, P'] of the networks that predict Z, where these were trained before; else None.
    x_center, x_scale : [D] standardisation of the encoded rows.
    y_center, y_scale : a number is output / y_scale + y_center.
    """

    kind: str
    features: list[Feature]
    privileged: list[Feature]
    outputs: int
    numeric: bool
    regressor_layers: list[int]
    classifier_layers: list[int]
    target: npt.NDArray[np.floating]
    regressor: npt.NDArray[np.floating] | None
    x_center: Floats
    x_scale: Floats
    y_center: float
    y_scale: float


def programs_of(student: Student) -> tuple[Program, Program]:
    """The target's program, and that of a network which predicts Z before it."""
    pair = MLPPair(tuple(student["regressor_layers"]), tuple(student["classifier_layers"]))
    regular, columns = len(student["x_center"]), columns_of(student["privileged"])
    shape = regular, columns, student["outputs"], student["numeric"], pair
    return PROGRAMS[student["kind"]](*shape), PROGRAMS["privileged"](*shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A student to be trained.

    features : the columns of X and of Z.
    options : of a study of one method.
    split : which rows train.
    refit : train what predicts once more, for the epochs that were best, on all rows, those that validated included.
    """

    data: PrivilegedData
    features: tuple[list[Feature], list[Feature]]
    options: StudyOptions
    split: Split
    fitting: Fitting
    refit: bool = False


#: Options that may differ between the rows of one design table.
_BY_ROW: dict[str, Any] = {
    "methods": ("lower",), "balance": (OWN,), "epochs": 1, "lr": 1.0, "weight_decay": 0.0, "imitation": 0.0,
    "temperature": 1.0, "repulsion": 0.0, "epsilon": 0.0, "label_smoothing": 0.0, "fixed_weights": False,
}  # fmt: skip


def train(jobs: Sequence[Job]) -> list[tuple[Student, int] | ValueError]:
    """The student of every job, and for how many epochs it trained; a ValueError where training diverged.

    Jobs that differ in nothing but their rows and in what is a matter of rows of a design table train together.

    Raises
    ------
    ValueError : for a method that a target does not allow.
    """
    for job in jobs:
        check_methods(job.data, job.options)
    alike: dict[Hashable, list[int]] = {}
    for i, job in enumerate(jobs):
        alike.setdefault(_program_of(job), []).append(i)
    found: dict[int, tuple[Student, int] | ValueError] = {}
    for at in alike.values():
        found |= zip(at, _together([jobs[i] for i in at]), strict=True)
    return [found[i] for i in range(len(jobs))]


def _program_of(job: Job) -> Hashable:
    """What jobs must have in common to be rows of one design table."""
    encoded = job.fitting.encoded
    assert encoded is not None
    weights = job.fitting.class_weights
    return (
        encoded.x_columns, encoded.z_columns, encoded.y.shape[1], job.data.classes is None, len(job.split.inner),
        dataclasses.replace(job.options, **_BY_ROW), job.fitting.early_stopping, job.fitting.sample_weight is None,
        None if weights is None else tuple(weights), job.refit, (len(job.data.y) - 1).bit_length(),
    )  # fmt: skip


@dataclasses.dataclass
class _Models:
    """Models of one engine call that predict: their rows of the design table, and what became of them."""

    table: pd.DataFrame
    program: Program
    trained: Trained

    def take(self, which: npt.NDArray[np.bool_]) -> _Models:
        at = np.flatnonzero(which)
        return _Models(self.table.iloc[at].reset_index(drop=True), self.program, self.trained.take(at))


def _together(jobs: list[Job]) -> list[tuple[Student, int] | ValueError]:
    """Jobs of one program: one split for each of their data sets, one arm for each of their options."""
    blocks = list({id(job.data): job for job in jobs}.values())
    data, splits, fitting = _united(blocks)
    options = jobs[0].options
    settings = {each: str(i) for i, each in enumerate(dict.fromkeys(job.options for job in jobs))}
    arms = [Arm(each.arms[0], NONE, name, each) for each, name in settings.items()]
    prepared = Prepared(data, options, splits, fitting)
    trainer = Trainer(prepared)
    models = []
    for rows, kind in stages(table_of(arms, options, len(splits))):
        engine, trained = trainer.train(rows, kind)
        trainer.keep(rows, engine, trained)
        predicts = (rows["arms"].map(len) > 0) | ((rows["predicts"] != "") & (rows["inner"] == -1))
        models.append(_Models(rows, engine.program, trained).take(predicts.to_numpy()))
        del engine  # and its copy of the data
    models = [each for each in models if len(each.table)]
    if jobs[0].refit and fitting.early_stopping:
        models = _refitted(models, trainer)
    place = {id(job.data): s for s, job in enumerate(blocks)}
    return [_student(job, models, prepared, place[id(job.data)], settings[job.options]) for job in jobs]


def _united(blocks: list[Job]) -> tuple[PrivilegedData, list[Split], Fitting]:
    """Data sets of like columns, one below the other, with the training rows of each as a split."""
    first = blocks[0]
    if len(blocks) == 1:
        return first.data, [first.split], first.fitting
    parts = [job.fitting.encoded for job in blocks if job.fitting.encoded is not None]
    weights = [job.fitting.sample_weight for job in blocks if job.fitting.sample_weight is not None]
    y = np.concatenate([job.data.y for job in blocks])
    # Only arrays are read of what is encoded: the tables stay behind.
    index = pd.RangeIndex(len(y))
    frame = pd.DataFrame({"row": np.arange(len(y), dtype=np.float64)}, index=index)
    data = dataclasses.replace(first.data, X=frame, Z=pd.DataFrame(index=index), y=y)
    encoded = dataclasses.replace(
        parts[0],
        x=np.concatenate([part.x for part in parts]),
        z=np.concatenate([part.z for part in parts], 1),
        y=np.concatenate([part.y for part in parts]),
    )
    splits, offset = [], 0
    for job in blocks:
        split = job.split
        inner = tuple(held + offset for held in split.inner)
        splits.append(dataclasses.replace(split, train=split.train + offset, test=split.test + offset, inner=inner))
        offset += len(job.data.y)
    most = max(len(job.data.y) for job in blocks)  # of as many binary digits as each of them has
    joined = np.concatenate(weights) if weights else None
    return data, splits, dataclasses.replace(first.fitting, encoded=encoded, sample_weight=joined, most=most)


def _refitted(models: list[_Models], first: Trainer) -> list[_Models]:
    """The same models trained on all rows for the epochs that were best, with the soft labels and ẑ of `first`."""
    prepared = first.prepared
    every = dataclasses.replace(prepared.fitting, early_stopping=False)
    trainer = Trainer(Prepared(prepared.data, prepared.options, prepared.splits, every))
    trainer.teachers, trainer.predicted = first.teachers, first.predicted
    again = []
    for each in models:
        table = each.table.assign(epochs=np.maximum(each.trained.best_epoch, 1).astype(np.float64))
        engine, trained = trainer.train(table, each.program.kind)
        again.append(_Models(table, engine.program, trained))
        del engine
    return again


def _student(
    job: Job, models: list[_Models], prepared: Prepared, s: int, setting: str
) -> tuple[Student, int] | ValueError:
    """The student of an arm on a split."""

    def serves(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
        mine = table["arms"].map(lambda arms: any(name == setting for _, _, name in arms))
        return np.asarray(mine & (table["split"] == s), dtype=np.bool_)

    (last,) = [each.take(serves(each.table)) for each in models if serves(each.table).any()]
    read, before = last.table["version"].iloc[0], None
    for each in models:
        feeds = ((each.table["predicts"] == read) & (each.table["split"] == s)).to_numpy()
        if read and not last.program.predicts_z and feeds.any():
            before = each.take(feeds)
    for each in [last] if before is None else [last, before]:
        if not bool(each.trained.parameters.isfinite().all()):
            return ValueError(
                f"{job.data.name}: training diverged: no validation loss is finite. Lower lr, or look for extreme "
                "values."
            )
    training_set, encoded, program = prepared.training_set(s), job.fitting.encoded, last.program
    pair = job.options.pair
    assert encoded is not None
    student = Student(
        kind=program.kind,
        features=job.features[0],
        privileged=job.features[1],
        outputs=program.outputs,
        numeric=program.numeric,
        regressor_layers=list(pair.regressor_layers),
        classifier_layers=list(pair.classifier_layers),
        target=last.trained.parameters.cpu().numpy(),
        regressor=None if before is None else before.trained.parameters.cpu().numpy(),
        x_center=training_set.x_center,
        x_scale=training_set.x_scale,
        y_center=encoded.y_origin + encoded.y_unit * training_set.y_center,
        y_scale=training_set.y_scale / encoded.y_unit,
    )
    return student, int(last.trained.epochs.max())


# ---------------------------------------------------------------------- prediction


class Predictor:
    """The networks of a student in float64, on the CPU.

    Every row is predicted by itself but for rounding, and the memory does not grow with the number of rows.
    """

    def __init__(self, student: Student) -> None:
        self.student = student
        self._program, self._before = programs_of(student)
        self._target = torch.as_tensor(student["target"]).double()
        regressor = student["regressor"]
        self._regressor = None if regressor is None else torch.as_tensor(regressor).double()
        self._origin, self._unit = units_of(student["features"])
        self._scale, self._shift = student["x_scale"], -student["x_center"] * student["x_scale"]
        self._workspace = Workspace()

    @torch.no_grad()
    def outputs(self, table: pd.DataFrame, places: list[int]) -> Iterator[tuple[slice, Floats]]:
        """(rows, outputs [members, C, rows]) for some rows after the other: log-odds, logits, or numbers.

        The arrays are overwritten by the next.

        places : of the student's features in the table.
        """
        memory = np.empty((min(ROWS_AT_ONCE, len(table)), len(self._origin)))
        for first in range(0, len(table), tabular.ROWS_READ):
            read = raw_rows(table.iloc[first : first + tabular.ROWS_READ], self.student["features"], places)
            for begin in range(0, len(read), ROWS_AT_ONCE):
                raw = read[begin : begin + ROWS_AT_ONCE]
                x = memory[: len(raw)]
                self._standardise(raw, x)
                output = self._forward(torch.from_numpy(x)).numpy()
                if self.student["numeric"]:
                    output = output / self.student["y_scale"] + self.student["y_center"]
                yield slice(first + begin, first + begin + len(raw)), output

    def _standardise(self, raw: Floats, x: Floats) -> None:
        with np.errstate(over="ignore"):
            np.subtract(raw, self._origin, out=x)
            x /= self._unit
        np.clip(x, -FARTHEST, FARTHEST, out=x)
        x *= self._scale
        x += self._shift
        if np.isnan(x.sum()):
            np.nan_to_num(x, copy=False, nan=0.0)

    def _forward(self, x: Tensor) -> Tensor:
        def expanded(parameters: Tensor) -> Tensor:
            return x.expand(len(parameters), -1, -1)

        z = None
        if self._regressor is not None:
            parts = self._before.parts(self._regressor)
            predicted = self._before.outputs_of(parts, expanded(self._regressor), None, self._workspace)[1]
            assert predicted is not None
            mean = self._before.layout.read(predicted).mean(0)
            z = mean.expand(len(self._target), -1, -1)
        parts = self._program.parts(self._target)
        target = self._program.outputs_of(parts, expanded(self._target), z, self._workspace)[0]
        assert target is not None
        return target
