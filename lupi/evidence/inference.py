"""Inference on differences of paired results over the splits of a cross-validation, and the rule that judges a method.

The training sets of the splits overlap, so their results are not independent: the variance is corrected for that
(Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]

#: Two-sided level of every decision.
ALPHA = 0.05

HELPS = "helps"
NOT_THROUGH = "helps, but not through the information"
UNKNOWN = "better, cause unknown"
NO_EVIDENCE = "no evidence"
HURTS = "hurts"
VERDICTS = (HELPS, NOT_THROUGH, UNKNOWN, NO_EVIDENCE, HURTS)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A mean difference over splits and what it tells; positive speaks for the method.

    low, high : 95 % interval.
    p : two-sided.
    df : degrees of freedom, one less than splits.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    p: float
    df: int

    @property
    def p_better(self) -> float:
        """Twice the one-sided p of "the true difference is positive", at most 1: p in that direction, 1 in the other.

        Held against α it is the one-sided test at α/2, so that "better" and "worse" share α between them.
        """
        return self.p if self.mean > 0 else 1.0


@dataclasses.dataclass(frozen=True)
class Friedman:
    """Friedman's test of equal ranks over data sets; ranks [methods] are means, 1 the smallest value."""

    statistic: float
    p: float
    ranks: Floats


def corrected_standard_error(differences: npt.ArrayLike, test_share: float) -> float:
    """Standard error of a mean difference over splits whose training sets overlap.

    sqrt((1/J + n_test/n_train) s²) with s² the sample variance; the plain sqrt(s²/J) takes the splits for independent.
    Exactly 0 where all differences are equal.

    Parameters
    ----------
    differences : [J], one for each split, J >= 2.
    test_share : n_test / n_train of a split, > 0.
    """
    values = _paired(differences, test_share)
    return float(np.sqrt((1.0 / len(values) + test_share) * _variance(values)))


def corrected_t(differences: npt.ArrayLike, test_share: float) -> Comparison:
    """The corrected resampled t: mean / corrected standard error against Student's t with J - 1 degrees of freedom.

    Differences that are all equal have no variance to test with: p is then 1 if they are 0, else 0, the limits of t.

    Parameters
    ----------
    differences : [J], one for each split, J >= 2; finite (splits without a number are for the caller to leave out).
    test_share : n_test / n_train of a split, > 0.
    """
    values = _paired(differences, test_share)
    mean, error, df = float(values.mean()), corrected_standard_error(values, test_share), len(values) - 1
    p = min(2.0 * float(special.stdtr(df, -abs(mean) / error)), 1.0) if error > 0 else float(mean == 0)
    reach = float(special.stdtrit(df, 1.0 - ALPHA / 2)) * error
    return Comparison(mean, error, mean - reach, mean + reach, p, df)


