"""Preprocessing fitted on training rows: units, class weights, the chosen privileged column, twins' blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi import rng
from lupi.columns import Column
from lupi.data.encoding import (
    Encoded,
    bounds,
    encode,
    most_correlated,
    robust_standardisation,
    smoothly_clipped,
    standardisation,
)
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split, held_out_blocks, holdout, last_rows, member_folds, n_teachers
from lupi.engine.models import IndexSets
from lupi.engine.options import TrainingOptions
from lupi.methods import twins
from lupi.methods.options import StudyOptions
from lupi.methods.twins import TRUE

Floats = npt.NDArray[np.float64]

# Streams of the seed: what draws validation rows, what takes Z out of the twins, and whose Z is averaged over.
_VALIDATION, _TWINS, _WEIGHTS, _DRAWS = 101, 103, 104, 106
#: Training rows whose Z stands in for that of a test row where it is averaged over.
DRAWS = 50

_NEVER = 2**62  # epochs of patience
_WATCHED = 4096  # training rows, at most, on which a training that is not stopped is watched
_AT_ONCE = 2**22  # entries of x that are standardised at once


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """A set of training rows with the standardisation and class weights that hold for them."""

    rows: npt.NDArray[np.intp]
    fit: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]
    x_center: Floats
    x_scale: Floats
    y_center: float
    y_scale: float
    class_weights: Floats
    x_bound: Floats | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Fitting:
    """What can be asked of the training beyond the options of a study.

    encoded : the data as arrays; None: as `data.encode` makes them.
    sample_weight : [n] with mean 1, all > 0; None: all rows count the same.
    class_weights : [K] weight of every class; None: as the options say.
    early_stopping : whether some rows validate (else all train, for all epochs, and the last weights are kept).
    most : see `engine.models.Arrays`.
    """

    encoded: Encoded | None = None
    sample_weight: Floats | None = None
    class_weights: Floats | None = None
    early_stopping: bool = True
    most: int | None = None

    def training(self, options: TrainingOptions) -> TrainingOptions:
        """The engine's options, with these."""
        if self.early_stopping:
            return options
        return dataclasses.replace(options, patience=_NEVER, restore_best=False)


