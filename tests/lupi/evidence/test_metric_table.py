"""The table of metrics: what is computed is what is listed."""

import numpy as np
import pytest

from lupi.evidence import metrics
from lupi.evidence.metric_table import COMPARED, METRICS, compared_by


def test_compared__metrics_of_each_kind_of_target__are_those_that_are_computed() -> None:
    of_classes = metrics.classification(np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0, 1]))
    of_numbers = metrics.regression(np.array([1.0, 2.0]), np.array([1.5, 2.5]))
    for target, computed in (("classes", of_classes), ("number", of_numbers)):
        assert {name for name in COMPARED if target in METRICS[name].targets} == set(computed)


def test_larger_is_better__a_perfect_prediction__is_the_best_value() -> None:
    good = metrics.classification(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    poor = metrics.classification(np.array([[0.4, 0.6], [0.6, 0.4]]), np.array([0, 1]))
    truth = np.array([1.0, 2.0])
    good |= {name: value for name, value in metrics.regression(truth, truth).items() if name != "error"}
    poor |= {name: value for name, value in metrics.regression(truth + 1.0, truth).items() if name != "error"}
    assert set(good) == set(COMPARED)
    for name in COMPARED:
        assert (good[name] > poor[name]) == METRICS[name].larger_is_better


def test_compared_by__no_such_metric_or_one_of_training__raises() -> None:
    assert compared_by("auc").title == "AUC"
    for name in ("accuracy", "epochs"):
        with pytest.raises(ValueError, match=rf"metric must be one of error, auc, .*found '{name}'"):
            compared_by(name)


def test_title__error_of_a_number__is_the_rmse() -> None:
    assert METRICS["error"].title_for("number") == "RMSE"
    assert METRICS["error"].title_for("classes") == "error"
    assert METRICS["mae"].title_for("number") == "MAE"