def detectable(standard_error: float, df: int, level: float, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test would find, on its own side, with probability `power`.

    From the noncentral t: the standard error is taken for the true one. Among m methods that are compared at once, what
    one of them has to reach at first is `level` = α/m (Holm's first step): pass that, or the figure is too good.

    Parameters
    ----------
    standard_error : of the mean difference, >= 0.
    df : degrees of freedom of the test, >= 1.
    level : two-sided level in force, in (0, 1).
    power : in (level / 2, 1).
    """
    if not (standard_error >= 0 and df >= 1 and 0 < level < 1 and level / 2 < power < 1):
        raise ValueError(
            "standard_error must be >= 0, df >= 1, level in (0, 1) and power in (level / 2, 1); found "
            f"{standard_error}, {df}, {level}, {power}."
        )
    return _noncentrality(df, level, power) * standard_error


@functools.lru_cache
def _noncentrality(df: int, level: float, power: float) -> float:
    """The true difference in standard errors at which P(T > critical value) = power."""
    critical = float(special.stdtrit(df, 1.0 - level / 2))
    # T > critical where normal + shift > critical·chi: surely often enough if both do their part with sqrt(power).
    part = np.sqrt(power)
    enough = critical * np.sqrt(special.chdtri(df, 1.0 - part) / df) + special.ndtri(part)
    shift = optimize.brentq(lambda shift: special.nctdtr(df, shift, critical) - (1.0 - power), 0.0, enough + 1.0)
    return float(shift)


def holm(p: npt.ArrayLike) -> Floats:
    """Adjusted p values [m] of Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979).

    The smallest p times m, the next times m - 1 and so on, none below the one before it nor above 1. NaN (no test)
    stays NaN and counts for none of the m.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if values.ndim != 1 or ((values[known] < 0) | (values[known] > 1)).any():
        raise ValueError(f"p must be [m] with values in [0, 1]; found {values}.")
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def gain_interval(gained: npt.ArrayLike, possible: npt.ArrayLike, test_share: float) -> tuple[float, float]:
    """95 % interval of the LUPI gain 100 mean(gained) / mean(possible), in %.

    A ratio of two means that vary together, so Fieller's interval (JRSS B 16, 1954): all r for which the corrected t of
    gained - r·possible does not reject 0. Written out, that is a quadratic inequality in r with three cases:

    - mean(possible) is significantly positive: an interval;
    - it is not significantly different from 0: the set is all numbers, or all but an interval: every gain, however
      large, goes with the data;
    - it is significantly negative (the upper bound is the worse one): an interval, of a share in a loss.

    The last two give (NaN, NaN): there is no gain to have a share of.

    Parameters
    ----------
    gained : [J], lower - method of each split.
    possible : [J], lower - upper of the same splits.
    test_share : n_test / n_train of a split, > 0.
    """
    a, b = _paired(gained, test_share), _paired(possible, test_share)
    if len(a) != len(b):
        raise ValueError(f"gained and possible must be of the same splits; found {len(a)} and {len(b)}.")
    df = len(a) - 1
    scale = float(special.stdtrit(df, 1.0 - ALPHA / 2)) ** 2 * (1.0 / len(a) + test_share)
    mean_a, mean_b = float(a.mean()), float(b.mean())
    covariance = float((a - mean_a) @ (b - mean_b)) / df
    # squared·r² - 2·linear·r + constant <= 0
    squared = mean_b**2 - scale * _variance(b)
    linear = mean_a * mean_b - scale * covariance
    constant = mean_a**2 - scale * _variance(a)
    if mean_b <= 0 or squared <= 0:
        return float("nan"), float("nan")
    root = float(np.sqrt(max(linear**2 - squared * constant, 0.0)))
    return 100.0 * (linear - root) / squared, 100.0 * (linear + root) / squared


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


def better_than_all(lower: Comparison | None, twins: Mapping[str, Comparison | None]) -> float:
    """p of the intersection-union test: better than lower and than every twin, so the largest `p_better` of them.

    The hypothesis is that at least one of them is as good; as each is tested at the full level, no correction for their
    number is needed. NaN without twins, or where one comparison could not be made.
    """
    found = [lower, *twins.values()]
    if not twins or any(comparison is None for comparison in found):
        return float("nan")
    return max(comparison.p_better for comparison in found if comparison is not None)


def hardest_twin(twins: Mapping[str, Comparison | None]) -> str | None:
    """The twin that is hardest to beat: the largest `p_better`, of equal ones the smallest difference."""
    known = {name: twin for name, twin in twins.items() if twin is not None}
    return max(known, key=lambda name: (known[name].p_better, -known[name].mean)) if known else None


def verdict(
    lower: Comparison | None,
    adjusted: float,
    twins: Mapping[str, Comparison | None],
    adjusted_all: float,
    alpha: float = ALPHA,
) -> str:
    """What is to be said of a method: one of `VERDICTS`.

    `adjusted` decides whether it is better or worse than lower, `adjusted_all` whether it `helps`: is better than lower
    and than all its twins. A method that is better than lower, but than one of its twins not even by that comparison's
    own p, helps, but not through the information. Else the cause is unknown: there are no twins, or one that was not
    beaten might be missing, or all were beaten, but not clearly enough among so many methods.

    Parameters
    ----------
    lower : comparison with the lower bound; None: none could be made.
    adjusted : its p, by Holm's procedure over the methods of the data set.
    twins : comparisons with the twins that have none of the information; None: that one could not be made.
    adjusted_all : `better_than_all`, by Holm's procedure over the methods.
    """
    if lower is None or not adjusted <= alpha:
        return NO_EVIDENCE
    if lower.mean < 0:
        return HURTS
    if adjusted_all <= alpha:
        return HELPS
    unbeaten = any(twin is not None and twin.p_better > alpha for twin in twins.values())
    return NOT_THROUGH if unbeaten else UNKNOWN


def _variance(values: Floats) -> float:
    """Sample variance; exactly 0 where the values are equal but for rounding."""
    return float(values.var(ddof=1)) if np.ptp(values) > 1e-10 * np.abs(values).max() else 0.0


def _paired(values: npt.ArrayLike, test_share: float) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"differences must be [J] with J >= 2; found shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"differences must be finite; {int((~np.isfinite(array)).sum())} of {len(array)} are not.")
    if not 0 < test_share < np.inf:
        raise ValueError(f"test_share must be n_test / n_train > 0; found {test_share}.")
    return array
