"""Control twins: which there are, which a method has, and how their Z and soft labels are made.

A twin is a placebo control: the same method with the privileged information taken out, and all else kept. A gain that
a twin shares does not come from the information: it comes from capacity, regularisation, another loss or longer
training. Which twins imply one another and why they are needed: Serra-Toro et al. 2014; "Rethinking LUPI" (arXiv
2408.14319); the identity behind the weight twins is derived in `losses.teacher_privileged`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lupi import rng
from lupi.columns import Column
from lupi.methods.table import Method

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

#: Which version of Z a model reads or learns to predict: the true one, or that of a twin.
TRUE = "true"

NONE = "none"  # the method itself
SHUFFLED, NOISE, ABSENT = "shuffled", "noise", "absent"
UNIT_WEIGHTS, SHUFFLED_WEIGHTS = "unit-weights", "shuffled-weights"

#: What each twin is, for tables and documentation.
TWINS = {
    SHUFFLED: "Z permuted over the training rows",
    NOISE: "Z replaced by noise: Gaussian numbers, categories drawn by their frequencies",
    ABSENT: "no Z at all: ε = 0, no ẑ from a regressor, soft labels of a teacher that sees X alone (self-distillation)",
    UNIT_WEIGHTS: "the TPD loss with |logit t| = 1 for every row",
    SHUFFLED_WEIGHTS: "the TPD loss with |logit t| permuted over the training rows",
}


def twins_of(method: Method) -> tuple[str, ...]:
    """The twins of a method; none for the bounds, which learn from no privileged task and no teacher, and for methods
    that use no Z: there is nothing to take out."""
    if not method.learns_from_z:
        return ()
    weights = (UNIT_WEIGHTS, SHUFFLED_WEIGHTS) if method.distillation == "teacher-privileged" else ()
    return (SHUFFLED, NOISE, ABSENT, *weights)


def takes_all_out(method: Method, twin: str) -> bool:
    """Whether nothing of Z is left in this twin. The weight twins of a method that predicts Z still learn the true Z:
    they tell what its teacher is worth, not what Z is."""
    return twin in (SHUFFLED, NOISE, ABSENT) or method.privileged_task == "none"


def shuffled(z: Floats, rows: Indices, key: rng.UInt64) -> Floats:
    """Z [n, Q] with its rows permuted among the training rows `rows`; all other rows are as they were.

    Whole rows move: the marginals of every column, and how the columns hang together, stay exactly.
    """
    moved = z.copy()
    moved[rows] = z[rows[_order(key, len(rows))]]
    return moved


def noise(z: Floats, columns: Sequence[Column], rows: Indices, key: rng.UInt64) -> Floats:
    """Z [n, Q] with noise in the training rows `rows`; all other rows are as they were.

    Numbers are Gaussian with the mean and standard deviation of the column in these rows, categories are drawn with
    replacement from them; as many cells are missing as before, but in other rows.
    """
    drawn = z.copy()
    for j, column in enumerate(columns):
        block = z[rows, column.span]
        known = ~np.isnan(block[:, 0])
        if not known.any():
            continue
        first, second = rng.uniform(rng.keys(key, j, np.arange(2)), len(rows))
        if column.categorical:
            fresh = block[known][(first * known.sum()).astype(np.intp)]
        else:
            normal = np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)  # Box and Muller 1958
            fresh = block[known].mean() + block[known].std() * normal[:, None]
        fresh[~known[_order(rng.keys(key, j, 2), len(rows))]] = np.nan
        drawn[rows, column.span] = fresh
    return drawn


def unit_weights(y: Floats) -> Floats:
    """Soft labels [n, C] (log-odds, log-probabilities less a constant) under which the TPD loss weighs all rows alike.

    y : [n, C] 0/1 or one-hot. For two classes the term is then |y - p|; for K the probability given to wrong classes.
    """
    return 2.0 * y - 1.0 if y.shape[1] == 1 else y - 1.0


def shuffled_weights(teacher: Floats, y: Floats, rows: Indices, key: rng.UInt64) -> Floats:
    """Soft labels [n, C] of other training rows, written as if for this row's class: the weights of the TPD loss, and
    whether the teacher was right, permuted over `rows`; all other rows as they were.

    teacher : [n, C] log-odds (C = 1) or log-probabilities (C = K).
    y : [n, C] 0/1 or one-hot.
    """
    permuted = teacher.copy()
    source = rows[_order(key, len(rows))]
    if teacher.shape[1] == 1:
        permuted[rows] = teacher[source] * (2.0 * y[source] - 1.0) * (2.0 * y[rows] - 1.0)
        return permuted
    mine, theirs, at = y[rows].argmax(1), y[source].argmax(1), np.arange(len(rows))
    moved = teacher[source].copy()
    moved[at, mine], moved[at, theirs] = teacher[source, theirs], teacher[source, mine]
    permuted[rows] = moved
    return permuted


def _order(key: rng.UInt64, length: int) -> Indices:
    """A random order of 0..length-1."""
    return np.asarray(rng.permutations(key, np.array([length]), max(length, 2))[0], dtype=np.intp)
