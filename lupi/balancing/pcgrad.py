"""PCGrad and GradVac: the gradient of each task is changed where it conflicts with another task's.

A changed gradient is Σ_k c_k g_k: everything here is done on its coefficients c, and the inner products that decide are
read off the Gramian. Each task meets the others in a random order of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import Knob, State, Step, Strategy, Values

_ROUNDING = 1e-14  # squared lengths below this share of what was summed are zero
_LEAST_SINE = 1e-8  # of the angle aimed at


class PCGrad(Strategy):
    """Each task gradient is projected off those that it conflicts with, and the results are added.

    Yu, Kumar, Gupta, Levine, Hausman and Finn, "Gradient surgery for multi-task learning", NeurIPS 2020 (arXiv
    2001.06782). For every task i and every other j, in random order: if ⟨g_i', g_j⟩ < 0, then g_i' loses its part along
    g_j, g_i' -= ⟨g_i', g_j⟩ / ‖g_j‖² g_j, where g_i' starts as g_i. The direction is Σ_i g_i'. With two tasks it
    conflicts with neither and the order is of no account; with more a later projection may bring an earlier conflict
    back.

        for every task i:
            c = the i-th unit vector                       # g_i' = Σ_k c_k g_k
            for j != i in random order:
                if ⟨g_i', g_j⟩ = (Gc)_j < 0:
                    c_j = c_j - (Gc)_j / G_jj
        weights = Σ_i c of task i

    No parameters, no deviations (the order comes from the random numbers of the model and step).

    One task, or none in conflict: the sum. A zero gradient meets no conflict: weight 1. Opposite gradients cancel:
    w_k = 1 + ‖g_j‖ / ‖g_k‖ for two, direction 0.
    """

    name = "pcgrad"
    family = "gradient"
    paper = "Yu et al., NeurIPS 2020 (arXiv 2001.06782)"
    assumes = "a conflict of directions is what harms; all tasks count alike"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        gram, squares = step.gram, step.gram.diagonal(dim1=1, dim2=2)
        changed = torch.diag_embed(step.present.to(gram.dtype))  # [M, i, k]: c of g_i'
        for other in _orders(step).unbind(2):  # [M, i]: the j that i meets
            inner = (changed * _rows(gram, other)).sum(2)
            square = squares.gather(1, other)
            conflict = (inner < 0) & (square > 0) & _differ(other)
            part = torch.where(conflict, -inner / torch.where(conflict, square, 1.0), 0.0)
            changed = changed.scatter_add(2, other[:, :, None], part[:, :, None])
        return changed.sum(1), state


class GradVac(Strategy):
    """Each task gradient is turned towards the others until it is as close to each as the two have been on average.

    Wang, Tsvetkov, Firat and Cao, "Gradient vaccine: investigating and improving multi-task optimization in massively
    multilingual models", ICLR 2021 (arXiv 2010.05874). For every task i and every other j, in random order, with
    φ = cos(g_i', g_j) and the target φ̂_ij: if φ < φ̂, then
    g_i' += ‖g_i'‖ (φ̂ √(1-φ²) - φ √(1-φ̂²)) / (‖g_j‖ √(1-φ̂²)) g_j, after which the cosine is φ̂; and
    φ̂ <- (1 - β) φ̂ + β φ, with the φ from before. φ̂ starts at 0: the first step is PCGrad's. The direction is Σ_i
    g_i'.

        for every task i:
            c = the i-th unit vector                       # g_i' = Σ_k c_k g_k
            for j != i in random order:
                φ = (Gc)_j / (‖g_i'‖ ‖g_j‖)
                if φ < φ̂_ij:
                    c_j = c_j + ‖g_i'‖ (φ̂_ij √(1-φ²) - φ √(1-φ̂_ij²)) / (‖g_j‖ √(1-φ̂_ij²))
                φ̂_ij = (1 - β) φ̂_ij + β φ
        weights = Σ_i c of task i

    Parameter beta in [0, 1], share of the newest cosine in the target, 0.01 as in the paper; 0 is PCGrad.

    Deviations: √(1-φ̂²) counts as 1e-8 at least, since no finite step reaches a cosine of 1. One group of parameters,
    all that are shared (the paper: one for each layer). Where a gradient is zero, or has become so, there is no cosine:
    nothing is changed and φ̂ stays.

    One task: weight 1. Nothing shared, or zero gradients: all weights 1. Collinear gradients that point one way: the
    sum. Opposite gradients: with a target of 0 they cancel, as in PCGrad.
    """

    name = "gradvac"
    family = "gradient"
    paper = "Wang, Tsvetkov, Firat and Cao, ICLR 2021 (arXiv 2010.05874)"
    assumes = "tasks have a typical similarity worth restoring; all count alike"
    knobs = (Knob("beta", 0.01, 0.0, 1.0, "share of the newest cosine in the target"),)
    reads_gramian = True

    def start(self, models: int, tasks: int) -> State:
        return {"target": torch.zeros(models, tasks, tasks, dtype=torch.float64)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        gram = step.gram
        norms = gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        beta, targets = values["beta"][:, None], state["target"]
        changed = torch.diag_embed(step.present.to(gram.dtype))
        for other in _orders(step).unbind(2):
            at = other[:, :, None]
            theirs, mine = norms.gather(1, other), _lengths(changed, gram, norms)
            meets = (mine > 0) & (theirs > 0) & _differ(other)
            both = torch.where(meets, mine * theirs, 1.0)
            cosine = ((changed * _rows(gram, other)).sum(2) / both).clamp(-1, 1)
            target = targets.gather(2, at)[:, :, 0]
            sine, aimed = _sine(cosine), _sine(target).clamp(min=_LEAST_SINE)
            turn = mine * (target * sine - cosine * aimed) / (torch.where(meets, theirs, 1.0) * aimed)
            turn = torch.where(meets & (cosine < target), turn, 0.0)
            changed = changed.scatter_add(2, at, turn[:, :, None])
            moved = torch.where(meets, (1 - beta) * target + beta * cosine, target)
            targets = targets.scatter(2, at, moved[:, :, None])
        return changed.sum(1), {"target": targets}


def _orders(step: Step) -> Tensor:
    """For every task of every model a random order of all tasks [M, i, K]; absent tasks use up no random numbers."""
    tasks = step.present.shape[1]
    drawn = torch.stack([step.uniform(i, tasks) for i in range(tasks)], 1)
    place = (step.present.cumsum(1) - 1).clamp(min=0)
    of_task = drawn.gather(1, place[:, :, None].expand_as(drawn))
    return of_task.gather(2, place[:, None, :].expand_as(drawn)).argsort(dim=2, stable=True)


def _rows(gram: Tensor, which: Tensor) -> Tensor:
    """Row which[m, i] of the Gramian, for every m and i: [M, i, K]."""
    return gram.gather(1, which[:, :, None].expand(-1, -1, gram.shape[2]))


def _differ(other: Tensor) -> Tensor:
    return other != torch.arange(other.shape[1], device=other.device)


def _lengths(changed: Tensor, gram: Tensor, norms: Tensor) -> Tensor:
    """‖g_i'‖ [M, i]; 0 where the parts of g_i' cancel but for rounding."""
    square = ((changed @ gram) * changed).sum(2)
    summed = (changed.abs() * norms[:, None, :]).sum(2).square()
    return torch.where(square > _ROUNDING * summed, square, 0.0).sqrt()


def _sine(cosine: Tensor) -> Tensor:
    return (1 - cosine.square()).clamp(min=0).sqrt()
