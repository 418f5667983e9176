"""What probabilities mean: their temperature, their calibration error, and the prior of the classes behind them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

Floats = npt.NDArray[np.float64]

_LEAST, _MOST = np.log(0.05), np.log(20.0)  # of ln T: beyond, a network says nothing or everything
_BINS = 15  # as in Guo et al.


def temperature(output: Floats, codes: npt.NDArray[np.int64], weights: Floats | None = None) -> float:
    """T > 0 that minimises the log loss of softmax(output / T) (Guo et al., "On calibration of modern neural networks",
    ICML 2017), between 0.05 and 20; 1 where there are no rows.

    Classes keep their order: the error does not change. Fit it on rows that the networks were not trained on.

    >>> output = np.array([[4.0], [4.0], [4.0], [-4.0], [-4.0], [-4.0]])  # log-odds, sure, and a third of them wrong
    >>> sure = temperature(output, np.array([1, 1, 0, 0, 0, 1]))
    >>> round(float(1 / (1 + np.exp(-4 / sure))), 3)
    0.667

    Shape
    -----
    output : [n, 1] log-odds of two classes, or [n, K] logits; codes : [n] class codes; weights : [n] of the rows, or
        None. Rows with an output that is not finite are left out.
    """
    logits = np.concatenate([np.zeros_like(output), output], 1) if output.shape[1] == 1 else output
    known = np.isfinite(logits).all(1)
    if not known.any():
        return 1.0
    logits, codes = logits[known], codes[known]
    shares = np.full(len(codes), 1.0 / len(codes)) if weights is None else weights[known] / weights[known].sum()
    rows = np.arange(len(codes))

    def loss(log_temperature: float) -> float:
        return float(-shares @ log_softmax(logits / np.exp(log_temperature), axis=1)[rows, codes])

    found = minimize_scalar(loss, bounds=(_LEAST, _MOST), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def expected_calibration_error(probability: Floats, codes: npt.NDArray[np.int64]) -> float:
    """Mean distance between confidence and accuracy over 15 bins of equal width (Naeini, Cooper and Hauskrecht, AAAI
    2015): the confidence of a row is the probability [n, K] of its most probable class.

    >>> expected_calibration_error(np.array([[0.1, 0.9], [0.1, 0.9]]), np.array([1, 0]))
    0.4
    """
    confidence, right = probability.max(1), probability.argmax(1) == codes
    place = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(place, confidence, _BINS) - np.bincount(place, right, _BINS)
    return round(float(np.abs(gap).sum() / len(codes)), 12)


def with_prior(probability: Floats, prior: Floats, target: Floats | None = None) -> Floats:
    """Probabilities [n, K] learned where classes have the frequencies `prior` [K], for where they have those of
    `target` (None: all alike), by Bayes' rule: p · target / prior, scaled to sum 1 (Saerens, Latinne and Decaestecker,
    Neural Computation 2002).

    >>> with_prior(np.array([[0.8, 0.2]]), np.array([0.8, 0.2])).tolist()
    [[0.5, 0.5]]
    """
    factor = np.divide(1.0 if target is None else target, prior, out=np.zeros_like(prior), where=prior > 0)
    shifted = probability * factor
    return np.asarray(shifted / shifted.sum(1, keepdims=True), dtype=np.float64)
