"""GradNorm: by hand, and where it comes to rest."""

from __future__ import annotations

import pytest
import torch

from lupi.balancing.base import Step
from lupi.balancing.gradnorm import GradNorm
from tests.lupi.balancing.steps import losses_of, run, step_of


def gradnorm_steps(*losses: tuple[float, ...]) -> list[Step]:
    """Orthogonal gradients of norms 3 and 1."""
    return [step_of(torch.diag_embed(losses_of((9.0, 1.0))), losses_of(row)) for row in losses]


def test_gradnorm__two_steps__weights_by_hand() -> None:
    """Adam's first step is lr · sign of the subgradient: the longer gradient's weight falls, the other's rises."""
    course, state = run(GradNorm(), gradnorm_steps((2.0, 2.0), (1.0, 2.0)), lr=0.1, alpha=1.0)
    assert course[0].tolist() == [[1.0, 1.0]]
    assert course[1][0].tolist() == pytest.approx([0.9, 1.1], rel=1e-7)  # target 2 for both; 3 is above, 1 below
    # Ratios (0.5, 1), rates (2/3, 4/3), norms (2.7, 1.1), mean 1.9, targets (1.27, 2.53): the same subgradient again.
    assert state["weights"][0].tolist() == pytest.approx([0.8, 1.2], rel=1e-7)
    assert state["first"].tolist() == [[2.0, 2.0]]


def test_gradnorm__large_alpha__turns_the_target_round() -> None:
    """A task far behind may keep a gradient longer than the mean: r = 1.8, and 1.9 · 1.8³ is above 2.7."""
    course, _ = run(GradNorm(), gradnorm_steps((1.0, 9.0), (1.0, 1.0), (1.0, 1.0)), lr=0.1, alpha=3.0)
    assert course[1][0, 0].item() < 1
    up, down = course[2][0].tolist()
    assert up > course[1][0, 0].item()
    assert up + down == pytest.approx(2, rel=1e-14)


def test_gradnorm__constant_training_rates__norms_become_equal() -> None:
    course, _ = run(GradNorm(), gradnorm_steps((1.0, 1.0)) * 400, lr=0.005)
    weighted = course[-1][0] * losses_of((3.0, 1.0))[0]
    assert weighted[0].item() == pytest.approx(weighted[1].item(), rel=0.03)


def test_gradnorm__large_steps__weights_stay_positive() -> None:
    """The second step would take the weight of the longer gradient from 0.4 to -0.2."""
    course, _ = run(GradNorm(), [step_of(torch.diag_embed(losses_of((900.0, 1.0))))] * 5, lr=0.6)
    for weights in course:
        assert bool((weights > 0).all())
        assert weights.sum().item() == pytest.approx(2, rel=1e-14)


def test_gradnorm__without_a_gramian__raises() -> None:
    with pytest.raises(ValueError, match="reads the Gramian"):
        run(GradNorm(), [step_of(losses=losses_of((1.0, 1.0)))])
