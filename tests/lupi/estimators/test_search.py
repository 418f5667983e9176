"""PrivilegedSearchCV is GridSearchCV, and trains only once."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline

import lupi.estimators.base
from lupi import PrivilegedClassifier, PrivilegedRegressor, PrivilegedSearchCV

QUICK: dict[str, Any] = {
    "preset": "paper", "method": "MT-PFD", "epochs": 6, "inner_folds": 2, "random_state": 0, "dtype": "float64",
    "regressor_layers": (5,), "classifier_layers": (6,),
}  # fmt: skip


def tables(n: int = 75) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(0)
    lab = draw.normal(size=n)
    X = pd.DataFrame({"a": lab + draw.normal(size=n), "b": draw.normal(size=n), "kind": draw.choice(["u", "v"], n)})
    X.loc[::9, "b"] = np.nan
    Z = pd.DataFrame({"lab": lab, "level": np.where(lab + draw.normal(size=n) > 0, "high", "low")})
    return X, Z, lab + 0.5 * draw.normal(size=n)


def assert_same(mine: PrivilegedSearchCV, theirs: GridSearchCV) -> None:
    assert mine.cv_results_.keys() == theirs.cv_results_.keys()
    for name, values in theirs.cv_results_.items():
        if "time" in name:
            continue
        if name.startswith(("split", "mean", "std")):
            np.testing.assert_allclose(mine.cv_results_[name], values, atol=1e-9)
        else:
            assert list(mine.cv_results_[name]) == list(values)


GRIDS: list[Any] = [
    {"method": ["MT-TPD", "KT", "AUX", "lower"], "epsilon": [0.3, 2.0]},
    {"lr": [1e-3, 1e-2], "imitation": [0.2, 0.8], "weight_decay": [0.0, 0.1], "method": ["KT-PFD"]},
    [{"classifier_layers": [(4,), ()], "method": ["MT"]}, {"balance": ["nash-mtl", "equal"], "epochs": [3, 7]}],
    {"label_smoothing": [0.0, 0.1], "refit": [True, False], "method": ["KT-TPD"], "random_state": [0, 1]},
    {
        "early_stopping": [False],
        "batch_size": ["all", 16],
        "class_weight": [None, "balanced", {"up": 2.0, "down": 1.0}],
    },
    {"preset": ["best", "fast"], "method": ["auto"], "members": [2], "missing_flags": [False, None]},
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PrivilegedClassifier. privileged:UserWarning")
@pytest.mark.parametrize("grid", GRIDS, ids=range(len(GRIDS)))
def test_classifier__results_are_those_of_grid_search(grid: Any) -> None:
    X, Z, signal = tables()
    y = np.where(signal > 0, "up", "down")
    options = {"scoring": ["neg_log_loss", "accuracy"], "refit": "neg_log_loss", "cv": 3, "return_train_score": True}
    mine = PrivilegedSearchCV(PrivilegedClassifier(**QUICK), grid, **options).fit(X, y, privileged=Z)
    theirs = GridSearchCV(PrivilegedClassifier(**QUICK), grid, **options).fit(X, y, privileged=Z)
    assert_same(mine, theirs)
    np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), atol=1e-9)


def test_regressor__with_weights_and_a_random_splitter() -> None:
    X, Z, signal = tables()
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X))
    grid = {"method": ["MT", "PFD"], "lr": [1e-3, 1e-2]}
    splits = list(KFold(3, shuffle=True, random_state=5).split(X))
    of_rows: dict[str, Any] = {"privileged": Z, "sample_weight": weights}
    mine = PrivilegedSearchCV(PrivilegedRegressor(**QUICK), grid, cv=KFold(3, shuffle=True, random_state=5))
    assert_same(
        mine.fit(X, signal, **of_rows),
        GridSearchCV(PrivilegedRegressor(**QUICK), grid, cv=splits).fit(X, signal, **of_rows),
    )
    assert isinstance(mine.cv, KFold), "the splitter is as it was"


@pytest.mark.parametrize("cv", [StratifiedKFold(3, shuffle=True), 3])
def test_every_fit_but_the_last__is_recalled(cv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Z, signal = tables()
    trained = []
    monkeypatch.setattr(
        lupi.estimators.base, "train", lambda jobs, train=lupi.estimators.base.train: trained.append(1) or train(jobs)
    )
    of_methods = {"method": ["MT", "GD"], "epsilon": [0.5, 1.0]}
    grid = [of_methods, {"preset": ["fast"], "method": ["auto"], "members": [2], "lr": [0.01, 0.1]}]
    search = PrivilegedSearchCV(PrivilegedClassifier(**QUICK), grid, cv=cv)
    search.fit(X, signal > 0, privileged=Z)
    assert len(trained) == 1  # of the best candidate, on all rows
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # Outside of the search nothing is recalled.
    PrivilegedClassifier(**QUICK).fit(X, signal > 0, privileged=Z)
    assert len(trained) == 2


def test_arrays_privileged_columns_and_routing__are_searched_alike() -> None:
    X, Z, signal = tables()
    X = X.fillna({"b": 0.0})
    numbers, y = np.column_stack([X[["a", "b"]], Z["lab"]]), signal > 0
    grid = {"epsilon": [0.3, 1.0]}
    inside = PrivilegedClassifier(privileged_columns=[2], **QUICK)
    assert_same(
        PrivilegedSearchCV(inside, grid, cv=3).fit(numbers, y), GridSearchCV(inside, grid, cv=3).fit(numbers, y)
    )
    beside = PrivilegedClassifier(**QUICK)
    groups = np.arange(len(y)) % 6
    with sklearn.config_context(enable_metadata_routing=True):
        routed = PrivilegedSearchCV(beside, grid, cv=GroupKFold(3).set_split_request(groups=True))
        routed.fit(numbers[:, :2], y, privileged=Z, groups=groups)
    plain = GridSearchCV(beside, grid, cv=GroupKFold(3)).fit(numbers[:, :2], y, privileged=Z, groups=groups)
    assert_same(routed, plain)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning")
def test_candidates_that_fail__are_dealt_with_as_grid_search_does() -> None:
    X, Z, signal = tables()
    grid = {"lr": [1e-3, -1.0]}
    with pytest.warns(FitFailedWarning, match="lr must lie between"):
        search = PrivilegedSearchCV(PrivilegedClassifier(**QUICK), grid, cv=3).fit(X, signal > 0, privileged=Z)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    with pytest.raises(ValueError, match="lr must lie between"):
        PrivilegedSearchCV(PrivilegedClassifier(**QUICK), grid, cv=3, error_score="raise").fit(
            X, signal > 0, privileged=Z
        )


def test_other_estimators_and_seeds__one_clear_error() -> None:
    X, Z, signal = tables()
    with pytest.raises(TypeError, match=r"PrivilegedSearchCV searches over .*found Pipeline.*GridSearchCV takes any"):
        PrivilegedSearchCV(make_pipeline(PrivilegedClassifier()), {}).fit(X, signal > 0)
    with pytest.raises(ValueError, match=r"random_state must be a whole number.*found None"):
        PrivilegedSearchCV(PrivilegedClassifier(), {"lr": [1e-3]}).fit(X, signal > 0, privileged=Z)


def test_search__is_an_estimator() -> None:
    search = PrivilegedSearchCV(PrivilegedClassifier(**QUICK), {"epsilon": [1.0]}, cv=4)
    assert clone(search).get_params()["cv"] == 4
    assert clone(search).set_params(estimator__lr=0.1).estimator.lr == 0.1
