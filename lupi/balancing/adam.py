"""Adam for the numbers [M, K] that a strategy learns itself; every number has its own count of steps."""

from __future__ import annotations

import torch
from torch import Tensor

#: Moments and counts of steps, [M, K] each.
State = dict[str, Tensor]

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8  # the defaults of the paper


def start(models: int, tasks: int) -> State:
    """Moments and counts [M, K] of numbers that have not moved yet."""
    return {name: torch.zeros(models, tasks, dtype=torch.float64) for name in ("mean", "square", "steps")}


def adam(value: Tensor, gradient: Tensor, state: State, rate: Tensor, moved: Tensor) -> tuple[Tensor, State]:
    """`value` [M, K] after a step of Adam down `gradient`, and the moments after it (Kingma and Ba, ICLR 2015).

    rate : [M] learning rate.
    moved : [M, K] which numbers take the step; the others, their moments and their counts stay as they are.
    """
    steps = state["steps"] + moved
    mean = torch.where(moved, _BETA1 * state["mean"] + (1 - _BETA1) * gradient, state["mean"])
    square = torch.where(moved, _BETA2 * state["square"] + (1 - _BETA2) * gradient.square(), state["square"])
    taken = steps.clamp(min=1)
    unbiased_mean, unbiased_square = mean / (1 - _BETA1**taken), square / (1 - _BETA2**taken)
    after = value - rate[:, None] * unbiased_mean / (unbiased_square.sqrt() + _EPS)
    return torch.where(moved, after, value), {"mean": mean, "square": square, "steps": steps}
