"""A problem of two levels with an exact answer: quadratic losses, and the main task's loss of other rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lupi.balancing.implicit import neumann

M, K, P = 2, 3, 5


class Quadratics:
    """Losses L_k = ½ (θ - c_k)ᵀ A_k (θ - c_k) of M models, and the main task's loss of other rows, L_V."""

    def __init__(self, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
        root = normal(M, K, P, P)
        self.a = root @ root.mT / P + 0.5 * torch.eye(P, dtype=torch.float64)
        self.c, self.held = normal(M, K, P), normal(M, P)
        self.theta = normal(M, P)

    def optimum(self, weights: Tensor) -> Tensor:
        """θ* [M, P], where Σ_k w_k L_k is least."""
        right = torch.einsum("mk,mkij,mkj->mi", weights, self.a, self.c)
        return torch.linalg.solve(self.hessian(weights), right)

    def hessian(self, weights: Tensor) -> Tensor:
        return torch.einsum("mk,mkij->mij", weights, self.a)

    def gradients(self, theta: Tensor) -> Tensor:
        """Of the K losses [M, K, P]."""
        return torch.einsum("mkij,mkj->mki", self.a, theta[:, None] - self.c)

    def losses(self, theta: Tensor) -> Tensor:
        return 0.5 * ((theta[:, None] - self.c) * self.gradients(theta)).sum(2)

    def outer(self, theta: Tensor) -> Tensor:
        """L_V [M]."""
        return 0.5 * (theta - self.held).square().sum(1)

    def response(self, weights: Tensor, theta: Tensor, terms: int = 4000) -> Tensor:
        """⟨v, g_k⟩ [M, K] by the Neumann series, with its factor."""
        hessian = self.hessian(weights)
        step = 1 / float(torch.linalg.eigvalsh(hessian).max())
        v = step * neumann(lambda u: (hessian @ u.unsqueeze(2)).squeeze(2), theta - self.held, step, terms)
        return (self.gradients(theta) @ v.unsqueeze(2)).squeeze(2)


def slopes(of: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """d of [M] / d at [M, K] by central differences."""
    slope = torch.zeros_like(at)
    for k in range(at.shape[1]):
        h = torch.zeros_like(at)
        h[:, k] = 1e-5
        slope[:, k] = (of(at + h) - of(at - h)) / 2e-5
    return slope


def by_gradient_descent(quadratics: Quadratics, weights: Tensor) -> Tensor:
    """The unrolled problem: θ after many plain steps down Σ w_k L_k."""
    theta, rate = quadratics.theta, 1 / float(torch.linalg.eigvalsh(quadratics.hessian(weights)).max())
    for _ in range(2000):
        theta = theta - rate * (weights[:, None] @ quadratics.gradients(theta)).squeeze(1)
    return theta
