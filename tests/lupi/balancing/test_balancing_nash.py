"""The bargaining solution: exactness, degenerate Gramians, derivatives by the preference; Nash-MTL and AuxiNash."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import STRATEGIES, nash
from lupi.balancing.auxinash import AuxiNash
from lupi.balancing.implicit import neumann
from tests.lupi.balancing.steps import step_of, values_of

TASKS = st.integers(2, 8)
SEEDS = st.integers(0, 2**32 - 1)


def gramians(models: int, tasks: int, seed: int, *, width: int = 30, spread: float = 0.0, lean: float = 0.0) -> Tensor:
    """Gramians of random gradients of norms up to 10^±spread, leaning to a common direction."""
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    jacobian = normal(models, tasks, width) + lean * normal(models, 1, width)
    norms = 10 ** (spread * (2 * torch.rand(models, tasks, 1, generator=draw, dtype=torch.float64) - 1))
    jacobian = jacobian * norms
    return jacobian @ jacobian.mT


def preferences(models: int, tasks: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 0.01 + 2 * torch.rand(models, tasks, generator=draw, dtype=torch.float64)


def solved(gramian: Tensor, p: Tensor) -> Tensor:
    return nash.solve(gramian, p, torch.ones_like(p, dtype=torch.bool))


def far_off(gramian: Tensor, alpha: Tensor, p: Tensor) -> float:
    """Greatest relative distance of α_k (Gα)_k from p_k, in the longest floats there are."""
    g, a, wanted = (each.numpy().astype(np.longdouble) for each in (gramian, alpha, p))
    return float(np.abs(np.einsum("mij,mj->mi", g, a) * a / wanted - 1).max())


@given(TASKS, SEEDS, st.sampled_from([0.0, 4.0]), st.sampled_from([0.0, 2.0]))
@settings(max_examples=60, deadline=None)
def test_solution__is_exact__whatever_the_norms(tasks: int, seed: int, spread: float, lean: float) -> None:
    gramian, p = gramians(50, tasks, seed, spread=spread, lean=lean), preferences(50, tasks, seed)
    assert far_off(gramian, solved(gramian, p), p) < 1e-9


def test_solution__minimises_the_convex_function_whose_stationary_point_it_is() -> None:
    gramian, p = gramians(20, 4, 3), preferences(20, 4, 3)

    def value(alpha: Tensor) -> Tensor:
        return 0.5 * torch.einsum("mi,mij,mj->m", alpha, gramian, alpha) - (p * alpha.log()).sum(1)

    alpha = solved(gramian, p)
    for seed in range(30):
        nudge = 1 + 0.2 * (preferences(20, 4, seed) - 1)
        assert (value(alpha * nudge) > value(alpha)).all()


def test_two_tasks__by_hand() -> None:
    # G = diag(4, 9), p = (1, 4): α_k² G_kk = p_k. With cos = 1/2 and p = 1: α = 1 / (‖g‖ sqrt(1 + cos)).
    right = solved(torch.diag(torch.tensor([4.0, 9.0]).double())[None], torch.tensor([[1.0, 4.0]]).double())
    torch.testing.assert_close(right, torch.tensor([[0.5, 2 / 3]], dtype=torch.float64), rtol=1e-14, atol=0)
    cosine = torch.tensor([[[4.0, 3.0], [3.0, 9.0]]]).double()
    equal = solved(cosine, torch.ones(1, 2).double())
    torch.testing.assert_close(
        equal, torch.tensor([[1 / 2, 1 / 3]], dtype=torch.float64) / 1.5**0.5, rtol=1e-14, atol=0
    )


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_closed_form_of_two_tasks__is_what_newton_finds(seed: int) -> None:
    gramian, p = gramians(50, 2, seed), preferences(50, 2, seed)
    _, cosines, _ = nash._normalised(gramian, torch.ones(50, 2, dtype=torch.bool))
    closed = nash._closed_form(cosines[:, 0, 1], p)
    torch.testing.assert_close(closed, nash._newton(cosines, p), rtol=1e-9, atol=0)


@given(TASKS, SEEDS)
@settings(max_examples=30, deadline=None)
def test_nash_mtl__every_task_descends_and_no_scale_matters(tasks: int, seed: int) -> None:
    gramian = gramians(20, tasks, seed)
    alpha, _ = STRATEGIES["nash-mtl"].weights(step_of(gramian), {}, {})
    assert ((gramian @ alpha.unsqueeze(2)) > 0).all()
    scale = 10 ** (4 * preferences(20, tasks, seed + 1) - 4)
    scaled, _ = STRATEGIES["nash-mtl"].weights(step_of(gramian * scale[:, :, None] * scale[:, None, :]), {}, {})
    torch.testing.assert_close(scaled * scale, alpha, rtol=1e-8, atol=0)  # the same direction


@given(TASKS, SEEDS)
@settings(max_examples=20, deadline=None)
def test_solution__follows_a_permutation_and_knows_no_neighbour(tasks: int, seed: int) -> None:
    gramian, p = gramians(9, tasks, seed), preferences(9, tasks, seed)
    order = torch.randperm(tasks, generator=torch.Generator().manual_seed(seed))
    alpha = solved(gramian, p)
    moved = solved(gramian[:, order][:, :, order], p[:, order])
    torch.testing.assert_close(moved, alpha[:, order], rtol=1e-9, atol=0)
    for row in range(9):
        alone = solved(gramian[row : row + 1], p[row : row + 1])
        torch.testing.assert_close(alone[0], alpha[row], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["nash-mtl", "auxinash", "auxinash-fixed"])
def test_absent_tasks__change_nothing(name: str) -> None:
    strategy, gramian = STRATEGIES[name], gramians(6, 5, 8, spread=1.0)
    present = torch.tensor([True, False, True, True, False]).repeat(6, 1)
    kept = torch.tensor([0, 2, 3])
    whole, _ = strategy.weights(step_of(gramian, present=present), strategy.start(6, 5), values_of(strategy, 6))
    part, _ = strategy.weights(step_of(gramian[:, kept][:, :, kept]), strategy.start(6, 3), values_of(strategy, 6))
    torch.testing.assert_close(whole[:, kept], part, rtol=1e-12, atol=0)
    assert (whole[:, ~present[0]] == 0).all()


DEGENERATE = {
    "a zero gradient": ([[4.0, 0, 1], [0, 0, 0], [1, 0, 9]], None),
    "all gradients zero": ([[0.0, 0, 0]] * 3, [1.0, 1.0, 1.0]),
    "collinear": ([[1.0, 2, 3], [2, 4, 6], [3, 6, 9]], [1 / 3**0.5, 1 / 12**0.5, 1 / 27**0.5]),
    "two opposite": ([[1.0, -2, 0], [-2, 4, 0], [0, 0, 9]], [1.0, 0.5, 0.0]),
    "0 inside three": ([[1.0, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], [1.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("case", list(DEGENERATE))
def test_degenerate_gramians__give_what_is_documented(case: str) -> None:
    matrix, expected = DEGENERATE[case]
    gramian = torch.tensor(matrix, dtype=torch.float64)[None]
    alpha = solved(gramian, torch.ones(1, 3).double())
    assert alpha.isfinite().all()
    if expected is None:  # the zero gradient has weight 1, the others bargain among themselves
        two = solved(gramian[:, [0, 2]][:, :, [0, 2]], torch.ones(1, 2).double())
        torch.testing.assert_close(alpha, torch.tensor([[two[0, 0], 1.0, two[0, 1]]]), rtol=1e-12, atol=0)
    else:
        torch.testing.assert_close(alpha[0], torch.tensor(expected).double(), rtol=1e-3, atol=1e-3)
    if case in ("two opposite", "0 inside three"):
        assert torch.einsum("i,ij,j", alpha[0], gramian[0], alpha[0]) < 1e-3, "the direction vanishes"


def test_opposite_gradients_of_two_tasks__keep_bounded_weights() -> None:
    opposite = torch.tensor([[[1.0, -2.0], [-2.0, 4.0]]]).double()
    torch.testing.assert_close(solved(opposite, torch.ones(1, 2).double()), torch.tensor([[1.0, 0.5]]).double())


@given(TASKS, SEEDS)
@settings(max_examples=20, deadline=None)
def test_derivative_by_the_preference__is_that_of_finite_differences(tasks: int, seed: int) -> None:
    gramian, p = gramians(8, tasks, seed, spread=1.0), preferences(8, tasks, seed) + 0.2
    cotangent = gramians(8, tasks, seed + 1)[:, 0]
    present = torch.ones(8, tasks, dtype=torch.bool)
    present[3, -1] = tasks == 2
    found = nash.preference_gradient(gramian, p, present, nash.solve(gramian, p, present), cotangent)
    for task in range(tasks):
        h = torch.zeros_like(p)
        h[:, task] = 1e-4
        ends = [nash.solve(gramian, p + sign * h, present) for sign in (1, -1)]
        slope = ((ends[0] - ends[1]) / 2e-4 * cotangent).sum(1)
        scale = found.abs().amax(1).clamp(min=1e-12)
        torch.testing.assert_close(found[:, task] / scale, slope / scale, rtol=1e-4, atol=1e-5)


def test_fixed_preference__is_the_solution_with_that_share() -> None:
    gramian = gramians(5, 4, 1)
    strategy = STRATEGIES["auxinash-fixed"]
    alpha, _ = strategy.weights(step_of(gramian), {}, values_of(strategy, 5, preference=0.7))
    assert far_off(gramian, alpha, torch.tensor([[2.8, 0.4, 0.4, 0.4]], dtype=torch.float64).expand(5, 4)) < 1e-10


def test_auxinash__starts_as_nash_mtl__and_keeps_preferences_normalised_and_positive() -> None:
    strategy, gramian = AuxiNash(), gramians(7, 4, 5)
    step, state, values = step_of(gramian), strategy.start(7, 4), values_of(strategy, 7, lr=0.4)
    torch.testing.assert_close(strategy.weights(step, state, values)[0], solved(gramian, torch.ones(7, 4).double()))
    response = 100 * gramians(7, 4, 6)[:, 0]
    before = {name: value.clone() for name, value in state.items()}
    for _ in range(12):
        state = strategy.learn(response, step, state, values)
        torch.testing.assert_close(state["preference"].sum(1), torch.full((7,), 4.0).double())
        assert (state["preference"] > 0).all()
    assert all(torch.equal(before[name], value) for name, value in strategy.start(7, 4).items())


def test_illustration_in_two_dimensions__the_harmful_task_loses_its_say() -> None:
    """Shamsian et al. 2023, D.1: the main task and a helper share W* = (1, 1), the main one 20 times as noisy; the
    harmful one has W = (-1, -4)."""
    models, n, batch, epochs = 3, 1000, 256, 300
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    x = normal(models, n, 2)
    truth = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, -4.0]], dtype=torch.float64)
    y = x @ truth.mT + normal(models, n, 3) * torch.tensor([5.0, 0.25, 0.25], dtype=torch.float64)
    strategy = AuxiNash()
    state, values = strategy.start(models, 3), values_of(strategy, models)
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
