"""scikit-learn's own checks of what an estimator must do."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from lupi import PrivilegedClassifier, PrivilegedRegressor

#: Everything that a check can ask for: full batches in float64, in which a weight of 2 is a row given twice.
FULL: dict[str, Any] = {
    "preset": "paper", "method": "MT-PFD", "batch_size": "all", "early_stopping": False, "epochs": 40, "lr": 0.05,
    "dtype": "float64", "device": "cpu", "classifier_layers": (10,),
}  # fmt: skip
#: The defaults, but for the time that they take.
USUAL: dict[str, Any] = {"epochs": 16, "members": 5, "device": "cpu"}

_MINIBATCHES = {
    "check_sample_weight_equivalence_on_dense_data": "a row given twice moves the validation rows and the "
    "mini-batches, a weight of 2 does not"
}


def _expected(estimator: Any) -> dict[str, str]:
    return {} if estimator.batch_size == "all" else _MINIBATCHES


@pytest.mark.filterwarnings("ignore:.*privileged features were not given:UserWarning")
@parametrize_with_checks(
    [kind(**options) for kind in (PrivilegedClassifier, PrivilegedRegressor) for options in (FULL, USUAL)],
    expected_failed_checks=_expected,
    xfail_strict=True,
)
def test_estimators__check_of_scikit_learn__passes(estimator: Any, check: Any) -> None:
    check(estimator)
