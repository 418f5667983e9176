"""The geometric mean of the losses: by hand, and against torchjd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import scalarization

from lupi.balancing.geometric import GeometricMean
from tests.lupi.balancing.steps import losses_of, random_steps, step_of


def test_geometric_mean__two_tasks__weights_by_hand() -> None:
    weights, _ = GeometricMean().weights(step_of(losses=losses_of((4.0, 9.0), (1.0, 0.0))), {}, {})
    assert weights[0].tolist() == pytest.approx([6 / 8, 6 / 18], rel=1e-12)
    assert weights[1].tolist() == pytest.approx([0.5e-4, 0.5e4], rel=1e-12)  # 0 counts as 1e-8


@pytest.mark.parametrize("tasks", [1, 2, 3, 6])
def test_geometric_mean__random_losses__equals_torchjds_derivative(tasks: int) -> None:
    for step in random_steps(1, tasks, 8):
        losses = step.losses[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(scalarization.GeometricMean()(losses), losses)
        torch.testing.assert_close(GeometricMean().weights(step, {}, {})[0][0], expected, rtol=1e-12, atol=0)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), scales=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3))
def test_geometric_mean__losses_in_any_units__weighted_losses_are_equal(seed: int, scales: list[float]) -> None:
    for step in random_steps(2, 3, 7, seed=seed):
        for losses in (step.losses, step.losses * losses_of(tuple(scales))):
            shares = GeometricMean().weights(step_of(losses=losses), {}, {})[0] * losses
            torch.testing.assert_close(shares, shares[:, :1].expand(-1, 3), rtol=1e-10, atol=0)
