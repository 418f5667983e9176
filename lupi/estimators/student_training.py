"""Trains students on all rows of a table, many of them together where their shapes agree.

Training is that of a study, whose splits here have training rows alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.balancing import OWN
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split
from lupi.engine.models import IndexSets, Trained
from lupi.engine.programs import Program
from lupi.engine.tabular import TabularPair
from lupi.engine.training import Engine
from lupi.estimators.reading import FitInput
from lupi.estimators.student import Student
from lupi.estimators.tabular import Feature
from lupi.evidence import calibration as calibrating
from lupi.evidence import metrics
from lupi.methods.design import Arm, design_of_arms
from lupi.methods.misfits import check_methods
from lupi.methods.options import StudyOptions
from lupi.methods.twins import NONE, TRUE
from lupi.settings import Setting, per_model
from lupi.study.preparation import Fitting, Prepared
from lupi.study.stages import Trainer, stages

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A student to be trained.

    features : the columns of X and of Z.
    options : of a study of one method.
    split : which rows train.
    refit : train what predicts once more, for the epochs that were best, on all rows, those that validated included.
    read : what it is the training of.
    """

    data: PrivilegedData
    features: tuple[list[Feature], list[Feature]]
    options: StudyOptions
    split: Split
    fitting: Fitting
    refit: bool
    read: FitInput


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """A trained student, and what is known of it without new rows.

    epochs : for how many it trained, the most of its members.
    curve : [members, epochs] validation losses; NaN where a member had stopped.
    held_out : [n, K] probabilities, or [n, 1] numbers, of members that did not fit on a row; None without bagging.
    losses : [n] of these predictions: log loss, or squared error in units of the variance of y.
    calibration : "temperature", and the expected calibration error of `held_out` "before" and "after" it; empty where
        nothing is calibrated.
    soft_labels : [n, K] probabilities, or [n, 1] numbers, of the teacher for rows that it did not fit on; None: none.
    """

    student: Student
    epochs: int
    curve: Floats
    held_out: Floats | None
    losses: Floats | None
    calibration: dict[str, float]
    soft_labels: Floats | None


#: Options that may differ between the rows of one design table, each at a value that is allowed.
_BY_ROW: dict[str, Any] = {"methods": ("lower",), "balance": (OWN,), **{row.name: row.default for row in per_model()}}


