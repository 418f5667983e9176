"""Searches for the values of the privileged features at which a teacher changes its class: DC, and crossings to ẑ.

With a teacher f([x, z]): the *distance to change* (DC) of a row is the signed smallest shift of z from its true value
that changes the teacher's class; the *distance to real* (DR) is ẑ - z. Where DR lies beyond DC, the teacher changes its
class between z and ẑ. Both are in standardised units (Martínez-García et al., Pattern Recognition 178 (2026) 113389).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lupi.columns import Column

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
#: Class codes [k, G] of the rows [k] at the shifts t [k, G], each row along its own line.
Line = Callable[[IntArray, Floats], IntArray]

_ROWS = 8192  # rows that a search follows at once
_STRETCHES = 4096  # stretches of the grid that it looks at in one go
_PARTS = 8  # into how many it divides each
_REGULAR = 5000  # grid points after which the steps grow: 50 standard deviations


@runtime_checkable
class ProvenLine(Protocol):
    """A `Line` that also tells where between two shifts the class cannot change."""

    def __call__(self, rows: IntArray, t: Floats) -> IntArray: ...

    def look(self, rows: IntArray, t: Floats) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Class codes [k, G], and whether the class is proven constant from each shift to the next [k, G - 1]."""
        ...


class Teacher(Protocol):
    """A classifier of [x, z], and the n rows that it is asked about (see `engine.teachers`).

    z : [n, Q] true privileged features, standardised; NaN where missing. known : where they are not.
    finite : False where a network has diverged: then it has no class that could change.
    """

    n: int
    z: Floats
    known: npt.NDArray[np.bool_]
    finite: bool

    def classes(self) -> IntArray:
        """Class codes [n] given the true z."""
        ...

    def at(self, z: npt.ArrayLike) -> IntArray:
        """Class codes [n] given z [n, Q]."""
        ...

    def along(self, direction: npt.ArrayLike) -> Line:
        """The line z + t · direction of every row, direction [n, Q]."""
        ...


def nearest_changes(
    line: Line, n: int, low: npt.ArrayLike, high: npt.ArrayLike, step: float = 0.01, tolerance: float = 1e-4
) -> Floats:
    """Signed distance [n, 2] of the nearest change of class below 0 and of the nearest above it; NaN: none.

    The class is compared with that at 0 on the grid low, low + step, ... and at high, from 0 outwards. The first point
    that differs and the one before it (at first, 0) enclose a change, which bisection narrows to `tolerance`; the class
    at the distance that is returned differs. Two changes between neighbouring grid points remain unseen. Where a line
    proves that the class is constant (`ProvenLine`), the grid is passed over. Farther than 5,000 steps from 0 the steps
    grow with the distance, so that no outlier makes a grid endless.

    Parameters
    ----------
    line : the classes of every row along its line.
    n : number of rows.
    low, high : [n] or one number, least and greatest shift; NaN in rows in which nothing is sought.
    step, tolerance : > 0.
    """
    if not (step > 0 and tolerance > 0):
        raise ValueError(f"step and tolerance must be > 0; found {step} and {tolerance}.")
    ends = [np.asarray(end, dtype=np.float64) for end in (low, high)]
    for name, end in zip(("low", "high"), ends, strict=True):
        if end.shape not in ((), (n,)):
            raise ValueError(f"expected {name} ({n},) or one number; found shape {end.shape}.")
        if np.isinf(end).any():
            raise ValueError(f"{name} must be finite, or NaN where nothing is sought; found an infinite value.")
    lows, highs = (np.broadcast_to(end, n) for end in ends)
    if (lows > highs).any():
        raise ValueError(f"low must not exceed high; it does in {int((lows > highs).sum())} of {n} rows.")
    distances = np.full((n, 2), np.nan)
    for begin in range(0, n, _ROWS):
        rows = np.arange(begin, min(begin + _ROWS, n))
        distances[rows] = _Search(line, rows, lows[rows], highs[rows], step).distances(tolerance)
    return distances


