"""Trained teachers as classifiers of [x, z], evaluated along lines in z to see where their class changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.engine.mlp import MLP
from lupi.engine.network import Network, Workspace

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
#: Class codes [k, G] of the rows [k] at the shifts t [k, G], each row along its own line.
Line = Callable[[IntArray, Floats], IntArray]

_POINTS = 16384  # points, of all members together, that a network reads at once: what a cache holds


def teacher_of(network: Network, parameters: Tensor, x: npt.ArrayLike | Tensor, z: npt.ArrayLike | Tensor) -> Teacher:
    """The fastest teacher of these networks (see `Teacher`)."""
    if isinstance(network, MLP):
        return PerceptronTeacher(network, parameters, x, z)
    return Teacher(network, parameters, x, z)


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

    def __init__(
        self, network: Network, parameters: Tensor, x: npt.ArrayLike | Tensor, z: npt.ArrayLike | Tensor
    ) -> None:
        if network.extra == 0:
            raise ValueError("a teacher must read z: expected a network with extra > 0, found extra = 0.")
        if parameters.ndim != 2 or not len(parameters) or parameters.shape[1] != network.n_parameters:
            raise ValueError(f"expected parameters [members, {network.n_parameters}]; found {tuple(parameters.shape)}.")
        self.network, self._parameters = network, parameters.detach()
        regular = self._tensor(x).nan_to_num(nan=0.0)
        if regular.ndim != 2 or regular.shape[1] != network.inputs:
            raise ValueError(f"expected x [n, {network.inputs}]; found {tuple(regular.shape)}.")
        self.n, self._x = len(regular), regular
        self.z = self._block(z, "z")
        self.known = ~np.isnan(self.z)
        #: False where a network has diverged: then it has no class that could change.
        self.finite = bool(self._parameters.isfinite().all())

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
        probabilities = []
        for output in self._outputs(self._block(z, "z")):
            logits = output.double()
            of_members = torch.cat([-logits, logits], 1).sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
            probabilities.append(of_members.mean(0).mT.cpu().numpy())
        return np.concatenate(probabilities)

    def along(self, direction: npt.ArrayLike) -> Line:
        """The line z + t · direction of every row, direction [n, Q]."""
        way = self._block(direction, "direction")

        @torch.no_grad()
        def line(rows: IntArray, t: Floats) -> IntArray:
            z = self.z[rows][:, None] + t[:, :, None] * way[rows][:, None]
            x = self._x[torch.as_tensor(np.repeat(rows, t.shape[1]))]
            codes = [self._classes(output).cpu().numpy() for output in self._forward(x, z.reshape(len(x), -1))]
            return np.concatenate(codes).reshape(t.shape).astype(np.int64)

        return line

    def _outputs(self, z: Floats) -> Iterator[Tensor]:
        """Outputs [members, C, points] given z [n, Q], for some of the n rows after the other."""
        return self._forward(self._x, z)

    def _forward(self, x: Tensor, z: Floats) -> Iterator[Tensor]:
        """Outputs [members, C, points] for x [points, D] and z [points, Q], some after the other."""
        members, size = len(self._parameters), max(_POINTS // len(self._parameters), 1)
        for begin in range(0, len(z), size):
            part = slice(begin, begin + size)
            block = self._tensor(z[part]).nan_to_num(nan=0.0).mT.expand(members, -1, -1)
            yield self.network(self._parameters, x[part].expand(members, -1, -1), block)

    def _classes(self, output: Tensor) -> Tensor:
        """Class codes [points], booleans for two classes."""
        if output.shape[1] == 1:  # the mean of sigmoid(o) exceeds 1/2 where that of tanh(o / 2) exceeds 0
            return (output[0, 0] if len(output) == 1 else (output / 2).tanh().sum(0)[0]) > 0
        return (output[0] if len(output) == 1 else output.softmax(1).mean(0)).argmax(0)


class PerceptronTeacher(Teacher):
    """A teacher of perceptrons, whose first layer is affine in a shift of z, so that a point costs the same whatever Q.

    Parameters, errors : as of `Teacher`.
    """

    def __init__(self, network: MLP, parameters: Tensor, x: npt.ArrayLike | Tensor, z: npt.ArrayLike | Tensor) -> None:
        super().__init__(network, parameters, x, z)
        self._sizes = network.sizes
        layers, self._of_z = network.split(self._parameters)
        (weight, bias), *deeper = layers
        self._of_x = torch.baddbmm(bias, weight, self._x.mT.expand(len(weight), -1, -1))
        # A bias is the weight of one more input, which is 1: that saves a pass through memory.
        self._deeper = [(torch.cat([weight, bias], 2), weight.abs()) for weight, bias in deeper]
        self._memory: dict[int, Tensor] = {}
        self._workspace = Workspace()

    def along(self, direction: npt.ArrayLike) -> Line:
        return _Ray(self, self._block(direction, "direction"))

    def _first(self, z: Floats) -> Tensor:
        """What the first layer gives, before its ReLU, for z [n, Q]: [members, H, n]."""
        block = self._tensor(z).nan_to_num(nan=0.0).mT.expand(len(self._of_z), -1, -1)
        return torch.baddbmm(self._of_x, self._of_z, block)

    def _outputs(self, z: Floats) -> Iterator[Tensor]:
        for part in self._first(z).split(max(_POINTS // len(self._of_z), 1), 2):
            kept = self._kept(0, part.shape[2])
            kept[:, :-1] = part
            yield self._output(kept, 0)[0]  # memory that the next overwrites

    def _kept(self, layer: int, points: int) -> Tensor:
        """Memory [members, width + 1, points] for the result of a layer, and behind it the ones that a bias weighs."""
        kept = self._memory.get(layer)
        if kept is None or kept.shape[2] < points:
            shape = len(self._of_z), self._sizes[layer + 1] + 1, points
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
    """A `Line` of perceptrons, which also tells where between two shifts the class cannot change.

    The first layer is affine in the shift, so that the cost of a point does not depend on Q. Rows lie beside each
    other in memory, shifts behind each other.
    """

    @torch.no_grad()
    def __init__(self, teacher: PerceptronTeacher, direction: Floats) -> None:
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
