"""MGDA, UPGrad and CAGrad, and the small quadratic programmes under them, against other solvers and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import quadprog
import scipy.optimize
import torch
import torchjd.aggregation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import quadratic
from lupi.balancing.base import Strategy
from lupi.balancing.cagrad import CAGrad
from lupi.balancing.mgda import MGDA, min_norm
from lupi.balancing.upgrad import UPGrad
from tests.lupi.balancing.steps import step_of, values_of

STRATEGIES: list[Strategy] = [MGDA(), UPGrad(), CAGrad()]
Floats = npt.NDArray[np.float64]


def gramians(models: int, tasks: int, *, rank: int = 20, spread: float = 0.0, seed: int = 0) -> Tensor:
    """Random Gramians [M, K, K] of gradients in `rank` dimensions whose lengths differ by up to 10^spread; a third of
    them of gradients that all but cancel."""
    rng = torch.Generator().manual_seed(seed)
    j = torch.randn(models, tasks, rank, generator=rng, dtype=torch.float64)
    j[::3] -= 0.9 * j[::3].mean(1, keepdim=True)
    j = j * 10 ** (spread * torch.rand(models, tasks, 1, generator=rng, dtype=torch.float64))
    return j @ j.mT


def weigh(strategy: Strategy, gramian: Tensor, present: Tensor | None = None, **knobs: float) -> Tensor:
    step = step_of(gramian, present=present)
    return strategy.weights(step, strategy.start(*step.losses.shape), values_of(strategy, len(gramian), **knobs))[0]


def length(gramian: Tensor, weights: Tensor) -> Tensor:
    """‖Σ_k w_k g_k‖² [M]."""
    return (weights * quadratic.times(gramian, weights)).sum(1)


def of_pair(first: float, second: float, inner: float) -> Tensor:
    """The Gramian of two gradients, from their squared lengths and inner product."""
    return torch.tensor([[[first, inner], [inner, second]]], dtype=torch.float64)


problems = pytest.mark.parametrize(
    ("tasks", "rank", "spread"),
    [(2, 20, 0), (2, 1, 4), (3, 1, 0), (3, 2, 4), (4, 20, 4), (5, 3, 0), (8, 20, 0), (8, 7, 4), (8, 2, 0)],
)


# The solver


def test_solve__positive_definite__equals_lapack() -> None:
    a = gramians(20, 6, spread=1)
    b = torch.randn(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(quadratic.solve(a, b), torch.linalg.solve(a, b), rtol=1e-9, atol=1e-12)


@problems
def test_nonnegative__any_positive_semidefinite_matrix__meets_the_optimality_conditions(
    tasks: int, rank: int, spread: float
) -> None:
    q = gramians(40, tasks, rank=rank, spread=spread)
    start = torch.randn(40, tasks, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    c = quadratic.times(q, start)
    x = quadratic.nonnegative(q, c)
    norms = q.diagonal(dim1=1, dim2=2).sqrt()
    slope = (quadratic.times(q, x) + c) / norms
    scale = (norms * (x + start.abs())).sum(1, keepdim=True)
    assert x.min() >= 0
    assert (slope / scale).min() > -1e-13
    assert ((slope / scale).abs() * (x > 0)).max() < 1e-12


def test_nonnegative__regular_matrix__equals_quadprog_to_1e_10() -> None:
    q = gramians(30, 6)
    c = torch.randn(30, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = [quadprog.solve_qp(a.numpy(), -b.numpy(), np.eye(6), np.zeros(6))[0] for a, b in zip(q, c, strict=True)]
    torch.testing.assert_close(quadratic.nonnegative(q, c), torch.as_tensor(np.array(expected)), rtol=1e-10, atol=1e-12)


def test_nonnegative__one_swap_at_a_time__same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that is sure to end, on its own: what is left when swaps of whole blocks go round in circles."""
    q = gramians(30, 6)
    c = torch.randn(30, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    blocks = quadratic.nonnegative(q, c)
    monkeypatch.setattr(quadratic, "PATIENCE", -1)
    torch.testing.assert_close(quadratic.nonnegative(q, c), blocks, rtol=1e-12, atol=1e-14)


# MGDA


def shortest_by_faces(gramian: Floats) -> float:
    """min wᵀGw over the simplex, of all sets of tasks one after another."""
    tasks = len(gramian)
    best = np.inf
    for size in range(1, tasks + 1):
        for face in itertools.combinations(range(tasks), size):
            w = np.linalg.lstsq(gramian[np.ix_(face, face)], np.ones(size))[0]
            if w.sum() > 0 and (w >= 0).all():
                w /= w.sum()
                best = min(best, w @ gramian[np.ix_(face, face)] @ w)
    return float(best)


@problems
def test_mgda__any_gramian__is_the_shortest_vector_of_the_hull(tasks: int, rank: int, spread: float) -> None:
    """By the optimality conditions: w >= 0, Σw = 1, and ⟨g_k, d⟩ >= ‖d‖² for every k, relative to the shortest g_k."""
    g = gramians(40, tasks, rank=rank, spread=spread)
    w = weigh(MGDA(), g)
    shortest = g.diagonal(dim1=1, dim2=2).amin(1)
    assert w.min() >= 0
    torch.testing.assert_close(w.sum(1), torch.ones(40, dtype=torch.float64), rtol=0, atol=1e-13)
    short_of = length(g, w)[:, None] - quadratic.times(g, w)
    assert (short_of.amax(1) / shortest).max() < 1e-10


@pytest.mark.parametrize("spread", [0, 4])
def test_mgda__regular_gramian__equals_the_best_face(spread: float) -> None:
    g = gramians(15, 5, spread=spread)
    expected = torch.tensor([shortest_by_faces(one.numpy()) for one in g], dtype=torch.float64)
    torch.testing.assert_close(length(g, weigh(MGDA(), g)), expected, rtol=1e-9, atol=0)


def test_mgda__regular_gramian__torchjd_comes_near_and_is_never_shorter() -> None:
    g = gramians(10, 4)
    theirs = torch.stack([torchjd.aggregation.MGDA(epsilon=1e-9, max_iters=3000).gramian_weighting(one) for one in g])
    ours = weigh(MGDA(), g)
    assert (length(g, ours) <= length(g, theirs) * (1 + 1e-12)).all()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("gramian", "expected"),
    [
        (of_pair(4.0, 1.0, 0.0), [0.2, 0.8]),
        (of_pair(4.0, 1.0, 2.0), [0.0, 1.0]),  # collinear: the shorter
        (of_pair(4.0, 4.0, 4.0), [0.5, 0.5]),  # the same
        (of_pair(4.0, 1.0, -2.0), [1 / 3, 2 / 3]),  # opposite: they cancel
        (of_pair(4.0, 0.0, 0.0), [0.0, 1.0]),  # a zero gradient takes all
        (of_pair(0.0, 0.0, 0.0), [0.5, 0.5]),
    ],
)
def test_mgda__two_tasks__by_hand(gramian: Tensor, expected: list[float]) -> None:
    assert weigh(MGDA(), gramian)[0].tolist() == pytest.approx(expected, abs=1e-15)


