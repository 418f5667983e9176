"""Which rows train, validate and test: seeded, stratified, and the same for every method of a study."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold, StratifiedKFold

from lupi import rng
from lupi.data import PrivilegedData

Indices = npt.NDArray[np.intp]

_FOLDS = 102  # stream of the seed that draws the outer folds


@dataclasses.dataclass(frozen=True)
class Split:
    """One outer fold: its training and test rows, and for cross-fitting the held-out part of each inner fold."""

    repeat: int
    fold: int
    train: Indices
    test: Indices
    inner: tuple[Indices, ...]


def check_folds(data: PrivilegedData, folds: int, inner_folds: int = 0) -> None:
    """Raise ValueError unless every class can be spread over `folds` folds, and the training rows over inner ones."""
    n = len(data.y)
    if n < 2 * folds:
        raise ValueError(f"{data.name}: {folds} folds need at least {2 * folds} rows; found {n}. Use fewer folds.")
    counts = np.array([n]) if data.classes is None else np.bincount(data.y, minlength=len(data.classes))
    if data.classes is not None and counts.min() < folds:
        rare = data.classes[int(counts.argmin())]
        raise ValueError(
            f"{data.name}: {folds} folds need at least {folds} rows of every class; class {rare!r} has "
            f"{counts.min()}. Use fewer folds (at least 2), or merge or drop the class."
        )
    for what, least, rows in (("rows", 2 * inner_folds, n), ("rows of the largest class", inner_folds, counts.max())):
        training = rows - -(-rows // folds)  # as few as any fold leaves
        if training < least:
            raise ValueError(
                f"{data.name}: {inner_folds} inner folds need at least {least} training {what}; {folds} folds leave "
                f"{training}. Use fewer inner folds (at least 2), or more folds."
            )


def outer_splits(data: PrivilegedData, folds: int, inner_folds: int, repeat: int, seed: int) -> list[Split]:
    """The folds of one repeat; `inner_folds` = 0 leaves out the inner ones."""
    state = int(rng.keys(seed, _FOLDS, repeat)[0] >> np.uint64(33))
    splits = []
    for fold, (train, test) in enumerate(_folds(data, np.arange(len(data.y)), folds, state)):
        inner = tuple(held for _, held in _folds(data, train, inner_folds, state + fold + 1)) if inner_folds else ()
        splits.append(Split(repeat, fold, train, test, inner))
    return splits


def _folds(data: PrivilegedData, rows: Indices, folds: int, state: int) -> list[tuple[Indices, Indices]]:
    if data.classes is None:
        parts = KFold(folds, shuffle=True, random_state=state).split(rows)
    else:
        with warnings.catch_warnings():
            # An inner fold may lack a rare class; the outer folds were checked.
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            parts = list(StratifiedKFold(folds, shuffle=True, random_state=state).split(rows, data.y[rows]))
    return [(rows[train], rows[test]) for train, test in parts]


def holdout(data: PrivilegedData, rows: Indices, fraction: float, key: rng.UInt64) -> tuple[Indices, Indices]:
    """Rows to fit on and rows to validate on, every class in proportion.

    Each class is put in random order and spread evenly over [0, 1); the lowest `fraction` of all validates. At least
    one row does, and at least one is left to fit on.
    """
    random = rng.uniform(key, len(rows))[0]
    strata = np.zeros(len(rows), np.int64) if data.classes is None else data.y[rows]
    order = np.lexsort((random, strata))
    sizes = np.bincount(strata)
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    position = (rank + 0.5) / sizes[strata]
    chosen = np.lexsort((random, position))[: min(max(round(fraction * len(rows)), 1), len(rows) - 1)]
    validates = np.zeros(len(rows), bool)
    validates[chosen] = True
    return rows[~validates], rows[validates]


def last_rows(rows: Indices, fraction: float) -> tuple[Indices, Indices]:
    """The last `fraction` of the rows validates, as Keras' `validation_split` has it."""
    cut = min(max(int(len(rows) * (1.0 - fraction)), 1), len(rows) - 1)
    return rows[:cut], rows[cut:]
