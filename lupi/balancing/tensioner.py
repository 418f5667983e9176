"""Task tensioner: a direction in the middle of the task gradients, pulled towards the tasks that do not converge."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lupi.balancing.base import Knob, State, Step, Strategy, Values
from lupi.balancing.simplex import min_norm

_WINDOW = 10
_ROUNDING = 1e-14  # squared lengths below this share of what was summed are zero
_LEAST_LOSS = 1e-300


class TaskTensioner(Strategy):
    """A direction in the middle of all task gradients, pulled towards each the more the less it converges.

    Nakamura, Grassi and Wolf, "Leveraging convergence behavior to balance conflicting tasks in multi-task learning",
    Neurocomputing 511 (2022) 43-53 (arXiv 2204.06698). With unit gradients u_k = g_k / ‖g_k‖:
    1. v = γ Σ_k q_k u_k, q the weights on the simplex of the shortest such sum, γ = 1 / Σ_k (q_k / ‖g_k‖);
    2. R_k = Σ of the last 10 norms ‖g_k‖ / Σ of the 10 up to the step before + log10 L_k;
    3. the tension c_k = max(0, a / (1 + exp(e - e R_k)) + 1 - a);
    4. v <- v + Σ_k c_k (g_k - v) / ‖g_k - v‖;
    5. task by task, where v is more than 90° from g_k, it is turned onto the boundary: to where the line from g_k
       through v meets the plane orthogonal to g_k.
    The weights are the coefficients of v in the g_k. Until 10 norms are known they are those of step 1 (sum 1).

    Parameter alpha, a in [0, 2], how much the tension depends on convergence, 0.3 as in the authors' configuration.

    Deviations: q is exact (the authors: Frank-Wolfe). A pull of no direction (g_k = v) and a turn of v = 0 are left
    out, where the authors' code divides 0 by 0. A task absent in a step keeps its norms, and waits for 10 of its own.

    Step 4 adds vectors of unit length, so the pull counts for more where gradients are short, and weights may then be
    negative; of three turns or more a later one may undo an earlier one.

    One task: weight 1. A zero gradient is left out of the direction; its weight 1/K leaves the shared parameters alone
    and lets its own learn; so where nothing is shared. Collinear gradients: v between them. Opposite gradients: v = 0,
    then pulled towards the one of greater tension, and turned back to 0.
    """

    name = "task-tensioner"
    family = "gradient"
    paper = "Nakamura, Grassi and Wolf, Neurocomputing 511 (2022) (arXiv 2204.06698)"
    assumes = "losses near 1 or above while a task has not converged; all tasks count alike"
    knobs = (Knob("alpha", 0.3, 0.0, 2.0, "how much the tension depends on convergence"),)
    reads_gramian = True

    def start(self, models: int, tasks: int) -> State:
        return {
            "norms": torch.zeros(models, tasks, _WINDOW, dtype=torch.float64),
            "known": torch.zeros(models, tasks, dtype=torch.float64),
        }

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        gram = step.gram
        norms = gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        active = step.present & (norms > 0)
        direction = _central(gram, norms, active, step.present)

        last = torch.cat([state["norms"][:, :, 1:], norms[:, :, None]], 2)
        now, before = last.sum(2), state["norms"].sum(2)
        tension = _tension(now, before, step.losses, values["alpha"])
        ready = active & (state["known"] >= _WINDOW)
        pulled = _pull(direction, torch.where(ready, tension, 0.0), gram, norms)
        turned = _turn(pulled, gram, norms, active)

        moved = {
            "norms": torch.where(step.present[:, :, None], last, state["norms"]),
            "known": torch.where(step.present, (state["known"] + 1).clamp(max=_WINDOW), state["known"]),
        }
        idle = (step.present & ~active) / step.present.sum(1, keepdim=True)
        return torch.where(active, turned, idle), moved


def _central(gram: Tensor, norms: Tensor, active: Tensor, present: Tensor) -> Tensor:
    """Coefficients of the central direction; 0 for tasks that are not active."""
    inverse = torch.where(active, 1 / torch.where(active, norms, 1.0), 0.0)
    cosines = gram * inverse[:, :, None] * inverse[:, None, :]
    asked = torch.where(active.any(1, keepdim=True), active, present)
    parts = min_norm(cosines, asked) * inverse
    total = parts.sum(1, keepdim=True)
    return parts / torch.where(total > 0, total, 1.0)


def _tension(now: Tensor, before: Tensor, losses: Tensor, alpha: Tensor) -> Tensor:
    """c [M, K]; a norm that was zero throughout and is not now is taken as grown without bound."""
    growth = torch.where(before > 0, now / torch.where(before > 0, before, 1.0), torch.inf)
    convergence = growth + torch.log10(losses.clamp(min=_LEAST_LOSS))
    a = alpha[:, None]
    return (a * torch.sigmoid(math.e * (convergence - 1)) + 1 - a).clamp(min=0)


def _pull(direction: Tensor, tension: Tensor, gram: Tensor, norms: Tensor) -> Tensor:
    """Coefficients of v + Σ_k c_k (g_k - v) / ‖g_k - v‖."""
    away = torch.diag_embed(torch.ones_like(direction)) - direction[:, None, :]  # [M, k, :]: g_k - v
    square = ((away @ gram) * away).sum(2)
    summed = (away.abs() * norms[:, None, :]).sum(2).square()
    apart = square > _ROUNDING * summed
    strength = torch.where(apart, tension / torch.where(apart, square, 1.0).sqrt(), 0.0)
    return direction + (strength[:, :, None] * away).sum(1)


def _turn(direction: Tensor, gram: Tensor, norms: Tensor, active: Tensor) -> Tensor:
    """Coefficients of v turned, task by task, onto the boundary of what lies within 90° of each gradient."""
    direction = direction.clone()
    for k in range(direction.shape[1]):
        norm = torch.where(active[:, k], norms[:, k], 1.0)
        beyond = ((direction * gram[:, k]).sum(1) / norm).clamp(max=0)
        direction[:, k] -= beyond / norm
        direction *= (norm / (norm - beyond))[:, None]
    return direction
