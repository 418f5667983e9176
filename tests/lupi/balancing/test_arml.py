"""ARML: by hand, and weights found on a problem that has true ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lupi.balancing.arml import ARML
from tests.lupi.balancing.steps import gradients_of, gram_of, parameters_of, random_steps, run, step_of


def gramian_of(*gradients: tuple[float, ...]) -> Tensor:
    """The Gramian [1, K, K] of these gradients."""
    return gram_of(gradients_of(*gradients))


def test_arml__one_step__by_hand() -> None:
    """Slope 2 (Gα - g) = 2 ((2, 4) - (3, 0)) = (-2, 8), so α = (1.2, 0.2) for lr = 0.1, then 0.3 is added to each."""
    g = gramian_of((3 / 2**0.5, 0.0), (2**0.5, 0.0), (0.0, 2.0))
    steps = [step_of(g, number=n) for n in range(4)]
    weights = run(ARML(), steps, lr=0.1, every=3).weights[:, 0]
    assert weights[:3].tolist() == [[1.0, 1.0, 1.0]] * 3
    assert weights[3].tolist() == pytest.approx([1.0, 1.5, 0.5], rel=1e-12)


def test_arml__helper_against_the_main_task__is_clamped_at_zero() -> None:
    """(3 - α_1 + 3 α_2)² with α_1 + α_2 = 2 is least at α_2 = -1/4."""
    g = gramian_of((3.0, 0.0), (1.0, 0.0), (-3.0, 0.0))
    last = run(ARML(), [step_of(g, number=n) for n in range(200)], every=1, lr=0.02).weights[-1, 0]
    assert last[2].item() == 0.0
    assert last[1].item() >= 2.0


def test_arml__one_helper__keeps_weight_one() -> None:
    assert (run(ARML(), random_steps(3, 2, 50), every=5).weights == 1.0).all()


def test_arml__linear_gaussian_problem__recovers_the_true_weights() -> None:
    """Helpers are Gaussian likelihoods of a linear model; the main task's is their product with powers α*, Σα* = K.
    The parameters move by Langevin dynamics along the direction that ARML gives."""
    rng = torch.Generator().manual_seed(0)
    truth = torch.tensor([0.2, 0.8, 2.0], dtype=torch.float64)
    rows = torch.randn(3, 5, 4, generator=rng, dtype=torch.float64) / 5**0.5
    seen = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    theta, strategy = torch.zeros(4, dtype=torch.float64), ARML()
    state, parameters = strategy.start(1, 4), parameters_of(strategy, 1, every=5, lr=0.02)
    for number in range(3000):
        helpers = torch.einsum("kni,kn->ki", rows, rows @ theta - seen)
        gradients = torch.cat([(truth @ helpers)[None], helpers])
        weights, state = strategy.weights(step_of((gradients @ gradients.mT)[None], number=number), state, parameters)
        noise = torch.randn(4, generator=rng, dtype=torch.float64)
        theta = theta - 0.02 * (weights[0] @ gradients) + 0.2 * noise
    torch.testing.assert_close(state["alpha"][0, 1:], truth, rtol=0, atol=1e-6)
