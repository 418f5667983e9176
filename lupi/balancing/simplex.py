"""`min_norm`: the shortest vector in the convex hull of the task gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing import quadratic


def min_norm(gramian: Tensor, present: Tensor) -> Tensor:
    """The weights on the simplex that minimise wᵀGw: [M, K], 0 for absent tasks.

    Exact but for rounding. Of several weights that give the minimum, about those with the least Σ_k (w_k ‖g_k‖)²;
    gradients that are 0 share all the weight.

        some g_k = 0:   w = equal shares of these
        two tasks:      w_1 : w_2 = (‖g_2‖² - ⟨g_1, g_2⟩) : (‖g_1‖² - ⟨g_1, g_2⟩), each at least 0
        more:           y = argmin over y >= 0 of ½ yᵀ(C + d dᵀ)y - dᵀy,  C the cosines, d_k = min ‖g‖ / ‖g_k‖
                        w = d · y / Σ d · y

    gramian : [M, K, K] positive semi-definite, 0 for absent tasks.
    present : [M, K], at least one task each.
    """
    norms = gramian.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    zero = present & (norms == 0)
    weights = zero.to(gramian.dtype) / zero.sum(1, keepdim=True).clamp(min=1)
    open_, two = ~zero.any(1), present.sum(1) == 2
    for which, method in ((open_ & two, _of_two), (open_ & ~two, _of_many)):
        if which.any():
            weights[which] = method(gramian[which], norms[which], present[which])
    return weights


def _of_two(gramian: Tensor, norms: Tensor, present: Tensor) -> Tensor:
    """`min_norm` of two tasks: the foot of the perpendicular from 0 on the segment between the gradients."""
    pair = present.nonzero()[:, 1].view(-1, 2)
    squares = norms.square().gather(1, pair)
    inner = gramian.gather(1, pair[:, :1, None].expand(-1, 1, gramian.shape[2]))[:, 0].gather(1, pair[:, 1:])
    gap = (squares.flip(1) - inner).clamp(min=0)  # at most one of the two is negative
    total = gap.sum(1, keepdim=True)
    shares = torch.where(total > 0, gap / torch.where(total > 0, total, 1.0), 0.5)
    return torch.zeros_like(norms).scatter(1, pair, shares)


def _of_many(gramian: Tensor, norms: Tensor, present: Tensor) -> Tensor:
    """`min_norm` without the condition Σw = 1: with y = w ‖g‖ s and d = 1 / ‖g‖, the minimum over y >= 0 of
    yᵀCy + (dᵀy - 1)², C the cosines, has the same w for whatever s = dᵀy it takes."""
    shortest = torch.where(present, norms, torch.inf).amin(1, keepdim=True)
    d = torch.where(present, shortest / torch.where(present, norms, 1.0), 0.0)
    unit = d / shortest
    cosines = gramian * unit[:, :, None] * unit[:, None, :]
    parts = d * quadratic.nonnegative(cosines + d[:, :, None] * d[:, None, :], -d)
    return parts / parts.sum(1, keepdim=True)
