"""Nash-MTL: the direction is the solution of a bargaining game in which all tasks have equal preferences."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing import bargaining
from lupi.balancing.base import State, Step, Strategy, Values


class NashMTL(Strategy):
    """Every task bargains for its own descent, with equal say (Navon et al., ICML 2022, arXiv 2202.01017).

    The direction d = Σ α_k g_k maximises Σ_k ln⟨g_k, d⟩ over a ball: Gα = 1/α. It does not change when a task's loss is
    multiplied by a number, and every task's loss falls along it. Solved exactly (`bargaining.solve`, which says what
    degenerate Gramians give), at every step, in place of the published sequence of convex programmes with CVXPY. With
    two tasks the direction is the bisector of the two gradients, as IMTL-G's is: only its length differs.

        in every step:
            G = the inner products ⟨g_i, g_j⟩
            solve Gα = 1 / α for α > 0
            direction Σ_k α_k g_k
    """

    name = "nash-mtl"
    family = "gradient"
    paper = "Navon et al., ICML 2022 (arXiv 2202.01017)"
    assumes = "gradients that are not opposite; no scale of the losses"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return bargaining.solve(step.gram, torch.ones_like(step.losses), step.present), state
