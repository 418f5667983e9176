"""Mean ranks of methods over data sets, and Friedman's test of whether they differ."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Friedman:
    """Friedman's test of equal ranks over data sets; ranks [methods] are means, 1 the smallest value."""

    statistic: float
    p: float
    ranks: Floats


def friedman(table: npt.ArrayLike) -> Friedman:
    """Friedman's test over data sets (Demšar, JMLR 7, 2006): do the methods rank alike?

    Parameters
    ----------
    table : [data sets, methods], smaller is better, at least 2 by 3, finite. Ties share their mean rank.
    """
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3:
        raise ValueError(f"table must be [data sets >= 2, methods >= 3]; found shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError("table must be finite: leave out data sets in which a method has no number.")
    ranks = stats.rankdata(values, axis=1)
    if np.ptp(ranks, axis=1).max() == 0:  # nothing but ties
        return Friedman(0.0, 1.0, ranks.mean(0))
    statistic, p = stats.friedmanchisquare(*values.T)
    return Friedman(float(statistic), float(p), ranks.mean(0))
