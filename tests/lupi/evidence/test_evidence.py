"""Inference on paired differences: by hand, against other implementations, and by simulation."""

import itertools
import math
import statistics

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from lupi.evidence.inference import (
    ALPHA,
    HELPS,
    HURTS,
    NO_EVIDENCE,
    NOT_THROUGH,
    UNKNOWN,
    Comparison,
    better_than_all,
    corrected_standard_error,
    corrected_t,
    detectable,
    friedman,
    gain_interval,
    hardest_twin,
    holm,
    verdict,
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


@pytest.mark.slow
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


# ---------------------------------------------------------------------- LUPI gain


def arms_with_gain(draw: np.random.Generator, gain: float, possible: float, splits: int = 10) -> tuple[Floats, Floats]:
    """lower - method and lower - upper, of which the method gains a share."""
    lower, method, upper = repeated(draw, 3, splits)
    return lower - method + gain * possible, lower - upper + possible


@given(seed=st.integers(0, 10_000), possible=st.floats(2.0, 20.0), r=st.floats(-2.0, 3.0))
def test_gain_interval__holds_the_ratios_that_the_test_does_not_reject(seed: int, possible: float, r: float) -> None:
    gained, could = arms_with_gain(np.random.default_rng(seed), 0.5, possible)
    low, high = gain_interval(gained, could, SHARE)
    test = corrected_t(could, SHARE)
    assert np.isnan(low) == (test.p >= ALPHA or test.mean <= 0)
    assume(not np.isnan(low))
    assert low <= 100.0 * gained.mean() / could.mean() <= high
    p = corrected_t(gained - r * could, SHARE).p
    assume(abs(p - ALPHA) > 1e-9)
    assert (low <= 100.0 * r <= high) == (p > ALPHA)
    for end in (low, high):
        assert corrected_t(gained - end / 100.0 * could, SHARE).p == pytest.approx(ALPHA, rel=1e-6)


@pytest.mark.parametrize(
    "possible",
    [
        [0.1, -0.1, 0.2, -0.15],  # may be 0: all ratios go with it, or all but an interval
        [-0.2, -0.21, -0.19, -0.2],  # the upper bound is worse
        [0.0, 0.0, 0.0, 0.0],
    ],
)
def test_gain_interval__upper_not_clearly_better__is_undefined(possible: list[float]) -> None:
    assert np.isnan(gain_interval([0.1, 0.2, 0.1, 0.2], possible, SHARE)).all()


def test_gain_interval__all_of_the_possible_gain__is_100() -> None:
    assert gain_interval([0.1, 0.2, 0.15], [0.1, 0.2, 0.15], 1e-6) == pytest.approx((100.0, 100.0))
    assert gain_interval([0.1, 0.1, 0.1], [0.2, 0.2, 0.2], SHARE) == pytest.approx((50.0, 50.0))


def test_gain_interval__simulated_studies__covers_the_true_gain() -> None:
    draw = np.random.default_rng(3)
    covered = told = 0
    for _ in range(2000):
        low, high = gain_interval(*arms_with_gain(draw, 0.4, 5.0), SHARE)
        told += not np.isnan(low)
        covered += low <= 40.0 <= high
    assert told > 1900
    assert stats.binomtest(covered, told, 0.95).pvalue > 0.01


def test_gain_interval__of_other_splits__raises() -> None:
    with pytest.raises(ValueError, match="same splits"):
        gain_interval([0.1, 0.2], [0.1, 0.2, 0.3], SHARE)


# ---------------------------------------------------------------------- ranks


def test_friedman__same_order_everywhere__by_hand() -> None:
    """12 D / (k (k + 1)) Σ R² - 3 D (k + 1) = 3·14 - 36 = 6 for D = k = 3; χ² with 2 degrees: p = exp(-3)."""
    found = friedman([[0.1, 0.2, 0.3], [0.4, 0.5, 0.9], [0.0, 0.1, 0.2]])
    assert found.statistic == pytest.approx(6.0)
    assert found.p == pytest.approx(math.exp(-3.0))
    assert found.ranks.tolist() == [1.0, 2.0, 3.0]


def test_friedman__ties__share_ranks() -> None:
    assert friedman([[0.1, 0.1, 0.3], [0.1, 0.2, 0.2]]).ranks.tolist() == [1.25, 2.0, 2.75]
    nothing = friedman([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2]])
    assert (nothing.statistic, nothing.p) == (0.0, 1.0)


@pytest.mark.parametrize("bad", [[[0.1, 0.2, 0.3]], [[0.1, 0.2], [0.1, 0.2]], [[0.1, 0.2, NAN], [0.1, 0.2, 0.3]]])
def test_friedman__bad_input__raises(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="must be"):
        friedman(bad)


# ---------------------------------------------------------------------- the rule


def compared(mean: float, p: float) -> Comparison:
    return Comparison(mean, 1.0, mean - 2.0, mean + 2.0, p, 9)


BETTER, WORSE, LIKE = compared(0.1, 0.001), compared(-0.1, 0.001), compared(0.01, 0.6)


