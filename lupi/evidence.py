"""Inference on differences of paired results over the splits of a cross-validation.

The training sets of the splits overlap, so their results are not independent: the variance is corrected for that
(Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def corrected_standard_error(differences: npt.ArrayLike, test_share: float) -> float:
    """Standard error of a mean difference over splits whose training sets overlap.

    sqrt((1/J + n_test/n_train) s²) with s² the sample variance; the plain sqrt(s²/J) takes the splits for independent.

    Parameters
    ----------
    differences : [J], one for each split, J >= 2.
    test_share : n_test / n_train of a split, > 0.
    """
    values = _paired(differences, test_share)
    return float(np.sqrt((1.0 / len(values) + test_share) * values.var(ddof=1)))


def _paired(values: npt.ArrayLike, test_share: float) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"differences must be [J] with J >= 2; found shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"differences must be finite; {int((~np.isfinite(array)).sum())} of {len(array)} are not.")
    if not test_share > 0:
        raise ValueError(f"test_share must be n_test / n_train > 0; found {test_share}.")
    return array
