"""Linear methods that learn with privileged information, each fitted to one training set in one go.

Regular features x [n, d] and privileged ones z [n, q] are standardised numbers and one-hot levels without a missing
cell; y [n] holds class codes 0..K-1. Row weights [n], such as class weights, are scaled to mean one. Every method gives
a `Linear` function of x alone. Where a class has no training row the others are fitted as if it did not exist, and its
log-probability is ln 1e-7.

All logistic regressions minimise Σ_i weight_i loss_i + (ridge / 2)|w|², the intercept free: ridge = 1 is scikit-learn's
C = 1. For K > 2 they are softmax regressions with a weight vector for each class.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from lupi.methods import descent
from lupi.methods import svm_plus as machines

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_ABSENT = float(np.log(1e-7))


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A fitted method.

    Parameters
    ----------
    weights, intercept : [d, C] and [C], C = 1 where two classes had training rows, else one column for each that had.
    present : codes of these classes, ascending.
    classes : K.
    """

    weights: Floats
    intercept: Floats
    present: Codes
    classes: int

    def decision(self, x: Floats) -> Floats:
        """Log-odds of class 1 [rows, 1] where K = 2, log-probabilities [rows, K] else."""
        logits = x @ self.weights + self.intercept
        if self.classes == 2:
            return np.asarray(logits, dtype=np.float64)
        result = np.full((len(x), self.classes), _ABSENT)
        result[:, self.present] = log_softmax(descent.columns(logits), axis=1)
        return result


def logistic(x: Floats, y: Codes, classes: int, weights: Floats | None = None, *, ridge: float = 1.0) -> Linear:
    """Plain logistic regression: on x the lower bound of the methods below, on [x, z] their teacher."""
    _not_negative(ridge=ridge)
    rows = _Rows.of(x, x[:, :0], y, classes, weights)
    return rows.fitted(_logistic(rows, rows.x, ridge))


def svm_plus(
    x: Floats,
    z: Floats,
    y: Codes,
    classes: int,
    soft_labels: Floats | None = None,
    weights: Floats | None = None,
    *,
    cost: float = 1.0,
    gamma: float = 1.0,
    theta: float = np.inf,
) -> Linear:
    """SVM+ (`svm_plus.solve`) with C = `cost` > 0, times the row's weight, γ = `gamma` > 0 and θ = `theta` > 0.

    θ = ∞ is the published machine, which with linear kernels is often nothing at all: log-odds 0 for every row, when
    no linear function of z tells which rows are hard (see `solve`). θ = 1 is the ordinary SVM, a θ a little larger
    stays near it. Several classes are learned one against the rest, the largest f wins. `soft_labels` are not used.

    Probabilities are a sigmoid (softmax) of a·f, a > 0 fitted to the training rows with Platt's smoothed targets: a row
    of a class with N rows counts (N + 1) / (N + K) for it and 1 / (N + K) for every other. Platt's offset is left out
    (scikit-learn's sigmoid calibration has it): it would move the threshold, and the class would no longer be that of
    the machine. Error rates and areas under curves therefore do not depend on the calibration.
    """
    if not (0 < cost < np.inf and 0 < gamma < np.inf and theta > 0):
        raise ValueError(
            f"SVM+ needs C > 0, γ > 0 and θ > 0, only θ infinite; found C = {cost:g}, γ = {gamma:g}, θ = {theta:g}."
        )
    rows = _Rows.of(x, z, y, classes, weights)
    signs = 2.0 * rows.truth - 1.0
    fitted = [
        machines.solve(x, z, sign, cost * rows.weights, gamma, theta)
        for sign in (signs[:, 1:] if signs.shape[1] == 2 else signs).T
    ]
    parameters = np.stack([np.append(machine.weights, machine.intercept) for machine in fitted], 1)
    return rows.fitted(parameters * _platt_slope(descent.columns(rows.x @ parameters), rows))