class Prepared:
    """Some splits of one data set, ready to be trained on.

    fitting : what is asked beyond the options.

    Attributes
    ----------
    encoded : the data as arrays.
    blocks : for every split the block of `encoded.z` that holds its privileged columns.
    sets : (split, inner) -> place in `training_sets`; inner = -1 is the whole training fold. Where members validate on
        folds of their own, the places of member 1, 2, ... follow.
    fit, validation : the rows of each training set.
    """

    def __init__(
        self, data: PrivilegedData, options: StudyOptions, splits: Sequence[Split], fitting: Fitting | None = None
    ) -> None:
        self.data, self.options, self.splits = data, options, splits
        self.fitting = Fitting() if fitting is None else fitting
        encoded = self.fitting.encoded
        self.encoded: Encoded = encode(data, options.missing_flags) if encoded is None else encoded
        self.blocks = [self._choose(split) for split in splits]
        #: Of each split, where members have folds of their own: whom each teacher teaches, and what it does not see.
        self._teachers: list[list[tuple[tuple[int, ...], npt.NDArray[np.intp]]]] = []
        self._partitions: list[list[list[npt.NDArray[np.intp]]]] = []  # of each split, where members have own folds
        self.sets: dict[tuple[int, int], int] = {}
        self.training_sets: list[TrainingSet] = []
        for s, split in enumerate(splits):
            self._add(s, -1, split.train)
            for k, held in enumerate(split.inner):
                self._add(s, k, np.setdiff1d(split.train, held, assume_unique=True))
            if options.bagging:
                self._add_blocks(s)
        self.fit = IndexSets([t.fit for t in self.training_sets])
        self.validation = IndexSets([t.validation for t in self.training_sets])
        self._versions: dict[str, Floats] = {}
        self._z_units: dict[tuple[int, int, str], tuple[Floats, Floats]] = {}

    def _choose(self, split: Split) -> int:
        if not self.encoded.candidates:
            return 0
        rows = np.arange(len(self.data.y)) if self.options.rules.choose_on_all else split.train
        return most_correlated(self.encoded.z[:, rows], self.encoded.y[rows])

    def _add(self, split: int, inner: int, rows: npt.NDArray[np.intp]) -> None:
        options, encoded, data = self.options, self.encoded, self.data
        weights = None if self.fitting.sample_weight is None else self.fitting.sample_weight[rows]
        x_center, x_scale = self._x_units(rows, weights)
        if encoded.candidates:
            x_scale[encoded.x_columns[encoded.candidates[self.blocks[split]]].span] = 0.0
        y_center, y_scale, class_weights = 0.0, 1.0, np.ones(1)
        if data.classes is None:
            y = encoded.y[rows]
            if weights is None:
                y_center, deviation = float(y.mean()), float(y.std())
            else:
                y_center = float(weights @ y[:, 0] / weights.sum())
                deviation = float(np.sqrt(weights @ (y[:, 0] - y_center) ** 2 / weights.sum()))
            y_scale = 1.0 / max(deviation, 1e-12)
        elif self.fitting.class_weights is not None:
            class_weights = self.fitting.class_weights
        else:
            counts = np.bincount(data.y[rows], weights, minlength=len(data.classes))
            total = len(rows) if weights is None else weights.sum()
            balanced = total / (np.where(counts > 0, counts, 1) * (counts > 0).sum())
            class_weights = balanced if options.class_weight == "balanced" else np.ones(len(counts))
        bound = bounds(encoded.x_columns, len(x_scale)) if options.scaling == "robust" else None
        self.sets[split, inner] = len(self.training_sets)
        self.training_sets += [
            TrainingSet(rows, fit, validation, x_center, x_scale, y_center, y_scale, class_weights, bound)
            for fit, validation in self._validations(split, inner, rows)
        ]

    def _validations(
        self, split: int, inner: int, rows: npt.NDArray[np.intp]
    ) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Rows to fit on and rows that validate: the same for all members, or those of each."""
        options, outer = self.options, self.splits[split]
        key = rng.keys(options.seed, _VALIDATION, outer.repeat, outer.fold, inner + 1)
        if options.bagging:
            self._partitions.append(member_folds(self.data, rows, options.members, key))
            folds = [held for partition in self._partitions[split] for held in partition][: options.members]
            return [(np.setdiff1d(rows, held, assume_unique=True), held) for held in folds]
        if not self.fitting.early_stopping:  # some training rows tell whether it diverges
            return [(rows, rows[:: -(-len(rows) // _WATCHED)])]
        if options.rules.last_rows_validate:
            return [last_rows(rows, options.validation_fraction)]
        return [holdout(self.data, rows, options.validation_fraction, key)]

    def _add_blocks(self, split: int) -> None:
        """The training sets of the teachers of a split, each without a block of folds, standardised like the members'.

        They have inner = 0, 1, ...; where there are fewer blocks than the design table asks for, they come round again.
        """
        whole, held = self.training_set(split), held_out_blocks(self._partitions[split], self.options.members)
        self._teachers.append(held)
        for inner in range(n_teachers(self.options.members)):
            out = held[inner % len(held)][1]
            fit = np.setdiff1d(whole.rows, out, assume_unique=True)
            self.sets[split, inner] = len(self.training_sets)
            self.training_sets.append(dataclasses.replace(whole, fit=fit, validation=out))

    def held_out_rows(self, table: pd.DataFrame) -> list[npt.NDArray[np.intp]]:
        """`held_out` of every row of a design table."""
        return [self.held_out(*key) for key in table[["split", "member"]].itertuples(index=False, name=None)]

    def taught_by(self, split: int, inner: int) -> tuple[list[int], npt.NDArray[np.intp]]:
        """The members whose held-out rows a teacher of a split did not see either, and the rows that it did not see."""
        held = self._teachers[split]
        members, rows = held[inner % len(held)]
        return list(members), rows

    def _x_units(self, rows: npt.NDArray[np.intp], weights: Floats | None) -> tuple[Floats, Floats]:
        """Standardisation of x on some rows; of large data some columns at a time, for the sake of memory."""
        x, columns = self.encoded.x, self.encoded.x_columns
        standardise = robust_standardisation if self.options.scaling == "robust" else standardisation
        if len(rows) * x.shape[1] <= _AT_ONCE:
            return standardise(x[rows], columns, weights)
        most, units, part = max(_AT_ONCE // len(rows), 1), [], list(columns[:1])
        for column in [*columns[1:], None]:
            if column is not None and column.start + column.width - part[0].start <= most:
                part.append(column)
                continue
            first, last = part[0].start, part[-1].start + part[-1].width
            moved = [dataclasses.replace(inside, start=inside.start - first) for inside in part]
            units.append(standardise(x[rows, first:last].astype(np.float64, copy=False), moved, weights))
            part = [] if column is None else [column]
        center, scale = zip(*units, strict=True)
        return np.concatenate(center), np.concatenate(scale)

    def training_set(self, split: int, inner: int = -1) -> TrainingSet:
        return self.training_sets[self.sets[split, inner]]

    def prior(self, split: int) -> Floats:
        """Frequencies [K] of the classes as the losses count the training rows of a split."""
        training_set, weights = self.training_set(split), self.fitting.sample_weight
        assert self.data.classes is not None
        of_rows = None if weights is None else weights[training_set.rows]
        counts = np.bincount(self.data.y[training_set.rows], of_rows, len(self.data.classes))
        weighed: Floats = counts * training_set.class_weights
        return np.asarray(weighed / weighed.sum(), dtype=np.float64)

    def held_out(self, split: int, member: int) -> npt.NDArray[np.intp]:
        """The training rows of a split on which a member validates, where members have folds of their own."""
        return self.training_sets[self.sets[split, -1] + member].validation

    # ------------------------------------------------------------------ the privileged block and its twins

    def z(self, split: int, version: str = TRUE) -> Floats:
        """The privileged block [n, Q] of a split: the true one, or a twin's."""
        block: Floats = self.encoded.z[self.blocks[split]] if version == TRUE else self.twins(version)[split]
        return block

    def twins(self, version: str) -> Floats:
        """The blocks [S, n, Q] of a twin, "shuffled" or "noise": one for every split."""
        if version not in self._versions:
            self._versions[version] = np.stack([self._twin(s, version) for s in range(len(self.splits))])
        return self._versions[version]

    def _twin(self, s: int, version: str) -> Floats:
        split, key = self.splits[s], self._key(s, _TWINS)
        if version == twins.SHUFFLED:
            return twins.shuffled(self.z(s), split.train, key)
        return twins.noise(self.z(s), self.encoded.z_columns, split.train, key)

    def _key(self, s: int, stream: int) -> rng.UInt64:
        return rng.keys(self.options.seed, stream, self.splits[s].repeat, self.splits[s].fold)

    def draws(self, s: int) -> npt.NDArray[np.intp]:
        """`DRAWS` different training rows of a split; all of them where they are fewer."""
        train = self.splits[s].train
        order = rng.permutations(self._key(s, _DRAWS), np.array([len(train)]), max(len(train), 2))[0]
        return np.asarray(train[order[:DRAWS]], dtype=np.intp)

    def z_units(self, split: int, inner: int, version: str) -> tuple[Floats, Floats]:
        """Center and scale [Q] that standardise a version of Z on a training set."""
        key = split, inner, version
        if key not in self._z_units:
            rows, weights = self.training_set(split, inner).rows, self.fitting.sample_weight
            of_rows = None if weights is None else weights[rows]
            self._z_units[key] = standardisation(self.z(split, version)[rows], self.encoded.z_columns, of_rows)
        return self._z_units[key]

    def standardised_z(self, split: int, rows: npt.NDArray[np.intp]) -> Floats:
        """The true Z [rows, Q] as the networks of the whole training fold read it; NaN where missing."""
        center, scale = self.z_units(split, -1, TRUE)
        standard: Floats = (self.z(split)[rows] - center) * scale
        return standard

    def true_z(self, split: int, rows: npt.NDArray[np.intp]) -> Floats:
        """The same with the levels that no training row has, which the networks read as missing."""
        true = self.standardised_z(split, rows)
        for column in self.encoded.z_columns:
            if column.categorical:
                true[:, column.span] = self.z(split)[rows, column.span]
        return true

    def standardised_x(self, split: int, rows: npt.NDArray[np.intp]) -> Floats:
        """x [rows, D] likewise; 0 where missing."""
        training_set = self.training_set(split)
        x = (self.encoded.x[rows] - training_set.x_center) * training_set.x_scale
        if training_set.x_bound is not None:
            x = smoothly_clipped(x, training_set.x_bound)
        return np.nan_to_num(x, nan=0.0)

    @property
    def per_split(self) -> int:
        """Soft labels for each split: those of every member, where members hold out folds of their own; else one."""
        return self.options.members if self.options.bagging else 1

    def unit_weights(self) -> Floats:
        """Soft labels [S · per_split, n, C] of the twin whose TPD loss weighs all rows alike."""
        return np.stack([twins.unit_weights(self.encoded.y)] * len(self.splits) * self.per_split)

    def shuffled_weights(self, teacher: Floats) -> Floats:
        """Soft labels [S · per_split, n, C] of the twin whose TPD weights are those of other rows."""
        return np.stack([
            twins.shuffled_weights(teacher[i], self.encoded.y, self.splits[s].train, self._key(s, _WEIGHTS))
            for i, s in enumerate(np.repeat(range(len(self.splits)), self.per_split).tolist())
        ])  # fmt: skip

    # ------------------------------------------------------------------ what tables and plots need to know of it

    def privileged_names(self, split: int) -> list[str]:
        if self.encoded.candidates:
            return [self.encoded.x_columns[self.encoded.candidates[self.blocks[split]]].name]
        return [column.name for column in self.encoded.z_columns]

    def z_columns(self, split: int) -> list[Column]:
        """The privileged columns of a split, with the unit in which its training rows were standardised."""
        described = []
        for name, column in zip(self.privileged_names(split), self.encoded.z_columns, strict=True):
            if not column.categorical:
                values = (self.data.Z if name in self.data.Z.columns else self.data.X)[name]
                raw: pd.Series = values.iloc[self.splits[split].train]
                column = dataclasses.replace(column, origin=float(raw.mean()), unit=float(raw.std(ddof=0)))
            described.append(dataclasses.replace(column, name=name))
        return described

    def z_ranges(self, split: int) -> Floats:
        """Least and greatest standardised value [q, 2] of every privileged column over all rows; NaN for a category."""
        z = self.standardised_z(split, np.arange(len(self.data.y)))
        return np.array([
            (np.nan, np.nan)
            if column.categorical
            else (np.nanmin(z[:, column.start]), np.nanmax(z[:, column.start]))
            for column in self.encoded.z_columns
        ])  # fmt: skip
