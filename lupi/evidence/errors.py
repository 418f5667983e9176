"""Why a student errs: the points of DC and DR, who agrees with whom, and which errors its predicted z caused.

The search for the teacher's changes of class is in `lupi.evidence.causes`; here they are given as arrays. Where student
and teacher err both, the teacher has no better to offer. Where the student errs alone, the error was *caused* by the
privileged prediction if the teacher itself would change its class on the way from z to ẑ (DR beyond DC; of a category:
at the predicted level), and is the student's *own* if not, or if z is unknown. These three kinds are all its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.columns import Column

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
Booleans = npt.NDArray[np.bool_]

#: How the classes of student, teacher and truth can agree.
AGREEMENT = ("all agree", "student errs alone", "both err", "student right, teacher wrong")

#: Counts of a split: test rows, errors of the student, and of these where the teacher errs too, where ẑ is the cause,
#: and the student's own.
KINDS = ("rows", "errors", "both", "caused", "own")

#: Columns of a frame of points.
POINTS = ("column", "at", "z", "z_hat", "dc", "dr", "student", "teacher", "truth", "agreement")

JOINT = "all columns"  # the straight way from z to ẑ


def unpack(change: npt.ArrayLike, columns: Sequence[Column]) -> dict[str, Floats]:
    """The entries of every column [n, 2 or L], by name, of what `distance_to_change` returns [n, W]."""
    array = np.asarray(change, dtype=np.float64)
    widths = [column.width if column.categorical else 2 for column in columns]
    if array.ndim != 2 or array.shape[1] != sum(widths):
        raise ValueError(f"expected change [n, {sum(widths)}]; found {array.shape}.")
    stops = np.cumsum(widths)
    return {
        column.name: array[:, stop - width : stop] for column, stop, width in zip(columns, stops, widths, strict=True)
    }


def nearest(changes: npt.ArrayLike) -> Floats:
    """DC [n]: of the changes [n, 2] below and above, the nearer one; the upper one of equals; NaN: none."""
    below, above = _sides(changes)
    return np.where(np.isnan(below) | (above <= -below), above, below)


def beyond(changes: npt.ArrayLike, dr: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether ẑ lies at the change on its own side or beyond it [n].

    Then the teacher, given a value between z and ẑ, would change its class. False where there is no change on that
    side, and where DR = ẑ - z [n] is 0 or NaN.
    """
    below, above = _sides(changes)
    distance = np.asarray(dr, dtype=np.float64)
    if distance.shape != below.shape:
        raise ValueError(f"expected dr {below.shape}; found {distance.shape}.")
    return np.asarray((distance <= below) | (distance >= above), dtype=np.bool_)


def _sides(changes: npt.ArrayLike) -> tuple[Floats, Floats]:
    array = np.asarray(changes, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"expected changes [n, 2], below and above; found {array.shape}.")
    return array[:, 0], array[:, 1]


def reached(column: Column, change: npt.ArrayLike, z: Floats, z_hat: Floats) -> Booleans:
    """Whether the teacher, given ẑ of one privileged column, has changed its class [n].

    Of a number where ẑ lies at the change on its side or `beyond`, of a category where the predicted level changes it.

    change : entries of this column [n, 2 or L], of `unpack`.
    z, z_hat : [n, Q] the whole privileged block, true and predicted.
    """
    entries = np.asarray(change, dtype=np.float64)
    if column.categorical:
        level = z_hat[:, column.span].argmax(1)
        return np.asarray(entries[np.arange(len(level)), level] == 1.0)
    return beyond(entries, z_hat[:, column.start].astype(np.float64) - z[:, column.start])


def has_change(column: Column, change: npt.ArrayLike) -> Booleans:
    """Whether any value of one privileged column changes the teacher's class [n]; `change` as for `reached`."""
    entries = np.asarray(change, dtype=np.float64)
    return np.asarray((entries == 1.0 if column.categorical else ~np.isnan(entries)).any(1))


def crosses(crossing: npt.ArrayLike) -> Booleans:
    """Whether the teacher changes its class on the straight way from z to ẑ [n]; crossing [n, 1]: `causes.crossing`."""
    return ~np.isnan(np.asarray(crossing, dtype=np.float64)[:, 0])


def kinds_of_error(student: IntArray, teacher: IntArray, truth: IntArray, reached: Booleans) -> dict[str, int]:
    """How many rows there are, and how many errors of the student are of which kind: see `KINDS`.

    student, teacher, truth : class codes [n].
    reached : whether the teacher changes its class on the way from z to ẑ [n].
    """
    way = agreement_of(student, teacher, truth)
    alone, both = way == AGREEMENT.index("student errs alone"), way == AGREEMENT.index("both err")
    counts = (len(way), (alone | both).sum(), both.sum(), (alone & reached).sum(), (alone & ~reached).sum())
    return dict(zip(KINDS, map(int, counts), strict=True))


def points(
    columns: Sequence[Column],
    change: npt.ArrayLike,
    z: Floats,
    z_hat: Floats,
    classes: tuple[IntArray, IntArray, IntArray],
    names: Sequence[str],
) -> pd.DataFrame:
    """A row for every test row and numeric privileged column, columns one after the other.

    Parameters
    ----------
    columns, change : of the split (see `causes.distance_to_change`).
    z, z_hat : [n, Q] true and predicted, standardised.
    classes : class codes [n] of student, teacher and truth.
    names : of the classes.

    Returns
    -------
    Columns `POINTS`: at (place of the test row in its split), dc (NaN: no change anywhere in the observed range),
    dr = ẑ - z, student, teacher, truth (names of classes), agreement (one of `AGREEMENT`).
    """
    named, parts = np.array(names, dtype=object), unpack(change, columns)
    student, teacher, truth = (named[codes] for codes in classes)
    shared = {"student": student, "teacher": teacher, "truth": truth}
    shared["agreement"] = np.array(AGREEMENT, dtype=object)[agreement_of(*classes)]
    frames = []
    for column in columns:
        if column.categorical:
            continue
        true, predicted = (values[:, column.start].astype(np.float64) for values in (z, z_hat))
        frames.append(pd.DataFrame({
            "column": column.name, "at": np.arange(len(true)), "z": true, "z_hat": predicted,
            "dc": nearest(parts[column.name]), "dr": predicted - true, **shared,
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(POINTS))


def agreement_of(student: npt.ArrayLike, teacher: npt.ArrayLike, truth: npt.ArrayLike) -> IntArray:
    """Which of `AGREEMENT` each row is [n], by its class codes of student, teacher and truth [n].

    Where all three differ (more than two classes), both err.
    """
    p, t, r = (np.asarray(codes) for codes in (student, teacher, truth))
    if not (p.ndim == 1 and p.shape == t.shape == r.shape):
        raise ValueError(f"expected class codes of one shape [n]; found {p.shape}, {t.shape} and {r.shape}.")
    return np.where(t == r, np.where(p == r, 0, 1), np.where(p == r, 3, 2))


def agreement(student: npt.ArrayLike, teacher: npt.ArrayLike, truth: npt.ArrayLike) -> dict[str, float]:
    """Shares of the rows in % of each of `AGREEMENT`; NaN where there are no rows. See `agreement_of`."""
    ways = agreement_of(student, teacher, truth)
    return {name: 100.0 * float((ways == i).mean()) if len(ways) else float("nan") for i, name in enumerate(AGREEMENT)}