class _Search:
    """A search for the nearest change on both sides of some rows; each side [2k] of a row is followed by itself.

    Grid points of a side are numbered outwards from 0; place -1 is the row itself.
    """

    def __init__(self, line: Line, rows: IntArray, low: Floats, high: Floats, step: float) -> None:
        k, steps = len(rows), -low / step
        self.line, self.step = line, step
        self.rows = np.tile(rows, 2)
        self.base = np.tile(line(rows, np.zeros((k, 1)))[:, 0], 2)
        self.sign = np.repeat([-1.0, 1.0], k)
        # Distances from 0 of the first and the last point.
        below, above = np.ceil(np.minimum(steps, (high - low) / step)) - 1.0, np.maximum(np.floor(steps) + 1.0, 0.0)
        self.first = np.concatenate([-(low + below * step), low + above * step])
        self.last = np.concatenate([-low, high])
        self.place = np.full(2 * k, np.iinfo(np.int64).max)  # of the nearest grid point whose class differs

    def distances(self, tolerance: float) -> Floats:
        """Signed distances [k, 2]."""
        sides = np.flatnonzero(self.last > 0)
        left, size = -1, _PARTS**3
        while len(sides):
            self._look(sides, np.full(len(sides), left), size)
            left, size = left + size, size * _PARTS
            unfound = self.place[sides] > left
            goes_on = self._distance(sides, np.full((len(sides), 1), left))[:, 0] < self.last[sides]
            sides = sides[unfound & goes_on]
        return self._bisected(tolerance)

    def _distance(self, sides: IntArray, places: IntArray) -> Floats:
        """Distances [k, G] from 0 of the places [k, G]; those beyond the last point count as the last."""
        places = places.T
        offset = self.step * places
        if places.size and places.max() > _REGULAR:
            with np.errstate(over="ignore"):
                grown = np.exp(np.maximum(places, _REGULAR) / _REGULAR - 1.0)
            offset = np.where(places > _REGULAR, self.step * _REGULAR * grown, offset)
        distance = np.minimum(self.first[sides] + offset, self.last[sides])
        distance[places < 0] = 0.0
        return np.asarray(distance.T, dtype=np.float64)

    def _look(self, sides: IntArray, left: IntArray, size: int) -> None:
        """Find the first point of another class among the `size` places after `left`, whose class is as at 0."""
        for begin in range(0, len(sides), _STRETCHES):
            some = slice(begin, begin + _STRETCHES)
            side, base = sides[some], self.base[sides[some], None]
            places = left[some, None] + size // _PARTS * np.arange(_PARTS + 1)
            distance = self._distance(side, places)
            t = distance * self.sign[side, None]
            if size == _PARTS:
                differs = self.line(self.rows[side], t[:, 1:]) != base
                hit = np.flatnonzero(differs.any(1))
                np.minimum.at(self.place, side[hit], places[hit, 1 + differs[hit].argmax(1)])
                continue
            if isinstance(self.line, ProvenLine):
                codes, constant = self.line.look(self.rows[side], t)
            else:
                codes, constant = self.line(self.rows[side], t), np.zeros((len(side), _PARTS), np.bool_)
            passed = np.logical_or.accumulate(codes != base, 1)[:, :-1]  # a change lies nearer
            at, part = np.nonzero(~constant & ~passed & (distance[:, :-1] < self.last[side, None]))
            if len(at):
                self._look(side[at], places[at, part], size // _PARTS)

    def _bisected(self, tolerance: float) -> Floats:
        near, far = np.zeros(len(self.rows)), np.full(len(self.rows), np.nan)
        sides = np.flatnonzero(self.place < np.iinfo(np.int64).max)
        near[sides], far[sides] = self._distance(sides, self.place[sides, None] + np.array([-1, 0])).T
        while len(sides := sides[far[sides] - near[sides] > tolerance]):
            middle = (near[sides] + far[sides]) / 2
            inside = (near[sides] < middle) & (middle < far[sides])  # always, but for the last digit of a number
            sides, middle = sides[inside], middle[inside]
            differs = self.line(self.rows[sides], (middle * self.sign[sides])[:, None])[:, 0] != self.base[sides]
            far[sides] = np.where(differs, middle, far[sides])
            near[sides] = np.where(differs, near[sides], middle)
        return np.asarray((self.sign * far).reshape(2, -1).T, dtype=np.float64)


def flipping_levels(teacher: Teacher, column: Column) -> Floats:
    """Whether each level of a category, given in place of the true one, changes the class: [n, L].

    1.0 where it does, 0.0 where it does not (the true level never does), NaN in rows whose true level is missing.
    """
    if not column.categorical:
        raise ValueError(f"column {column.name!r} must be a category; it is a number, which has no levels.")
    _check_columns(teacher, [column])
    known = teacher.known[:, column.span].all(1)
    if not teacher.finite:
        return np.full((teacher.n, column.width), np.nan)
    true, z = teacher.classes(), teacher.z.copy()
    flips = np.empty((teacher.n, column.width))
    for level, one_hot in enumerate(np.eye(column.width)):
        z[:, column.span] = one_hot
        flips[:, level] = teacher.at(z) != true
    flips[~known] = np.nan
    return flips


def distance_to_change(teacher: Teacher, columns: Sequence[Column], ranges: npt.ArrayLike) -> Floats:
    """Where the teacher's class changes when one privileged column does: [n, W], columns one after the other.

    A number has two entries, the signed distances of the nearest change below and above its true value (see
    `nearest_changes`); a category one for each of its levels (see `flipping_levels`). NaN where the true value is
    missing. `errors.unpack` tells the columns apart.

    Parameters
    ----------
    columns : the privileged columns.
    ranges : [q, 2] least and greatest value of every column, in which a change is sought (of a category: ignored).
    """
    limits = np.asarray(ranges, dtype=np.float64)
    if limits.shape != (len(columns), 2):
        raise ValueError(f"expected ranges {(len(columns), 2)}, least and greatest; found {limits.shape}.")
    _check_columns(teacher, columns)
    changes = []
    for column, (least, greatest) in zip(columns, limits, strict=True):
        if column.categorical:
            changes.append(flipping_levels(teacher, column))
            continue
        z = teacher.z[:, column.start] if teacher.finite else np.full(teacher.n, np.nan)
        direction = np.zeros_like(teacher.z)
        direction[:, column.start] = 1.0
        changes.append(nearest_changes(teacher.along(direction), teacher.n, least - z, greatest - z))
    return np.concatenate(changes, 1) if changes else np.empty((teacher.n, 0))


def _check_columns(teacher: Teacher, columns: Sequence[Column]) -> None:
    for column in columns:
        if column.start < 0 or column.span.stop > teacher.z.shape[1]:
            raise ValueError(
                f"column {column.name!r} lies at {column.start} to {column.span.stop - 1} of z, which has "
                f"{teacher.z.shape[1]} entries."
            )


def crossing(teacher: Teacher, z: npt.ArrayLike, z_hat: npt.ArrayLike) -> Floats:
    """Distance from z at which the teacher's class first changes on the straight line to ẑ [n]; NaN: nowhere.

    The distance is Euclidean, of all columns jointly, in standardised units (levels of a category as they are
    encoded). Where a true value is missing, that column stays as the teacher reads it, and the line runs along the
    others.

    Parameters
    ----------
    z : [n, Q] true values, those of the teacher's rows.
    z_hat : [n, Q] predicted values; the result is NaN where one is.
    """
    true, predicted = _block(teacher, z, "z"), _block(teacher, z_hat, "z_hat")
    known = teacher.known & ~np.isnan(true)
    if not np.allclose(true[known], teacher.z[known], rtol=1e-5, atol=1e-5):
        raise ValueError("z must hold the true values that the teacher was made with; found others.")
    way = np.where(known, predicted - np.where(known, true, 0.0), 0.0)
    length = np.sqrt((way**2).sum(1))
    if not teacher.finite:
        length[:] = np.nan
    direction = np.divide(way, length[:, None], out=np.zeros_like(way), where=length[:, None] > 0)
    return nearest_changes(teacher.along(direction), teacher.n, 0.0, length)[:, 1]


def _block(teacher: Teacher, values: npt.ArrayLike, name: str) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.shape != teacher.z.shape:
        raise ValueError(f"expected {name} {teacher.z.shape}; found {array.shape}.")
    return array