@pytest.mark.parametrize(
    ("lower", "adjusted", "twins", "adjusted_all", "expected"),
    [
        (BETTER, 0.01, {"shuffled": BETTER, "noise": BETTER}, 0.04, HELPS),
        (BETTER, 0.05, {"shuffled": BETTER}, 0.05, HELPS),
        (BETTER, 0.01, {"shuffled": LIKE, "noise": BETTER}, 1.0, NOT_THROUGH),
        (BETTER, 0.01, {"shuffled": WORSE}, 1.0, NOT_THROUGH),  # the twin is the better one
        (BETTER, 0.01, {"shuffled": None, "noise": LIKE}, NAN, NOT_THROUGH),
        (BETTER, 0.01, {"shuffled": None, "noise": BETTER}, NAN, UNKNOWN),
        (BETTER, 0.01, {"shuffled": compared(0.1, 0.03)}, 0.27, UNKNOWN),  # beaten, but not among nine methods
        (BETTER, 0.01, {}, NAN, UNKNOWN),
        (BETTER, 0.06, {"shuffled": BETTER}, 0.06, NO_EVIDENCE),
        (LIKE, 1.0, {"shuffled": BETTER}, 1.0, NO_EVIDENCE),
        (WORSE, 0.06, {"shuffled": LIKE}, 1.0, NO_EVIDENCE),
        (WORSE, 0.01, {"shuffled": BETTER}, 1.0, HURTS),
        (WORSE, 0.01, {}, NAN, HURTS),
        (None, NAN, {"shuffled": BETTER}, NAN, NO_EVIDENCE),
    ],
)
def test_verdict__every_case(
    lower: Comparison | None, adjusted: float, twins: dict[str, Comparison | None], adjusted_all: float, expected: str
) -> None:
    assert verdict(lower, adjusted, twins, adjusted_all) == expected


def test_better_than_all__is_the_largest_p_in_the_direction_of_better() -> None:
    assert better_than_all(BETTER, {"shuffled": compared(0.1, 0.02), "noise": BETTER}) == 0.02
    assert better_than_all(BETTER, {"shuffled": WORSE}) == 1.0
    assert better_than_all(WORSE, {"shuffled": BETTER}) == 1.0
    assert np.isnan(better_than_all(BETTER, {}))
    assert np.isnan(better_than_all(BETTER, {"shuffled": BETTER, "noise": None}))
    assert np.isnan(better_than_all(None, {"shuffled": BETTER}))


def test_hardest_twin__is_the_one_that_the_verdict_hangs_on() -> None:
    assert hardest_twin({"shuffled": compared(0.01, 0.001), "noise": compared(0.02, 0.3)}) == "noise"
    assert hardest_twin({"shuffled": compared(-0.01, 0.9), "noise": compared(-0.02, 0.4), "absent": None}) == "noise"
    assert hardest_twin({"absent": None}) is None


@given(
    p=st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1, max_size=9),
)
def test_verdict__helps__implies_better_than_lower(p: list[tuple[float, float, float]]) -> None:
    """Both decisions are Holm's, over p of which one is never above the other."""
    methods = [(compared(mean, a), {"shuffled": compared(0.1, b)}) for mean, a, b in p]
    adjusted = holm([lower.p for lower, _ in methods])
    adjusted_all = holm([better_than_all(lower, twins) for lower, twins in methods])
    assert (adjusted_all >= adjusted).all()


TWINS = ("shuffled", "noise", "absent")


def judge(errors: Floats, methods: int) -> list[str]:
    """Verdicts of methods with three twins each: errors [1 + 4 methods, splits], lower first."""
    lower, arms = errors[0], errors[1:].reshape(methods, 4, -1)
    tests = [corrected_t(lower - arm[0], SHARE) for arm in arms]
    twins = [
        {name: corrected_t(twin - arm[0], SHARE) for name, twin in zip(TWINS, arm[1:], strict=True)} for arm in arms
    ]
    p = holm([test.p for test in tests])
    p_all = holm([better_than_all(test, of) for test, of in zip(tests, twins, strict=True)])
    return [verdict(*each) for each in zip(tests, p, twins, p_all, strict=True)]


def test_verdict__all_arms_equal__claims_are_rare() -> None:
    """Whole studies of four methods in which any method is called better or worse: at most 5 %."""
    draw = np.random.default_rng(4)
    found = [set(judge(repeated(draw, 17, 10), 4)) for _ in range(600)]
    claims = sum(verdicts != {NO_EVIDENCE} for verdicts in found)
    assert stats.binomtest(claims, 600, ALPHA, "greater").pvalue > 0.01
    assert sum(HELPS in verdicts for verdicts in found) <= 3


def test_verdict__gain_that_twins_share__is_not_put_down_to_the_information() -> None:
    """The hardest case: all arms far better than lower, and one twin as good as the method."""
    draw = np.random.default_rng(5)
    found = []
    for _ in range(600):
        errors = repeated(draw, 9, 10)
        errors[0] += 20.0
        errors[[3, 4, 7, 8]] += 10.0  # two of each method's three twins
        found.append(judge(errors, 2))
    helped = sum(HELPS in verdicts for verdicts in found)
    assert stats.binomtest(helped, 600, ALPHA, "greater").pvalue > 0.01
    assert np.mean([verdicts == [NOT_THROUGH] * 2 for verdicts in found]) > 0.9


def test_verdict__gain_of_the_method_alone__is_found() -> None:
    draw = np.random.default_rng(6)
    errors = repeated(draw, 5, 10)
    errors[1] -= 20.0
    assert judge(errors, 1) == [HELPS]
    errors[1] += 40.0
    assert judge(errors, 1) == [HURTS]