def train(jobs: Sequence[Job]) -> list[Outcome | ValueError]:
    """What became of every job; a ValueError where training diverged.

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
    results: dict[int, Outcome | ValueError] = {}
    for places in alike.values():
        results |= zip(places, _train_together([jobs[i] for i in places]), strict=True)
    return [results[i] for i in range(len(jobs))]


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
    """Models of one engine call that predict: their rows of the design table, and what became of them.

    held_out : what each says of the rows on which it alone validated [n, C]; None where members share these rows.
    """

    table: pd.DataFrame
    program: Program
    trained: Trained
    held_out: list[Floats] | None = None

    def take(self, which: npt.NDArray[np.bool_]) -> _Models:
        at = np.flatnonzero(which)
        held_out = None if self.held_out is None else [self.held_out[i] for i in at]
        return _Models(self.table.iloc[at].reset_index(drop=True), self.program, self.trained.take(at), held_out)


def _train_together(jobs: list[Job]) -> list[Outcome | ValueError]:
    """Jobs of one program: one split for each of their data sets, one arm for each of their options."""
    blocks = list({id(job.data): job for job in jobs}.values())
    data, splits, fitting = _united(blocks)
    options = jobs[0].options
    different = dict.fromkeys(job.options for job in jobs)
    settings = {of_arm: Setting("job", float(i)) for i, of_arm in enumerate(different)}
    arms = [Arm(of_arm.weighed_methods[0], NONE, setting, of_arm) for of_arm, setting in settings.items()]
    prepared = Prepared(data, options, splits, fitting)
    trainer = Trainer(prepared)
    models = []
    for rows, kind in stages(design_of_arms(arms, options, len(splits))):
        engine, trained = trainer.train(rows, kind)
        trainer.keep(rows, engine, trained)
        predicts = (rows["arms"].map(len) > 0) | ((rows["predicts"] != "") & (rows["inner"] == -1))
        held_out = _held_out(rows, engine, trained, prepared) if options.bagging else None
        models.append(_Models(rows, engine.program, trained, held_out).take(predicts.to_numpy()))
        del engine  # and its copy of the data
    models = [group for group in models if len(group.table)]
    if jobs[0].refit and fitting.early_stopping:
        models = _refitted(models, trainer)
    place = {id(job.data): s for s, job in enumerate(blocks)}
    return [
        _outcome(job, models, prepared, place[id(job.data)], settings[job.options], trainer.teachers) for job in jobs
    ]


def _held_out(rows: pd.DataFrame, engine: Engine, trained: Trained, prepared: Prepared) -> list[Floats] | None:
    """What every model says [n, C] of the rows on which it alone validated; None where it predicts no target."""
    sets = prepared.held_out_rows(rows)
    output, _ = engine.predict(trained, IndexSets(sets), np.arange(len(rows)))
    return None if output is None else [output[i, : len(of_model)].numpy() for i, of_model in enumerate(sets)]


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
    refitted = []
    for group in models:
        table = group.table.assign(epochs=np.maximum(group.trained.best_epoch, 1).astype(np.float64))
        engine, trained = trainer.train(table, group.program.kind)
        refitted.append(_Models(table, engine.program, trained))
        del engine
    return refitted


def _outcome(
    job: Job, models: list[_Models], prepared: Prepared, s: int, setting: Setting, teachers: dict[str, Floats]
) -> Outcome | ValueError:
    """What became of an arm on a split."""

    def serves(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
        mine = table["arms"].map(lambda arms: any(of_arm == setting for _, _, of_arm in arms))
        return np.asarray(mine & (table["split"] == s), dtype=np.bool_)

    (last,) = [group.take(serves(group.table)) for group in models if serves(group.table).any()]
    read, before = last.table["version"].iloc[0], None
    for group in models:
        feeds = ((group.table["predicts"] == read) & (group.table["split"] == s)).to_numpy()
        if read and not last.program.predicts_z and feeds.any():
            before = group.take(feeds)
    for group in [last] if before is None else [last, before]:
        if not bool(group.trained.parameters.isfinite().all()):
            return ValueError(
                f"{job.data.name}: training diverged: no validation loss is finite. Lower lr, or look for extreme "
                "values."
            )
    training_set, encoded, program = prepared.training_set(s), job.fitting.encoded, last.program
    assert encoded is not None
    held, heat, calibration = _out_of_fold(job, last, prepared, s)
    z_center, z_scale = prepared.z_units(s, -1, TRUE)
    networks = job.options.networks
    student = Student(
        kind=program.kind,
        features=job.features[0],
        privileged=job.features[1],
        outputs=program.outputs,
        numeric=program.numeric,
        regressor_layers=list(job.options.regressor_layers),
        classifier_layers=list(job.options.classifier_layers),
        target=last.trained.parameters.cpu().numpy(),
        regressor=None if before is None else before.trained.parameters.cpu().numpy(),
        style=dataclasses.asdict(networks.style) if isinstance(networks, TabularPair) else None,
        x_center=training_set.x_center,
        x_scale=training_set.x_scale,
        x_bound=np.zeros(len(training_set.x_scale)) if training_set.x_bound is None else training_set.x_bound,
        z_center=z_center,
        z_scale=z_scale,
        temperature=heat,
        prior=prepared.prior(s) if _balances(job) else None,
        y_center=encoded.y_origin + encoded.y_unit * training_set.y_center,
        y_scale=training_set.y_scale / encoded.y_unit,
    )
    teacher = last.table["teacher"].iloc[0]
    soft = None
    if teacher:
        of_members = teachers[teacher][s * prepared.per_split : (s + 1) * prepared.per_split]
        soft = of_members[:, job.split.train + _offset(job, prepared, s)].mean(0)
    if soft is not None:
        soft = encoded.y_origin + encoded.y_unit * soft if program.numeric else metrics.probabilities(soft)
    return Outcome(
        student=student,
        epochs=int(last.trained.epochs.max()),
        curve=_curve(last.trained),
        held_out=held,
        losses=None if held is None else _losses(job, held),
        calibration=calibration,
        soft_labels=soft,
    )


def _curve(trained: Trained) -> Floats:
    """Validation losses [members, epochs]."""
    curve = np.full((len(trained.curves), max(map(len, trained.curves))), np.nan)
    for row, losses in zip(curve, trained.curves, strict=True):
        row[: len(losses)] = losses
    return curve


def _balances(job: Job) -> bool:
    return job.options.target_prior == "balanced" and job.data.classes is not None


def _offset(job: Job, prepared: Prepared, s: int) -> int:
    """Where the rows of a job begin among those of all jobs that trained together."""
    return int(prepared.splits[s].train[0] - job.split.train[0])


def _out_of_fold(job: Job, last: _Models, prepared: Prepared, s: int) -> tuple[Floats | None, float, dict[str, float]]:
    """Predictions of the members for the rows that each held out [n, K or 1], their temperature, and what it did."""
    if last.held_out is None:
        return None, 1.0, {}
    offset, n = _offset(job, prepared, s), len(job.data.y)
    rows = [prepared.held_out(s, member) - offset for member in last.table["member"]]
    encoded, weights = job.fitting.encoded, job.fitting.sample_weight
    assert encoded is not None
    if job.data.classes is None:
        values = [encoded.y_origin + encoded.y_unit * output for output in last.held_out]
        return _mean_by_row(rows, values, n), 1.0, {}
    plain = _mean_by_row(rows, [metrics.probabilities(output) for output in last.held_out], n)
    if job.options.calibration == "none":
        return plain, 1.0, {}
    every = np.concatenate(rows)
    heat = calibrating.temperature(
        np.concatenate(last.held_out), job.data.y[every], None if weights is None else weights[every]
    )
    read = _mean_by_row(rows, [metrics.probabilities(output / heat) for output in last.held_out], n)
    errors = [calibrating.expected_calibration_error(of, job.data.y) for of in (plain, read)]
    return read, heat, {"temperature": heat, "before": errors[0], "after": errors[1]}


def _mean_by_row(rows: list[npt.NDArray[np.intp]], values: list[Floats], n: int) -> Floats:
    """The mean [n, K] of the values [len, K] that were given for each row."""
    total, count = np.zeros((n, values[0].shape[1])), np.zeros((n, 1))
    for at, given in zip(rows, values, strict=True):
        total[at] += given
        count[at] += 1
    return np.asarray(total / count, dtype=np.float64)


def _losses(job: Job, held: Floats) -> Floats:
    """The loss [n] of predictions for the training rows."""
    y, weights = job.data.y, job.fitting.sample_weight
    if job.data.classes is None:
        losses = (held[:, 0] - y) ** 2 / y.var()
    else:
        losses = -np.log(np.clip(held[np.arange(len(y)), y], 1e-15, None))
    return np.asarray(losses if weights is None else losses * weights, dtype=np.float64)
