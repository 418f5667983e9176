"""Temperature, calibration error and prior shift: known answers, hand-made ones, and Bayes' rule."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from lupi.evidence.calibration import expected_calibration_error, temperature, with_prior
from lupi.evidence.metrics import classification

Floats = npt.NDArray[np.float64]
N = 20_000


def drawn(true: float, k: int, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Outputs that say `true` times too much, and classes drawn from what they should have said."""
    draw = np.random.default_rng(seed)
    if k == 2:
        output = 2.5 * draw.normal(size=(N, 1))
        return output, (draw.random(N) < expit(output[:, 0] / true)).astype(np.int64)
    output = 2.5 * draw.normal(size=(N, k))
    shares = softmax(output / true, axis=1).cumsum(1)
    return output, (draw.random((N, 1)) > shares).sum(1).clip(max=k - 1)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("true", [0.6, 1.0, 1.7, 4.0])
def test_temperature__known_one__is_found(k: int, true: float) -> None:
    assert temperature(*drawn(true, k)) == pytest.approx(true, rel=0.05)


def test_temperature__two_logits_of_two_classes__are_their_log_odds() -> None:
    output, codes = drawn(1.7, 2)
    both = np.concatenate([np.full_like(output, 3.0), output + 3.0], 1)
    assert temperature(both, codes) == pytest.approx(temperature(output, codes), rel=1e-6)


def test_temperature__found__has_the_least_log_loss() -> None:
    output, codes = drawn(1.7, 2)

    def loss(t: float) -> float:
        p = expit(output[:, 0] / t)
        return float(-np.log(np.where(codes == 1, p, 1 - p)).mean())

    found = temperature(output, codes)
    assert loss(found) <= min(loss(found * factor) for factor in (0.97, 0.999, 1.001, 1.03))


def test_temperature__weights__count_rows_as_often() -> None:
    output, codes = drawn(1.7, 3)
    output, codes = output[:300], codes[:300]
    counts = np.random.default_rng(1).integers(1, 5, 300)
    repeated = temperature(np.repeat(output, counts, 0), np.repeat(codes, counts))
    assert temperature(output, codes, counts.astype(float)) == pytest.approx(repeated, rel=1e-5)
    assert temperature(output, codes, 0.1 * counts) == pytest.approx(repeated, rel=1e-5)
    assert temperature(output, codes) != pytest.approx(repeated, rel=1e-3)


def test_temperature__rows_that_are_not_finite__are_left_out() -> None:
    output, codes = drawn(1.7, 3)
    weights = np.random.default_rng(2).uniform(0.5, 2, N)
    spoiled = output.copy()
    spoiled[::5, 0], spoiled[1::50, 2] = np.nan, np.inf
    good = np.isfinite(spoiled).all(1)
    assert temperature(spoiled, codes, weights) == temperature(output[good], codes[good], weights[good])


def test_temperature__no_finite_row__is_one() -> None:
    assert temperature(np.full((3, 1), np.nan), np.array([0, 1, 0])) == 1.0
    assert temperature(np.empty((0, 4)), np.empty(0, np.int64)) == 1.0


def test_temperature__all_right_or_all_wrong__stays_between_its_ends() -> None:
    output = np.array([[0.5], [-0.5]])
    assert temperature(output, np.array([1, 0])) == pytest.approx(0.05, rel=1e-3)
    assert temperature(output, np.array([0, 1])) == pytest.approx(20.0, rel=1e-3)


# ---------------------------------------------------------------------- calibration error


def test_calibration_error__few_rows__by_hand() -> None:
    """Bins of 1/15: .52 and .53 share the eighth, of which half are right; .9 is in the fourteenth, and right; 1 in the
    last, and wrong: (|1.05 - 1| + |.9 - 1| + |1 - 0|) / 4."""
    confidence = np.array([0.52, 0.53, 0.9, 1.0])
    probability = np.stack([1 - confidence, confidence], 1)
    found = expected_calibration_error(probability, np.array([1, 0, 1, 0]))
    assert found == pytest.approx((0.05 + 0.1 + 1.0) / 4, abs=1e-12)


