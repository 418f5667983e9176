"""Random loss weighting: the weights are drawn anew in every step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values


class RLW(Strategy):
    """Weights are drawn anew in every step: what a strategy has to beat before its reasons count.

    Lin, Ye, Zhang and Tsang, "Reasonable effectiveness of random weighting: a litmus test for multi-task learning",
    TMLR 2022 (arXiv 2111.10603). w = softmax(n), n_k ~ N(0, 1) independently, over the present tasks; Σ_k w_k = 1. The
    normals are Box and Muller's (1958), from the random numbers of the model and step: the same seed and step give the
    same weights on any device.

    No parameters; the paper's other distributions are not offered. It reads neither losses nor gradients. With one task
    the weight is 1.
    """

    name = "rlw"
    family = "loss"
    paper = "Lin, Ye, Zhang and Tsang, TMLR 2022 (arXiv 2111.10603)"
    assumes = "nothing"

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        first, second = step.uniform(0, 2 * step.losses.shape[1]).unflatten(1, (-1, 2)).unbind(2)
        normals = torch.sqrt(-2.0 * torch.log1p(-first)) * torch.cos(2.0 * math.pi * second)
        place = (step.present.cumsum(1) - 1).clamp(min=0)  # among the present tasks: absent ones use up no numbers
        scores = normals.gather(1, place).masked_fill(~step.present, -torch.inf)
        return torch.softmax(scores, 1), state
