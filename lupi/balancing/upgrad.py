"""UPGrad: every gradient is moved until it conflicts with none, then all are averaged."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values
from lupi.balancing.quadratic import projected


class UPGrad(Strategy):
    """The mean of the task gradients, each first projected onto the dual cone of all.

    Quinton and Rey, "Jacobian descent for multi-objective optimization", arXiv 2406.16232. The dual cone holds the
    vectors d with ⟨g_k, d⟩ >= 0 for every task k. The projection of g_i is Σ_k v_k g_k with v = argmin vᵀGv over
    v >= e_i, e_i the i-th unit vector; w is the mean of these v over the tasks i. The direction conflicts with no task,
    equals the mean gradient where no two gradients conflict, and is linear in the length of every gradient as long as
    directions stay. No parameters.

    Deviations: none; each programme is solved exactly, without the ridge on G of the authors' code.

    One task: weight 1. A zero gradient: weight 1 / K, without effect. Collinear gradients: the mean. Opposite
    gradients: each is projected to 0, and the shared parameters stand still.
    """

    name = "upgrad"
    family = "gradient"
    paper = "Quinton and Rey, arXiv 2406.16232"
    assumes = "every task counts by the length of its gradient; no task may lose"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        models, tasks = step.present.shape
        units = torch.diag_embed(step.present.to(step.gram.dtype)).flatten(0, 1)
        moved = projected(step.gram.repeat_interleave(tasks, 0), units).view(models, tasks, tasks)
        return moved.sum(1) / step.present.sum(1, keepdim=True), state
