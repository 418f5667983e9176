"""Small convex quadratic programmes, batched: min ½ xᵀQx + cᵀx over x >= 0, Q positive semi-definite.

Block principal pivoting (Júdice and Pires, Computers & Operations Research 21(5), 1994): guess which x_i are positive,
solve for them, swap all that came out with the wrong sign, and, where that stops making progress, one at a time (Murty
1974), which ends after finitely many swaps. A singular Q is met by the proximal point method (Rockafellar, SIAM J.
Control and Optimization 14(5), 1976): solve with Q + δI about the last solution, until the optimality conditions hold
for Q itself. Among several solutions it goes to one close to 0.

All arithmetic is element by element along the models: a model gets the same digits alone and among others.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

RIDGE = 1e-8  # δ, where the diagonal of Q is 1
ROUNDS = 20  # of the proximal point method; three are enough unless Q is all but singular
SWAPS = 200  # at most; some five are usual, and x >= 0 holds even where they do not suffice
PATIENCE = 3  # swaps of whole blocks that may fail to lessen the number of wrong signs
ROUNDING = 1e-15


def times(q: Tensor, x: Tensor) -> Tensor:
    """Q x [N, K], of Q [N, K, K] and x [N, K]."""
    return (q * x[:, None, :]).sum(-1)


def solve(a: Tensor, b: Tensor) -> Tensor:
    """A⁻¹ b [N, K] of positive definite A [N, K, K]: elimination, without pivots, which such matrices do not need."""
    size = b.shape[1]
    rows = torch.cat([a, b[:, :, None]], 2)
    for k in range(size - 1):
        below = rows[:, k + 1 :, k] / rows[:, k, k, None]
        rows[:, k + 1 :, k + 1 :] -= below[:, :, None] * rows[:, k, None, k + 1 :]
    x = rows[:, :, size].clone()
    for k in reversed(range(size)):
        x[:, k] /= rows[:, k, k]
        x[:, :k] -= rows[:, :k, k] * x[:, k, None]
    return x


def nonnegative(q: Tensor, c: Tensor) -> Tensor:
    """The x >= 0 that minimises ½ xᵀQx + cᵀx: [N, K]. An x_i with a zero row in Q and c_i >= 0 is 0.

    q : [N, K, K] positive semi-definite.
    c : [N, K], such that the minimum exists: cᵀx >= 0 wherever Qx = 0 and x >= 0.
    """
    diagonal = q.diagonal(dim1=1, dim2=2)
    unit = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    a, c = q * unit[:, :, None] * unit[:, None, :], c * unit
    size = c.abs().amax(1, keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    return _proximal(a, c / size) * size * unit


def _proximal(a: Tensor, c: Tensor) -> Tensor:
    """`nonnegative` for a diagonal of 1 (or 0) and max |c_i| = 1 (or 0).

    centre = 0
    repeat at most ROUNDS times:
        x = argmin over x >= 0 of ½ xᵀAx + cᵀx + ½ δ ‖x - centre‖²
        stop if δ (x - centre) is rounding
        centre = x
    """
    solution = torch.zeros_like(c)
    ridge = RIDGE * torch.eye(c.shape[1], dtype=c.dtype, device=c.device)
    left, centre, free = torch.arange(len(c), device=c.device), torch.zeros_like(c), c < 0
    for _ in range(ROUNDS):
        x = _pivoted(a + ridge, c - RIDGE * centre, free)
        solution[left] = x
        # RIDGE * (x - centre) is all by which x misses the optimality conditions of Q.
        open_ = RIDGE * (x - centre).abs().amax(1) > ROUNDING * (1 + x.amax(1))
        if not open_.any():
            break
        a, c, centre, left = a[open_], c[open_], x[open_], left[open_]
        free = centre > 0
    return solution


def _pivoted(a: Tensor, c: Tensor, free: Tensor) -> Tensor:
    """`nonnegative` for a positive definite A, from a first guess of which x_i are positive.

    repeat at most SWAPS times:
        x = 0 where not free; solve (Ax + c)_i = 0 where free
        wrong = (free and x < 0) or (not free and Ax + c < 0)
        stop if none is wrong
        swap free in all wrong places; in the last of them alone, once the number of wrong signs has not become
        smaller for more than PATIENCE swaps
    """
    solution = torch.zeros_like(c)
    left = torch.arange(len(c), device=c.device)
    trust = Trust.at_first(c)
    for _ in range(SWAPS):
        x = on_face(a, c, free)
        slack = times(a, x) + c
        tolerance = 10 * ROUNDING * (1 + x.abs().sum(1, keepdim=True))
        wrong = torch.where(free, x < 0, slack < -tolerance)
        solution[left] = x.clamp(min=0)
        open_ = wrong.any(1)
        if not open_.any():
            break
        swapped, trust = trust.swapped(wrong)
        free = (free ^ swapped)[open_]
        a, c, left, trust = a[open_], c[open_], left[open_], trust.take(open_)
    return solution


@dataclasses.dataclass(frozen=True)
class Trust:
    """How far swaps of whole blocks are trusted: [M] the fewest wrong signs so far, and how often more may follow."""

    fewest: Tensor
    patience: Tensor

    @classmethod
    def at_first(cls, x: Tensor) -> Trust:
        """For the programmes of x [M, K]."""
        return cls(torch.full(x.shape[:1], x.shape[1] + 1, device=x.device), x.new_full(x.shape[:1], PATIENCE))

    def swapped(self, wrong: Tensor) -> tuple[Tensor, Trust]:
        """Which of the wrong signs [M, K] are to be swapped, all or the last, and what is trusted after that."""
        count = wrong.sum(1)
        patience = torch.where(count < self.fewest, PATIENCE, self.patience - 1)
        last = wrong & (wrong.cumsum(1) == count[:, None])
        chosen = torch.where((patience >= 0)[:, None], wrong, last)
        return chosen, Trust(torch.minimum(self.fewest, count), patience)

    def take(self, which: Tensor) -> Trust:
        """The models at positions `which`."""
        return Trust(self.fewest[which], self.patience[which])


def on_face(a: Tensor, c: Tensor, free: Tensor) -> Tensor:
    """The x that is 0 where not `free` and solves A x + c = 0 where free."""
    inside = free[:, :, None] & free[:, None, :]
    rest = torch.diag_embed((~free).to(c.dtype))
    return solve(torch.where(inside, a, rest), torch.where(free, -c, 0.0))


def projected(gramian: Tensor, start: Tensor) -> Tensor:
    """The weights v >= `start` [M, K] that minimise vᵀGv: those of the vector nearest to Σ_k start_k g_k of all that
    conflict with no g_k (its projection onto the dual cone). Where several do, the ones close to `start`."""
    return start + nonnegative(gramian, times(gramian, start))
