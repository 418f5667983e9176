"""Uncertainty weighting: by hand, where it comes to rest, and against torchjd under torch's Adam."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchjd import scalarization

from lupi.balancing.uncertainty import Uncertainty
from tests.lupi.balancing.steps import losses_of, run, step_of


def test_uncertainty__two_steps__weights_by_hand() -> None:
    """Adam's first step is lr · sign(gradient); the second is worked out from its moments."""
    steps = [step_of(losses=losses_of(row), regression=torch.tensor([False, True])) for row in ((2.0, 0.5), (0.1, 4.0))]
    (first, second), state = run(Uncertainty(), steps, lr=0.01)
    start = math.exp(-0.1)
    assert first[0].tolist() == pytest.approx([start, start / 2], rel=1e-14)
    gradients = [0.5 - start * 2.0, 0.5 - 0.5 * start * 0.5]  # d/ds of e^{-s} L + ½ s and ½ e^{-s} L + ½ s
    s = [0.1 - 0.01 * g / (abs(g) + 1e-8) for g in gradients]
    precision = [math.exp(-s[0]), 0.5 * math.exp(-s[1])]
    assert second[0].tolist() == pytest.approx(precision, rel=1e-12)
    for k, loss in enumerate((0.1, 4.0)):
        g0, g1 = gradients[k], 0.5 - precision[k] * loss
        mean = (0.9 * 0.1 * g0 + 0.1 * g1) / (1 - 0.9**2)
        square = (0.999 * 0.001 * g0**2 + 0.001 * g1**2) / (1 - 0.999**2)
        expected = s[k] - 0.01 * mean / (math.sqrt(square) + 1e-8)
        assert state["log_variance"][0, k].item() == pytest.approx(expected, rel=1e-11)


def test_uncertainty__constant_losses__rests_where_the_paper_says() -> None:
    steps = [step_of(losses=losses_of((0.7, 0.3)), regression=torch.tensor([False, True]))] * 1500
    _, state = run(Uncertainty(), steps, lr=0.02)
    assert state["log_variance"].exp()[0].tolist() == pytest.approx([2 * 0.7, 0.3], rel=1e-6)


def test_uncertainty__steps_without_a_task__leave_it_as_it_was() -> None:
    seen = torch.tensor([True, False, False, True, True, False, True])
    losses = losses_of(*[(1.0, 0.3 + number) for number in range(7)])
    present = torch.stack([torch.ones(7, dtype=torch.bool), seen], 1)
    course, _ = run(Uncertainty(), [step_of(losses=losses[[i]], present=present[[i]]) for i in range(7)], lr=0.1)
    short, _ = run(Uncertainty(), [step_of(losses=losses[[i]]) for i in range(7) if seen[i]], lr=0.1)
    assert [weights[0, 1].item() for weights in course if weights[0, 1] > 0] == [w[0, 1].item() for w in short]


def test_uncertainty__regressions__equals_torchjd_under_torchs_adam() -> None:
    draw, oracle = np.random.default_rng(3), scalarization.UW(3).double()
    torch.nn.init.constant_(oracle.log_var, 0.1)
    adam = torch.optim.Adam(oracle.parameters(), lr=0.03)
    rows = torch.as_tensor(draw.lognormal(size=(40, 1, 3)))
    course, _ = run(Uncertainty(), [step_of(losses=row, regression=torch.ones(3).bool()) for row in rows], lr=0.03)
    for row, weights in zip(rows, course, strict=True):
        losses = row[0].clone().requires_grad_()
        adam.zero_grad()
        oracle(losses).backward()
        assert losses.grad is not None
        torch.testing.assert_close(weights[0], losses.grad, rtol=1e-11, atol=0)
        adam.step()
