"""Aligned-MTL: the task gradients are made orthogonal and equally long before they are averaged."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values

_RANK = 1e-12  # eigenvalues of the Gramian below this share of the largest are zero


class AlignedMTL(Strategy):
    """The average of the nearest gradients that are orthogonal and of one length.

    Senushkin, Patakin, Kuznetsov and Konushin, "Independent component alignment for multi-task learning", CVPR 2023
    (arXiv 2305.19000). With G = V Λ Vᵀ over its eigenvalues that are not zero, w = √λ_min V Λ^{-1/2} Vᵀ p, p_k = 1/K:
    the matrix of gradients gets condition number 1, and all its principal parts the strength of the weakest, so that
    ‖Σ_k w_k g_k‖² = λ_min ‖p‖² where no gradient depends on the others. Weights may be negative.

    No parameters: λ_min as in the paper (its code also has the median and the mean). Deviation: eigenvalues below 1e-12
    of the largest count as zero, wider than the paper's rounding error, since gradients are computed in single
    precision.

    One task: weight 1. A zero gradient: weight 0, the others as without it but for K. Collinear or opposite gradients
    have one principal part, which stays as it is: w is the part of p along the norms, with the signs of the directions.
    Opposite gradients of one length: w = 0. No gradient at all: every task gets 1/K.
    """

    name = "aligned-mtl"
    family = "gradient"
    paper = "Senushkin, Patakin, Kuznetsov and Konushin, CVPR 2023 (arXiv 2305.19000)"
    assumes = "a badly conditioned set of gradients is what harms; all tasks count alike"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        equal = step.present / step.present.sum(1, keepdim=True).to(step.gram.dtype)
        eigenvalues, vectors = torch.linalg.eigh(step.gram)
        largest = eigenvalues[:, -1:]
        kept = (eigenvalues > _RANK * largest) & (largest > 0)
        weakest = torch.where(kept, eigenvalues, torch.inf).amin(1, keepdim=True)
        shrunk = torch.where(kept, (weakest / torch.where(kept, eigenvalues, 1.0)).sqrt(), 0.0)
        along = (vectors * equal[:, :, None]).sum(1)
        aligned = (vectors * (shrunk * along)[:, None, :]).sum(2) * step.present
        return torch.where(largest > 0, aligned, equal), state
