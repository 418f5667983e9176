"""SVM+ with linear kernels: a support vector machine whose slacks are a linear function of the privileged features."""

from __future__ import annotations

import dataclasses

import clarabel
import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]

_TOLERANCE = 1e-11
_NOTHING = 1e-8  # a function f that varies less over the training rows than this is the solver's rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Machine:
    """f(x) = w·x + b, and the correcting function f*(z) = w*·z + b* that stands for the slacks of the training rows."""

    weights: Floats
    intercept: float
    correcting_weights: Floats
    correcting_intercept: float


def solve(x: Floats, z: Floats, sign: Floats, cost: Floats, gamma: float, theta: float = np.inf) -> Machine:
    """SVM+ of two classes (Vapnik and Vashist, "A new learning paradigm: learning using privileged information", Neural
    Networks 22, 2009), solved in its dual.

    Primal: minimise ½|w|² + (γ/2)|w*|² + Σ_i C_i (f*(z_i) + θ ζ_i) subject to y_i f(x_i) >= 1 - f*(z_i) - ζ_i,
    f*(z_i) >= 0 and ζ_i >= 0.
    Dual: maximise Σ_i α_i - ½|w|² - (γ/2)|w*|² over β >= 0 and 0 <= α_i <= θ C_i with w = Σ_i α_i y_i x_i,
    γ w* = Σ_i (α_i + β_i - C_i) z_i, Σ_i α_i y_i = 0 and Σ_i (α_i + β_i - C_i) = 0. w and √γ w* stay variables, which
    keeps the programme sparse: an interior point step is O(n (d + q)²). The multipliers of the last two equalities are
    b and b*.

    θ = ∞ is SVM+ as published, without ζ. It needs a correcting function rich enough to follow the slacks, and a linear
    one of few features seldom is: where no (w, b, w*) has y_i f(x_i) + w*·(z_i - z̄) > 0 in all rows, z̄ the mean of z
    weighted by C_i, the solution is w = 0 whatever C and γ; it is returned with b = 0. A finite θ allows every row a
    slack ζ_i of its own as well, dearer than the part that z explains.

    At its ends: θ <= 1 is the ordinary SVM of cost θ C_i, z unused; so is, of cost C_i, θ = ∞ with γ -> 0 and a z that
    tells all rows apart. With θ = ∞ and a constant z, or γ -> ∞, all rows share one slack, Σ_i C_i weighs the largest
    hinge loss: the hard-margin SVM where that exists and its |w|² <= Σ_i C_i.

    Parameters
    ----------
    x : [n, d].
    z : [n, q]; q = 0 is the constant z.
    sign : y [n], -1 or 1, both present.
    cost : C_i > 0 [n].
    gamma : γ > 0.
    theta : θ > 0, or infinite.

    Raises
    ------
    RuntimeError : where the solver finds no solution.
    """
    (n, d), q = x.shape, z.shape[1]
    root = float(np.sqrt(gamma))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = _TOLERANCE
    quadratic = sparse.diags(np.repeat([1.0, 0.0], [d + q, 2 * n]), format="csc")
    linear = np.repeat([0.0, -1.0, 0.0], [d + q, n, n])
    constraints, bounds = _constraints(x, z, sign, cost, root, theta)
    cones = [clarabel.ZeroConeT(d + q + 2), clarabel.NonnegativeConeT(len(bounds) - (d + q + 2))]
    solution = clarabel.DefaultSolver(quadratic, linear, constraints, bounds, cones, settings).solve()
    if str(solution.status) not in ("Solved", "AlmostSolved"):
        raise RuntimeError(
            f"SVM+ of {n} rows was not solved ({solution.status}); it needs standardised features and moderate C, γ, "
            f"θ; found γ = {gamma:g}, θ = {theta:g} and C from {cost.min():g} to {cost.max():g}."
        )
    weights, correcting = np.split(np.asarray(solution.x, dtype=np.float64)[: d + q], [d])
    b, correcting_b = (float(multiplier) for multiplier in solution.z[d + q : d + q + 2])
    if np.ptp(x @ weights) < _NOTHING:
        weights, b = np.zeros(d), 0.0 if np.isinf(theta) else b  # a finite θ leaves b to the larger class
    return Machine(weights, b, correcting / root, correcting_b)


def _constraints(
    x: Floats, z: Floats, sign: Floats, cost: Floats, root: float, theta: float
) -> tuple[sparse.csc_matrix, Floats]:
    """Matrix and right hand side over (w, √γ w*, α, β): d + q + 2 equalities, then A v <= bound."""
    (n, d), q = x.shape, z.shape[1]
    ones, identity = np.ones((1, n)), sparse.identity(n)
    rows = [
        [sparse.identity(d), None, -(x * sign[:, None]).T, None],
        [None, root * sparse.identity(q), -z.T, -z.T],
        [None, None, sign[None], None],
        [None, None, ones, ones],
        [None, None, -identity, None],
        [None, None, None, -identity],
    ]
    bounds = [np.zeros(d), -(z.T @ cost), np.array([0.0, cost.sum()]), np.zeros(2 * n)]
    if np.isfinite(theta):
        rows.append([None, None, identity, None])
        bounds.append(theta * cost)
    blocks = [[None if block is None else sparse.csc_matrix(block) for block in row] for row in rows]
    return sparse.bmat(blocks, format="csc"), np.concatenate(bounds)
