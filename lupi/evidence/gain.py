"""The LUPI gain, which share of the upper bound's improvement a method reaches; its interval, and when it is shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import special

from lupi.evidence.differences import ALPHA, Paired, compare, paired_values, variance

Floats = npt.NDArray[np.float64]
_UNKNOWN = float("nan")


@dataclasses.dataclass(frozen=True)
class Gain:
    """A LUPI gain in % with its 95 % interval; all NaN where it is not shown."""

    point: float = _UNKNOWN
    low: float = _UNKNOWN
    high: float = _UNKNOWN


def lupi_gain(lower: npt.ArrayLike, method: npt.ArrayLike, upper: npt.ArrayLike, test_share: float) -> Gain:
    """100 mean(lower - method) / mean(lower - upper) in %, over the splits in which all three have a number.

    It is shown where `upper_is_better`, and nowhere else: tables, verdicts and diagnosis have this one rule. A gain is
    a share of what Z is worth to the upper bound. Where that may be 0, the gain is a quotient by noise:
    every value of it, however large, goes with the data (see `gain_interval`).

    >>> lower, upper = [0.30, 0.32, 0.28, 0.31, 0.29], [0.20, 0.21, 0.19, 0.20, 0.20]
    >>> gain = lupi_gain(lower, [0.25, 0.26, 0.24, 0.27, 0.25], upper, test_share=0.25)
    >>> print(f"{gain.point:.0f} % ({gain.low:.0f} to {gain.high:.0f})")
    46 % (32 to 60)
    >>> lupi_gain(lower, lower, lower, test_share=0.25)  # the upper bound is no better: nothing to have a share of
    Gain(point=nan, low=nan, high=nan)

    Parameters
    ----------
    lower, method, upper : losses [J] of the same splits, less is better; NaN where an arm has no number.
    test_share : n_test / n_train of a split, > 0.
    """
    losses = np.array([lower, method, upper], dtype=np.float64)
    usable = losses[:, np.isfinite(losses).all(0)]
    if usable.shape[1] < 2 or not upper_is_better(compare(losses[0] - losses[2], test_share)):
        return Gain()
    gained, possible = usable[0] - usable[1], usable[0] - usable[2]
    low, high = gain_interval(gained, possible, test_share)
    if np.isnan(low):
        return Gain()
    return Gain(100.0 * float(gained.mean() / possible.mean()), low, high)


def upper_is_better(possible: Paired) -> bool:
    """Whether the upper bound is clearly better than the lower: `compare` of lower - upper is significant at 5 %."""
    test = possible.test
    return test is not None and test.mean > 0 and test.p <= ALPHA


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
    a, b = paired_values(gained, test_share), paired_values(possible, test_share)
    if len(a) != len(b):
        raise ValueError(f"gained and possible must be of the same splits; found {len(a)} and {len(b)}.")
    df = len(a) - 1
    scale = float(special.stdtrit(df, 1.0 - ALPHA / 2)) ** 2 * (1.0 / len(a) + test_share)
    mean_a, mean_b = float(a.mean()), float(b.mean())
    covariance = float((a - mean_a) @ (b - mean_b)) / df
    # squared·r² - 2·linear·r + constant <= 0
    squared = mean_b**2 - scale * variance(b)
    linear = mean_a * mean_b - scale * covariance
    constant = mean_a**2 - scale * variance(a)
    if mean_b <= 0 or squared <= 0:
        return float("nan"), float("nan")
    root = float(np.sqrt(max(linear**2 - squared * constant, 0.0)))
    return 100.0 * (linear - root) / squared, 100.0 * (linear + root) / squared
