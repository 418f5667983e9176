"""UPGrad: against torchjd, by its optimality conditions, and by hand."""

from __future__ import annotations

import pytest
import torch
import torchjd.aggregation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import quadratic
from lupi.balancing.upgrad import UPGrad
from tests.lupi.balancing.gramians import gramians, length, of_pair, problems
from tests.lupi.balancing.steps import weigh


def _projector() -> torchjd.linalg.QuadprogProjector:
    return torchjd.linalg.QuadprogProjector(norm_eps=0.0, reg_eps=1e-14)


@pytest.mark.parametrize("tasks", [2, 3, 5, 8])
def test_upgrad__regular_gramian__equals_torchjd(tasks: int) -> None:
    """torchjd adds a ridge to G, here of 1e-14 its trace."""
    g = gramians(12, tasks)
    theirs = torchjd.aggregation.UPGrad(projector=_projector()).gramian_weighting
    torch.testing.assert_close(weigh(UPGrad(), g), torch.stack([theirs(one) for one in g]), rtol=1e-9, atol=1e-10)


@problems
def test_upgrad__any_gramian__every_projection_is_the_nearest_vector_without_conflict(
    tasks: int, rank: int, spread: float
) -> None:
    """Of projections p_i of g_i: ⟨g_k, p_i⟩ >= 0 for all k, and p_i - g_i is orthogonal to p_i (a cone)."""
    g = gramians(40, tasks, rank=rank, spread=spread)
    norms = g.diagonal(dim1=1, dim2=2).sqrt()
    for task in range(tasks):
        unit = torch.eye(tasks, dtype=torch.float64)[task].expand(40, tasks)
        v = quadratic.nonnegative(g, g[:, task])  # moves of g_task
        inner = quadratic.times(g, v + unit) / norms / norms[:, task, None]
        assert inner.min() > -1e-12
        assert ((inner * norms * v).sum(1) / norms[:, task]).abs().max() < 1e-10
    total = sum(torch.eye(tasks, dtype=torch.float64)[i] + quadratic.nonnegative(g, g[:, i]) for i in range(tasks))
    assert isinstance(total, Tensor)
    torch.testing.assert_close(weigh(UPGrad(), g), total / tasks, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("gramian", "expected"),
    [
        (of_pair(4.0, 1.0, 1.0), [0.5, 0.5]),  # no conflict: the mean
        (of_pair(4.0, 1.0, -1.0), [(1 + 0.25) / 2, (1 + 1) / 2]),  # of g_1 + g_2 and g_2 + g_1 / 4
        (of_pair(4.0, 1.0, 2.0), [0.5, 0.5]),
        (of_pair(4.0, 0.0, 0.0), [0.5, 0.5]),
    ],
)
def test_upgrad__two_tasks__by_hand(gramian: Tensor, expected: list[float]) -> None:
    assert weigh(UPGrad(), gramian)[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_upgrad__opposite_gradients__stands_still() -> None:
    g = of_pair(4.0, 1.0, -2.0)
    assert length(g, weigh(UPGrad(), g)).item() == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), factors=st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_upgrad__gradients_scaled_each__is_linear(seed: int, factors: list[float]) -> None:
    """Each projection scales with its own gradient and does not see the lengths of the others."""
    g, scale = gramians(1, 4, seed=seed), torch.tensor([factors], dtype=torch.float64)

    def direction(by: Tensor) -> Tensor:
        return weigh(UPGrad(), g * by[:, :, None] * by[:, None, :]) * by

    ones = torch.ones_like(scale)
    away = direction(ones + scale) - direction(ones) - direction(scale)
    assert length(g, away).item() < 1e-18 * g.amax().item() * (1 + scale.amax().item()) ** 2