def test_mgda__orthogonal_gradients__weights_go_with_the_inverse_squared_length() -> None:
    squares = torch.tensor([[1.0, 4.0, 1e8]], dtype=torch.float64)
    expected = 1 / squares / (1 / squares).sum()
    torch.testing.assert_close(weigh(MGDA(), torch.diag_embed(squares)), expected, rtol=1e-10, atol=0)


def test_mgda__equal_and_zero_gradients_among_three__share_alike() -> None:
    same = torch.ones(1, 3, 3, dtype=torch.float64)
    assert weigh(MGDA(), same)[0].tolist() == pytest.approx([1 / 3] * 3, abs=1e-7)
    zeros = torch.diag_embed(torch.tensor([[1.0, 0.0, 0.0]]))
    assert weigh(MGDA(), zeros)[0].tolist() == [0.0, 0.5, 0.5]


def test_min_norm__two_tasks__closed_form_equals_the_programme() -> None:
    """The same pair with its second gradient given twice is solved as a programme of three tasks."""
    g = gramians(20, 2, spread=2)
    tripled = g[:, [0, 1, 1]][:, :, [0, 1, 1]]
    two, three = (min_norm(m, torch.ones(m.shape[:2], dtype=torch.bool)) for m in (g, tripled))
    torch.testing.assert_close(three[:, 0], two[:, 0], rtol=1e-9, atol=1e-12)


