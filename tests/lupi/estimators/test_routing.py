"""How `privileged` travels to `fit`: every fold of every tool of scikit-learn must get its own rows of Z."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lupi import PrivilegedClassifier

ROWS = 48
OFF, ON = "routing off", "routing on"

#: What `Watched.fit` was given since the test began: how many rows.
SEEN: list[int] = []


class Watched(PrivilegedClassifier):
    """Checks in `fit` that the row numbers in Z go with those in the first column of X, which may have been scaled."""

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, privileged: Any = None) -> Watched:
        first = np.asarray(X)[:, 0].astype(np.float64)
        if self.privileged_columns is None:
            assert privileged is not None, "privileged did not arrive"
            numbers = np.asarray(privileged)[:, 0].astype(np.float64)
            assert len(numbers) == len(first)
            assert np.corrcoef(first, numbers)[0, 1] > 1 - 1e-9, "the rows of privileged are not those of X"
        super().fit(X, y, sample_weight=sample_weight, privileged=privileged)
        assert self.method_ == "MT"
        SEEN.append(len(first))
        return self


def watched(**others: Any) -> Watched:
    quick = {"epochs": 2, "regressor_layers": (3,), "classifier_layers": (3,), "device": "cpu", "random_state": 0}
    return Watched(method="MT", **{**quick, **others})


def tables() -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """X and Z whose first columns are the row number, in an order that no sorting makes, and y."""
    draw = np.random.default_rng(0)
    row = draw.permutation(ROWS).astype(np.float64)
    X = pd.DataFrame({"row": row, "a": draw.normal(size=ROWS), "colour": draw.choice(["red", "blue"], ROWS)})
    index = pd.Index(draw.permutation(ROWS) + 100)
    Z = pd.DataFrame({"number": row, "z": X["a"] + draw.normal(size=ROWS)})
    return X.set_index(index), Z.set_index(index), (Z["z"] > 0).to_numpy().astype(int)


X, Z, Y = tables()
NUMBERS = X[["row", "a"]]


@pytest.fixture(params=[OFF, ON])
def routing(request: pytest.FixtureRequest) -> Iterator[str]:
    SEEN.clear()
    with sklearn.config_context(enable_metadata_routing=request.param == ON):
        yield request.param


def _optuna(routing: str) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {"lr": optuna.distributions.FloatDistribution(1e-3, 1e-2)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`optuna", FutureWarning)  # of optuna's own imports
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search_of = pytest.importorskip("optuna_integration.sklearn").OptunaSearchCV
        search_of(watched(), space, cv=3, n_trials=2, random_state=0).fit(NUMBERS, Y, privileged=Z)


def _in_pipeline(routing: str, pipeline: Any, of_x: pd.DataFrame) -> None:
    name = "privileged" if routing == ON else f"{pipeline.steps[-1][0]}__privileged"
    pipeline.fit(of_x, Y, **{name: Z})
    cross_val_score(pipeline, of_x, Y, cv=3, params={name: Z})
    parameter = f"{pipeline.steps[-1][0]}__lr"
    GridSearchCV(pipeline, {parameter: [0.01, 0.1]}, cv=3).fit(of_x, Y, **{name: Z})


GRID = {"lr": [0.001, 0.01]}
COLUMNS = ColumnTransformer([("n", StandardScaler(), ["row", "a"]), ("c", OneHotEncoder(), ["colour"])])

#: tool -> what it does, and how many fits that takes.
CELLS: dict[str, tuple[Callable[[str], Any], int]] = {
    "cross_val_score": (lambda _: cross_val_score(watched(), NUMBERS, Y, cv=3, params={"privileged": Z}), 3),
    "cross_validate": (lambda _: cross_validate(watched(), NUMBERS, Y, cv=4, params={"privileged": Z}), 4),
    "cross_val_predict": (
        lambda _: cross_val_predict(watched(), NUMBERS, Y, cv=3, method="predict_proba", params={"privileged": Z}), 3,
    ),
    "learning_curve": (
        lambda _: learning_curve(
            watched(), NUMBERS, Y, cv=2, train_sizes=[0.5, 1.0], params={"privileged": Z}, shuffle=True, random_state=0
        ), 4,
    ),
    "GridSearchCV": (lambda _: GridSearchCV(watched(), GRID, cv=3).fit(NUMBERS, Y, privileged=Z), 7),
    "RandomizedSearchCV": (
        lambda _: RandomizedSearchCV(watched(), GRID, n_iter=2, cv=3, random_state=0).fit(NUMBERS, Y, privileged=Z), 7,
    ),
    "HalvingGridSearchCV": (
        lambda _: HalvingGridSearchCV(
            watched(), {"lr": [0.001, 0.01, 0.1]}, cv=2, factor=3, min_resources=16, random_state=0
        ).fit(NUMBERS, Y, privileged=Z), 9,
    ),
    "nested": (
        lambda _: cross_val_score(GridSearchCV(watched(), GRID, cv=2), NUMBERS, Y, cv=3, params={"privileged": Z}), 15,
    ),
    "arrays": (
        lambda _: cross_val_score(watched(), NUMBERS.to_numpy(), Y, cv=3, params={"privileged": Z.to_numpy()}), 3,
    ),
    "Pipeline with scaler": (
        lambda routing: _in_pipeline(routing, make_pipeline(StandardScaler(), watched()), NUMBERS), 11,
    ),
    "ColumnTransformer before it": (
        lambda routing: _in_pipeline(routing, make_pipeline(COLUMNS, watched()), X), 11,
    ),
    "CalibratedClassifierCV": (
        lambda _: CalibratedClassifierCV(watched(), cv=3).fit(NUMBERS, Y, privileged=Z).predict_proba(NUMBERS), 3,
    ),
    "OptunaSearchCV": (_optuna, 7),
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_routing__every_fold_gets_its_own_rows(cell: str, routing: str) -> None:
    use, fits = CELLS[cell]
    use(routing)
    assert len(SEEN) == fits
    assert max(SEEN) <= ROWS


@pytest.mark.parametrize(
    "ensemble",
    [
        BaggingClassifier(watched(), n_estimators=3, random_state=0),
        VotingClassifier([("one", watched()), ("two", watched(lr=0.01))]),
    ],
    ids=["BaggingClassifier", "VotingClassifier"],
)
def test_routing__ensembles_that_route(ensemble: Any) -> None:
    SEEN.clear()
    count = 3 if isinstance(ensemble, BaggingClassifier) else 2
    with sklearn.config_context(enable_metadata_routing=True):
        ensemble.fit(NUMBERS, Y, privileged=Z).predict(NUMBERS)
        assert len(SEEN) == count
        cross_val_score(ensemble, NUMBERS, Y, cv=2, params={"privileged": Z})
        assert len(SEEN) == 3 * count
    with pytest.raises((ValueError, TypeError), match=r"routing|privileged"):  # it cannot without: it says so
        ensemble.fit(NUMBERS, Y, privileged=Z)


ALL = pd.concat([NUMBERS, Z], axis=1)


@pytest.mark.parametrize(
    ("ensemble", "fits"),
    [
        (StackingClassifier([("one", watched(privileged_columns=["number", "z"]))], LogisticRegression(), cv=3), 4),
        (AdaBoostClassifier(watched(privileged_columns=[2, 3], epochs=10), n_estimators=2, random_state=0), 2),
        (BaggingClassifier(watched(privileged_columns=[2, 3]), n_estimators=2, random_state=0), 2),
        (CalibratedClassifierCV(watched(privileged_columns=["z"]), cv=3), 3),
        (GridSearchCV(watched(privileged_columns=["z"]), GRID, cv=2), 5),
    ],
    ids=["Stacking", "AdaBoost", "Bagging", "Calibrated", "GridSearch"],
)
def test_privileged_columns__need_no_routing(ensemble: Any, fits: int, routing: str) -> None:
    ensemble.fit(ALL, Y)
    assert ensemble.predict(ALL).shape == (ROWS,)
    assert len(SEEN) == fits


def test_set_fit_request__withdrawn__is_an_error_not_a_silence() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        mute = watched().set_fit_request(privileged=False)
        with pytest.raises(TypeError, match="privileged"):
            cross_val_score(mute, NUMBERS, Y, cv=3, params={"privileged": Z})
        assert sklearn.base.clone(watched().set_fit_request(privileged=True)).fit(NUMBERS, Y, privileged=Z).n_iter_ == 2


def test_watched__rows_that_do_not_belong__are_seen() -> None:
    """That the checks above can fail."""
    moved = Z.to_numpy()[np.random.default_rng(1).permutation(ROWS)]
    with pytest.raises(AssertionError, match="not those of X"):
        watched().fit(NUMBERS, Y, privileged=moved)
    with pytest.raises(AssertionError, match="did not arrive"):
        watched().fit(NUMBERS, Y)
