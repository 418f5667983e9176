"""Dynamic weight average: by hand, and against torchjd."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import scalarization

from lupi.balancing.dwa import DWA
from tests.lupi.balancing.steps import losses_of, random_steps, run, step_of


def test_dwa__third_epoch__weights_by_hand() -> None:
    losses = ((4.0, 1.0), (2.0, 3.0), (1.0, 1.0), (2.0, 3.0), (9.0, 9.0))  # means (3, 2), then (1.5, 2)
    course, _ = run(DWA(), [step_of(losses=losses_of(row)) for row in losses], temperature=0.5)
    for weights in course[:4]:
        assert weights.tolist() == [[1.0, 1.0]]
    a, b = math.exp(0.5 / 0.5), math.exp(1.0 / 0.5)
    assert course[4][0].tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)], rel=1e-14)


def test_dwa__loss_that_was_zero__counts_as_unchanged() -> None:
    losses = ((0.0, 2.0), (1.0, 2.0), (1.0, 1.0))
    course, _ = run(DWA(), [step_of(losses=losses_of(row)) for row in losses], epoch=1)
    assert course[2].tolist() == [[1.0, 1.0]]


def test_dwa__task_absent_in_some_steps__mean_of_the_others() -> None:
    """Task 1 has the means 3, then 1 over one step, and keeps them through an epoch without it."""
    both, alone = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    seen = [(both, 2.0), (both, 4.0), (alone, 0.0), (both, 1.0), (alone, 0.0), (alone, 0.0), (both, 7.0)]
    course, _ = run(
        DWA(), [step_of(losses=losses_of((1.0, loss)), present=present) for present, loss in seen], temperature=1.0
    )
    a, b = math.exp(1.0), math.exp(1.0 / 3.0)
    assert course[4].tolist() == course[5].tolist() == [[1.0, 0.0]]
    assert course[6][0].tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)], rel=1e-14)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_dwa__random_losses__equals_torchjd(tasks: int) -> None:
    steps, oracle = random_steps(1, tasks, 12), scalarization.DWA(temperature=1.3)
    course, _ = run(DWA(), steps, epoch=3, temperature=1.3)
    for number, (step, weights) in enumerate(zip(steps, course, strict=True), 1):
        losses = step.losses[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(oracle(losses), losses)
        torch.testing.assert_close(weights[0], expected, rtol=1e-12, atol=0)
        if number % 3 == 0:
            oracle.step()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), scales=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3))
def test_dwa__losses_in_other_units__same_weights(seed: int, scales: list[float]) -> None:
    steps = random_steps(2, 3, 7, seed=seed)
    scaled = [step_of(losses=step.losses * losses_of(tuple(scales))) for step in steps]
    torch.testing.assert_close(run(DWA(), steps).weights, run(DWA(), scaled).weights, rtol=1e-10, atol=0)
