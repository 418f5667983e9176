"""Gramians from easy to singular, and lengths measured in them: what the quadratic strategies are tested on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import quadratic
from tests.lupi.balancing.steps import gram_of

problems = pytest.mark.parametrize(
    ("tasks", "rank", "spread"),
    [(2, 20, 0), (2, 1, 4), (3, 1, 0), (3, 2, 4), (4, 20, 4), (5, 3, 0), (8, 20, 0), (8, 7, 4), (8, 2, 0)],
)


def gramians(models: int, tasks: int, *, rank: int = 20, spread: float = 0.0, seed: int = 0) -> Tensor:
    """Random Gramians [M, K, K] of gradients in `rank` dimensions whose lengths differ by up to 10^spread; a third of
    them of gradients that all but cancel."""
    rng = torch.Generator().manual_seed(seed)
    j = torch.randn(models, tasks, rank, generator=rng, dtype=torch.float64)
    j[::3] -= 0.9 * j[::3].mean(1, keepdim=True)
    return gram_of(j * 10 ** (spread * torch.rand(models, tasks, 1, generator=rng, dtype=torch.float64)))


@st.composite
def hard_gramians(draw: st.DrawFn) -> Tensor:
    """Gramians of two models: of any rank, with lengths up to 10^4 apart."""
    tasks, rank = draw(st.integers(2, 6)), draw(st.integers(1, 8))
    return gramians(2, tasks, rank=rank, spread=draw(st.floats(0, 4)), seed=draw(st.integers(0, 10**6)))


def of_pair(first: float, second: float, inner: float) -> Tensor:
    """The Gramian of two gradients, from their squared lengths and inner product."""
    return torch.tensor([[[first, inner], [inner, second]]], dtype=torch.float64)


def length(gramian: Tensor, weights: Tensor) -> Tensor:
    """‖Σ_k w_k g_k‖² [M]."""
    return (weights * quadratic.times(gramian, weights)).sum(1)
