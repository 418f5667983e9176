"""Any `torch.nn.Module` as a network of the engine: M models by `functional_call` under `vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lupi import rng
from lupi.engine.network import Network, Workspace


class ModuleNetwork(Network):
    """A network whose forward pass is that of a module.

    Parameters
    ----------
    make : makes the module, with initial weights drawn from torch's generator, which is seeded for each model by its
        own key. The module maps x [rows, *shape] to [rows, outputs]; where extra > 0, x and z [rows, extra].
    inputs, extra, outputs : widths of x, of z and of the output.
    shape : of one data row's x (None: [inputs]), such as (1, 8, 8) for an image.
    head : name of the submodule whose parameters the heads of a trunk do not share; None: the last with parameters.

    Raises
    ------
    ValueError : for modules that models cannot be trained with side by side: with buffers (batch normalisation keeps
        statistics of other rows), with dropout (its draws would depend on the models beside), or without parameters; a
        head whose parameters are not the last; an output of another shape.

    Examples
    --------
    >>> network = ModuleNetwork(lambda: nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 1)), 3, 0, 1)
    >>> network.n_parameters, network.n_below_output
    (41, 32)
    """

    def __init__(
        self,
        make: Callable[[], nn.Module],
        inputs: int,
        extra: int,
        outputs: int,
        *,
        shape: tuple[int, ...] | None = None,
        head: str | None = None,
    ) -> None:
        self._make = make
        self.inputs, self.extra, self.outputs = inputs, extra, outputs
        self._shape = (inputs,) if shape is None else shape
        with torch.random.fork_rng(devices=[]):
            self._module = make()
        _check(self._module)
        self._sizes = {name: parameter.shape for name, parameter in self._module.named_parameters()}
        self._n_below_output, self._n_activations = self._below(head), self._measure()

    @property
    def n_parameters(self) -> int:
        return sum(shape.numel() for shape in self._sizes.values())

    @property
    def n_below_output(self) -> int:
        return self._n_below_output

    @property
    def n_activations(self) -> int:
        return self._n_activations

    def _below(self, head: str | None) -> int:
        """How many parameters lie before those of the head."""
        prefix = next(reversed(self._sizes)).rpartition(".")[0] if head is None else head
        prefix += "." if prefix else ""
        belongs = [name.startswith(prefix) for name in self._sizes]
        if not any(belongs) or sorted(belongs) != belongs:
            raise ValueError(
                f"the head's parameters must be the last of the module; found {prefix!r} in {[*self._sizes]}."
            )
        return sum(s.numel() for s, of_head in zip(self._sizes.values(), belongs, strict=True) if not of_head)

    def _measure(self) -> int:
        """What one data row leaves for the backward pass; raises ValueError where the output is not [rows, outputs]."""
        count, own = 0, {parameter.data_ptr() for parameter in self._module.parameters()}

        def kept(tensor: Tensor) -> Tensor:
            nonlocal count
            count += 0 if tensor.data_ptr() in own else tensor.numel()
            return tensor

        rows = 2
        with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
            output = self._forward(dict(self._module.named_parameters()), torch.zeros(rows, self.inputs), None)
        if output.shape != (rows, self.outputs):
            raise ValueError(
                f"the module must return [rows, {self.outputs}]; found {list(output.shape)} for {rows} rows."
            )
        return -(-count // rows) + self.inputs + self.outputs

    def initial(self, key: rng.UInt64, visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        parameters = np.empty((len(key), self.n_parameters))
        with torch.random.fork_rng(devices=[]):
            for row, seed in zip(parameters, key, strict=True):
                torch.manual_seed(int(seed >> np.uint64(1)))
                row[:] = nn.utils.parameters_to_vector(self._make().parameters()).detach().double().numpy()
        return parameters

    def __call__(
        self,
        parameters: Tensor,
        x: Tensor,
        z: Tensor | None = None,
        workspace: Workspace | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        m, at, tensors = len(parameters), 0, {}
        for name, size in self._sizes.items():
            tensors[name] = parameters[:, at : at + size.numel()].view(m, *size)
            at += size.numel()
        output: Tensor = torch.func.vmap(self._forward, in_dims=(0, 0, None if z is None else 0))(
            tensors, x, None if z is None else z.mT
        )
        return output.mT

    def _forward(self, parameters: dict[str, Any], x: Tensor, z: Tensor | None) -> Tensor:
        """[rows, outputs] of one model for x [rows, inputs] and z [rows, extra]."""
        given = [x.unflatten(1, self._shape)]
        if self.extra:
            given.append(x.new_zeros(len(x), self.extra) if z is None else z)
        output: Tensor = torch.func.functional_call(self._module, parameters, tuple(given))
        return output


def _check(module: nn.Module) -> None:
    """Raise ValueError for a module whose models would not be independent of each other."""
    if not any(True for _ in module.parameters()):
        raise ValueError("the module must have parameters to train; found none.")
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        raise ValueError(
            f"the module must have no buffers, which M models would share; found {', '.join(buffers)}. Use group or "
            "layer normalisation in place of batch normalisation."
        )
    dropout = [layer for layer in module.modules() if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0]
    if dropout:
        raise ValueError(
            f"the module must have no dropout, whose draws would depend on the models beside it; found {dropout[0]}. "
            "Use weight decay or early stopping."
        )
