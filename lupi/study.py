"""A study is a table: one row for every model to train, and what became of it.

`run` takes the design table for some splits of one data set, trains it in stages (teachers and regressors first, then
those who learn from them), one call of the engine each, and returns one record for every arm and split.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lupi import metrics, rng
from lupi.data import Encoded, PrivilegedData, encode, most_correlated, standardisation
from lupi.design import HIDDEN, PREDICTED, design, knobs
from lupi.objective import Kind, Program
from lupi.options import StudyOptions
from lupi.rows import Arrays, IndexSets, Rows, Trained
from lupi.splits import Split, holdout, last_rows
from lupi.training import Engine

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Progress = Callable[[int], None]

_VALIDATION = 101  # stream of the seed that draws validation rows


@dataclasses.dataclass(frozen=True)
class _TrainingSet:
    """A set of training rows with all that is fitted on them before any network is."""

    split: int
    rows: npt.NDArray[np.intp]
    fit: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]
    x_center: Floats
    x_scale: Floats
    z_center: Floats
    z_scale: Floats
    y_center: float
    y_scale: float
    class_weights: Floats


class _Chunk:
    """The splits that are trained together: their training sets, and where teachers and predictions are kept."""

    def __init__(self, data: PrivilegedData, options: StudyOptions, splits: Sequence[Split]) -> None:
        self.data, self.options, self.splits = data, options, splits
        self.encoded: Encoded = encode(data)
        self.blocks = [self._choose(split) for split in splits]  # block of encoded.z that a split's teachers see
        self.sets: dict[tuple[int, int], int] = {}
        self.training_sets: list[_TrainingSet] = []
        for s, split in enumerate(splits):
            self._add(s, -1, split.train)
            for k, held in enumerate(split.inner):
                self._add(s, k, np.setdiff1d(split.train, held, assume_unique=True))
        self.fit = IndexSets([t.fit for t in self.training_sets])
        self.validation = IndexSets([t.validation for t in self.training_sets])
        n, outputs, width = len(data.y), self.encoded.y.shape[1], self.encoded.z.shape[2]
        self.teachers: dict[str, Floats] = {}  # sight -> [S, n, C] log-odds; 0 where no teacher speaks
        self.predicted = np.full((len(splits), n, width), np.nan)  # ẑ of the regressors trained before
        self._shape = (len(splits), n, outputs)

    def _choose(self, split: Split) -> int:
        if not self.encoded.candidates:
            return 0
        rows = np.arange(len(self.data.y)) if self.options.rules.choose_on_all else split.train
        return most_correlated(self.encoded.z[:, rows], self.encoded.y[rows])

    def privileged_names(self, split: int) -> list[str]:
        if self.encoded.candidates:
            return [self.encoded.x_columns[self.encoded.candidates[self.blocks[split]]].name]
        return [column.name for column in self.encoded.z_columns]

    def _add(self, split: int, inner: int, rows: npt.NDArray[np.intp]) -> None:
        options, encoded, data = self.options, self.encoded, self.data
        if options.rules.last_rows_validate:
            fit, validation = last_rows(rows, options.validation_fraction)
        else:
            outer = self.splits[split]
            key = rng.keys(options.seed, _VALIDATION, outer.repeat, outer.fold, inner + 1)
            fit, validation = holdout(data, rows, options.validation_fraction, key)
        x_center, x_scale = standardisation(encoded.x[rows], encoded.x_columns)
        if encoded.candidates:
            x_scale[encoded.x_columns[encoded.candidates[self.blocks[split]]].span] = 0.0
        z_center, z_scale = standardisation(encoded.z[self.blocks[split]][rows], encoded.z_columns)
        y_center, y_scale, class_weights = 0.0, 1.0, np.ones(1)
        if data.classes is None:
            y = encoded.y[rows]
            y_center, y_scale = float(y.mean()), 1.0 / max(float(y.std()), 1e-12)
        else:
            counts = np.bincount(data.y[rows], minlength=len(data.classes))
            balanced = len(rows) / (np.maximum(counts, 1) * (counts > 0).sum())
            class_weights = balanced if options.class_weight == "balanced" else np.ones(len(counts))
        self.sets[split, inner] = len(self.training_sets)
        fitted = x_center, x_scale, z_center, z_scale, y_center, y_scale, class_weights
        self.training_sets.append(_TrainingSet(split, rows, fit, validation, *fitted))

    # ------------------------------------------------------------------ one stage

    def train(self, table: pd.DataFrame, kind: Kind, progress: Progress | None) -> tuple[Engine, Trained]:
        """Train the rows of `table` as one program."""
        sets = self._sets_of(table)
        engine = Engine(self._program(kind), self._arrays(table), self._rows(table, sets), self.options.training())
        return engine, engine.train(progress)

    def _program(self, kind: Kind) -> Program:
        encoded = self.encoded
        return Program(
            kind=kind,
            regular=encoded.x.shape[1],
            columns=encoded.z_columns,
            outputs=encoded.y.shape[1],
            numeric=self.data.classes is None,
            pair=self.options.pair,
        )

    def _sets_of(self, table: pd.DataFrame) -> npt.NDArray[np.intp]:
        return np.array([self.sets[key] for key in zip(table["split"], table["inner"], strict=True)], dtype=np.intp)

    def _arrays(self, table: pd.DataFrame) -> Arrays:
        predicts = (table["z"] == PREDICTED).any()
        z = np.concatenate([self.encoded.z, self.predicted]) if predicts else self.encoded.z
        sights = sorted(set(table["teacher"]) - {""})
        teacher = np.concatenate([self.teachers[sight] for sight in sights]) if sights else None
        return Arrays(
            x=torch.as_tensor(self.encoded.x),
            y=torch.as_tensor(self.encoded.y),
            codes=None if self.data.classes is None else torch.as_tensor(self.data.y),
            z=torch.as_tensor(z),
            teacher=None if teacher is None else torch.as_tensor(teacher),
        )

    def _rows(self, table: pd.DataFrame, sets: npt.NDArray[np.intp]) -> Rows:
        training_sets = [self.training_sets[i] for i in sets]
        split = table["split"].to_numpy()
        predicted = (table["z"] == PREDICTED).to_numpy()
        # Programs without z as an input predict it: they too read the true block.
        hidden = ((table["z"] == HIDDEN) & (table["stage"].isin(["first", "students"]))).to_numpy()
        blocks = np.array(self.blocks)[split]
        z_of = np.where(predicted, len(self.encoded.z) + split, blocks)
        z_of[hidden] = -1
        sights = sorted(set(table["teacher"]) - {""})
        place = table["teacher"].map({sight: i * len(self.splits) for i, sight in enumerate(sights)})
        teacher_of = np.where(table["teacher"] == "", -1, place.fillna(0).to_numpy() + split).astype(np.intp)
        repeats = np.array([s.repeat for s in self.splits])[split]
        folds = np.array([s.fold for s in self.splits])[split]

        def stacked(name: str) -> Floats:
            return np.stack([np.asarray(getattr(t, name)) for t in training_sets])

        return Rows(
            # The method is no part of the seed: all arms of a split start alike and see the same shuffles.
            seed=rng.keys(self.options.seed, repeats, folds, table["inner"] + 1, table["member"]),
            fit=self.fit,
            fit_of=sets,
            validation=self.validation,
            validation_of=sets,
            x_center=stacked("x_center"),
            x_scale=stacked("x_scale") * table["sees_x"].to_numpy(np.float64)[:, None],
            z_center=np.where(predicted[:, None], 0.0, stacked("z_center")),
            z_scale=np.where(predicted[:, None], 1.0, stacked("z_scale")),
            z_of=z_of,
            teacher_of=teacher_of,
            y_center=stacked("y_center"),
            y_scale=stacked("y_scale"),
            class_weights=stacked("class_weights"),
            knobs={name: table[name].to_numpy(np.float64) for name in knobs(self.options)},
        )

    # ------------------------------------------------------------------ what one stage leaves for the next

    def _told(self, table: pd.DataFrame) -> list[npt.NDArray[np.intp]]:
        """For every helper the rows it speaks of: those held out from it, or without cross-fitting all."""
        rows = []
        for s, k in zip(table["split"], table["inner"], strict=True):
            split = self.splits[s]
            rows.append(split.inner[k] if k >= 0 else np.concatenate([split.train, split.test]))
        return rows

    def keep_teachers(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> None:
        """Soft labels of the rows that each teacher may speak of, averaged over members."""
        told = self._told(table)
        output, _ = engine.predict(trained, IndexSets(told), np.arange(len(table)))
        assert output is not None
        numeric, split = engine.program.numeric, table["split"].to_numpy()
        for (sight,), at in _groups(table, "teaches"):
            total = np.zeros((*self._shape[:2], max(self._shape[2], 1 if numeric else 2)))
            for i in at:
                values = output[i, : len(told[i])].numpy()
                mean_of = values if numeric else metrics.probabilities(values)
                total[split[i], told[i]] += mean_of / self.options.members
            self.teachers[sight] = total if numeric else metrics.log_odds(total)

    def keep_predicted(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> None:
        """ẑ averaged over members: out of fold for training rows, by the regressor of all of them for test rows."""
        told = self._told(table)
        _, output = engine.predict(trained, IndexSets(told), np.arange(len(table)))
        assert output is not None
        whole = (table["inner"] == -1).to_numpy()
        for fills in (np.flatnonzero(whole), np.flatnonzero(~whole)):
            for (s,), at in _groups(table.iloc[fills], "split"):
                self.predicted[s, np.concatenate([told[i] for i in fills[at]])] = 0.0
                for i in fills[at]:
                    z_hat = self._in_units_of_split(output[i, : len(told[i])].numpy(), s, int(table["inner"].iloc[i]))
                    self.predicted[s, told[i]] += z_hat / self.options.members

    def _in_units_of_split(self, z_hat: Floats, s: int, inner: int) -> Floats:
        """ẑ of an inner regressor, standardised on its own training rows, as the whole training fold standardises."""
        own, whole = (self.training_sets[self.sets[s, k]] for k in (inner, -1))
        own_unit = np.divide(1.0, own.z_scale, out=np.zeros_like(own.z_scale), where=own.z_scale > 0)
        return (z_hat * own_unit + own.z_center - whole.z_center) * whole.z_scale

    def records(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> list[dict[str, Any]]:
        """One record for every arm and split: metrics on its test rows, averaged members, and the predictions."""
        tests = IndexSets([split.test for split in self.splits])
        target, privileged = engine.predict(trained, tests, table["split"].to_numpy())
        assert target is not None
        found = []
        for (name, s), at in _groups(table, "method", "split"):
            split = self.splits[s]
            n = len(split.test)
            outputs = target[at, :n].numpy()
            z_hat = None if privileged is None else privileged[at, :n].mean(0).numpy()
            if (table["z"].iloc[at] == PREDICTED).all():
                z_hat = self.predicted[s, split.test]
            found.append({
                "method": name, "repeat": split.repeat, "fold": split.fold,
                "n_train": len(split.train), "n_test": n, "privileged": self.privileged_names(s),
                "epochs": float(trained.epochs[at].mean()), "best_epoch": float(trained.best_epoch[at].mean()),
                "seconds": float(trained.seconds[at].sum()),
                **self._target_metrics(outputs, split), **self._privileged_metrics(z_hat, s), "z_hat": z_hat,
            })  # fmt: skip
        return found

    def _target_metrics(self, outputs: Floats, split: Split) -> dict[str, Any]:
        truth = self.data.y[split.test]
        if self.data.classes is None:
            prediction = self.encoded.y_origin + self.encoded.y_unit * outputs.mean(0)[:, 0]
            return {**metrics.regression(prediction, truth), "prediction": prediction[:, None]}
        probability = np.mean([metrics.probabilities(output) for output in outputs], 0)
        return {**metrics.classification(probability, truth), "prediction": probability}

    def _privileged_metrics(self, z_hat: Floats | None, s: int) -> dict[str, Any]:
        """Mean absolute error of numbers (in standard deviations) and error of categories, and each column's own."""
        if z_hat is None:
            return {}
        training_set = self.training_sets[self.sets[s, -1]]
        true = self.encoded.z[self.blocks[s]][self.splits[s].test]
        true = (true - training_set.z_center) * training_set.z_scale
        each: dict[str, float] = {}
        kinds: dict[str, list[float]] = {"z_mae": [], "z_error": []}
        for column, name in zip(self.encoded.z_columns, self.privileged_names(s), strict=True):
            t, p = true[:, column.span], z_hat[:, column.span]
            known = ~np.isnan(t[:, 0])
            if not known.any():
                continue
            if column.categorical:
                value = float((t[known].argmax(1) != p[known].argmax(1)).mean())
            else:
                value = float(np.abs(t[known] - p[known]).mean())
            each[name] = value
            kinds["z_error" if column.categorical else "z_mae"].append(value)
        means = {kind: float(np.mean(values)) for kind, values in kinds.items() if values}
        return {**means, "z_each": each}


