"""The network of the preset `best`: a perceptron with the ingredients that make perceptrons good on tables.

Every ingredient is off by default, and then the outputs are those of `mlp.MLP`. All keep two promises: a column that is
hidden from a model (its entries are 0) has no influence and no gradient, and no row of a batch reads another.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lupi import rng
from lupi.columns import Column
from lupi.engine.network import Architecture, Network, Workspace

#: Name -> elementwise function.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "silu": F.silu,
    "mish": F.mish,
    "selu": torch.selu,
}

#: Parameters that learn at another rate than the weights: the factors of RealMLP-TD (arXiv 2407.04491, Table A.1).
_SCALE_RATE, _BIAS_RATE, _SLOPE_RATE = 6.0, 0.1, 0.1
_EMBEDDING = ("frequency", "phase", "mix", "mix bias")


@dataclasses.dataclass(frozen=True)
class Style:
    """The ingredients of a network.

    activation : of the hidden layers, a name in `ACTIVATIONS`.
    parametric : whether every hidden unit learns how much of the activation it uses: h + α (act(h) - h), α from 1.
    embedding : of numbers. "none"; "waves": each number v, and beside it cos(2π f v + φ) with learned f and φ, which
        the first layer mixes; "pbld": v, and beside it W cos(2π f v + φ), with a learned W for each number;
        "plr": relu(W cos(2π f v + φ) + b) in place of v. (Gorishniy, Rubachev and Babenko, "On embeddings for numerical
        features", NeurIPS 2022; Holzmüller, Grinsztajn and Steinwart, "Better by default", NeurIPS 2024.) Both less
        their value at v = 0, for which the bias of the first layer makes up: so a hidden column, whose entries are 0,
        stays without influence.
    frequencies : number of f for each number.
    frequency_scale : standard deviation of the f at the start. Larger ones bend more, and overfit small tables.
    embedding_width : entries that each number becomes under "pbld", of which v itself is one, and "plr".
    category_width : a category of more than so many levels enters as a learned vector of this width; 0: none does.
    skip : whether the output has a linear function of the inputs beside it, 0 at the start.
    input_scale : whether every input has a learned scale.
    tangent : whether the learning rate of a weight is divided by the square root of its fan-in, as the neural tangent
        parametrisation does (its learning rate is then some 10 times as large).
    """

    activation: str = "relu"
    parametric: bool = False
    embedding: str = "none"
    frequencies: int = 8
    frequency_scale: float = 0.1
    embedding_width: int = 4
    category_width: int = 0
    skip: bool = False
    input_scale: bool = False
    tangent: bool = False

    @property
    def differs(self) -> bool:
        """Whether a network with these ingredients is another than a plain perceptron."""
        on = self.parametric, self.category_width, self.skip, self.input_scale, self.tangent
        return self.activation != "relu" or self.embedding != "none" or any(on)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """The parameters of M networks by name, and how their first layer reads the inputs [x, z].

    It reads first the inputs at the places `plain`, then the entries of the `embedded` numbers, then the vectors of the
    `large` categories (first place, width).
    """

    named: dict[str, Tensor]
    plain: tuple[int, ...]
    embedded: tuple[int, ...]
    large: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class TabularMLP(Network):
    """A perceptron on [x, z] with the ingredients of `style`, for M models at once.

    Parameters
    ----------
    inputs, extra, hidden, outputs : as of `mlp.MLP`.
    style : its ingredients.
    numbers : places among [x, z] that hold numbers, which are embedded.
    categories : (first place, width) of the categories among [x, z], of which the large ones are embedded.
    """

    inputs: int
    extra: int
    hidden: tuple[int, ...]
    outputs: int
    style: Style = Style()
    numbers: tuple[int, ...] = ()
    categories: tuple[tuple[int, int], ...] = ()

    # ------------------------------------------------------------------ what lies where

    @functools.cached_property
    def _embedded(self) -> tuple[int, ...]:
        """Places of the numbers that are embedded."""
        return self.numbers if self.style.embedding != "none" else ()

    @functools.cached_property
    def _large(self) -> tuple[tuple[int, int], ...]:
        """The categories that enter as learned vectors."""
        least = self.style.category_width
        return tuple((first, width) for first, width in self.categories if least and width > least)

    @functools.cached_property
    def _plain(self) -> tuple[int, ...]:
        """Places of the inputs that enter the first layer as they are."""
        gone = {place for first, width in self._large for place in range(first, first + width)}
        gone |= set(self._embedded) if self.style.embedding == "plr" else set()
        return tuple(place for place in range(self.inputs + self.extra) if place not in gone)

    @functools.cached_property
    def _per_number(self) -> int:
        """Entries beside, or in place of, each number."""
        if self.style.embedding == "waves":
            return self.style.frequencies
        return self.style.embedding_width - (self.style.embedding == "pbld")

    @functools.cached_property
    def _first_width(self) -> int:
        """Inputs of the first layer."""
        return len(self._plain) + len(self._embedded) * self._per_number + len(self._large) * self.style.category_width

    @functools.cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter of a model, in their order; those below the output layer first."""
        style, numbers = self.style, len(self._embedded)
        shapes: dict[str, tuple[int, ...]] = {}
        if numbers:
            shapes["frequency"] = shapes["phase"] = numbers, style.frequencies
            if style.embedding != "waves":
                shapes["mix"] = numbers, self._per_number, style.frequencies
            if style.embedding == "plr":
                shapes["mix bias"] = numbers, self._per_number
        for index, (_, width) in enumerate(self._large):
            shapes[f"vectors {index}"] = style.category_width, width
        if style.input_scale:
            shapes["scale"] = self._first_width, 1
        sizes = self._first_width, *self.hidden
        for layer, (into, out) in enumerate(itertools.pairwise(sizes)):
            shapes[f"weight {layer}"], shapes[f"bias {layer}"] = (out, into), (out, 1)
            if style.parametric:
                shapes[f"slope {layer}"] = out, 1
        shapes["weight out"], shapes["bias out"] = (self.outputs, sizes[-1]), (self.outputs, 1)
        if style.skip:
            shapes["skip"] = self.outputs, self.inputs + self.extra
        return shapes

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self._shapes.values()]

    @functools.cached_property
    def n_parameters(self) -> int:
        return sum(self._sizes)

    @functools.cached_property
    def n_below_output(self) -> int:
        return sum(self._sizes[: list(self._shapes).index("weight out")])

    @functools.cached_property
    def n_activations(self) -> int:
        waves = len(self._embedded) * (2 * self.style.frequencies + self._per_number)
        return self.inputs + self.extra + waves + 2 * self._first_width + 3 * sum(self.hidden) + self.outputs

    @functools.cached_property
    def n_dropped(self) -> int:
        return sum(self.hidden)

    @functools.cached_property
    def rates(self) -> npt.NDArray[np.float64] | None:
        style = self.style
        factors = {"scale": _SCALE_RATE} | ({"slope": _SLOPE_RATE, "bias": _BIAS_RATE} if style.tangent else {})

        def factor(name: str, shape: tuple[int, ...]) -> float:
            fan_in = shape[-1] if style.tangent and name.startswith(("weight", "skip")) else 1
            return factors.get(name, factors.get(name.rpartition(" ")[0], 1.0)) / math.sqrt(fan_in)

        of_each = [factor(name, shape) for name, shape in self._shapes.items()]
        return None if set(of_each) == {1.0} else np.repeat(of_each, self._sizes)

    @functools.cached_property
    def embeds(self) -> npt.NDArray[np.bool_] | None:
        if not self._embedded:
            return None
        return np.repeat([name in _EMBEDDING for name in self._shapes], self._sizes)

    @functools.cached_property
    def decayed(self) -> npt.NDArray[np.bool_]:
        """Weights alone."""
        weights = [name.startswith(("weight", "skip", "mix")) and name != "mix bias" for name in self._shapes]
        return np.repeat(weights, self._sizes)

    # ------------------------------------------------------------------ parameters

    def _named(self, parameters: Tensor) -> dict[str, Tensor]:
        """Views of `parameters` [M, P]: name -> [M, *shape]."""
        blocks = parameters.split(self._sizes, 1)
        return {
            name: block.view(len(parameters), *shape)
            for (name, shape), block in zip(self._shapes.items(), blocks, strict=True)
        }

    def initial(self, key: rng.UInt64, visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Glorot-uniform weights, zero biases, normal frequencies, uniform phases [M, P].

        key : [M]. visible : [M, inputs + extra]; hidden inputs count in no fan-in (see `mlp.MLP.initial`). Layers draw
            what those of an `MLP` of the same widths draw.
        """
        fan_in = self._visible_width(visible)
        blocks = [self._drawn(name, shape, key, fan_in).reshape(len(key), -1) for name, shape in self._shapes.items()]
        return np.concatenate(blocks, 1)

    def _visible_width(self, visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Inputs of the first layer that a model sees [M, 1]."""
        width = visible[:, self._plain].sum(1) + self._per_number * visible[:, self._embedded].sum(1)
        for first, _ in self._large:
            width = width + self.style.category_width * visible[:, first]
        return np.asarray(np.maximum(width, 1)[:, None], dtype=np.float64)

    def _drawn(
        self, name: str, shape: tuple[int, ...], key: rng.UInt64, fan_in: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """Initial values [M, size] of one kind of parameter."""
        kind, _, which = name.partition(" ")
        m, size = len(key), math.prod(shape)
        if kind == "weight":
            layer = len(self.hidden) if which == "out" else int(which)
            into = fan_in if layer == 0 else float(shape[1])
            return np.sqrt(6.0 / (into + shape[0])) * (2.0 * rng.uniform(rng.keys(key, layer), size) - 1.0)
        stream = rng.keys(key, 1000 + _STREAMS.index(kind), int(which) if which.isdecimal() else 0)
        if kind == "frequency":
            return self.style.frequency_scale * rng.normal(stream, size)
        if kind == "phase":
            return math.pi * (2.0 * rng.uniform(stream, size) - 1.0)
        if kind == "mix" and not which:
            return (2.0 * rng.uniform(stream, size) - 1.0) / math.sqrt(shape[-1])
        if kind == "vectors":
            return rng.normal(stream, size)
        return np.full((m, size), 1.0 if kind in ("scale", "slope") else 0.0)

    def reading(self, parameters: Tensor) -> Reading:
        """What the network computes with, for whoever computes it elsewhere."""
        return Reading(self._named(parameters), self._plain, self._embedded, self._large)

    def z_weights(self, parameters: Tensor) -> Tensor:
        """Of networks without embeddings, learned vectors and a skip connection, times the scales of the inputs."""
        if self._embedded or self._large or self.style.skip:
            return super().z_weights(parameters)
        named = self._named(parameters)
        weight = named["weight 0" if self.hidden else "weight out"]
        return (weight * named["scale"].mT if self.style.input_scale else weight)[:, :, self.inputs :]

    # ------------------------------------------------------------------ outputs

    def __call__(
        self,
        parameters: Tensor,
        x: Tensor,
        z: Tensor | None = None,
        workspace: Workspace | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        named, style = self._named(parameters), self.style
        both = x.mT
        if self.extra:
            both = torch.cat([both, x.new_zeros(len(x), self.extra, x.shape[1]) if z is None else z], 1)
        h = self._first_inputs(named, both)
        if style.input_scale:
            h = h * named["scale"]
        act, at = ACTIVATIONS[style.activation], 0
        for layer, width in enumerate(self.hidden):
            h = torch.baddbmm(named[f"bias {layer}"], named[f"weight {layer}"], h)
            bent = act(h)
            h = torch.lerp(h, bent, named[f"slope {layer}"]) if style.parametric else bent
            if keep is not None:
                h = h * keep[:, at : at + width]
            at += width
        output = torch.baddbmm(named["bias out"], named["weight out"], h)
        return torch.baddbmm(output, named["skip"], both) if style.skip else output

    def _first_inputs(self, named: dict[str, Tensor], both: Tensor) -> Tensor:
        """What the first layer reads [M, width, rows] of the inputs `both` [M, inputs + extra, rows]."""
        if not self._embedded and not self._large:
            return both
        parts = [both if len(self._plain) == both.shape[1] else both[:, list(self._plain)]]
        if self._embedded:
            everything = len(self._embedded) == both.shape[1]
            values = (both if everything else both[:, list(self._embedded)]).unsqueeze(2)
            phase = named["phase"].unsqueeze(3)
            entries = torch.addcmul(phase, (2 * math.pi) * named["frequency"].unsqueeze(3), values).cos()
            still = phase.cos()  # the waves [M, q, k, rows] at v = 0
            if self.style.embedding != "waves":
                entries, still = named["mix"] @ entries, named["mix"] @ still
            if self.style.embedding == "plr":
                bias = named["mix bias"].unsqueeze(3)
                entries, still = (entries + bias).relu(), (still + bias).relu()
            parts.append((entries - still).flatten(1, 2))
        for index, (first, width) in enumerate(self._large):
            parts.append(named[f"vectors {index}"] @ both[:, first : first + width])
        return torch.cat(parts, 1)


_STREAMS = ("frequency", "phase", "mix", "vectors", "scale", "bias", "slope", "skip")


@dataclasses.dataclass(frozen=True)
class TabularPair(Architecture):
    """Two perceptrons with ingredients: r predicts Z from X, c predicts the target from [X, z].

    Parameters
    ----------
    regressor_layers, classifier_layers : hidden widths of r and c; () is linear.
    style : their ingredients.
    x_columns, z_columns : what lies where in x and z, that numbers be told from categories (see `for_columns`).
    """

    regressor_layers: tuple[int, ...] = (64, 64)
    classifier_layers: tuple[int, ...] = (64, 64)
    style: Style = Style()
    x_columns: tuple[Column, ...] = ()
    z_columns: tuple[Column, ...] = ()

    def for_columns(self, x: Sequence[Column], z: Sequence[Column]) -> TabularPair:
        return dataclasses.replace(self, x_columns=tuple(x), z_columns=tuple(z))

    def _network(self, inputs: int, extra: int, hidden: tuple[int, ...], outputs: int) -> TabularMLP:
        """A network on the columns of x and, where it has a second input, of z."""
        columns = [(c.start, c) for c in self.x_columns] + [(inputs + c.start, c) for c in self.z_columns if extra]
        numbers = [first + i for first, c in columns if not c.categorical for i in range(c.width)]
        categories = [(first, c.width) for first, c in columns if c.categorical]
        return TabularMLP(inputs, extra, hidden, outputs, self.style, tuple(numbers), tuple(categories))

    def predictor(self, inputs: int, outputs: int) -> TabularMLP:
        return self._network(inputs, 0, self.regressor_layers, outputs)

    def classifier(self, inputs: int, extra: int, outputs: int) -> TabularMLP:
        return self._network(inputs, extra, self.classifier_layers, outputs)

    def trunk(self, inputs: int, outputs: int) -> TabularMLP:
        return self._network(inputs, 0, self.classifier_layers, outputs)

    def two_heads(
        self, inputs: int, extra: int, outputs: int, feature_share: int, head_factor: int
    ) -> tuple[Network, Network, Network]:
        if not self.classifier_layers:
            raise ValueError(
                "TRAM learns the hidden layers of the target network: classifier_layers must have at least one width; "
                "found none."
            )
        *widths, last = (max(width // feature_share, 1) for width in self.classifier_layers)
        plain = dataclasses.replace(self.style, embedding="none", category_width=0, skip=False)
        informed = (head_factor * self.classifier_layers[-1],)
        return (
            dataclasses.replace(
                self._network(inputs, 0, tuple(widths), last), style=dataclasses.replace(self.style, skip=False)
            ),
            TabularMLP(last, 0, (), outputs, plain),
            TabularMLP(extra, last, informed, outputs, plain),
        )
