"""The LUPI gain: its interval by hand and by simulation, and when it is shown."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from lupi.evidence.differences import ALPHA, compare, corrected_t
from lupi.evidence.gain import Gain, gain_interval, lupi_gain, upper_is_better
from tests.lupi.evidence.test_differences import NAN, SHARE, Floats, repeated


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
    covered = with_interval = 0
    for _ in range(2000):
        low, high = gain_interval(*arms_with_gain(draw, 0.4, 5.0), SHARE)
        with_interval += not np.isnan(low)
        covered += low <= 40.0 <= high
    assert with_interval > 1900
    assert stats.binomtest(covered, with_interval, 0.95).pvalue > 0.01


def test_gain_interval__of_other_splits__raises() -> None:
    with pytest.raises(ValueError, match="same splits"):
        gain_interval([0.1, 0.2], [0.1, 0.2, 0.3], SHARE)


# ---------------------------------------------------------------------- when it is shown

LOWER = np.array([0.40, 0.30, 0.42, 0.33, 0.38])
UPPER = np.array([0.10, 0.11, 0.09, 0.12, 0.10])


def shown(gain: Gain) -> bool:
    parts = np.isnan([gain.point, gain.low, gain.high])
    assert parts.all() or not parts.any()
    return not parts.any()


@given(seed=st.integers(0, 10_000), possible=st.floats(-2.0, 4.0))
def test_lupi_gain__is_shown_where_upper_is_significantly_better_and_nowhere_else(seed: int, possible: float) -> None:
    draw = np.random.default_rng(seed)
    lower, method, upper = repeated(draw, 3)
    upper = upper - possible
    test = corrected_t(lower - upper, SHARE)
    clear = test.mean > 0 and test.p <= ALPHA
    assert upper_is_better(compare(lower - upper, SHARE)) == clear
    gain = lupi_gain(lower, method, upper, SHARE)
    assert shown(gain) == clear
    if clear:
        assert gain.point == pytest.approx(100 * (lower - method).mean() / (lower - upper).mean())
        assert (gain.low, gain.high) == gain_interval(lower - method, lower - upper, SHARE)
        assert gain.low <= gain.point <= gain.high
        assert np.sign(gain.point) == np.sign((lower - method).mean())


def test_lupi_gain__of_the_bounds_themselves__is_0_and_100() -> None:
    assert lupi_gain(LOWER, LOWER, UPPER, SHARE).point == 0.0
    assert lupi_gain(LOWER, UPPER, UPPER, SHARE).point == pytest.approx(100.0)


def test_lupi_gain__missing_bounds__is_not_shown() -> None:
    missing = np.full(5, NAN)
    for arms in ((missing, LOWER, UPPER), (LOWER, LOWER, missing), (LOWER, missing, UPPER)):
        assert not shown(lupi_gain(*arms, SHARE))


def test_lupi_gain__equal_differences_in_few_splits__are_no_proof() -> None:
    """Of two splits the sign test knows nothing; of ten it does."""
    assert not shown(lupi_gain([0.4, 0.3], [0.3, 0.2], [0.2, 0.1], SHARE))
    assert lupi_gain([0.4, 0.3] * 5, [0.3, 0.2] * 5, [0.2, 0.1] * 5, SHARE).point == pytest.approx(50.0)


def test_lupi_gain__splits_without_a_number__are_left_out_of_all_three() -> None:
    method = np.array([0.30, NAN, 0.30, 0.20, 0.30])
    at = np.isfinite(method)
    assert lupi_gain(LOWER, method, UPPER, SHARE) == lupi_gain(LOWER[at], method[at], UPPER[at], SHARE)


def test_lupi_gain__method_in_whose_splits_upper_looks_better__goes_by_all_splits_of_the_bounds() -> None:
    """The one note on a data set speaks of all splits: no method shows a gain against it."""
    upper = np.array([0.10, 0.02, 0.12, 0.9, 0.9])
    method = np.array([0.20, 0.10, 0.22, NAN, NAN])
    assert not upper_is_better(compare(LOWER - upper, SHARE))
    assert upper_is_better(compare((LOWER - upper)[:3], SHARE))
    assert not shown(lupi_gain(LOWER, method, upper, SHARE))
