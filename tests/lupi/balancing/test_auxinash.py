"""AuxiNash: hypergradients against slopes, preferences, and the illustration of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lupi.balancing import bargaining
from lupi.balancing.auxinash import AuxiNash, FixedAuxiNash
from lupi.balancing.implicit import neumann
from tests.lupi.balancing.bargains import far_off, leaning_gramians, solved
from tests.lupi.balancing.bilevel import K, M, Quadratics, slopes
from tests.lupi.balancing.steps import parameters_of, step_of


def test_auxinash__hypergradient__is_the_slope_through_the_bargaining_weights() -> None:
    quadratics, strategy = Quadratics(1), AuxiNash()
    p = torch.tensor([[1.2, 1.0, 0.8], [0.5, 0.9, 1.6]], dtype=torch.float64)
    present = torch.ones(M, K, dtype=torch.bool)
    start = quadratics.gradients(quadratics.theta)
    gramian = start @ start.mT
    alpha = bargaining.solve(gramian, p, present)
    theta = quadratics.optimum(alpha)
    exact = slopes(lambda q: quadratics.outer(quadratics.optimum(bargaining.solve(gramian, q, present))), p)
    response = quadratics.response(alpha, theta)
    gradient = -bargaining.preference_gradient(gramian, p, present, alpha, response)
    torch.testing.assert_close(gradient, exact, rtol=1e-4, atol=1e-7)
    # The step itself: down this gradient, no longer than 1, then normalised.
    state = {**strategy.start(M, K), "preference": p}
    after = strategy.learn(response, step_of(gramian), state, parameters_of(strategy, M, lr=0.01))
    moved = (p - 0.01 * exact / exact.norm(dim=1, keepdim=True).clamp(min=1)).clamp(min=1e-4)
    torch.testing.assert_close(after["preference"], moved * 3 / moved.sum(1, keepdim=True), rtol=1e-5, atol=1e-7)


def test_auxinash_fixed__a_share_given__is_the_solution_with_that_share() -> None:
    gramian = leaning_gramians(5, 4, 1)
    strategy = FixedAuxiNash()
    alpha, _ = strategy.weights(step_of(gramian), {}, parameters_of(strategy, 5, preference=0.7))
    assert far_off(gramian, alpha, torch.tensor([[2.8, 0.4, 0.4, 0.4]], dtype=torch.float64).expand(5, 4)) < 1e-10


def test_auxinash__large_steps__starts_as_nash_mtl_and_preferences_stay_normalised() -> None:
    strategy, gramian = AuxiNash(), leaning_gramians(7, 4, 5)
    step, state, values = step_of(gramian), strategy.start(7, 4), parameters_of(strategy, 7, lr=0.4)
    torch.testing.assert_close(strategy.weights(step, state, values)[0], solved(gramian, torch.ones(7, 4).double()))
    response = 100 * leaning_gramians(7, 4, 6)[:, 0]
    before = {name: value.clone() for name, value in state.items()}
    for _ in range(12):
        state = strategy.learn(response, step, state, values)
        torch.testing.assert_close(state["preference"].sum(1), torch.full((7,), 4.0).double())
        assert (state["preference"] > 0).all()
    assert all(torch.equal(before[name], value) for name, value in strategy.start(7, 4).items())


@pytest.mark.slow
def test_auxinash__illustration_in_two_dimensions__the_harmful_task_loses_its_say() -> None:
    """Shamsian et al. 2023, D.1: the main task and a helper share W* = (1, 1), the main one 20 times as noisy; the
    harmful one has W = (-1, -4)."""
    models, n, batch, epochs = 3, 1000, 256, 300
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    x = normal(models, n, 2)
    truth = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, -4.0]], dtype=torch.float64)
    y = x @ truth.mT + normal(models, n, 3) * torch.tensor([5.0, 0.25, 0.25], dtype=torch.float64)
    strategy = AuxiNash()
    state, values = strategy.start(models, 3), parameters_of(strategy, models)
    theta = normal(models, 2)
    mean, square, number = torch.zeros_like(theta), torch.zeros_like(theta), 0

    def gradients(rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of the three mean squared errors [M, 3, 2], and their common Hessian [M, 2, 2]."""
        seen, left = x[:, rows], (x[:, rows] @ theta.unsqueeze(2)) - y[:, rows]
        return 2 * (left.mT @ seen) / len(rows), 2 * seen.mT @ seen / len(rows)

    for _ in range(epochs):
        order = torch.randperm(n, generator=draw)
        parts = order.split(batch)
        for i, rows in enumerate(parts):
            g, hessian = gradients(rows)
            step = step_of(g @ g.mT)
            alpha, state = strategy.weights(step, state, values)
            if number % strategy.every == strategy.every - 1:
                outer = gradients(parts[(i + 1) % len(parts)])[0][:, 0]
                whole = alpha.sum(1)[:, None, None] * hessian
                v = neumann(lambda u, whole=whole: (whole @ u.unsqueeze(2)).squeeze(2), outer)
                state = strategy.learn((g @ v.unsqueeze(2)).squeeze(2), step, state, values)
            number += 1
            d = (alpha.unsqueeze(1) @ g).squeeze(1)
            mean, square = 0.9 * mean + 0.1 * d, 0.999 * square + 0.001 * d**2
            theta = theta - 1e-2 * (mean / (1 - 0.9**number)) / ((square / (1 - 0.999**number)).sqrt() + 1e-8)
    preference = state["preference"] / 3
    assert (preference[:, 2] < 0.02).all(), preference
    assert (preference[:, 1] > 0.2).all(), preference