def lrit_plus(
    x: Floats,
    z: Floats,
    y: Codes,
    classes: int,
    soft_labels: Floats | None = None,
    weights: Floats | None = None,
    *,
    ridge: float = 1.0,
    penalty: float = 0.0,
) -> Linear:
    """LRIT+: the logits of a logistic regression on [x, z], projected onto x by least squares.

    Martínez-García et al., "Extending the learning using privileged information paradigm to logistic regression",
    Neurocomputing 2023: min over (w, b) of Σ_i (w·x_i + b - logit_i)² + l|w|², l = `penalty` (0 in the paper's code;
    where the columns of x are collinear the shortest solution is taken). With l = 0 it is the full model given, for z,
    the least-squares prediction of z from x. For K > 2 the centred logit of every class is projected (own extension).
    `ridge` is that of the full model, `soft_labels` are not used.
    """
    _not_negative(ridge=ridge, penalty=penalty)
    rows = _Rows.of(x, z, y, classes, weights)
    return rows.fitted(_project_logits(rows, _full_logits(rows, ridge), penalty))


def lr_plus(
    x: Floats,
    z: Floats,
    y: Codes,
    classes: int,
    soft_labels: Floats | None = None,
    weights: Floats | None = None,
    *,
    ridge: float = 1.0,
    penalty: float = 0.0,
) -> Linear:
    """LR+: the probabilities of a logistic regression on [x, z], projected onto x by least squares.

    The paper of LRIT+: min over (w, b) of Σ_i (σ(w·x_i + b) - p_i)² + l|w|², l = `penalty` (0 in its code). For K > 2
    half the squares of all classes are summed (own extension; the same for K = 2). This is not convex in w: L-BFGS
    starts at LRIT+ and so ends no worse (the paper's code starts at ones). `soft_labels` are not used.
    """
    _not_negative(ridge=ridge, penalty=penalty)
    rows = _Rows.of(x, z, y, classes, weights)
    logits = _full_logits(rows, ridge)
    target = softmax(descent.columns(logits), axis=1)
    start = _project_logits(rows, logits, penalty)
    return rows.fitted(descent.descend(descent.squared_difference(target), rows.x, start, rows.weights, 2.0 * penalty))


def logistic_tpd(
    x: Floats,
    z: Floats,
    y: Codes,
    classes: int,
    soft_labels: Floats | None = None,
    weights: Floats | None = None,
    *,
    repulsion: float = 1.0,
    ridge: float = 1.0,
) -> Linear:
    """Logistic regression with the loss of teacher privileged distillation and no hard-label term.

    Martínez-García et al., Knowledge-Based Systems 2025: the mean of δ H(p -> t) - β (1 - δ) H(p -> t), explained at
    `losses.teacher_privileged`: for two classes that of (δ + β (1 - δ)) |logit t| |y - p|. β = `repulsion` >= 0, 1 in
    the authors' code. The loss is bounded and not convex: L-BFGS ends in a local minimum below the plain logistic
    regression on x, from which it starts. The authors' code has no ridge and starts at random; without a ridge there is
    no minimum where the rows can be separated. Being bounded it may give a class up: the intercept, which no ridge
    holds, then runs away until no slope is left. The smaller |logit t|, the more the ridge is felt.

    soft_labels : log-odds [n, 1] or log-probabilities [n, K] of a teacher, for instance cross-fitted; None: those of a
        logistic regression on [x, z] at its own training rows, as published.
    """
    _not_negative(repulsion=repulsion, ridge=ridge)
    rows = _Rows.of(x, z, y, classes, weights)
    if soft_labels is None:
        teacher = log_softmax(descent.columns(_full_logits(rows, ridge)), axis=1)
    else:
        expected = (len(y), 1 if classes == 2 else classes)
        if soft_labels.shape != expected or not np.isfinite(soft_labels).all():
            raise ValueError(f"expected finite soft labels {expected}, a row for each of y; found {soft_labels.shape}.")
        teacher = descent.columns(soft_labels)[:, rows.present]
    cost = descent.tpd_cost(teacher, rows.truth, repulsion)
    return rows.fitted(
        descent.descend(descent.mean_cost(cost), rows.x, _logistic(rows, rows.x, ridge), rows.weights, ridge)
    )


class Fit(Protocol):
    """x [n, d], z [n, q], y [n], K, soft labels [n, C] (read by logistic-TPD alone) and row weights [n]."""

    def __call__(
        self,
        x: Floats,
        z: Floats,
        y: Codes,
        classes: int,
        soft_labels: Floats | None = None,
        weights: Floats | None = None,
    ) -> Linear: ...


