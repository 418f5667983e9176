"""The bargaining solution: exactness, degenerate Gramians, derivatives by the preference; and Nash-MTL."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import bargaining
from lupi.balancing.nash import NashMTL
from tests.lupi.balancing.bargains import SEEDS, TASKS, far_off, leaning_gramians, preferences, solved
from tests.lupi.balancing.steps import step_of

DEGENERATE = {
    "a zero gradient": ([[4.0, 0, 1], [0, 0, 0], [1, 0, 9]], None),
    "all gradients zero": ([[0.0, 0, 0]] * 3, [1.0, 1.0, 1.0]),
    "collinear": ([[1.0, 2, 3], [2, 4, 6], [3, 6, 9]], [1 / 3**0.5, 1 / 12**0.5, 1 / 27**0.5]),
    "two opposite": ([[1.0, -2, 0], [-2, 4, 0], [0, 0, 9]], [1.0, 0.5, 0.0]),
    "0 inside three": ([[1.0, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], [1.0, 1.0, 1.0]),
}


@given(TASKS, SEEDS, st.sampled_from([0.0, 4.0]), st.sampled_from([0.0, 2.0]))
@settings(max_examples=60)
def test_solution__norms_of_any_length__is_exact(tasks: int, seed: int, spread: float, lean: float) -> None:
    gramian, p = leaning_gramians(50, tasks, seed, spread=spread, lean=lean), preferences(50, tasks, seed)
    assert far_off(gramian, solved(gramian, p), p) < 1e-9


def test_solution__random_gramians__minimises_the_convex_function_whose_stationary_point_it_is() -> None:
    gramian, p = leaning_gramians(20, 4, 3), preferences(20, 4, 3)

    def value(alpha: Tensor) -> Tensor:
        return 0.5 * torch.einsum("mi,mij,mj->m", alpha, gramian, alpha) - (p * alpha.log()).sum(1)

    alpha = solved(gramian, p)
    for seed in range(30):
        nudge = 1 + 0.2 * (preferences(20, 4, seed) - 1)
        assert (value(alpha * nudge) > value(alpha)).all()


def test_solution__two_tasks__by_hand() -> None:
    # G = diag(4, 9), p = (1, 4): α_k² G_kk = p_k. With cos = 1/2 and p = 1: α = 1 / (‖g‖ sqrt(1 + cos)).
    right = solved(torch.diag(torch.tensor([4.0, 9.0]).double())[None], torch.tensor([[1.0, 4.0]]).double())
    torch.testing.assert_close(right, torch.tensor([[0.5, 2 / 3]], dtype=torch.float64), rtol=1e-14, atol=0)
    cosine = torch.tensor([[[4.0, 3.0], [3.0, 9.0]]]).double()
    equal = solved(cosine, torch.ones(1, 2).double())
    torch.testing.assert_close(
        equal, torch.tensor([[1 / 2, 1 / 3]], dtype=torch.float64) / 1.5**0.5, rtol=1e-14, atol=0
    )


@given(SEEDS)
@settings(max_examples=30)
def test_solution__two_tasks__closed_form_is_what_newton_finds(seed: int) -> None:
    gramian, p = leaning_gramians(50, 2, seed), preferences(50, 2, seed)
    _, cosines, _ = bargaining._normalised(gramian, torch.ones(50, 2, dtype=torch.bool))
    closed = bargaining._closed_form(cosines[:, 0, 1], p)
    torch.testing.assert_close(closed, bargaining._newton(cosines, p), rtol=1e-9, atol=0)


@given(TASKS, SEEDS)
@settings(max_examples=30)
def test_nash_mtl__random_gradients__every_task_descends_and_no_scale_matters(tasks: int, seed: int) -> None:
    gramian = leaning_gramians(20, tasks, seed)
    alpha, _ = NashMTL().weights(step_of(gramian), {}, {})
    assert ((gramian @ alpha.unsqueeze(2)) > 0).all()
    scale = 10 ** (4 * preferences(20, tasks, seed + 1) - 4)
    scaled, _ = NashMTL().weights(step_of(gramian * scale[:, :, None] * scale[:, None, :]), {}, {})
    torch.testing.assert_close(scaled * scale, alpha, rtol=1e-8, atol=0)  # the same direction


@given(TASKS, SEEDS)
@settings(max_examples=20)
def test_solution__permuted_or_alone__is_the_same(tasks: int, seed: int) -> None:
    gramian, p = leaning_gramians(9, tasks, seed), preferences(9, tasks, seed)
    order = torch.randperm(tasks, generator=torch.Generator().manual_seed(seed))
    alpha = solved(gramian, p)
    moved = solved(gramian[:, order][:, :, order], p[:, order])
    torch.testing.assert_close(moved, alpha[:, order], rtol=1e-9, atol=0)
    for row in range(9):
        alone = solved(gramian[row : row + 1], p[row : row + 1])
        torch.testing.assert_close(alone[0], alpha[row], rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", list(DEGENERATE))
def test_solution__degenerate_gramian__as_documented(case: str) -> None:
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


def test_solution__opposite_pair__weights_stay_bounded() -> None:
    opposite = torch.tensor([[[1.0, -2.0], [-2.0, 4.0]]]).double()
    torch.testing.assert_close(solved(opposite, torch.ones(1, 2).double()), torch.tensor([[1.0, 0.5]]).double())


@given(TASKS, SEEDS)
@settings(max_examples=20)
def test_preference_gradient__random_problems__equals_finite_differences(tasks: int, seed: int) -> None:
    gramian, p = leaning_gramians(8, tasks, seed, spread=1.0), preferences(8, tasks, seed) + 0.2
    cotangent = leaning_gramians(8, tasks, seed + 1)[:, 0]
    present = torch.ones(8, tasks, dtype=torch.bool)
    present[3, -1] = tasks == 2
    gradient = bargaining.preference_gradient(gramian, p, present, bargaining.solve(gramian, p, present), cotangent)
    for task in range(tasks):
        h = torch.zeros_like(p)
        h[:, task] = 1e-4
        ends = [bargaining.solve(gramian, p + sign * h, present) for sign in (1, -1)]
        slope = ((ends[0] - ends[1]) / 2e-4 * cotangent).sum(1)
        scale = gradient.abs().amax(1).clamp(min=1e-12)
        torch.testing.assert_close(gradient[:, task] / scale, slope / scale, rtol=1e-4, atol=1e-5)
