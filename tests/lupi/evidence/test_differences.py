"""Tests of paired differences: by hand, against other implementations, and by simulation."""

import itertools
import math
import statistics

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from lupi.evidence.differences import (
    ALPHA,
    compare,
    corrected_standard_error,
    corrected_t,
    detectable,
    holm,
    share_tested,
)

Floats = npt.NDArray[np.float64]

SHARE = 0.25  # five folds
NAN = float("nan")


def repeated(draw: np.random.Generator, arms: int, splits: int = 20, share: float = SHARE) -> Floats:
    """Errors [arms, splits] of equal arms, correlated over the splits as the correction takes them to be.

    A correlation r adds r / (1 - r) to the 1 / J of the variance: r = n_test / (n_test + n_train).
    """
    r = share / (1.0 + share)
    return np.sqrt(r) * draw.normal(size=(arms, 1)) + np.sqrt(1.0 - r) * draw.normal(size=(arms, splits))


# ---------------------------------------------------------------------- the corrected t


def test_corrected_standard_error__by_hand() -> None:
    # Variance 1 of (1, 2, 3); 1/3 + 1/4 of it.
    assert corrected_standard_error([1.0, 2.0, 3.0], 0.25) == pytest.approx(np.sqrt(7 / 12), rel=1e-12)


def test_corrected_standard_error__many_repeats__does_not_shrink_to_zero() -> None:
    draw = np.random.default_rng(0).normal(size=10_000)
    assert corrected_standard_error(draw, 0.25) > 0.49


@pytest.mark.parametrize(
    ("differences", "share"),
    [([1.0], 0.25), ([[1.0, 2.0]], 0.25), ([1.0, 2.0], 0.0), ([1.0, NAN], 0.25), ([1.0, math.inf], 0.25)],
)
def test_corrected__bad_input__raises(differences: list[float], share: float) -> None:
    for function in (corrected_standard_error, corrected_t):
        with pytest.raises(ValueError, match="must be"):
            function(differences, share)


def test_corrected_t__by_hand() -> None:
    """t = 2 / sqrt(7/12) with 2 degrees of freedom, whose distribution is 1/2 + t / (2 sqrt(2 + t²))."""
    found = corrected_t([1.0, 2.0, 3.0], 0.25)
    error = math.sqrt(7 / 12)
    t = 2.0 / error
    assert (found.mean, found.df) == (2.0, 2)
    assert found.standard_error == pytest.approx(error, rel=1e-12)
    assert found.p == pytest.approx(1.0 - t / math.sqrt(2.0 + t * t), rel=1e-12)
    # The 97.5 % point of that distribution: t / sqrt(2 + t²) = 0.95.
    quantile = math.sqrt(2 * 0.95**2 / (1 - 0.95**2))
    assert (found.low, found.high) == pytest.approx((2.0 - quantile * error, 2.0 + quantile * error), rel=1e-9)
    assert found.p_better == found.p
    assert corrected_t([-1.0, -2.0, -3.0], 0.25).p_better == 1.0


@given(
    differences=st.lists(st.floats(-1, 1).map(lambda x: round(x, 6)), min_size=2, max_size=30),
    share=st.floats(0.01, 2.0),
)
def test_corrected_t__independent_implementation__agrees(differences: list[float], share: float) -> None:
    """Nadeau and Bengio's statistic from the standard library's moments and SciPy's distribution."""
    assume(len(set(differences)) > 1)
    found = corrected_t(differences, share)
    error = statistics.stdev(differences) * math.sqrt(1 / len(differences) + share)
    t = stats.t(len(differences) - 1, loc=statistics.fmean(differences), scale=error)
    assert found.p == pytest.approx(2 * min(t.cdf(0), t.sf(0)), rel=1e-8)
    assert (found.low, found.high) == pytest.approx(t.interval(0.95), rel=1e-8, abs=1e-8)


def test_corrected_t__share_towards_0__is_the_plain_t() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1.0, 12)
    plain = stats.ttest_1samp(differences, 0.0)
    interval = plain.confidence_interval()
    found = corrected_t(differences, 1e-14)
    assert found.p == pytest.approx(plain.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0), (-0.1, 0.0)])
def test_corrected_t__no_variance__is_the_limit(value: float, p: float) -> None:
    found = corrected_t([value] * 3, 0.25)
    assert (found.p, found.standard_error, found.df) == (p, 0.0, 2)
    assert found.low == found.mean == found.high


def test_corrected_t__equal_but_for_rounding__has_no_variance() -> None:
    differences = [0.3 - 0.2, 0.4 - 0.3, 0.8 - 0.7]
    assert len(set(differences)) == 3
    assert corrected_t(differences, 0.25).standard_error == 0.0


def test_corrected_t__equal_arms__rejects_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    rejected = 0
    for _ in range(2000):
        lower, method = repeated(draw, 2)
        rejected += corrected_t(lower - method, SHARE).p <= ALPHA
    assert stats.binomtest(rejected, 2000, ALPHA).pvalue > 0.01


# ---------------------------------------------------------------------- what could have been found


