"""Metrics against scikit-learn and pandas."""

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.utils.class_weight import compute_sample_weight

from lupi.evidence import metrics

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
errors = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def predictions(seed: int, k: int, n: int = 40) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Probabilities [n, k] with many ties, and classes [n] all of which occur."""
    draw = np.random.default_rng(seed)
    weights = draw.integers(1, 6, size=(n, k)).astype(float)
    codes = np.concatenate([np.arange(k), draw.integers(0, k, n - k)])
    return weights / weights.sum(1, keepdims=True), draw.permutation(codes)


@given(seed=seeds, k=st.integers(2, 5))
def test_classification__any_predictions__as_scikit_learn(seed: int, k: int) -> None:
    probability, codes = predictions(seed, k)
    ours = metrics.classification(probability, codes)
    assert 0 <= ours.pop("calibration_error") <= 1  # scikit-learn has none; see test_calibration.py
    balanced = compute_sample_weight("balanced", codes)
    areas = [roc_auc_score(codes == c, probability[:, c]) for c in range(k)]
    theirs = {
        "error": 1 - accuracy_score(codes, probability.argmax(1)),
        "auc": areas[1] if k == 2 else np.mean(areas),
        "log_loss": log_loss(codes, probability),
        "balanced_log_loss": log_loss(codes, probability, sample_weight=balanced),
        "brier": brier_score_loss(codes, probability[:, 1] if k == 2 else probability),
    }
    assert ours == pytest.approx(theirs, abs=1e-12)


@given(seed=seeds)
def test_regression__any_predictions__as_scikit_learn(seed: int) -> None:
    truth, prediction = np.random.default_rng(seed).normal(100, 10, size=(2, 30))
    theirs = {
        "error": root_mean_squared_error(truth, prediction),
        "mae": mean_absolute_error(truth, prediction),
        "r2": r2_score(truth, prediction),
    }
    assert metrics.regression(prediction, truth) == pytest.approx(theirs, rel=1e-9)


def test_regression__constant_truth__r2_is_undefined() -> None:
    found = metrics.regression(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert found["error"] == found["mae"] == 1.0
    assert np.isnan(found["r2"])


def test_classification__tie__goes_to_the_lower_code() -> None:
    half = np.full((4, 2), 0.5)
    assert metrics.classification(half, np.array([0, 0, 0, 1]))["error"] == 0.25


def test_classification__absent_class__is_left_out_of_the_means() -> None:
    probability = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1]])
    codes = np.array([0, 1, 0])
    found = metrics.classification(probability, codes)
    by_class = metrics.log_loss_by_class(probability, codes)
    assert np.isnan(by_class[2])
    assert found["balanced_log_loss"] == pytest.approx(np.mean([-np.log([0.7, 0.6]).mean(), -np.log(0.6)]))
    assert found["balanced_log_loss"] == pytest.approx(by_class[:2].mean())
    assert found["auc"] == 1.0


def test_classification__one_class_in_the_truth__auc_alone_is_undefined() -> None:
    probability, _ = predictions(0, 2)
    found = metrics.classification(probability, np.ones(len(probability), np.int64))
    assert [name for name, value in found.items() if np.isnan(value)] == ["auc"]


def test_classification__certain_and_wrong__is_finite() -> None:
    found = metrics.classification(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 1]))
    assert found["log_loss"] == pytest.approx(-np.log(1e-15) / 2)


def test_classification__not_a_number__gives_no_number() -> None:
    probability, codes = predictions(0, 3)
    probability[5] = np.nan
    assert np.isnan(list(metrics.classification(probability, codes).values())).all()
    assert set(metrics.classification(probability, codes)) == set(metrics.classification(*predictions(0, 3)))


@given(k=st.integers(2, 5), seed=seeds)
def test_log_odds__of_probabilities__inverts(k: int, seed: int) -> None:
    probability, _ = predictions(seed, k)
    output = metrics.log_odds(probability)
    assert output.shape == (len(probability), 1 if k == 2 else k)
    np.testing.assert_allclose(metrics.probabilities(output), probability, rtol=1e-9)


@given(output=hnp.arrays(float, st.tuples(st.integers(1, 4), st.sampled_from([1, 3])), elements=st.floats(-1e3, 1e3)))
def test_probabilities__any_output__is_a_distribution(output: Floats) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probability = metrics.probabilities(output)
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(1), 1.0)
    if output.shape[1] == 1:
        np.testing.assert_array_equal((probability[:, 1] - 0.5) * output[:, 0] >= 0, True)
    else:
        assert (np.take_along_axis(output, probability.argmax(1)[:, None], 1)[:, 0] > output.max(1) - 1e-9).all()


def test_log_odds__certainty__stays_finite() -> None:
    for probability in (np.array([[0.0, 1.0], [1.0, 0.0]]), np.eye(3)):
        assert np.isfinite(metrics.log_odds(probability)).all()


@given(score=hnp.arrays(float, 12, elements=st.integers(0, 3).map(float)), seed=seeds)
def test_auc__order_alone_matters__and_reversed_it_is_the_complement(score: Floats, seed: int) -> None:
    positive = np.random.default_rng(seed).permutation(12) < 5
    area = metrics.auc(score, positive)
    assert area == pytest.approx(roc_auc_score(positive, score))
    assert metrics.auc(np.exp(score), positive) == pytest.approx(area)
    assert metrics.auc(-score, positive) == pytest.approx(1 - area)


@given(values=st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=8))
def test_mean_and_std__any_values__as_pandas(values: list[float]) -> None:
    series = pd.Series(values, dtype=float)
    expected = series.mean(), series.std()
    assert metrics.mean_and_std(values) == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)
