"""Bargaining problems, and how far a solution is off."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import bargaining

TASKS = st.integers(2, 8)
SEEDS = st.integers(0, 2**32 - 1)


def leaning_gramians(
    models: int, tasks: int, seed: int, *, width: int = 30, spread: float = 0.0, lean: float = 0.0
) -> Tensor:
    """Gramians of random gradients of norms up to 10^±spread, leaning to a common direction."""
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    jacobian = normal(models, tasks, width) + lean * normal(models, 1, width)
    norms = 10 ** (spread * (2 * torch.rand(models, tasks, 1, generator=draw, dtype=torch.float64) - 1))
    jacobian = jacobian * norms
    return jacobian @ jacobian.mT


def preferences(models: int, tasks: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 0.01 + 2 * torch.rand(models, tasks, generator=draw, dtype=torch.float64)


def solved(gramian: Tensor, p: Tensor) -> Tensor:
    return bargaining.solve(gramian, p, torch.ones_like(p, dtype=torch.bool))


def far_off(gramian: Tensor, alpha: Tensor, p: Tensor) -> float:
    """Greatest relative distance of α_k (Gα)_k from p_k, in the longest floats there are."""
    g, a, wanted = (tensor.numpy().astype(np.longdouble) for tensor in (gramian, alpha, p))
    return float(np.abs(np.einsum("mij,mj->mi", g, a) * a / wanted - 1).max())
