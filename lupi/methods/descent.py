"""Losses of linear logits, and their minimum by L-BFGS.

Logits are [n, K] here: a loss maps them to the loss of every row [n] and its gradient [n, K].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

Floats = npt.NDArray[np.float64]
Loss = Callable[[Floats], tuple[Floats, Floats]]


def columns(logits: Floats) -> Floats:
    """Logits of all classes [n, K]: log-odds [n, 1] are those of class 1 against a 0 for class 0."""
    return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def descend(loss: Loss, design: Floats, start: Floats, weights: Floats, ridge: float) -> Floats:
    """Parameters [d + 1, C] at the minimum of Σ_i weights_i loss_i + (ridge / 2)|w|² that L-BFGS finds from `start`."""
    n, width = len(design), start.shape[1]

    def objective(flat: Floats) -> tuple[float, Floats]:
        parameters = flat.reshape(start.shape)
        row_losses, gradient = loss(columns(design @ parameters))
        slope = design.T @ (weights[:, None] * gradient[:, -width:])
        slope[:-1] += ridge * parameters[:-1]
        value = weights @ row_losses + 0.5 * ridge * (parameters[:-1] ** 2).sum()
        return float(value) / n, slope.ravel() / n

    options = {"ftol": 0.0, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 20_000, "maxcor": 30}
    optimum = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(optimum.x, dtype=np.float64).reshape(start.shape)


def cross_entropy(target: Floats) -> Loss:
    """To one-hot or soft targets [n, K]."""

    def loss(logits: Floats) -> tuple[Floats, Floats]:
        log_p = log_softmax(logits, axis=1)
        return -(target * log_p).sum(1), np.exp(log_p) - target

    return loss


def _of_probabilities(loss: Loss) -> Loss:
    """A loss of probabilities as a loss of logits."""

    def composed(logits: Floats) -> tuple[Floats, Floats]:
        p = softmax(logits, axis=1)
        row_losses, gradient = loss(p)
        return row_losses, p * (gradient - (p * gradient).sum(1, keepdims=True))

    return composed


def squared_difference(target: Floats) -> Loss:
    """Half the squared differences of probabilities, summed over classes: (p - t)² for two."""
    return _of_probabilities(lambda p: (0.5 * ((p - target) ** 2).sum(1), p - target))


def mean_cost(cost: Floats) -> Loss:
    """Σ_k p_k cost_k."""
    return _of_probabilities(lambda p: ((p * cost).sum(1), cost))


def tpd_cost(teacher: Floats, truth: Floats, repulsion: float) -> Floats:
    """Cost [n, K] of the probability given to every class, never negative: see `losses.teacher_privileged`."""
    wrong = (teacher.argmax(1) != truth.argmax(1))[:, None]
    away = repulsion * (teacher - teacher.min(1, keepdims=True))
    return np.asarray(np.where(wrong, away, teacher.max(1, keepdims=True) - teacher), dtype=np.float64)
