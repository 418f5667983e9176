"""CAGrad: the direction near the mean gradient that helps the worst-off task most."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from lupi.balancing import quadratic
from lupi.balancing.base import Knob, State, Step, Strategy, Values
from lupi.balancing.quadratic import projected
from lupi.balancing.simplex import min_norm

STATIONARY = 1e-12  # ‖g_w‖² / max ‖g_k‖² at or below which a convex combination of the gradients counts as 0
GUESSES = 20
ROUNDS = 60
PRECISION = 1e-12
ROUNDING = 1e-15


@dataclasses.dataclass(frozen=True)
class _Problem:
    """CAGrad's programme for M models, lengths relative to the longest gradient.

    gramian : [M, K, K].
    present : [M, K].
    mean : [M, K] the weights of the mean gradient g_0.
    inner : [M, K] b_k = ⟨g_k, g_0⟩.
    square : [M] ‖g_0‖².
    reach : [M] c² ‖g_0‖².
    """

    gramian: Tensor
    present: Tensor
    mean: Tensor
    inner: Tensor
    square: Tensor
    reach: Tensor

    def take(self, which: Tensor) -> _Problem:
        """The models at positions `which`."""
        return _Problem(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))

    def length(self, weights: Tensor) -> Tensor:
        """‖Σ_k weights_k g_k‖² [M]."""
        return (weights * quadratic.times(self.gramian, weights)).sum(1).clamp(min=0)

    def excess(self, square: Tensor) -> tuple[Tensor, Tensor]:
        """For τ² = `square` [M]: the w [M, K] for which g_w + τ g_0 is shortest, and ‖g_w‖² - τ² c² ‖g_0‖² [M]."""
        shift = square.sqrt()[:, None] * self.inner
        moved = self.gramian + (shift[:, :, None] + shift[:, None, :]) + (square * self.square)[:, None, None]
        weights = min_norm(moved * self.present[:, :, None] * self.present[:, None, :], self.present)
        return weights, self.length(weights) - square * self.reach


def _moves(problem: _Problem) -> Tensor:
    """What CAGrad adds to the weights of the mean gradient: x [M, K], for which d = g_0 + Σ_k x_k g_k."""
    moves, solved = _guessed(problem)
    if not solved.all():
        moves[~solved] = _searched(problem.take(~solved))
    return moves


def _guessed(problem: _Problem) -> tuple[Tensor, Tensor]:
    """The moves [M, K] where guesses of the worst-off tasks, mended by the signs they lead to, end in the solution, and
    whether they do [M].

    With ν = min_k ⟨g_k, d⟩, reached by the tasks F, G_FF x_F = ν 1 - b_F: x = ν u - p. ‖d - g_0‖ = c ‖g_0‖ gives ν.
    Then x >= 0 and ⟨g_k, d⟩ >= ν for all k are what makes d the solution.
    """
    moves, solved = torch.zeros_like(problem.inner), torch.zeros_like(problem.square, dtype=torch.bool)
    left = torch.arange(len(moves), device=moves.device)
    lowest = problem.inner.masked_fill(~problem.present, torch.inf).amin(1, keepdim=True)
    free = problem.present & (problem.inner <= lowest)
    trust = quadratic.Trust.at_first(moves)
    for _ in range(GUESSES):
        u = quadratic.on_face(problem.gramian, -torch.ones_like(problem.inner), free)
        p = quadratic.on_face(problem.gramian, -problem.inner, free)
        a, b, c = u.sum(1), p.sum(1), (problem.inner * p).sum(1) - problem.reach
        worst = (b + (b.square() - a * c).sqrt()) / a
        x = worst[:, None] * u - p
        slack = quadratic.times(problem.gramian, x) + problem.inner - worst[:, None]
        scale = problem.gramian.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt() * problem.square.sqrt()[:, None]
        tolerance = PRECISION * scale
        wrong = torch.where(free, ~(x >= 0), ~(slack >= -tolerance) & problem.present)
        exact = (~free | (slack.abs() <= tolerance)).all(1)
        exact &= (problem.length(x) - problem.reach).abs() <= PRECISION * problem.reach
        done = exact & ~wrong.any(1)
        moves[left[done]], solved[left[done]] = x[done], True
        open_ = ~done
        if not open_.any():
            break
        swapped, trust = trust.swapped(wrong)
        problem, free, left, trust = problem.take(open_), (free ^ swapped)[open_], left[open_], trust.take(open_)
    return moves, solved


def _searched(problem: _Problem) -> Tensor:
    """The moves [M, K], whatever the Gramian.

    With w(τ) the weights for which g_w + τ g_0 is shortest (at which bᵀw + ‖g_w‖² / 2τ is least), the minimum of
    bᵀw + c ‖g_0‖ ‖g_w‖ lies where ‖g_w(τ)‖ = τ c ‖g_0‖, and the move is w / τ. For τ -> 0 the move becomes the shortest
    that leaves no conflict, which is what remains where some g_w is 0.
    """
    moves = projected(problem.gramian, problem.mean) - problem.mean
    length, total = problem.length(moves), moves.sum(1)
    shortest = problem.length(min_norm(problem.gramian, problem.present))
    short = length > problem.reach  # even without conflict is out of reach
    open_ = short | (shortest > STATIONARY)
    if open_.any():
        # One end of a bracket: at τ = 1 / Σ moves, w / τ is `moves`; there or at τ = 0 the excess is above 0.
        square = torch.where(short, total, 1.0).square().reciprocal()
        low = torch.where(short, square, 0.0)
        excess = torch.where(short, square * (length - problem.reach), shortest)
        moves[open_] = _crossing(problem.take(open_), low[open_], excess[open_])
    return moves


def _crossing(problem: _Problem, low: Tensor, above: Tensor) -> Tensor:
    """w / τ [M, K] where the excess, `above` > 0 at τ² = `low`, is 0.

    The excess is piecewise linear in τ² and changes its sign once: regula falsi, in the Illinois form (Dowell and
    Jarratt, BIT 11, 1971), ends once both ends lie on the same piece.
    """
    moves = torch.zeros_like(problem.inner)
    high = problem.reach.reciprocal()  # τ c ‖g_0‖ is the length of the longest gradient
    below = problem.excess(high)[1].clamp(max=-ROUNDING)
    left = torch.arange(len(low), device=low.device)
    side = torch.zeros_like(low)
    for _ in range(ROUNDS):
        square = low + (high - low) * (above / (above - below))
        weights, excess = problem.excess(square)
        moves[left] = weights / square.sqrt()[:, None]
        open_ = excess.abs() > PRECISION * square * problem.reach + ROUNDING
        if not open_.any():
            break
        up = excess > 0
        above = torch.where(up, excess, above * torch.where(side < 0, 0.5, 1.0))
        below = torch.where(up, below * torch.where(side > 0, 0.5, 1.0), excess)
        low, high = torch.where(up, square, low), torch.where(up, high, square)
        side = torch.where(up, 1.0, -1.0)
        low, high, above, below, side, left = (v[open_] for v in (low, high, above, below, side, left))
        problem = problem.take(open_)
    return moves


class CAGrad(Strategy):
    """The direction that helps the worst-off task most, within a ball about the mean gradient.

    Liu, Liu, Jin, Stone and Liu, "Conflict-averse gradient descent for multi-task learning", NeurIPS 2021, arXiv
    2110.14048. d maximises min_k ⟨g_k, d⟩ subject to ‖d - g_0‖ <= c ‖g_0‖, g_0 = Σ_k g_k / K. By duality
    d = g_0 + c ‖g_0‖ g_w / ‖g_w‖, g_w = Σ_k w_k g_k, where w >= 0, Σw = 1, minimises ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖.

        find the move x = c ‖g_0‖ w / ‖g_w‖:
            guess the worst-off tasks F
            repeat at most 20 times                        # `_guessed`
                solve G_FF x_F = ν 1 - b_F, b_k = ⟨g_k, g_0⟩, with ν such that ‖Σ_k x_k g_k‖ = c ‖g_0‖
                stop if x >= 0 and every task has ⟨g_k, g_0 + Σ_j x_j g_j⟩ >= ν
                swap the tasks with a wrong sign into or out of F
            if that did not end:                           # `_searched`: for any Gramian
                search the τ with ‖g_w(τ)‖ = τ c ‖g_0‖, w(τ) = argmin ‖g_w + τ g_0‖ on the simplex;  x = w / τ
                (where some g_w is 0: x the shortest move that leaves no conflict, if it is within reach)
        weights = 1/K + x

    Parameter c in [0, 1): 0 is the mean gradient; below 1 the mean loss still falls, and the paper proves convergence;
    the larger, the nearer to MGDA. The default 0.5 is that of the authors' code.

    Deviations: solved exactly; d is not divided by 1 + c, as some versions of the authors' code do. Where some convex
    combination of the gradients is 0, no direction helps all; of those in the ball that harm none, if there are any,
    it is then the nearest to g_0 (the authors' code keeps g_0 itself).

    One task: weight 1 + c. A zero gradient: that task cannot be helped, and the rule just said applies. Collinear
    gradients: d = (1 + c) g_0. Opposite gradients: d = (1 - c) g_0.
    """

    name = "cagrad"
    family = "gradient"
    paper = "Liu et al., NeurIPS 2021 (arXiv 2110.14048)"
    assumes = "the mean of the losses is the goal; gradients of comparable length"
    knobs = (Knob("c", 0.5, 0.0, 0.999, "radius of the ball about the mean gradient, relative to its length"),)
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        longest = step.gram.diagonal(dim1=1, dim2=2).amax(1)
        gramian = step.gram / torch.where(longest > 0, longest, 1.0)[:, None, None]
        mean = step.present.to(gramian.dtype) / step.present.sum(1, keepdim=True)
        inner = quadratic.times(gramian, mean)
        square = (inner * mean).sum(1).clamp(min=0)
        reach = values["c"].square() * square
        weights, open_ = mean.clone(), reach > 0
        if open_.any():
            problem = _Problem(gramian, step.present, mean, inner, square, reach).take(open_)
            weights[open_] += _moves(problem)
        return weights, state