# UPGrad


@pytest.mark.parametrize("tasks", [2, 3, 5, 8])
def test_upgrad__regular_gramian__equals_torchjd(tasks: int) -> None:
    """torchjd adds a ridge to G, here of 1e-14 its trace."""
    g = gramians(12, tasks)
    theirs = torchjd.aggregation.UPGrad(projector=_projector()).gramian_weighting
    torch.testing.assert_close(weigh(UPGrad(), g), torch.stack([theirs(one) for one in g]), rtol=1e-9, atol=1e-10)


def _projector() -> torchjd.linalg.QuadprogProjector:
    return torchjd.linalg.QuadprogProjector(norm_eps=0.0, reg_eps=1e-14)


@problems
def test_upgrad__any_gramian__every_projection_is_the_nearest_vector_without_conflict(
    tasks: int, rank: int, spread: float
) -> None:
    """Of projections p_i of g_i: ⟨g_k, p_i⟩ >= 0 for all k, and p_i - g_i is orthogonal to p_i (a cone)."""
    g = gramians(40, tasks, rank=rank, spread=spread)
    norms = g.diagonal(dim1=1, dim2=2).sqrt()
    for task in range(tasks):
        unit = torch.eye(tasks, dtype=torch.float64)[task].expand(40, tasks)
        v = quadratic.nonnegative(g, g[:, task])  # moves of g_task
        inner = quadratic.times(g, v + unit) / norms / norms[:, task, None]
        assert inner.min() > -1e-12
        assert ((inner * norms * v).sum(1) / norms[:, task]).abs().max() < 1e-10
    total = sum(torch.eye(tasks, dtype=torch.float64)[i] + quadratic.nonnegative(g, g[:, i]) for i in range(tasks))
    assert isinstance(total, Tensor)
    torch.testing.assert_close(weigh(UPGrad(), g), total / tasks, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("gramian", "expected"),
    [
        (of_pair(4.0, 1.0, 1.0), [0.5, 0.5]),  # no conflict: the mean
        (of_pair(4.0, 1.0, -1.0), [(1 + 0.25) / 2, (1 + 1) / 2]),  # of g_1 + g_2 and g_2 + g_1 / 4
        (of_pair(4.0, 1.0, 2.0), [0.5, 0.5]),
        (of_pair(4.0, 0.0, 0.0), [0.5, 0.5]),
    ],
)
def test_upgrad__two_tasks__by_hand(gramian: Tensor, expected: list[float]) -> None:
    assert weigh(UPGrad(), gramian)[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_upgrad__opposite_gradients__stands_still() -> None:
    g = of_pair(4.0, 1.0, -2.0)
    assert length(g, weigh(UPGrad(), g)).item() == pytest.approx(0.0, abs=1e-12)


# CAGrad


def slsqp(gramian: Floats, c: float) -> float:
    """The minimum of ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖ over the simplex, from several starts."""
    tasks = len(gramian)
    inner, radius = gramian.mean(1), c * np.sqrt(gramian.mean())
    starts = [np.full(tasks, 1 / tasks), *np.eye(tasks) * 0.7 + 0.3 / tasks]
    options = {"ftol": 1e-16, "maxiter": 500}
    simplex = {"type": "eq", "fun": lambda w: w.sum() - 1}
    bounds = [(0, 1)] * tasks

    def objective(w: Floats) -> float:
        return float(inner @ w + radius * np.sqrt(max(w @ gramian @ w, 0)))

    found = [
        scipy.optimize.minimize(objective, s, method="SLSQP", bounds=bounds, constraints=simplex, options=options)
        for s in starts
    ]
    return float(min(one.fun for one in found))


@pytest.mark.parametrize(("tasks", "rank"), [(2, 20), (3, 20), (3, 2), (4, 1), (5, 20), (8, 20)])
@pytest.mark.parametrize("c", [0.2, 0.9])
def test_cagrad__worst_task__gains_what_slsqp_says_is_the_most(tasks: int, rank: int, c: float) -> None:
    """Duality: min_k ⟨g_k, d⟩ of a d in the ball is at most the minimum that SLSQP comes down to from above."""
    g = gramians(6, tasks, rank=rank)
    w = weigh(CAGrad(), g, c=c)
    worst, scale = quadratic.times(g, w).amin(1), g.mean((1, 2))
    assert (length(g, w - 1 / tasks) <= c**2 * scale * (1 + 1e-9)).all()
    most = torch.tensor([slsqp(one.numpy(), c) for one in g], dtype=torch.float64)
    assert ((worst - most) / scale).abs().max() < 1e-6


@problems
@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
def test_cagrad__any_gramian__meets_its_own_bound(tasks: int, rank: int, spread: float, c: float) -> None:
    """The w that CAGrad adds gives ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖, which bounds min_k ⟨g_k, d⟩ over the ball from above."""
    g = gramians(40, tasks, rank=rank, spread=spread)
    moves = weigh(CAGrad(), g, c=c) - 1 / tasks
    w, mean = moves / moves.sum(1, keepdim=True), g.mean((1, 2)).sqrt()
    worst = quadratic.times(g, moves + 1 / tasks).amin(1)
    bound = (w * g.mean(2)).sum(1) + c * mean * length(g, w).clamp(min=0).sqrt()
    scale = mean * g.diagonal(dim1=1, dim2=2).amax(1).sqrt()
    assert moves.min() >= -1e-12
    assert (length(g, moves) <= (c * mean).square() * (1 + 1e-8)).all()
    assert ((bound - worst) / scale).max() < 1e-7


@problems
def test_cagrad__search_without_guesses__same_direction(
    tasks: int, rank: int, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = gramians(30, tasks, rank=rank, spread=spread)
    guessed = weigh(CAGrad(), g)
    monkeypatch.setattr("lupi.balancing.cagrad.GUESSES", 0)
    apart = length(g, weigh(CAGrad(), g) - guessed) / g.mean((1, 2))
    assert apart.max() < 1e-6


@pytest.mark.parametrize(
    ("gramian", "factor"),
    [
        (of_pair(4.0, 1.0, 2.0), 1.5),  # collinear: (1 + c) g_0
        (of_pair(4.0, 1.0, -2.0), 0.5),  # opposite: (1 - c) g_0
        (of_pair(4.0, 0.0, 0.0), 1.0),  # one of them 0: g_0 harms none
    ],
)
def test_cagrad__degenerate_pair__is_a_multiple_of_the_mean(gramian: Tensor, factor: float) -> None:
    away = weigh(CAGrad(), gramian, c=0.5) - factor / 2
    assert length(gramian, away).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("c", "first"), [(0.9, 0.0), (0.5, 1 / 3 - 0.5 * 2**0.5 / 3)])
def test_cagrad__gradients_that_can_cancel__by_hand(c: float, first: float) -> None:
    """(2, 0) and (-1, 0) cannot both be helped: of g_0 = (1/3, 1/3) the first coordinate goes to 0 as far as it can."""
    j = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    found = weigh(CAGrad(), (j @ j.mT)[None], c=c)[0] @ j
    assert found.tolist() == pytest.approx([first, 1 / 3], abs=1e-8)


def test_cagrad__orthogonal_pair_of_one_length__by_hand() -> None:
    """g_w is the mean gradient itself, of which c times its length is added."""
    assert weigh(CAGrad(), of_pair(1.0, 1.0, 0.0), c=0.4)[0].tolist() == pytest.approx([0.7, 0.7], rel=1e-9)


def test_cagrad__no_radius_or_no_mean__is_the_mean() -> None:
    g = torch.cat([gramians(5, 2), of_pair(1.0, 1.0, -1.0), torch.zeros(1, 2, 2)])
    assert (weigh(CAGrad(), g, c=0.0) == 0.5).all()
    assert (weigh(CAGrad(), g[5:], c=0.7) == 0.5).all()


# What all share


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@problems
def test_batch__each_model_alone__same_weights(strategy: Strategy, tasks: int, rank: int, spread: float) -> None:
    g = gramians(12, tasks, rank=rank, spread=spread)
    alone = torch.cat([weigh(strategy, g[m : m + 1]) for m in range(12)])
    torch.testing.assert_close(weigh(strategy, g), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
def test_absent_tasks__change_nothing(strategy: Strategy) -> None:
    g = gramians(30, 5, spread=2)
    present = torch.rand(30, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    present[:, 0] = True
    w = weigh(strategy, g, present)
    assert (w[~present] == 0).all()
    for m in range(30):
        tasks = present[m].nonzero()[:, 0]
        part = weigh(strategy, g[m : m + 1][:, tasks][:, :, tasks])
        torch.testing.assert_close(w[m, tasks], part[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("strategy", "expected"), [(MGDA(), 1.0), (UPGrad(), 1.0), (CAGrad(), 1.5)])
def test_one_task__as_documented(strategy: Strategy, expected: float) -> None:
    assert weigh(strategy, torch.full((1, 1, 1), 7.0))[0].tolist() == pytest.approx([expected], rel=1e-12)


@st.composite
def conflicting(draw: st.DrawFn) -> Tensor:
    tasks, rank = draw(st.integers(2, 6)), draw(st.integers(1, 8))
    return gramians(2, tasks, rank=rank, spread=draw(st.floats(0, 4)), seed=draw(st.integers(0, 10**6)))


@settings(max_examples=25, deadline=None)
@given(g=conflicting())
def test_mgda_and_upgrad__no_task_loses(g: Tensor) -> None:
    norms = g.diagonal(dim1=1, dim2=2).sqrt()
    for strategy in (MGDA(), UPGrad()):
        w = weigh(strategy, g)
        scale = norms * (norms * w).sum(1, keepdim=True)
        assert (quadratic.times(g, w) / scale).min() > -1e-9


@settings(max_examples=25, deadline=None)
@given(g=conflicting(), data=st.data())
def test_permuted_tasks__same_direction(g: Tensor, data: st.DataObject) -> None:
    moved = list(data.draw(st.permutations(range(g.shape[1]))))
    back = torch.tensor(moved).argsort()
    for strategy in STRATEGIES:
        w = weigh(strategy, g)
        again = weigh(strategy, g[:, moved][:, :, moved])[:, back]
        size = ((g.diagonal(dim1=1, dim2=2).sqrt() * w).sum(1)).square()
        assert (length(g, again - w).abs() / size).max() < 1e-8


@settings(max_examples=20, deadline=None)
@given(g=conflicting(), power=st.integers(-40, 40))
def test_all_gradients_longer__same_weights(g: Tensor, power: int) -> None:
    for strategy in STRATEGIES:
        torch.testing.assert_close(weigh(strategy, g * 4.0**power), weigh(strategy, g), rtol=1e-9, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), factors=st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_upgrad__is_linear_under_scaling(seed: int, factors: list[float]) -> None:
    """Each projection scales with its own gradient and does not see the lengths of the others."""
    g, scale = gramians(1, 4, seed=seed), torch.tensor([factors], dtype=torch.float64)

    def direction(by: Tensor) -> Tensor:
        return weigh(UPGrad(), g * by[:, :, None] * by[:, None, :]) * by

    ones = torch.ones_like(scale)
    away = direction(ones + scale) - direction(ones) - direction(scale)
    assert length(g, away).item() < 1e-18 * g.amax().item() * (1 + scale.amax().item()) ** 2