#: The methods by the name they have in tables. All take two classes and more.
CLASSICAL: dict[str, Fit] = {
    "SVM+": svm_plus,
    "LRIT+": lrit_plus,
    "LR+": lr_plus,
    "logistic-TPD": logistic_tpd,
}


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
    """A checked training set: x [n, d + 1] and [x, z] with a last column of ones, one-hot truth."""

    x: Floats
    xz: Floats
    truth: Floats
    weights: Floats
    present: Codes
    classes: int

    @classmethod
    def of(cls, x: Floats, z: Floats, y: Codes, classes: int, weights: Floats | None) -> _Rows:
        row_weights = np.ones(len(y)) if weights is None else weights
        tables, columns = (x, z), (y, row_weights)
        if (
            {a.ndim for a in tables} != {2}
            or {a.ndim for a in columns} != {1}
            or len(set(map(len, tables + columns))) > 1
        ):
            raise ValueError(
                "expected x [n, d], z [n, q], y [n] and weights [n] of the same n rows; "
                f"found {x.shape}, {z.shape}, {y.shape} and {row_weights.shape}."
            )
        if not (np.isfinite(x).all() and np.isfinite(z).all()):
            raise ValueError("x and z hold NaN or infinite cells; fill missing cells first.")
        if not (np.isfinite(row_weights).all() and (row_weights > 0).all()):
            raise ValueError("weights must be positive and finite; leave out the rows that are not to count.")
        present, compact = np.unique(y, return_inverse=True)
        if len(y) and not (present[0] >= 0 and present[-1] < classes):
            raise ValueError(f"expected class codes 0..{classes - 1}; found {present[0]}..{present[-1]}.")
        if len(present) < 2:
            raise ValueError(f"expected rows of at least two classes; found only class codes {present.tolist()} in y.")
        ones = np.ones((len(x), 1))
        scaled = row_weights / row_weights.mean()
        truth = np.eye(len(present))[compact]
        return cls(np.hstack([x, ones]), np.hstack([x, z, ones]), truth, scaled, present, classes)

    def fitted(self, parameters: Floats) -> Linear:
        return Linear(parameters[:-1], parameters[-1], self.present, self.classes)


def _not_negative(**knobs: float) -> None:
    for name, value in knobs.items():
        if not 0.0 <= value < np.inf:
            raise ValueError(f"{name} must be >= 0 and finite; found {value:g}.")


def _logistic(rows: _Rows, design: Floats, ridge: float) -> Floats:
    k = rows.truth.shape[1]
    start = np.zeros((design.shape[1], 1 if k == 2 else k))
    return descent.descend(descent.cross_entropy(rows.truth), design, start, rows.weights, ridge)


def _full_logits(rows: _Rows, ridge: float) -> Floats:
    """Logits [n, C] of a logistic regression on [x, z]."""
    logits: Floats = rows.xz @ _logistic(rows, rows.xz, ridge)
    return logits


def _project_logits(rows: _Rows, logits: Floats, penalty: float) -> Floats:
    root = np.sqrt(rows.weights)[:, None]
    width = rows.x.shape[1]
    shrink = np.sqrt(penalty) * np.eye(width)[:-1]
    left, right = np.vstack([root * rows.x, shrink]), np.vstack([root * logits, np.zeros((width - 1, logits.shape[1]))])
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0], dtype=np.float64)


def _platt_slope(scores: Floats, rows: _Rows) -> float:
    """a > 0 of smallest cross-entropy of a·scores [n, K] to Platt's targets: convex, its slope changes sign once."""
    k = scores.shape[1]
    counts = rows.weights @ rows.truth
    targets = (rows.truth * counts + 1.0) / (rows.truth @ counts + k)[:, None]

    def slope(a: float) -> float:
        return float(rows.weights @ (scores * (softmax(a * scores, axis=1) - targets)).sum(1))

    low, high = 1e-6, 1.0
    if slope(low) >= 0.0:
        return low
    while slope(high) < 0.0:
        high *= 2.0
    return float(brentq(slope, low, high, xtol=1e-14, rtol=1e-14))
