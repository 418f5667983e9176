"""Perceptrons as operations of ONNX: the outputs of all members at once, as `engine` computes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.engine.mlp import MLP
from lupi.engine.network import Network
from lupi.engine.tabular import Reading, Style, TabularMLP

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al., NeurIPS 2017


class Graph:
    """Operations and constants, each named by its number.

    onnx : the package. dtype : of all numbers but places and sizes.
    """

    def __init__(self, onnx: Any, dtype: np.dtype[Any]) -> None:
        self._onnx, self._dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: npt.ArrayLike) -> str:
        return self._keep(np.asarray(values, self._dtype, order="C"))

    def integers(self, values: list[int]) -> str:
        return self._keep(np.array(values, np.int64))

    def _keep(self, array: npt.NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operation, inputs, [name], name, **attributes))
        return name

    def value(self, name: str, shape: list[str | int]) -> Any:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(self._dtype)
        return self._onnx.helper.make_tensor_value_info(name, kind, shape)

    def columns(self, values: str, start: int, end: int) -> str:
        """Entries start to end of the last axis."""
        return self.node("Slice", values, *(self.integers([i]) for i in (start, end, -1)))

    def affine(self, values: str, shift: npt.ArrayLike, scale: npt.ArrayLike) -> str:
        """(values - shift) * scale."""
        return self.node("Mul", self.node("Sub", values, self.constant(shift)), self.constant(scale))


def network_outputs(
    graph: Graph, network: Network, parameters: Tensor, x: str, z: str | None, outputs: int | None = None
) -> str:
    """Outputs [M, rows, C] of a perceptron with parameters [M, P] for x [rows, D] and z ([M, rows, Q], or [rows, Q]
    for all members); only the first of `outputs`.

    Raises
    ------
    ValueError : for a network of another kind.
    """
    style, reading = _read(network, parameters)
    named, kept = reading.named, slice(outputs)
    inputs = network.inputs
    sources = [(x, 0, inputs), *([] if z is None else [(z, inputs, inputs + network.extra)])]
    names = [name for name in named if name.startswith("weight")]
    first = named[names[0]] * named["scale"].mT if "scale" in named else named[names[0]]
    h = ""
    for index, name in enumerate(names):
        which = name.removeprefix("weight ")
        rows = kept if which == "out" else slice(None)
        bias = named[f"bias {which}"][:, rows]
        if index == 0:
            terms = [_product(graph, part, first[:, rows, at]) for part, at in _parts(graph, style, reading, sources)]
            h = terms[0]
            for term in terms[1:]:
                h = graph.node("Add", h, term)
        else:
            h = _product(graph, h, named[name][:, rows])
        h = graph.node("Add", h, _constant(graph, bias.mT))
        if which != "out":
            h = _bent(graph, h, style.activation, named.get(f"slope {which}"))
    if "skip" in named:
        for source, start, end in sources:
            h = graph.node("Add", h, _product(graph, source, named["skip"][:, kept, start:end]))
    return h


def _read(network: Network, parameters: Tensor) -> tuple[Style, Reading]:
    """The ingredients of a perceptron of either kind, and its parameters by name."""
    if isinstance(network, TabularMLP):
        return network.style, network.reading(parameters)
    if not isinstance(network, MLP):
        raise ValueError(f"only perceptrons can be exported to ONNX by this function; found {type(network).__name__}.")
    layers, of_z = network.split(parameters)
    named = {}
    for index, (weight, bias) in enumerate(layers):
        name = "out" if index == len(layers) - 1 else str(index)
        named[f"weight {name}"] = torch.cat([weight, of_z], 2) if index == 0 else weight
        named[f"bias {name}"] = bias
    return Style(), Reading(named, tuple(range(network.inputs + network.extra)), (), ())


def _parts(
    graph: Graph, style: Style, reading: Reading, sources: list[tuple[str, int, int]]
) -> Iterator[tuple[str, list[int]]]:
    """What the first layer reads of the sources (values, first and last place among [x, z]): (values, which inputs of
    the layer they are)."""
    plain, embedded = list(reading.plain), list(reading.embedded)
    per_number = 0
    if embedded:
        per_number = reading.named["mix"].shape[2] if "mix" in reading.named else style.frequencies
    behind = len(plain) + len(embedded) * per_number
    for source, start, end in sources:
        at = [i for i, place in enumerate(plain) if start <= place < end]
        if at:
            yield _taken(graph, source, [plain[i] - start for i in at], end - start), at
        numbers = [i for i, place in enumerate(embedded) if start <= place < end]
        if numbers:
            values = _taken(graph, source, [embedded[i] - start for i in numbers], end - start)
            entries = [len(plain) + i * per_number + k for i in numbers for k in range(per_number)]
            yield _embedded(graph, reading.named, style.embedding, values, numbers), entries
        for index, (first, width) in enumerate(reading.large):
            if start <= first < end:
                levels = graph.columns(source, first - start, first - start + width)
                at = [behind + index * style.category_width + k for k in range(style.category_width)]
                yield _product(graph, levels, reading.named[f"vectors {index}"]), at


def _taken(graph: Graph, source: str, places: list[int], width: int) -> str:
    """The entries at `places` of the last axis, which has `width` of them."""
    if places == list(range(width)):
        return source
    return graph.node("Gather", source, graph.integers(places), axis=-1)


def _embedded(graph: Graph, named: dict[str, Tensor], embedding: str, values: str, numbers: list[int]) -> str:
    """Entries [M, rows, numbers * entries of each] of `values` [(M,) rows, numbers], which are the embedded `numbers`;
    less those at v = 0."""
    frequency, phase = (2 * math.pi) * named["frequency"][:, numbers], named["phase"][:, numbers]
    still = phase.cos()  # [M, q, k]
    column = graph.node("Unsqueeze", values, graph.integers([-1]))
    turned = graph.node("Mul", column, _constant(graph, frequency[:, None]))  # [M, rows, q, k]
    entries = graph.node("Cos", graph.node("Add", turned, _constant(graph, phase[:, None])))
    if embedding != "waves":
        mix = named["mix"][:, numbers]
        by_number = graph.node("Transpose", entries, perm=[0, 2, 1, 3])
        mixed = graph.node("MatMul", by_number, _constant(graph, mix.mT))
        entries = graph.node("Transpose", mixed, perm=[0, 2, 1, 3])
        still = (mix @ still.unsqueeze(3)).squeeze(3)
    if embedding == "plr":
        bias = named["mix bias"][:, numbers]
        entries = graph.node("Relu", graph.node("Add", entries, _constant(graph, bias[:, None])))
        still = (still + bias).relu()
    entries = graph.node("Sub", entries, _constant(graph, still[:, None]))
    return graph.node("Reshape", entries, graph.integers([0, 0, len(numbers) * still.shape[2]]))


def _bent(graph: Graph, h: str, activation: str, slope: Tensor | None) -> str:
    """The activation of hidden units [M, rows, width], or the share `slope` [M, width, 1] of it."""
    bent = _ACTIVATIONS[activation](graph, h)
    if slope is None:
        return bent
    change = graph.node("Mul", graph.node("Sub", bent, h), _constant(graph, slope.mT))
    return graph.node("Add", h, change)


def _silu(graph: Graph, h: str) -> str:
    return graph.node("Mul", h, graph.node("Sigmoid", h))


def _mish(graph: Graph, h: str) -> str:
    """h tanh(ln(1 + u)) = h w / (w + 2), where u = exp h and w = u (u + 2); u is held below overflow, where the factor
    is 1. (Runtimes have no operator Softplus in float64.)"""
    u = graph.node("Exp", graph.node("Min", h, graph.constant(20.0)))
    w = graph.node("Mul", u, graph.node("Add", u, graph.constant(2.0)))
    return graph.node("Mul", h, graph.node("Div", w, graph.node("Add", w, graph.constant(2.0))))


def _selu(graph: Graph, h: str) -> str:
    """By its formula, since runtimes have the operator Selu in float32 alone. It ends in a sum: onnxruntime keeps a
    number that multiplies before a product of matrices in float32, whatever the graph says."""
    below = graph.affine(graph.node("Exp", graph.node("Min", h, graph.constant(0.0))), 1.0, _SELU_ALPHA * _SELU_SCALE)
    return graph.node("Add", graph.node("Mul", graph.node("Relu", h), graph.constant(_SELU_SCALE)), below)


#: Name of an activation, as in `engine.tabular.ACTIVATIONS` -> its operations.
_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "relu": lambda graph, h: graph.node("Relu", h),
    "silu": _silu,
    "mish": _mish,
    "selu": _selu,
}


def _product(graph: Graph, values: str, weight: Tensor) -> str:
    """Values [(M,) rows, in] times weights [M, out, in]."""
    return graph.node("MatMul", values, _constant(graph, weight.mT))


def _constant(graph: Graph, values: Tensor) -> str:
    return graph.constant(values.numpy())