def test_calibration_error__rows_that_differ_in_bins__do_not_cancel() -> None:
    probability = np.array([[0.4, 0.6], [0.2, 0.8]])
    assert expected_calibration_error(probability, np.array([1, 0])) == pytest.approx((0.4 + 0.8) / 2)


def test_calibration_error__several_classes__reads_the_most_probable_one() -> None:
    probability = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert expected_calibration_error(probability, np.array([0, 1])) == pytest.approx((0.5 + 0.7) / 2)


@pytest.mark.parametrize("k", [2, 4])
def test_calibration_error__of_heated_outputs__falls_to_that_of_noise(k: int) -> None:
    output, codes = drawn(1.7, k)

    def error(t: float) -> float:
        logits = np.concatenate([np.zeros_like(output), output], 1) if k == 2 else output
        return expected_calibration_error(softmax(logits / t, axis=1), codes)

    assert error(1.0) > 0.06
    assert error(temperature(output, codes)) < 0.015


@given(st.lists(st.tuples(st.floats(0.5, 1), st.booleans()), min_size=1, max_size=40))
def test_calibration_error__any_rows__is_that_of_a_loop(rows: list[tuple[float, bool]]) -> None:
    confidence = np.array([c for c, _ in rows])
    # The class of largest probability; of a tie the first.
    probability = np.stack([1 - confidence, confidence], 1)
    right = np.array([ok for _, ok in rows])
    codes = np.where(right, probability.argmax(1), 1 - probability.argmax(1))
    total = 0.0
    for b in range(15):
        inside = [i for i, c in enumerate(probability.max(1)) if min(int(c * 15), 14) == b]
        total += abs(sum(probability.max(1)[i] for i in inside) - sum(right[i] for i in inside))
    assert expected_calibration_error(probability, codes) == pytest.approx(total / len(rows), abs=1e-9)


# ---------------------------------------------------------------------- prior


def test_with_prior__two_gaussians__is_bayes_rule() -> None:
    """Classes at -1 and 1 with deviation 1: the posterior under any prior is known."""
    x = np.linspace(-3, 3, 13)
    likelihood = np.exp(-0.5 * (x[:, None] - [-1, 1]) ** 2)

    def posterior(prior: Floats) -> Floats:
        joint = likelihood * prior
        return np.asarray(joint / joint.sum(1, keepdims=True))

    rare, other = np.array([0.9, 0.1]), np.array([0.3, 0.7])
    np.testing.assert_allclose(with_prior(posterior(rare), rare, other), posterior(other), rtol=1e-12)
    np.testing.assert_allclose(with_prior(posterior(rare), rare), posterior(np.array([0.5, 0.5])), rtol=1e-12)
    np.testing.assert_allclose(with_prior(posterior(rare), rare, rare), posterior(rare), rtol=1e-12)


def test_with_prior__three_classes__by_hand() -> None:
    """.5 / .5, .3 / .3, .2 / .2 are all 1: every class a third."""
    p = np.array([[0.5, 0.3, 0.2], [0.25, 0.6, 0.15]])
    shifted = np.array([[1, 1, 1], [0.5, 2, 0.75]])
    expected = shifted / shifted.sum(1, keepdims=True)
    np.testing.assert_allclose(with_prior(p, np.array([0.5, 0.3, 0.2])), expected, rtol=1e-12)


def test_with_prior__class_that_no_row_had__gets_no_probability() -> None:
    found = with_prior(np.array([[0.6, 0.3, 0.1]]), np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3, 0]], rtol=1e-12)


def test_balanced_log_loss__with_the_prior__reads_shifted_probabilities() -> None:
    """By hand: .8 and .6 at prior .8 become .5 and 3/11."""
    probability, codes = np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])
    found = classification(probability, codes, np.array([0.8, 0.2]))
    first, second = 0.5, (0.4 / 0.2) / (0.4 / 0.2 + 0.6 / 0.8)
    assert found["balanced_log_loss"] == pytest.approx(-(np.log(first) + np.log(second)) / 2, rel=1e-12)
    plain = classification(probability, codes)
    assert plain["balanced_log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2, rel=1e-12)
    assert {n: v for n, v in found.items() if n[:3] != "bal"} == {n: v for n, v in plain.items() if n[:3] != "bal"}
    assert plain["calibration_error"] == pytest.approx((0.2 + 0.6) / 2)
