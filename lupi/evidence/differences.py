"""Tests of paired differences over the splits of a repeated cross-validation.

The training sets of the splits overlap, so their results are not independent: the variance is corrected for that
(Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

Floats = npt.NDArray[np.float64]

#: Two-sided level of every decision.
ALPHA = 0.05


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
class Paired:
    """A method against another arm over the splits in which both have a number.

    mean : of the differences, positive where the method is better; NaN without such splits.
    test : None where these splits are fewer than two.
    splits, of : how many there are, of how many.
    """

    mean: float
    test: Comparison | None
    splits: int
    of: int


def compare(differences: npt.ArrayLike, test_share: float) -> Paired:
    """The mean difference and its corrected t, over the splits that have a number.

    Where the differences are all equal, nothing is known of their variance: there is no interval, and p is that of the
    sign test (1 where they are 0). Counts over few splits are equal by accident: of two folds with 30 rows each, in one
    null study of ten. A t without variance would be sure of them.

    >>> paired = compare([0.05, 0.06, 0.04, 0.04, 0.04], test_share=0.25)
    >>> print(f"{paired.mean:.3f} ({paired.test.low:.3f} to {paired.test.high:.3f}), p = {paired.test.p:.4f}")
    0.046 (0.029 to 0.063), p = 0.0016

    Parameters
    ----------
    differences : [J], one for each split; NaN where an arm has no number.
    test_share : see `share_tested`.
    """
    values = np.asarray(differences, dtype=np.float64)
    usable = values[np.isfinite(values)]
    if len(usable) < 2:
        return Paired(float(usable[0]) if len(usable) else float("nan"), None, len(usable), len(values))
    test = corrected_t(usable, test_share)
    if test.standard_error == 0:
        p = 0.5**test.df if test.mean != 0 else 1.0
        test = dataclasses.replace(test, low=float("nan"), high=float("nan"), p=p)
    return Paired(test.mean, test, len(usable), len(values))


def share_tested(repeat: npt.ArrayLike, fold: npt.ArrayLike, n_test: npt.ArrayLike, n_train: npt.ArrayLike) -> float:
    """Mean n_test / n_train of the splits, where n_train is all rows of the training folds.

    A study on fewer training rows than the folds have shares no more of its rows between splits for that.

    Parameters
    ----------
    repeat, fold, n_test, n_train : [records], any number of records for each split.
    """
    records = pd.DataFrame({"repeat": repeat, "fold": fold, "n_test": n_test, "n_train": n_train})
    splits = records.groupby(["repeat", "fold"]).agg({"n_test": "first", "n_train": "max"})
    rows = splits.groupby("repeat")["n_test"].transform("sum")
    training = np.maximum(rows - splits["n_test"], splits["n_train"])
    return float((splits["n_test"] / training).mean())


def corrected_standard_error(differences: npt.ArrayLike, test_share: float) -> float:
    """Standard error of a mean difference over splits whose training sets overlap.

    sqrt((1/J + n_test/n_train) s²) with s² the sample variance; the plain sqrt(s²/J) takes the splits for independent.
    Exactly 0 where all differences are equal.

    Parameters
    ----------
    differences : [J], one for each split, J >= 2.
    test_share : n_test / n_train of a split, > 0.
    """
    values = paired_values(differences, test_share)
    return float(np.sqrt((1.0 / len(values) + test_share) * variance(values)))


def corrected_t(differences: npt.ArrayLike, test_share: float) -> Comparison:
    """The corrected resampled t: mean / corrected standard error against Student's t with J - 1 degrees of freedom.

    Differences that are all equal have no variance to test with: p is then 1 if they are 0, else 0, the limits of t.

    Parameters
    ----------
    differences : [J], one for each split, J >= 2; finite (splits without a number are for the caller to leave out).
    test_share : n_test / n_train of a split, > 0.
    """
    values = paired_values(differences, test_share)
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


def variance(values: Floats) -> float:
    """Sample variance; exactly 0 where the values are equal but for rounding."""
    return float(values.var(ddof=1)) if np.ptp(values) > 1e-10 * np.abs(values).max() else 0.0


def paired_values(values: npt.ArrayLike, test_share: float) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"differences must be [J] with J >= 2; found shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"differences must be finite; {int((~np.isfinite(array)).sum())} of {len(array)} are not.")
    if not 0 < test_share < np.inf:
        raise ValueError(f"test_share must be n_test / n_train > 0; found {test_share}.")
    return array
