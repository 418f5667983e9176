"""Random loss weighting: its distribution, and what it depends on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchjd import scalarization

from lupi.balancing.rlw import RLW
from tests.lupi.balancing.steps import losses_of, step_of


def test_rlw__one_model__softmax_of_box_and_mullers_normals() -> None:
    step = step_of(losses=losses_of((1.0, 1.0, 1.0)), seed=3, number=5)
    u = step.uniform(0, 6)[0].tolist()
    e = [math.exp(math.sqrt(-2 * math.log(1 - u[i])) * math.cos(2 * math.pi * u[i + 1])) for i in (0, 2, 4)]
    weights, _ = RLW().weights(step, {}, {})
    assert weights[0].tolist() == pytest.approx([x / sum(e) for x in e], rel=1e-12)


def test_rlw__many_models__log_ratios_are_differences_of_normals() -> None:
    weights, _ = RLW().weights(step_of(losses=torch.ones(20000, 2)), {}, {})
    difference = weights.log().diff(dim=1)[:, 0]  # N(0, 2)
    assert abs(difference.mean().item()) < 4 * math.sqrt(2 / 20000)
    assert difference.var().item() == pytest.approx(2.0, rel=4 * math.sqrt(2 / 20000))
    assert (difference.abs() < math.sqrt(2)).double().mean().item() == pytest.approx(0.6827, abs=0.015)


def test_rlw__many_models__distributed_as_torchjds_random() -> None:
    """Both are softmax of normals: means and spreads of a weight agree within their error."""
    torch.manual_seed(0)
    losses = torch.ones(3, dtype=torch.float64, requires_grad=True)
    drawn = [torch.autograd.grad(scalarization.Random()(losses), losses)[0] for _ in range(4000)]
    theirs = torch.stack(drawn)
    ours, _ = RLW().weights(step_of(losses=torch.ones(4000, 3)), {}, {})
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0, atol=0.02)


def test_rlw__other_losses__depends_on_seed_and_step_alone() -> None:
    def weights(**about: Any) -> Tensor:
        return RLW().weights(step_of(losses=torch.rand(1, 3), **about), {}, {})[0]

    assert torch.equal(weights(seed=7, number=2), weights(seed=7, number=2))
    assert not torch.equal(weights(seed=7, number=2), weights(seed=7, number=3))
    assert not torch.equal(weights(seed=7, number=2), weights(seed=8, number=2))
    assert weights(seed=7, number=2).sum().item() == pytest.approx(1, rel=1e-14)
