"""MGDA: the direction is the shortest vector in the convex hull of the task gradients."""

from __future__ import annotations

from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values
from lupi.balancing.simplex import min_norm


class MGDA(Strategy):
    """The shortest convex combination of the task gradients.

    Désidéri, Comptes Rendus Mathématique 350(5-6), 2012; Sener and Koltun, "Multi-task learning as multi-objective
    optimization", NeurIPS 2018, arXiv 1810.04650. w = argmin ‖Σ_k w_k g_k‖² over w >= 0, Σw = 1. The direction d
    satisfies ⟨g_k, d⟩ >= ‖d‖² for every task k, and d = 0 only where no direction helps all tasks. Short gradients get
    the weight: a task that is almost learned rules. No parameters.

    Deviations: solved exactly instead of by Frank-Wolfe; gradients of the shared parameters, not of the shared
    representation (MGDA-UB), and not normalised.

    One task: weight 1. A zero gradient takes all the weight, and the shared parameters stand still. Collinear
    gradients: the shorter one; equal ones share alike. Opposite gradients: they cancel.
    """

    name = "mgda"
    family = "gradient"
    paper = "Désidéri 2012; Sener and Koltun, NeurIPS 2018"
    assumes = "every task counts alike; gradients of comparable length"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return min_norm(step.gram, step.present), state
