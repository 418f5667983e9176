"""Where a teacher changes its class: would another value of the privileged features, such as the predicted one, do it?

With a teacher f([x, z]): the *distance to change* (DC) of a row is the signed smallest shift of z from its true value
that changes the teacher's class; the *distance to real* (DR) is ẑ - z. Where DR lies beyond DC, the teacher changes its
class between z and ẑ. Both are in standardised units (Martínez-García et al., Pattern Recognition 178 (2026) 113389).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.columns import Column
from lupi.engine.mlp import MLP
from lupi.engine.network import Workspace

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
#: Class codes [k, G] of the rows [k] at the shifts t [k, G], each row along its own line.
Line = Callable[[IntArray, Floats], IntArray]

_POINTS = 16384  # points, of all members together, that a network reads at once: what a cache holds
_ROWS = 8192  # rows that a search follows at once
_STRETCHES = 4096  # stretches of the grid that it looks at in one go
_PARTS = 8  # into how many it divides each
_REGULAR = 5000  # grid points after which the steps grow: 50 standard deviations


class Teacher:
    """A classifier of [x, z], and the rows that it is asked about.

    Parameters
    ----------
    network : reads z as its second block; its output is the log-odds of two classes, or the logits of K.
    parameters : [members, P]; the probabilities of the members are averaged. All is computed in their dtype, on their
        device.
    x : [n, D] regular features, standardised as the network reads them (NaN: read as 0).
    z : [n, Q] true privileged features likewise. NaN where missing: read as 0, and without distances.

    Raises
    ------
    ValueError : for shapes that do not fit together, and a network that does not read z.
    """

    def __init__(self, network: MLP, parameters: Tensor, x: npt.ArrayLike | Tensor, z: npt.ArrayLike | Tensor) -> None:
        if network.extra == 0:
            raise ValueError("a teacher must read z: expected a network with extra > 0, found extra = 0.")
        if parameters.ndim != 2 or not len(parameters) or parameters.shape[1] != network.n_parameters:
            raise ValueError(f"expected parameters [members, {network.n_parameters}]; found {tuple(parameters.shape)}.")
        self.network, self._parameters = network, parameters.detach()
        regular = self._tensor(x).nan_to_num(nan=0.0)
        if regular.ndim != 2 or regular.shape[1] != network.inputs:
            raise ValueError(f"expected x [n, {network.inputs}]; found {tuple(regular.shape)}.")
        self.n = len(regular)
        self.z = self._block(z, "z")
        self.known = ~np.isnan(self.z)
        #: False where a network has diverged: then it has no class that could change.
        self.finite = bool(self._parameters.isfinite().all())
        layers, self._of_z = network.split(self._parameters)
        (weight, bias), *deeper = layers
        self._of_x = torch.baddbmm(bias, weight, regular.mT.expand(len(weight), -1, -1))
        # A bias is the weight of one more input, which is 1: that saves a pass through memory.
        self._deeper = [(torch.cat([weight, bias], 2), weight.abs()) for weight, bias in deeper]
        self._memory: dict[int, Tensor] = {}
        self._workspace = Workspace()

    def _tensor(self, values: npt.ArrayLike | Tensor) -> Tensor:
        return torch.as_tensor(values).to(self._parameters.device, self._parameters.dtype)

    def _block(self, values: npt.ArrayLike | Tensor, name: str) -> Floats:
        array = np.array(values, dtype=np.float64)
        if array.shape != (self.n, self.network.extra):
            raise ValueError(f"expected {name} {(self.n, self.network.extra)}; found {array.shape}.")
        return array

    def classes(self) -> IntArray:
        """Class codes [n] given the true z."""
        return self.at(self.z)

    @torch.no_grad()
    def at(self, z: npt.ArrayLike) -> IntArray:
        """Class codes [n] given z [n, Q]: the class of largest probability, of equal ones the lower code."""
        codes = [self._classes(output).cpu().numpy() for output in self._outputs(self._block(z, "z"))]
        return np.concatenate(codes).astype(np.int64)

    @torch.no_grad()
    def probabilities(self, z: npt.ArrayLike) -> Floats:
        """Class probabilities [n, K] given z [n, Q]."""
        found = []
        for output in self._outputs(self._block(z, "z")):
            logits = output.double()
            each = torch.cat([-logits, logits], 1).sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
            found.append(each.mean(0).mT.cpu().numpy())
        return np.concatenate(found)

    def along(self, direction: npt.ArrayLike) -> Line:
        """The line z + t · direction of every row, direction [n, Q]."""
        return _Ray(self, self._block(direction, "direction"))

    def _first(self, z: Floats) -> Tensor:
        """What the first layer gives, before its ReLU, for z [n, Q]: [members, H, n]."""
        block = self._tensor(z).nan_to_num(nan=0.0).mT.expand(len(self._of_z), -1, -1)
        return torch.baddbmm(self._of_x, self._of_z, block)

    def _outputs(self, z: Floats) -> list[Tensor]:
        """Outputs [members, C, points], for some of the n rows after the other."""
        found = []
        for part in self._first(z).split(max(_POINTS // len(self._of_z), 1), 2):
            kept = self._kept(0, part.shape[2])
            kept[:, :-1] = part
            found.append(self._output(kept, 0)[0].clone())
        return found

    def _kept(self, layer: int, points: int) -> Tensor:
        """Memory [members, width + 1, points] for the result of a layer, and behind it the ones that a bias weighs."""
        kept = self._memory.get(layer)
        if kept is None or kept.shape[2] < points:
            shape = len(self._of_z), self.network.sizes[layer + 1] + 1, points
            kept = self._memory[layer] = torch.ones(shape, dtype=self._of_z.dtype, device=self._of_z.device)
        return kept[:, :, :points]

    def _output(self, kept: Tensor, apart: int) -> tuple[Tensor, Tensor | None]:
        """Output [members, C, points] for results of the first layer that lie in `kept`, which is used up.

        apart : > 0: point i and point i + apart are the ends of a stretch; the second result is by how much the output
            can at most deviate, within each stretch, from the straight line between its values at the two ends,
            [members, C, points - apart]; None: by nothing.
        """
        deviation = None
        for layer, (weight, absolute) in enumerate(self._deeper, 1):
            before = kept[:, :-1]
            if apart:
                deviation = torch.bmm(absolute, self._bend(before, deviation, apart))
            before.relu_()
            into, kept = kept, self._kept(layer, kept.shape[2])
            torch.bmm(weight, into, out=kept[:, :-1])
        return kept[:, :-1], deviation

    def _bend(self, before: Tensor, deviation: Tensor | None, apart: int) -> Tensor:
        """The deviation of relu(h) from a straight line, for h that itself deviates by at most `deviation`."""
        one, two = before[:, :, :-apart], before[:, :, apart:]
        low, high = (self._workspace.empty(slot, tuple(one.shape), one) for slot in ("low", "high"))
        torch.minimum(one, two, out=low)
        torch.maximum(one, two, out=high)
        bend = torch.minimum(low.neg_(), high, out=low).relu_()  # at most that, where h passes 0; else nothing
        if deviation is None:
            return bend
        # relu(h) is no greater than high + deviation.
        return torch.minimum(bend.add_(deviation), high.add_(deviation), out=bend).relu_()

    def _classes(self, output: Tensor) -> Tensor:
        """Class codes [points], booleans for two classes."""
        if output.shape[1] == 1:  # the mean of sigmoid(o) exceeds 1/2 where that of tanh(o / 2) exceeds 0
            return (output[0, 0] if len(output) == 1 else (output / 2).tanh().sum(0)[0]) > 0
        return (output[0] if len(output) == 1 else output.softmax(1).mean(0)).argmax(0)

    def _constant(self, output: Tensor, deviation: Tensor | None, apart: int) -> Tensor:
        """Whether the class is proven to be the same all along each stretch [points - apart]; see `_output`."""
        one, two = output[:, :, :-apart], output[:, :, apart:]
        bound = torch.zeros_like(one) if deviation is None else deviation
        if output.shape[1] == 1:
            lowest, highest = torch.minimum(one, two) - bound, torch.maximum(one, two) + bound
            return self._classes(lowest) == self._classes(highest)
        # What leads at both ends of a straight line leads all along it. All members must be led by the same class.
        leader = one[:1].argmax(1, keepdim=True).expand(len(one), -1, -1)
        leads = torch.ones_like(leader, dtype=torch.bool)
        for end in (one, two):
            others = (end + bound).scatter_(1, leader, -torch.inf).amax(1, keepdim=True)
            leads &= (end - bound).gather(1, leader) > others
        return leads.all(0)[0]


class _Ray:
    """A `Line` of a teacher, which also tells where between two shifts the class cannot change.

    The first layer is affine in the shift, so that the cost of a point does not depend on Q. Rows lie beside each
    other in memory, shifts behind each other.
    """

    @torch.no_grad()
    def __init__(self, teacher: Teacher, direction: Floats) -> None:
        self._teacher = teacher
        slope = teacher._of_z @ teacher._tensor(direction).mT
        # index_select is fastest on two axes.
        self._start_and_slope = torch.stack([teacher._first(teacher.z), slope]).flatten(0, 2)
        self._shape = 2, *slope.shape[:2]

    def __call__(self, rows: IntArray, t: Floats) -> IntArray:
        return self._ask(rows, t, None)

    def look(self, rows: IntArray, t: Floats) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Class codes [k, G], and whether the class is proven constant from each shift to the next [k, G - 1]."""
        constant = np.empty((t.shape[1] - 1, len(rows)), np.bool_)
        return self._ask(rows, t, constant), constant.T

    @torch.no_grad()
    def _ask(self, rows: IntArray, t: Floats, constant: npt.NDArray[np.bool_] | None) -> IntArray:
        if t.ndim != 2 or len(t) != len(rows):
            raise ValueError(f"expected t [{len(rows)}, G]; found {t.shape}.")
        teacher = self._teacher
        codes = np.empty(t.shape[::-1], np.int8 if teacher.network.outputs == 1 else np.int64)
        shifts, known = teacher._tensor(t.T), self._start_and_slope
        neighbours = bool((np.diff(rows) == 1).all())  # which need no gathering
        at_once = max(_POINTS // self._shape[1] // max(t.shape[1], 1), 1)
        for begin in range(0, len(rows), at_once):
            part = slice(begin, begin + at_once)
            shift = shifts[:, part]
            if neighbours:
                own = known[:, rows[begin] : rows[begin] + shift.shape[1]]
            else:
                own = known.index_select(1, torch.as_tensor(rows[part]).to(known.device))
            start, slope = own.unflatten(0, self._shape).unsqueeze(3)
            kept = teacher._kept(0, shift.numel())
            torch.addcmul(start, slope, shift, out=kept[:, :-1].view(*slope.shape[:2], *shift.shape))
            apart = 0 if constant is None else shift.shape[1]
            output, deviation = teacher._output(kept, apart)
            codes[:, part] = teacher._classes(output).view(shift.shape).cpu().numpy()
            if constant is not None:
                constant[:, part] = teacher._constant(output, deviation, apart).view(-1, apart).cpu().numpy()
        return codes.T


def nearest_changes(
    line: Line, n: int, low: npt.ArrayLike, high: npt.ArrayLike, step: float = 0.01, tolerance: float = 1e-4
) -> Floats:
    """Signed distance [n, 2] of the nearest change of class below 0 and of the nearest above it; NaN: none.

    The class is compared with that at 0 on the grid low, low + step, ... and at high, from 0 outwards. The first point
    that differs and the one before it (at first, 0) enclose a change, which bisection narrows to `tolerance`; the class
    at the distance that is returned differs. Two changes between neighbouring grid points remain unseen. Where a line
    of a `Teacher` proves that the class is constant, the grid is passed over. Farther than 5,000 steps from 0 the steps
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
            if isinstance(self.line, _Ray):
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
        if column.start < 0 or column.span.stop > teacher.network.extra:
            raise ValueError(
                f"column {column.name!r} lies at {column.start} to {column.span.stop - 1} of z, which has "
                f"{teacher.network.extra} entries."
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
    true, predicted = teacher._block(z, "z"), teacher._block(z_hat, "z_hat")
    known = teacher.known & ~np.isnan(true)
    if not np.allclose(true[known], teacher.z[known], rtol=1e-5, atol=1e-5):
        raise ValueError("z must hold the true values that the teacher was made with; found others.")
    way = np.where(known, predicted - np.where(known, true, 0.0), 0.0)
    length = np.sqrt((way**2).sum(1))
    if not teacher.finite:
        length[:] = np.nan
    direction = np.divide(way, length[:, None], out=np.zeros_like(way), where=length[:, None] > 0)
    return nearest_changes(teacher.along(direction), teacher.n, 0.0, length)[:, 1]
