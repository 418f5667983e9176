"""Metrics of predictions against the truth: the formulas. Their titles and directions are in `metric_table`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from scipy.stats import rankdata

from lupi.evidence.calibration import expected_calibration_error, with_prior

Floats = npt.NDArray[np.float64]


def probabilities(output: Floats) -> Floats:
    """Class probabilities [n, K] of log-odds [n, 1] or logits [n, K]."""
    if output.shape[1] == 1:
        return np.concatenate([expit(-output), expit(output)], 1)
    result: Floats = softmax(output, axis=1)
    return result


def log_odds(probability: Floats) -> Floats:
    """The inverse of `probabilities`: log-odds [n, 1] for K = 2, log-probabilities [n, K] else.

    Probabilities are first clipped to [1e-7, 1 - 1e-7] (Keras' epsilon), so that no teacher is infinitely sure.
    """
    clipped = np.clip(probability, 1e-7, 1.0 - 1e-7)
    if probability.shape[-1] == 2:
        return np.asarray(np.log(clipped[..., 1:]) - np.log(clipped[..., :1]), dtype=np.float64)
    return np.asarray(np.log(clipped / clipped.sum(-1, keepdims=True)), dtype=np.float64)


def auc(score: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); NaN where one class is absent."""
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if n1 == 0 or n0 == 0:
        return float("nan")
    return float((rankdata(score)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def log_loss_by_class(probability: Floats, codes: npt.NDArray[np.int64]) -> Floats:
    """Mean -ln p of the true class over the rows of every class [K]; NaN for a class without rows.

    Probabilities are clipped to [1e-15, 1 - 1e-15].
    """
    loss = -np.log(np.clip(probability[np.arange(len(codes)), codes], 1e-15, 1.0 - 1e-15))
    k = probability.shape[1]
    counts = np.bincount(codes, minlength=k)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(codes, loss, minlength=k) / counts, dtype=np.float64)


def classification(probability: Floats, codes: npt.NDArray[np.int64], prior: Floats | None = None) -> dict[str, float]:
    """Error, AUC, log loss, balanced log loss, Brier score and calibration error of probabilities [n, K] against class
    codes [n].

    prior : frequencies [K] of the classes in training, which the balanced log loss then takes out of the probabilities,
        since it weighs classes alike; None: it takes the probabilities as they are.

    All NaN where a probability is: the networks diverged, and the class of largest probability would be an accident.
    A tie goes to the class of the lower code. AUC of more than two classes is the mean over classes against the rest
    (those absent left out). The balanced log loss is the mean over classes of their mean -ln p, the official metric of
    Kaggle's ICR competition.
    """
    if np.isnan(probability).any():
        names = ("error", "auc", "log_loss", "balanced_log_loss", "brier", "calibration_error")
        return dict.fromkeys(names, float("nan"))
    k = probability.shape[1]
    by_class = log_loss_by_class(probability, codes)
    counts = np.bincount(codes, minlength=k)
    present = counts > 0
    scored = [1] if k == 2 else range(k)
    areas = np.array([auc(probability[:, c], codes == c) for c in scored])
    truth = np.eye(k)[codes]
    balanced = by_class if prior is None else log_loss_by_class(with_prior(probability, prior), codes)
    return {
        "error": float((probability.argmax(1) != codes).mean()),
        "auc": float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan"),
        "log_loss": float((by_class[present] * counts[present]).sum() / len(codes)),
        "balanced_log_loss": float(balanced[present].mean()),
        "brier": float(((probability - truth) ** 2).sum(1).mean() / (2.0 if k == 2 else 1.0)),
        "calibration_error": expected_calibration_error(probability, codes),
    }


def regression(prediction: Floats, truth: Floats) -> dict[str, float]:
    """Root mean squared error ("error"), mean absolute error and R² of predictions [n]."""
    residual = prediction - truth
    variance = float(((truth - truth.mean()) ** 2).mean())
    return {
        "error": float(np.sqrt((residual**2).mean())),
        "mae": float(np.abs(residual).mean()),
        "r2": 1.0 - float((residual**2).mean()) / variance if variance > 0 else float("nan"),
    }


def mean_and_std(values: npt.ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation of the finite values; NaN where there are too few."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    mean = float(finite.mean()) if len(finite) else float("nan")
    return mean, float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
