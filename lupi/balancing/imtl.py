"""IMTL-G (impartial learning): the direction has the same projection on every task gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values

_RANK = 1e-12  # eigenvalues of the Gramian below this share of the largest are zero


class IMTLG(Strategy):
    """The direction whose projections on all task gradients are equally long.

    Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang, "Towards impartial multi-task learning", ICLR 2021 (the part on
    gradients, IMTL-G). d = Σ_k w_k g_k with ⟨d, g_k⟩ / ‖g_k‖ the same for all k, and Σ_k w_k = 1. In closed form
    w = G⁺ n / Σ(G⁺ n), G the Gramian, n_k = ‖g_k‖. Weights may be negative.

    No parameters. Deviation: the pseudo-inverse, as generalised by Quinton and Rey (arXiv 2406.16232), where the
    paper's inverse needs linearly independent gradients; eigenvalues of G below 1e-12 of the largest count as zero.

    One task: weight 1. A zero gradient: weight 0, the others as without it. Collinear gradients that point one way:
    the projections cannot agree; w ∝ n. Opposite gradients: nor can they; w = (n_1, -n_2) / (n_1 - n_2), which grows
    without bound towards equal lengths. Where Σ(G⁺ n) is 0 (opposite and of one length, or no gradient at all) every
    task gets 1/K.
    """

    name = "imtl-g"
    family = "gradient"
    paper = "Liu et al., ICLR 2021"
    assumes = "every task should advance alike, whatever its gradient's length"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        squares = step.gram.diagonal(dim1=1, dim2=2).clamp(min=0)
        largest = squares.amax(1)
        scale = torch.where(largest > 0, largest, 1.0)
        inverse = torch.linalg.pinv(step.gram / scale[:, None, None], rtol=_RANK, hermitian=True)
        parts = (inverse * (squares / scale[:, None]).sqrt()[:, None, :]).sum(2) * step.present
        total = parts.sum(1, keepdim=True)
        solved = total.abs() > _RANK
        equal = step.present / step.present.sum(1, keepdim=True)
        return torch.where(solved, parts / torch.where(solved, total, 1.0), equal), state
