"""Geometric mean of the losses as the training loss."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values

_LEAST = 1e-8


class GeometricMean(Strategy):
    """The step goes down the geometric mean of the losses.

    Chennupati, Sistu, Yogamani and Rawashdeh, "MultiNet++: multi-stream feature aggregation and geometric loss strategy
    for multi-task learning", CVPR Workshops 2019 (arXiv 1904.08492). L = Π_k L_k^{1/K} over the K present tasks, so
    w_k = dL/dL_k = L / (K L_k): every task has the same share w_k L_k of the loss, whatever its scale.

    No parameters. Deviation: losses below 1e-8 count as 1e-8, since the derivative has no bound at 0.

    It reads losses alone: zero, collinear or opposite gradients change nothing. With one task the weight is 1.
    """

    name = "geometric-mean"
    family = "loss"
    paper = "Chennupati et al., CVPR Workshops 2019 (arXiv 1904.08492)"
    assumes = "losses > 0; none is noise alone, which never falls"

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        losses = step.losses.clamp(min=_LEAST)
        tasks = step.present.sum(1, keepdim=True)
        mean = torch.exp((losses.log() * step.present).sum(1, keepdim=True) / tasks)
        return mean / (tasks * losses) * step.present, state
