"""Gradient cosine similarity, GCS and its weighted form: by hand, and what it promises the main task."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing.base import Strategy
from lupi.balancing.cosine import GCS, WeightedGCS
from tests.lupi.balancing.steps import gradients_of, gram_of, random_steps, run, step_of


def gramian_of(*gradients: tuple[float, ...]) -> Tensor:
    """The Gramian [1, K, K] of these gradients."""
    return gram_of(gradients_of(*gradients))


def test_gcs__helpers_on_either_side_of_a_right_angle__by_hand() -> None:
    g = gramian_of((2.0, 0.0), (1e-3, 5.0), (0.0, 3.0), (-1e-3, 5.0), (-4.0, 0.0), (0.0, 0.0))
    assert run(GCS(), [step_of(g)]).weights[0, 0].tolist() == [1, 1, 1, 0, 0, 1]


def test_gcs_weighted__cosines__by_hand() -> None:
    g = gramian_of((2.0, 0.0), (3.0, 0.0), (3.0, 4.0), (-3.0, 4.0), (0.0, 1.0), (0.0, 0.0))
    assert run(WeightedGCS(), [step_of(g)]).weights[0, 0].tolist() == pytest.approx([1, 1, 0.6, 0, 0, 0], abs=1e-15)


@pytest.mark.parametrize(("strategy", "helper"), [(GCS(), 1.0), (WeightedGCS(), 0.0)])
def test_gcs__main_gradient_zero__as_documented(strategy: Strategy, helper: float) -> None:
    assert run(strategy, [step_of(gramian_of((0.0, 0.0), (1.0, 2.0)))]).weights[0, 0].tolist() == [1.0, helper]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_gcs__random_gradients__main_task_gains_at_least_what_it_gains_alone(seed: int, tasks: int) -> None:
    (step,) = random_steps(4, tasks, 1, seed=seed)
    for strategy in (GCS(), WeightedGCS()):
        w = run(strategy, [step]).weights[0]
        assert ((step.gram[:, 0] * w).sum(1) >= step.gram[:, 0, 0] * (1 - 1e-12)).all()
