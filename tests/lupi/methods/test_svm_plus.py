"""SVM+ against its primal, scikit-learn's machines at its ends, and a linear programme for when it is trivial."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linprog, minimize
from sklearn.svm import SVC

from lupi.methods import svm_plus

Floats = npt.NDArray[np.float64]


def mixed(q: int = 2) -> tuple[Floats, Floats, Floats]:
    """40 rows that x cannot separate; z depends on x and noise, y on z and noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 4))
    z = x @ random.normal(size=(4, q)) / 2.0 + 0.5 * random.normal(size=(40, q))
    return x, z, np.where(z @ random.normal(size=q) + 0.5 * random.normal(size=40) > 0, 1.0, -1.0)


def separable(n: int = 30, d: int = 3, q: int = 2, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(seed)
    x, z = random.normal(size=(n, d)), random.normal(size=(n, q))
    sign = np.where(x[:, 0] > 0, 1.0, -1.0)
    return x + 0.3 * np.outer(sign, np.eye(d)[0]), z, sign


def primal(x: Floats, z: Floats, sign: Floats, cost: Floats, gamma: float, theta: float) -> Floats:
    """(w, b, w*, b*) of the primal by sequential least squares programming."""
    (n, d), q = x.shape, z.shape[1]
    own = n if np.isfinite(theta) else 0
    star = np.hstack([np.zeros((n, d + 1)), z, np.ones((n, 1)), np.zeros((n, own))])
    margin = np.hstack([sign[:, None] * x, sign[:, None], z, np.ones((n, 1)), np.eye(n)[:, :own]])
    slack = np.eye(d + q + 2 + own)[d + q + 2 :]
    left = np.vstack([margin, star, slack])
    right = np.concatenate([np.ones(n), np.zeros(n + own)])
    square = np.concatenate([np.ones(d), [0.0], np.full(q, gamma), [0.0], np.zeros(own)])
    linear = cost @ star + (np.concatenate([np.zeros(d + q + 2), theta * cost]) if own else 0.0)
    found = minimize(
        lambda v: 0.5 * square @ v**2 + linear @ v,
        np.eye(d + q + 2 + own)[d + q + 1],
        jac=lambda v: square * v + linear,
        constraints={"type": "ineq", "fun": lambda v: left @ v - right, "jac": lambda v: left},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 2000},
    )
    return np.asarray(found.x[: d + q + 2])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("gamma", "theta"), [(1.0, np.inf), (0.05, np.inf), (1.0, 1.5), (0.05, 4.0)])
def test_solve__dual_is_the_primal_of_another_solver(seed: int, gamma: float, theta: float) -> None:
    random = np.random.default_rng(seed)
    x, z, sign = separable(n=24, q=8 if theta == np.inf else 3, seed=seed)
    x[:, 0] -= 0.5 * sign * (random.uniform(size=24) < 0.4)
    cost = random.uniform(0.5, 2.0, 24)
    found = svm_plus.solve(x, z, sign, cost, gamma, theta)
    assert np.abs(found.weights).max() > 0.1
    ours = np.concatenate([found.weights, [found.intercept], found.correcting_weights, [found.correcting_intercept]])
    assert ours == pytest.approx(primal(x, z, sign, cost, gamma, theta), abs=1e-5)


@pytest.mark.parametrize("q", [0, 2])
def test_solve__constant_z_and_separable__is_the_hard_margin_svm(q: int) -> None:
    """A shared slack b* costs Σ C: it is 0 as soon as Σ C >= Σ α = |w|² of the hard-margin machine, and not before."""
    x, _, sign = separable()
    z = np.full((30, q), 0.7)
    hard = SVC(kernel="linear", C=1e8, tol=1e-10).fit(x, sign)
    needed = float((hard.coef_**2).sum()) / 30
    found = svm_plus.solve(x, z, sign, np.full(30, 1.01 * needed), 1.0)
    assert found.weights == pytest.approx(hard.coef_[0], abs=1e-5)
    assert found.intercept == pytest.approx(hard.intercept_[0], abs=1e-5)
    assert found.correcting_intercept == pytest.approx(0.0, abs=1e-6)
    assert svm_plus.solve(x, z, sign, np.full(30, 0.9 * needed), 1.0).correcting_intercept > 1e-3


def test_solve__large_gamma__is_that_of_a_constant_z() -> None:
    x, z, sign = separable()
    found, constant = (svm_plus.solve(x, block, sign, np.ones(30), 1e8) for block in (z, z[:, :0]))
    assert found.weights == pytest.approx(constant.weights, abs=1e-4)
    assert found.intercept == pytest.approx(constant.intercept, abs=1e-4)


@pytest.mark.parametrize("cost", [0.1, 1.0])
def test_solve__z_tells_all_rows_apart_and_costs_nothing__is_the_ordinary_svm(cost: float) -> None:
    x, _, sign = mixed()
    ordinary = SVC(kernel="linear", C=cost, tol=1e-10).fit(x, sign)
    found = svm_plus.solve(x, np.eye(40), sign, np.full(40, cost), 1e-7)
    assert found.weights == pytest.approx(ordinary.coef_[0], abs=1e-4)
    assert found.intercept == pytest.approx(ordinary.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("theta", [0.4, 1.0])
def test_solve__own_slack_no_dearer__is_the_ordinary_svm(theta: float) -> None:
    x, z, sign = mixed()
    ordinary = SVC(kernel="linear", C=theta, tol=1e-10).fit(x, sign)
    found = svm_plus.solve(x, z, sign, np.ones(40), 1.0, theta)
    assert found.weights == pytest.approx(ordinary.coef_[0], abs=1e-5)
    assert found.intercept == pytest.approx(ordinary.intercept_[0], abs=1e-5)


@pytest.mark.parametrize(("q", "trivial"), [(2, True), (25, False)])
@pytest.mark.parametrize("cost", [0.01, 1.0, 100.0])
def test_solve__published__is_nothing_unless_z_and_x_separate_the_rows(q: int, trivial: bool, cost: float) -> None:
    """The condition of the docstring, by a linear programme: the largest margin t of y f(x) + w*·(z - z̄) in a box."""
    x, z, sign = mixed(q)
    own = np.random.default_rng(1).uniform(0.5, 1.5, 40)
    centred = z - np.average(z, axis=0, weights=own)
    left = -np.hstack([sign[:, None] * x, sign[:, None], centred, -np.ones((40, 1))])
    margin = -linprog(-np.eye(left.shape[1])[-1], left, np.zeros(40), bounds=(-1.0, 1.0)).fun
    assert (margin < 1e-9) == trivial
    found = svm_plus.solve(x, z, sign, cost * own, 1e-3)
    assert bool((found.weights == 0).all()) == trivial
    assert not trivial or found.intercept == 0.0
