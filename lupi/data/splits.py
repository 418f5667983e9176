"""Which rows train, validate and test: seeded, stratified, and the same for every method of a study."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold, StratifiedKFold

from lupi import rng
from lupi.data.privileged_data import PrivilegedData
from lupi.settings import PLAIN, TRAIN_SIZE, Setting

Indices = npt.NDArray[np.intp]

_FOLDS, _SIZES = 102, 105  # streams of the seed that draw the outer folds, and the rows of a learning curve


@dataclasses.dataclass(frozen=True)
class Split:
    """One outer fold: its training and test rows, and for cross-fitting the held-out part of each inner fold.

    `setting` says what tells it from the plain fold: in a learning curve the number of training rows.
    """

    repeat: int
    fold: int
    train: Indices
    test: Indices
    inner: tuple[Indices, ...]
    setting: Setting = PLAIN


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


def whole(data: PrivilegedData, inner_folds: int, seed: int, repeat: int = 0, fold: int = 0) -> Split:
    """A split in which all rows train and none tests.

    Where these rows are the training rows of a fold of a study, the inner folds are those of that fold.

    Raises
    ------
    ValueError : where the rows cannot be spread over the inner folds.
    """
    rows = np.arange(len(data.y))
    if not inner_folds:
        return Split(repeat, fold, rows, rows[:0], ())
    most = len(rows) // 2 if data.classes is None else int(np.bincount(data.y).max())
    if min(most, len(rows) // 2) < inner_folds:
        raise ValueError(
            f"{data.name}: {inner_folds} inner folds need at least {2 * inner_folds} rows, and {inner_folds} of the "
            f"largest class; found n_samples={len(rows)}. Use fewer inner folds (at least 2), or a method without a "
            "teacher."
        )
    state = int(rng.keys(seed, _FOLDS, repeat)[0] >> np.uint64(33))
    inner = tuple(held for _, held in _folds(data, rows, inner_folds, state + fold + 1))
    return Split(repeat, fold, rows, rows[:0], inner)


def shrunken(data: PrivilegedData, split: Split, size: int, inner_folds: int, seed: int) -> Split:
    """The split with `size` of its training rows, every class in proportion; smaller sizes are parts of larger ones.

    Raises
    ------
    ValueError : where the split has not so many training rows, or too few would be left to train on.
    """
    n, least = len(split.train), 2 * max(inner_folds, 2)
    if not least <= size <= n:
        raise ValueError(
            f"{data.name}: a learning curve can have {least} to {n} training rows here; found {size}. Choose others "
            "with --train-sizes, or fewer folds."
        )
    rows = np.sort(_evenly(data, split.train, rng.keys(seed, _SIZES, split.repeat, split.fold))[:size])
    state = int(rng.keys(seed, _SIZES, split.repeat, split.fold, size)[0] >> np.uint64(33))
    inner = tuple(held for _, held in _folds(data, rows, inner_folds, state)) if inner_folds else ()
    return dataclasses.replace(split, train=rows, inner=inner, setting=Setting(TRAIN_SIZE, float(size)))


def _folds(data: PrivilegedData, rows: Indices, folds: int, state: int) -> list[tuple[Indices, Indices]]:
    if data.classes is None:
        parts = KFold(folds, shuffle=True, random_state=state).split(rows)
    else:
        with warnings.catch_warnings():
            # An inner fold may lack a rare class; the outer folds were checked.
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            parts = list(StratifiedKFold(folds, shuffle=True, random_state=state).split(rows, data.y[rows]))
    return [(rows[train], rows[test]) for train, test in parts]


#: Validation folds of one repetition, at most.
MOST_FOLDS = 10


def folds_of(members: int) -> int:
    """Folds of one repetition of an ensemble: as few repetitions as `MOST_FOLDS` allows, of like size."""
    return -(-members // -(-members // MOST_FOLDS))


def member_folds(data: PrivilegedData, rows: Indices, members: int, key: rng.UInt64) -> list[list[Indices]]:
    """The folds on which the members of an ensemble validate: a list of partitions of `rows`, one for each repetition.

    Member m validates on fold m % k of partition m // k, of k folds each, stratified by class; so every row has
    predictions of members that did not fit on it. k is `folds_of(members)`, and less where the rows cannot be spread
    over so many; at least 2.

    Raises
    ------
    ValueError : for fewer than 4 rows.
    """
    if len(rows) < 4:
        raise ValueError(
            f"{data.name}: members that validate on folds of their own need at least 4 training rows; found "
            f"{len(rows)}. Use more rows, or no bagging."
        )
    most = len(rows) // 2 if data.classes is None else min(int(np.bincount(data.y[rows]).max()), len(rows) // 2)
    folds = max(min(folds_of(members), most), 2)
    states = [int(rng.keys(key, repetition)[0] >> np.uint64(33)) for repetition in range(-(-members // folds))]
    return [[held for _, held in _folds(data, rows, folds, state)] for state in states]


@functools.cache
def blocks_of(folds: int, size: int) -> tuple[tuple[int, ...], ...]:
    """Blocks of `size` >= 2 folds such that every two folds lie in a block together (a covering design).

    Found greedily: 18 blocks of three of ten folds, where 17 are possible.

    >>> blocks_of(3, 2)
    ((0, 1), (0, 2), (1, 2))
    """
    candidates = list(itertools.combinations(range(folds), size))
    open_pairs, blocks = set(itertools.combinations(range(folds), 2)), []
    while open_pairs:
        best = max(candidates, key=lambda block: len(open_pairs.intersection(itertools.combinations(block, 2))))
        open_pairs.difference_update(itertools.combinations(best, 2))
        blocks.append(best)
    return tuple(blocks)


@functools.cache
def teachers_of(members: int, folds: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """What each teacher of an ensemble holds out: (repetition, folds of its partition).

    A student that holds out fold m learns about the rows of fold j from teachers that saw neither, so its predictions
    for fold m know nothing of the targets there. For that every two folds lie in a block that some teacher holds out:
    of three folds, and of two where the folds are few. Of two folds each has two teachers, that hold out the one and
    half of the other. Teachers from whom no member would learn are left out.
    """
    size = 3 if folds >= 7 or 4 <= folds < folds_of(members) else 2
    blocks = blocks_of(folds, size) if folds > 2 else ((0,), (0,), (1,), (1,))
    return tuple(
        (repetition, block)
        for repetition in range(-(-members // folds))
        for block in blocks
        if repetition * folds + min(block) < members
    )


def n_teachers(members: int) -> int:
    """How many teachers an ensemble has at most, whatever the number of folds that the rows allow."""
    return max(len(teachers_of(members, folds)) for folds in range(2, folds_of(members) + 1))


def held_out_blocks(partitions: Sequence[Sequence[Indices]], members: int) -> list[tuple[tuple[int, ...], Indices]]:
    """Of every teacher the members that learn from it, and the rows that it does not see."""
    folds, held = len(partitions[0]), []
    for i, (repetition, block) in enumerate(teachers_of(members, folds)):
        partition = partitions[repetition]
        rows = [partition[fold] for fold in block]
        if folds == 2:
            rows.append(partition[1 - block[0]][i % 2 :: 2])
        of_members = (repetition * folds + fold for fold in block)
        held.append((tuple(member for member in of_members if member < members), np.concatenate(rows)))
    return held


def holdout(data: PrivilegedData, rows: Indices, fraction: float, key: rng.UInt64) -> tuple[Indices, Indices]:
    """Rows to fit on and rows to validate on, every class in proportion.

    At least one row validates, and at least one is left to fit on.
    """
    chosen = _evenly(data, rows, key)[: min(max(round(fraction * len(rows)), 1), len(rows) - 1)]
    validates = np.isin(rows, chosen)
    return rows[~validates], rows[validates]


def _evenly(data: PrivilegedData, rows: Indices, key: rng.UInt64) -> Indices:
    """The rows in a random order whose every beginning has the classes in proportion.

    Each class is put in random order and spread evenly over [0, 1).
    """
    random = rng.uniform(key, len(rows))[0]
    strata = np.zeros(len(rows), np.int64) if data.classes is None else data.y[rows]
    order = np.lexsort((random, strata))
    sizes = np.bincount(strata)
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    position = (rank + 0.5) / sizes[strata]
    return rows[np.lexsort((random, position))]


def last_rows(rows: Indices, fraction: float) -> tuple[Indices, Indices]:
    """The last `fraction` of the rows validates, as Keras' `validation_split` has it."""
    cut = min(max(int(len(rows) * (1.0 - fraction)), 1), len(rows) - 1)
    return rows[:cut], rows[cut:]
