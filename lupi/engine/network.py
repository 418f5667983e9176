"""The protocols `Network`, what the engine asks of a network, and `Architecture`, the networks of a study.

The engine knows nothing else of them: a perceptron answers with batched products of its own, any `torch.nn.Module`
through `modules.ModuleNetwork`.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng
from lupi.columns import Column


class Workspace:
    """Memory for intermediate results that outlives a training step.

    What is written into it is valid until the same slot is asked for again: one forward and its backward at a time
    (autograd itself raises an error where this is broken).
    """

    def __init__(self) -> None:
        self._memory: dict[Hashable, Tensor] = {}

    def empty(self, slot: Hashable, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised tensor of `shape`, with the dtype and device of `like`, in the memory of `slot`."""
        count = math.prod(shape)
        memory = self._memory.get(slot)
        if memory is None or memory.numel() < count or memory.dtype != like.dtype or memory.device != like.device:
            memory = self._memory[slot] = torch.empty(count, dtype=like.dtype, device=like.device)
        return memory[:count].view(shape)


class Network(abc.ABC):
    """A network shape, of which M models are computed at once.

    **Shape:** parameters [M, P]; x [M, rows, inputs], the regular features; z [M, extra, rows], a second input that may
    be None and then counts as zero; outputs [M, outputs, rows]. The row axis of activations is the last one.

    Attributes
    ----------
    inputs, extra, outputs : widths of x, z and the output.
    n_parameters : P.
    n_below_output : how many of the parameters, the first ones, lie below the output layer: what the heads of one trunk
        share.
    n_activations : numbers that a data row leaves for the backward pass, about; the engine's memory follows from it.
    n_dropped : hidden units that dropout may zero; 0: the network has no dropout.
    rates : [P] factors of the learning rate; None: all learn alike.
    decayed : [P] which parameters weight decay draws to 0; None: all.
    """

    inputs: int
    extra: int
    outputs: int

    @property
    def n_dropped(self) -> int:
        return 0

    @property
    def rates(self) -> npt.NDArray[np.float64] | None:
        return None

    @property
    def decayed(self) -> npt.NDArray[np.bool_] | None:
        return None

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int: ...

    @property
    @abc.abstractmethod
    def n_below_output(self) -> int: ...

    @property
    @abc.abstractmethod
    def n_activations(self) -> int: ...

    @abc.abstractmethod
    def initial(self, key: rng.UInt64, visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Initial parameters [M, P], those of each model drawn from its own key [M].

        visible : [M, inputs + extra], which inputs a model sees (the others are always 0).
        """

    @abc.abstractmethod
    def __call__(
        self,
        parameters: Tensor,
        x: Tensor,
        z: Tensor | None = None,
        workspace: Workspace | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """The outputs, differentiable once by parameters and z.

        keep : [M, n_dropped, rows], what the hidden units are multiplied by in training (see `dropout`); None: 1.
        """

    def reference_forward(
        self, parameters: Tensor, x: Tensor, z: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """The same outputs in PyTorch's own operations: differentiable as often as one likes."""
        return self(parameters, x, z, None, keep)

    def z_weights(self, parameters: Tensor) -> Tensor:
        """Weights [M, units, extra] of the first layer on z, by which candidates for z are compared.

        Raises
        ------
        ValueError : for a network without such a layer, as by default.
        """
        raise ValueError(f"only networks whose first layer is linear in z tell how they read it; found {self}.")

    # The gradients of K tasks take two calls, so that a second network can stand between them.

    def forward_kept(
        self,
        parameters: Tensor,
        x: Tensor,
        z: Tensor | None = None,
        workspace: Workspace | None = None,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """The outputs, and whatever `pullback` needs to differentiate them."""
        with torch.enable_grad():
            leaves = [parameters.detach().requires_grad_(), *([] if z is None else [z.detach().requires_grad_()])]
            outputs = self(leaves[0], x, None if z is None else leaves[1], workspace, keep)
        return outputs.detach(), (outputs, leaves)

    def pullback(
        self,
        parameters: Tensor,
        x: Tensor,
        z: Tensor | None,
        kept: Any,
        cotangents: Tensor,
        gradients: Tensor,
    ) -> Tensor | None:
        """Gradients of K numbers a model, whose derivatives by the outputs are `cotangents` [M, outputs, K, rows].

        Writes the derivatives by the parameters into `gradients` [M, K, P], and returns those by z [M, extra, K, rows],
        None where there is no z. This default makes one backward pass for each of the K.

        parameters, x, z, kept : those of `forward_kept`.
        """
        outputs, leaves = kept
        by_z = None if z is None else z.new_empty(*z.shape[:2], cotangents.shape[2], z.shape[2])
        for k in range(cotangents.shape[2]):
            by_leaf = torch.autograd.grad(
                outputs, leaves, cotangents[:, :, k], retain_graph=True, materialize_grads=True
            )
            gradients[:, k] = by_leaf[0]
            if by_z is not None:
                by_z[:, :, k] = by_leaf[1]
        return by_z


class Architecture(Protocol):
    """Which networks a study trains.

    Every method of a study is made of these; which of them it trains, and how, its program says.
    """

    def for_columns(self, x: Sequence[Column], z: Sequence[Column]) -> Architecture:
        """The architecture for data whose encoded x and z hold these columns; here the same for all."""
        return self

    def predictor(self, inputs: int, outputs: int) -> Network:
        """r: predicts the privileged columns from x (the output is ẑ, with logits for the levels of a category)."""
        ...

    def classifier(self, inputs: int, extra: int, outputs: int) -> Network:
        """c: predicts the target from [x, z]."""
        ...

    def trunk(self, inputs: int, outputs: int) -> Network:
        """One network on x with several heads: its outputs are the target's and then the privileged columns'."""
        ...

    def two_heads(
        self, inputs: int, extra: int, outputs: int, feature_share: int, head_factor: int
    ) -> tuple[Network, Network, Network]:
        """Features φ on x, a linear head on φ, and a head on [z, φ], which takes z first and φ as its second input.

        feature_share : φ has 1/feature_share of the classifier's widths. head_factor : the second head has a hidden
        layer of so many times the classifier's last width.

        Raises
        ------
        ValueError : where the architecture has no features that two heads could share, as by default.
        """
        raise ValueError(f"TRAM needs features that two heads can share; {type(self).__name__} offers none.")
