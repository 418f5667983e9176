"""MGDA: by its optimality conditions, against all faces of the simplex, torchjd, and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchjd.aggregation
from torch import Tensor

from lupi.balancing import quadratic
from lupi.balancing.mgda import MGDA
from lupi.balancing.simplex import min_norm
from tests.lupi.balancing.gramians import gramians, length, of_pair, problems
from tests.lupi.balancing.steps import weigh

Floats = npt.NDArray[np.float64]


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