@pytest.mark.parametrize("df", [1, 4, 49, 10_000])
@pytest.mark.parametrize("level", [0.05, 0.05 / 9])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.99])
def test_detectable__is_found_with_that_power(df: int, level: float, power: float) -> None:
    shift = detectable(2.0, df, level, power) / 2.0
    assert stats.nct.sf(stats.t.isf(level / 2, df), df, shift) == pytest.approx(power, abs=1e-8)


def test_detectable__simulated_studies__are_found_with_that_power() -> None:
    draw = np.random.default_rng(2)
    level, splits = 0.05 / 9, 10
    # The true standard error of the mean difference of two arms: variances 2 (r + (1 - r) / J).
    r = SHARE / (1 + SHARE)
    shift = detectable(math.sqrt(2 * (r + (1 - r) / splits)), splits - 1, level)
    found = 0
    for _ in range(1000):
        lower, method = repeated(draw, 2, splits)
        test = corrected_t(lower - method + shift, SHARE)
        found += test.p <= level and test.mean > 0
    assert stats.binomtest(found, 1000, 0.8).pvalue > 0.01


def test_detectable__stricter_level_or_more_power__needs_more() -> None:
    assert detectable(1.0, 9, 0.05) < detectable(1.0, 9, 0.05 / 9)
    assert detectable(1.0, 9, 0.05) < detectable(1.0, 9, 0.05, 0.9)
    assert detectable(0.0, 9, 0.05) == 0.0


@pytest.mark.parametrize("bad", [(-1.0, 9, 0.05, 0.8), (1.0, 0, 0.05, 0.8), (1.0, 9, 1.0, 0.8), (1.0, 9, 0.05, 0.02)])
def test_detectable__bad_input__raises(bad: tuple[float, int, float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        detectable(*bad)


# ---------------------------------------------------------------------- Holm

P = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm__by_hand() -> None:
    # 0.01·4; 0.02·3; 0.03·2 = 0.06; 0.9·1, in the order given.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.6, 0.9]).tolist() == [1.0, 1.0, 1.0]
    assert holm([]).tolist() == []


@given(p=P)
def test_holm__statsmodels__agrees(p: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@given(p=P, alpha=st.floats(0.001, 0.2))
def test_holm__decisions__are_those_of_the_steps(p: list[float], alpha: float) -> None:
    """Reject from the smallest p on while p <= α / (number not yet rejected)."""
    order = np.argsort(p, kind="stable")
    steps = itertools.takewhile(lambda i: p[order[i]] * (len(p) - i) <= alpha, range(len(p)))
    assert set(np.flatnonzero(holm(p) <= alpha)) == {int(order[i]) for i in steps}


@given(p=P, of=st.lists(st.booleans(), min_size=12, max_size=12))
def test_holm__smaller_p__never_raises_an_adjusted_one(p: list[float], of: list[bool]) -> None:
    smaller = [value / 2 if halve else value for value, halve in zip(p, of, strict=False)]
    assert (holm(smaller) <= holm(p)).all()
    assert (holm(p) >= p).all()


def test_holm__nan__is_ignored_and_not_counted() -> None:
    found = holm([NAN, 0.03, NAN, 0.01])
    assert np.isnan(found[[0, 2]]).all()
    assert found[[3, 1]] == pytest.approx(holm([0.01, 0.03]))
    assert np.isnan(holm([NAN])).all()


@pytest.mark.parametrize("bad", [[-0.1, 0.5], [1.1], [[0.1]]])
def test_holm__bad_input__raises(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        holm(bad)


# ---------------------------------------------------------------------- over splits that have a number


def test_compare__splits_without_a_number__are_left_out_and_counted() -> None:
    paired = compare([0.1, NAN, 0.3, np.inf, 0.2], SHARE)
    assert paired.test == corrected_t([0.1, 0.3, 0.2], SHARE)
    assert (paired.mean, paired.splits, paired.of) == (pytest.approx(0.2), 3, 5)


@pytest.mark.parametrize(("differences", "splits"), [([0.1, NAN], 1), ([NAN, NAN], 0), ([], 0)])
def test_compare__fewer_than_two_splits__has_no_test(differences: list[float], splits: int) -> None:
    paired = compare(differences, SHARE)
    assert paired.test is None
    assert paired.splits == splits
    assert paired.mean == pytest.approx(0.1 if splits else NAN, nan_ok=True)


@pytest.mark.parametrize(("value", "p"), [(0.05, 0.25), (-0.05, 0.25), (0.0, 1.0)])
def test_compare__equal_differences__is_the_sign_test_without_an_interval(value: float, p: float) -> None:
    test = compare([value] * 3, SHARE).test
    assert test is not None
    assert (test.mean, test.p) == (pytest.approx(value), p)
    assert np.isnan([test.low, test.high]).all()


def test_share_tested__fewer_training_rows_than_the_folds_have__counts_all_of_the_folds() -> None:
    """Two repeats of five folds of 20 rows; records of two arms, one of them trained on 8 rows."""
    repeat, fold, n_train = np.repeat([0, 1], 10), np.tile(np.repeat(np.arange(5), 2), 2), np.tile([80, 8], 10)
    assert share_tested(repeat, fold, np.full(20, 20), n_train) == pytest.approx(0.25)
    assert share_tested(repeat, fold, np.full(20, 20), np.full(20, 8)) == pytest.approx(0.25)
    assert share_tested([0], [0], [60], [30]) == pytest.approx(2.0)  # a hold-out