def _groups(table: pd.DataFrame, *by: str) -> list[tuple[tuple[Any, ...], npt.NDArray[np.intp]]]:
    """(values, positions) of the rows of `table` that agree in the columns `by`, in the order of their appearance."""
    found = table.groupby(list(by), sort=False).indices
    return [(key if isinstance(key, tuple) else (key,), np.asarray(at)) for key, at in found.items()]


def run(
    data: PrivilegedData, options: StudyOptions, splits: Sequence[Split], progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Train all models of `options` on `splits` of `data`: one record for every arm and split.

    progress : called with the number of models that were finished since the last call.

    Raises
    ------
    ValueError : where a method needs classes and the target is a number, or nothing privileged is left to learn from.
    """
    check_methods(data, options)
    start = time.perf_counter()
    chunk = _Chunk(data, options, splits)
    table = design(options, len(splits))
    records: list[dict[str, Any]] = []

    def stage(name: str, kind: Kind) -> None:
        rows = table[table["stage"] == name].reset_index(drop=True)
        if rows.empty:
            return
        engine, trained = chunk.train(rows, kind, progress)

        def those(which: pd.Series) -> tuple[pd.DataFrame, Engine, Trained] | None:
            at = np.flatnonzero(which)
            return (rows.iloc[at].reset_index(drop=True), engine.take(at), trained.take(at)) if len(at) else None

        if teachers := those(rows["teaches"] != ""):
            chunk.keep_teachers(*teachers)
        if regressors := those(rows["role"] == "regressor"):
            chunk.keep_predicted(*regressors)
        if arms := those(rows["role"] == "arm"):
            records.extend(chunk.records(*arms))

    stage("first", "target")
    stage("regressors", "privileged")
    stage("students", "target")
    stage("joint", "chained")
    stage("shared", "shared")
    log.debug("%s: %d models in %.2f s", data.name, len(table), time.perf_counter() - start)
    return records


def check_methods(data: PrivilegedData, options: StudyOptions) -> None:
    """Raise ValueError for a method that this target does not allow."""
    if data.classes is None:
        needy = [method.name for method in options.arms if method.distillation == "teacher-privileged"]
        if needy:
            raise ValueError(
                f"{data.name}: {', '.join(needy)} need classes (whether the teacher is right is undefined for a "
                "number), and the target is numeric. Leave them out with --methods."
            )
