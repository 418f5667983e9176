"""The models that train side by side: their tensors, taken and joined as models stop and others start."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.balancing.base import State


@dataclasses.dataclass
class Active:
    """State of the models in training; every field has the model axis first. Counters live on the host."""

    model: npt.NDArray[np.intp]  # positions in the table of models
    step: npt.NDArray[np.int64]
    epoch: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]  # of the last epoch, on the validation rows
    best_loss: npt.NDArray[np.float64]
    best_epoch: npt.NDArray[np.int64]
    mark_loss: npt.NDArray[np.float64]  # the last that was better by min_delta, from which patience counts
    mark_epoch: npt.NDArray[np.int64]
    stopped: npt.NDArray[np.bool_]
    parameters: Tensor
    best: Tensor  # parameters to be returned
    mean: Tensor  # Adam's first moment
    square: Tensor  # and its second
    balance: State  # what the balancing strategy remembers
    x_shift: Tensor
    x_scale: Tensor
    z_shift: Tensor
    z_scale: Tensor
    z_of: Tensor
    teacher_of: Tensor
    y_shift: Tensor
    y_scale: Tensor
    knobs: Tensor  # [M, K], in the order of the fields of `Knobs`
    strategy_parameters: dict[str, Tensor]
    class_weights: Tensor  # [M, classes]
    random: Tensor  # [M, n] the number of every data row's own, where the program reads it; else [M, 0]
    rates: Tensor  # [M, P] factors of the learning rate, or [M, 0] where all are 1
    decay: Tensor  # [M, P] likewise of what weight decay draws to 0; 0: it does not
    x_bound: Tensor  # [M, 1, D], or [M, 1, 0] where no model bounds its inputs

    def take(self, which: npt.NDArray[np.intp] | slice) -> Active:
        """The models at positions `which`."""

        def part(value: Any) -> Any:
            return {name: tensor[which] for name, tensor in value.items()} if isinstance(value, dict) else value[which]

        return Active(**{f.name: part(getattr(self, f.name)) for f in dataclasses.fields(self)})

    def joined(self, other: Active) -> Active:
        """These models and then those of `other`."""

        def join(one: Any, two: Any) -> Any:
            if isinstance(one, dict):
                return {name: torch.cat([one[name], two[name]]) for name in one}
            return torch.cat([one, two]) if isinstance(one, Tensor) else np.concatenate([one, two])

        names = [field.name for field in dataclasses.fields(self)]
        return Active(**{name: join(getattr(self, name), getattr(other, name)) for name in names})

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What training has made of the models, as arrays; what the table of models says anyway is left out."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name in _MADE:
            value = getattr(self, name)
            arrays[name] = value.cpu().numpy() if isinstance(value, Tensor) else value
        return arrays | {f"balance {name}": value.cpu().numpy() for name, value in self.balance.items()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put back what `state` returned for the same models."""
        for name in _MADE:
            value = getattr(self, name)
            restored: Any = np.array(state[name], dtype=value.dtype) if isinstance(value, np.ndarray) else None
            if restored is None:
                restored = torch.as_tensor(np.array(state[name])).to(value.device, value.dtype)
            setattr(self, name, restored)
        for name, value in self.balance.items():
            self.balance[name] = torch.as_tensor(np.array(state[f"balance {name}"])).to(value.device, value.dtype)


_MADE = (
    "model", "step", "epoch", "loss", "best_loss", "best_epoch", "mark_loss", "mark_epoch", "stopped", "parameters",
    "best", "mean", "square",
)  # fmt: skip
