"""CAGrad: against SLSQP, by its own bound, and by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import torch
from torch import Tensor

from lupi.balancing import quadratic
from lupi.balancing.cagrad import CAGrad
from tests.lupi.balancing.gramians import gramians, length, of_pair, problems
from tests.lupi.balancing.steps import weigh

Floats = npt.NDArray[np.float64]


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

    minima = [
        scipy.optimize.minimize(objective, s, method="SLSQP", bounds=bounds, constraints=simplex, options=options)
        for s in starts
    ]
    return float(min(one.fun for one in minima))


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
    direction = weigh(CAGrad(), (j @ j.mT)[None], c=c)[0] @ j
    assert direction.tolist() == pytest.approx([first, 1 / 3], abs=1e-8)


def test_cagrad__orthogonal_pair_of_one_length__by_hand() -> None:
    """g_w is the mean gradient itself, of which c times its length is added."""
    assert weigh(CAGrad(), of_pair(1.0, 1.0, 0.0), c=0.4)[0].tolist() == pytest.approx([0.7, 0.7], rel=1e-9)


def test_cagrad__no_radius_or_no_mean__is_the_mean() -> None:
    g = torch.cat([gramians(5, 2), of_pair(1.0, 1.0, -1.0), torch.zeros(1, 2, 2)])
    assert (weigh(CAGrad(), g, c=0.0) == 0.5).all()
    assert (weigh(CAGrad(), g[5:], c=0.7) == 0.5).all()
