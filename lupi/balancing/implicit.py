"""Implicit differentiation: a truncated Neumann series for the inverse Hessian of the training loss times a vector."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

#: As in the code of AuxiLearn and AuxiNash: three products with the Hessian, each with this step.
TERMS, STEP = 3, 1e-4


def neumann(product: Callable[[Tensor], Tensor], vector: Tensor, step: float = STEP, terms: int = TERMS) -> Tensor:
    """Σ_{i=0}^{terms} (I - step · H)^i vector, for H through its products with vectors.

    step times this converges to H⁻¹ vector where the eigenvalues of H lie in (0, 2 / step) (Lorraine, Vicol and
    Duvenaud, AISTATS 2020). The factor is left out, as in the code of AuxiNash, whose steps do not depend on it.
    """
    term = total = vector
    for _ in range(terms):
        term = term - step * product(term)
        total = total + term
    return total
