"""The estimators: what they accept and refuse, that they train as a study does, and what they leave behind."""

from __future__ import annotations

import dataclasses
import io
import logging
import pickle
import subprocess
import sys
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone

import lupi
from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import whole
from lupi.estimators.reading import FitInput
from lupi.estimators.student import StudentNetworks
from lupi.estimators.student_training import Job, train
from lupi.estimators.tabular import encoded_rows, fitted
from lupi.methods.options import StudyOptions
from lupi.study import run
from lupi.study.preparation import Fitting

#: The authors' networks with a few epochs: for what does not depend on the networks.
QUICK: dict[str, Any] = {
    "preset": "paper", "epochs": 4, "regressor_layers": (4,), "classifier_layers": (4,), "inner_folds": 2,
    "device": "cpu", "random_state": 0,
}  # fmt: skip
#: The default preset, with members that take a moment.
SMALL: dict[str, Any] = {
    "members": 4, "epochs": 6, "regressor_layers": (6,), "classifier_layers": (6,), "device": "cpu", "random_state": 0,
}  # fmt: skip
LABELS = ("a", "b", "c")


def classifier(**others: Any) -> PrivilegedClassifier:
    return PrivilegedClassifier(**{**QUICK, "method": "MT-TPD", **others})


def regressor(**others: Any) -> PrivilegedRegressor:
    return PrivilegedRegressor(**{**QUICK, "method": "MT-PFD", **others})


def table(n: int = 60, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """X of numbers and categories, Z likewise, both with missing cells, and a number y that follows Z."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=n)
    X = pd.DataFrame({
        "a": z + draw.normal(size=n), "colour": draw.choice(["red", "green", "blue"], n), "flag": z > 0.3,
        "b": np.where(draw.uniform(size=n) < 0.1, np.nan, z + draw.normal(size=n)), "same": 7.0,
        "level": pd.Categorical(np.where(z > 0, "high", "low"), categories=["low", "high", "never"]),
    })  # fmt: skip
    X.loc[3, "colour"] = None
    Z = pd.DataFrame({"z": np.where(draw.uniform(size=n) < 0.1, np.nan, z), "kind": np.where(z > 0.5, "up", "down")})
    return X, Z, z + 0.3 * draw.normal(size=n)


def labels(number: np.ndarray, classes: int = 2) -> np.ndarray:
    return np.array(LABELS)[np.digitize(number, [0.0] if classes == 2 else [-0.5, 0.5])]


# ---------------------------------------------------------------------- the same as a study


def _studied(kind: str) -> PrivilegedData:
    X, Z, number = table(90)
    features = pd.DataFrame({"a": X["a"], "b": X["b"], "level": X["level"].cat.remove_unused_categories()})
    kept = Z.assign(kind=pd.Categorical(Z["kind"]))
    if kind == "numeric":
        return PrivilegedData("sim", features, kept, 100.0 + 10.0 * number, None)
    codes = np.digitize(number, [0.0] if kind == "binary" else [-0.5, 0.5]).astype(np.int64)
    return PrivilegedData("sim", features, kept, codes, LABELS[: 2 if kind == "binary" else 3])


def _options(method: str, **others: Any) -> StudyOptions:
    return StudyOptions(**{
        "methods": (method,), "twins": (), "folds": 3, "repeats": 1, "inner_folds": 2, "epochs": 6, "members": 2,
        "regressor_layers": (5,), "classifier_layers": (6, 4), "dtype": "float64", "lr": 0.02, "weight_decay": 0.01,
        "batch_size": 16, "seed": 11, **others,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "method", "others"),
    [
        ("binary", "lower", {}),
        ("binary", "MT-TPD", {"label_smoothing": 0.1, "class_weight": "balanced"}),
        ("binary", "KT-TPD", {"repulsion": 2.0}),
        ("multiclass", "MT-TPD", {"epsilon": 0.3}),
        ("multiclass", "GD", {"temperature": 2.0, "imitation": 0.7}),
        ("numeric", "MT-PFD", {}),
        ("numeric", "KT-PFD", {}),
        ("binary", "AUX", {}),
        ("binary", "MT-TPD", {"balance": ("nash-mtl",)}),
    ],
)
def test_fit__training_rows_of_a_study__gives_the_predictions_that_it_stored(
    kind: str, method: str, others: dict[str, Any]
) -> None:
    data, options = _studied(kind), _options(method, **others)
    split = run.splits_of(data, options, range(1))[0]
    (arm,) = run.run(data, options, [split]).records
    shared = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    model: Any = PrivilegedRegressor() if kind == "numeric" else PrivilegedClassifier()
    model.set_params(preset="paper")
    given = {name: value for name, value in shared.items() if name in model.get_params() and value is not None}
    model.set_params(**{**given, "method": method, "balance": options.balance[0], "random_state": options.seed})
    y = data.y if data.classes is None else np.array(data.classes)[data.y]
    model.fit(data.X.iloc[split.train], y[split.train], privileged=data.Z.iloc[split.train])
    test = data.X.iloc[split.test]
    found = model.predict(test)[:, None] if kind == "numeric" else model.predict_proba(test)
    np.testing.assert_allclose(found, arm["prediction"], rtol=1e-9, atol=1e-10)
    assert model.n_iter_ >= arm["epochs"]


def test_train__any_fold_of_a_study__gives_its_predictions() -> None:
    """What the estimators call, for the second fold of the second repeat."""
    data, options = _studied("binary"), _options("MT-TPD", repeats=2)
    split = run.splits_of(data, options, [1])[1]
    (arm,) = run.run(data, options, [split]).records
    part = PrivilegedData(
        "part", *(t.iloc[split.train].reset_index(drop=True) for t in (data.X, data.Z)), data.y[split.train], LABELS[:2]
    )
    features, _ = fitted(part.X, list(part.X), (), range(3))
    z_features, _ = fitted(part.Z, list(part.Z), (), range(2))
    again = whole(part, options.inner, options.seed, split.repeat, split.fold)
    fitting, both = Fitting(encoded=encode(part)), (features, z_features)
    read = FitInput(part, both, fitting, tuple(options.weighed_methods))
    (trained,) = train([Job(part, both, options, again, fitting, refit=False, read=read)])
    assert not isinstance(trained, ValueError)
    outputs = np.concatenate(
        [out.copy() for _, out in StudentNetworks(trained.student).outputs(data.X.iloc[split.test], [0, 1, 2])], axis=2
    )
    probability = (1 / (1 + np.exp(-outputs[:, 0]))).mean(0)
    np.testing.assert_allclose(probability, arm["prediction"][:, 1], atol=1e-10)


def test_encoded_rows__of_a_fitted_table__are_those_of_a_study() -> None:
    data = _studied("binary")
    features, frame = fitted(data.X, list(data.X), (), range(3))
    np.testing.assert_array_equal(encoded_rows(data.X, features), encode(data).x)
    pd.testing.assert_frame_equal(frame, data.X)


# ---------------------------------------------------------------------- tables


def test_fit__pandas_polars_and_lists__give_the_same_model() -> None:
    polars = pytest.importorskip("polars")
    X, Z, number = table()
    y = labels(number)
    texts = X.assign(level=X["level"].astype(object), colour=X["colour"].astype(object))
    in_polars, z_in_polars = (
        polars.DataFrame({c: [None if pd.isna(v) else v for v in frame[c]] for c in frame}) for frame in (texts, Z)
    )
    expected = classifier().fit(texts, y, privileged=Z)
    for of_x, of_z in (
        (in_polars, z_in_polars),
        (in_polars.with_columns(polars.col("level").cast(polars.Categorical)), z_in_polars),
        (texts.to_numpy(dtype=object), Z.to_numpy(dtype=object)),
        ([list(row) for row in texts.itertuples(index=False)], [list(row) for row in Z.itertuples(index=False)]),
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            other = classifier().fit(of_x, y, privileged=of_z)
            np.testing.assert_allclose(other.predict_proba(of_x), expected.predict_proba(texts), atol=1e-12)
    named = classifier().fit(in_polars, polars.Series(y), privileged=polars.Series("z", number))
    assert list(named.privileged_names_in_) == ["z"]
    assert list(named.feature_names_in_) == list(X)


def test_predict__unseen_category__is_read_as_missing() -> None:
    X, Z, number = table()
    model = classifier(epochs=20, lr=0.05).fit(X, labels(number), privileged=Z)
    unseen, missing = X.assign(colour="violet"), X.assign(colour=None)
    np.testing.assert_array_equal(model.predict_proba(unseen), model.predict_proba(missing))
    assert not np.allclose(model.predict_proba(X), model.predict_proba(missing))


def test_predict__whole_numbers_as_categories__read_the_same_with_and_without_missing_cells() -> None:
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"code": draw.integers(0, 3, 60), "a": draw.normal(size=60)})
    model = classifier(categorical=["code"], method="lower", epochs=20, lr=0.05).fit(X, labels(X["code"] - 1.0))
    floats = X.astype({"code": np.float64})
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(floats))
    by_place = classifier(categorical=[0], method="lower", epochs=20, lr=0.05).fit(
        X.to_numpy(), labels(X["code"] - 1.0)
    )
    np.testing.assert_array_equal(model.predict_proba(X), by_place.predict_proba(X.to_numpy()))
    numeric = classifier(method="lower", epochs=20, lr=0.05).fit(X, labels(X["code"] - 1.0))
    assert not np.allclose(numeric.predict_proba(X), model.predict_proba(X))


def test_fit__constant_and_empty_columns__change_nothing() -> None:
    X, Z, number = table()
    plain = classifier().fit(X.drop(columns="same"), labels(number), privileged=Z)
    wide_x, wide_z = X.assign(void=np.nan), Z.assign(one="x", void=None)
    with_them = classifier().fit(wide_x, labels(number), privileged=wide_z)
    np.testing.assert_array_equal(with_them.predict_proba(wide_x), plain.predict_proba(X.drop(columns="same")))
    assert list(with_them.privileged_names_in_) == ["z", "kind", "one", "void"]


def test_fit__one_dimensional_privileged__is_one_column() -> None:
    X, Z, number = table()
    column = Z["z"]
    found = [
        classifier().fit(X, labels(number), privileged=z).predict_proba(X)
        for z in (column, column.to_frame(), column.to_numpy(), column.to_numpy()[:, None], column.to_list())
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("values", [[0, 1], [False, True], ["no", "yes"], [-1.0, 2.0], [10, 20, 30]])
def test_fit__labels_of_any_type__come_back(values: list[Any]) -> None:
    X, Z, number = table()
    y = np.array(values)[np.digitize(number, [-0.3, 0.4][: len(values) - 1])]
    model = classifier(epochs=30, lr=0.03).fit(X, y, privileged=Z)
    predicted = model.predict(X)
    assert predicted.dtype == y.dtype
    assert model.classes_.tolist() == sorted(values)
    assert model.score(X, y) > 0.6
    assert model.predict_proba(X).shape == (60, len(values))


def test_regressor__learns_a_number_in_its_own_units() -> None:
    X, Z, number = table(200)
    model = regressor(epochs=150, lr=0.02, method="KT-PFD", regressor_layers=(20,), classifier_layers=(20,))
    model.fit(X, 1e6 + 1e3 * number, privileged=Z)
    assert model.score(X, 1e6 + 1e3 * number) > 0.5


# ---------------------------------------------------------------------- privileged features


def test_fit__without_privileged__trains_the_plain_network_and_warns_once() -> None:
    X, Z, number = table()
    with pytest.warns(UserWarning, match="privileged features were not given; the plain network") as caught:
        model = classifier().fit(X, labels(number))
    assert [warning.filename for warning in caught] == [__file__]
    assert model.method_ == "lower"
    assert len(model.privileged_names_in_) == 0
    lower = classifier(method="lower").fit(X, labels(number), privileged=Z)  # which needs none: no warning
    np.testing.assert_array_equal(model.predict_proba(X), lower.predict_proba(X))


def test_fit__privileged_that_does_not_vary__warns() -> None:
    X, _, number = table()
    with pytest.warns(UserWarning, match="no privileged column varies"):
        assert classifier().fit(X, labels(number), privileged=np.ones(60)).method_ == "lower"


def test_privileged_columns__frame_with_or_without_them__same_predictions() -> None:
    X, Z, number = table()
    both = pd.concat([Z[["kind"]], X, Z[["z"]]], axis=1)
    given = classifier().fit(X, labels(number), privileged=Z)
    taken = classifier(privileged_columns=["z", "kind"]).fit(both, labels(number))
    np.testing.assert_array_equal(taken.predict_proba(both), given.predict_proba(X))
    np.testing.assert_array_equal(taken.predict_proba(X), given.predict_proba(X))
    assert list(taken.privileged_names_in_) == ["z", "kind"]
    assert taken.n_features_in_ == 8
    with pytest.raises(ValueError, match="feature names should match"):
        taken.predict(X.rename(columns={"a": "other"}))
    with pytest.raises(ValueError, match="feature names should match"):
        taken.predict(both.drop(columns="z"))


def test_privileged_columns__by_place__with_or_without_them() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(50, 4))
    y = (X[:, 1] > 0).astype(int)
    taken = classifier(privileged_columns=[1]).fit(X, y)
    given = classifier().fit(X[:, [0, 2, 3]], y, privileged=X[:, 1])
    np.testing.assert_array_equal(taken.predict_proba(X), given.predict_proba(X[:, [0, 2, 3]]))
    np.testing.assert_array_equal(taken.predict_proba(X[:, [0, 2, 3]]), taken.predict_proba(X))


@pytest.mark.parametrize("asked", [["nowhere"], [9], [-1], [0, "a"], [], list(range(6)), [True]])
def test_privileged_columns__that_make_no_sense__raise(asked: list[Any]) -> None:
    X, _, number = table()
    with pytest.raises(ValueError, match="privileged_columns"):
        classifier(privileged_columns=asked).fit(X, labels(number))


def _traps() -> dict[str, tuple[Any, type[Exception], str]]:
    _, Z, _ = table()
    numbers = Z[["z"]].fillna(0.0)
    return {
        "shuffled index": (numbers.sample(frac=1.0, random_state=0), ValueError, "index of X"),
        "other index": (numbers.set_axis(range(1, 61)), ValueError, "index of X"),
        "too short": (numbers.iloc[:40].reset_index(drop=True), ValueError, "40 rows for 60"),
        "short array": (numbers.to_numpy()[:48], ValueError, "48 rows for 60"),
        "dict": ({"z": numbers["z"].to_numpy()}, TypeError, "found dict. Make it a DataFrame"),
        "text": ("z" * 60, TypeError, "found str"),
        "empty cells": (numbers * np.nan, ValueError, "all cells .* missing"),
        "complex": (numbers.to_numpy() * 1j, ValueError, "[Cc]omplex"),
        "complex frame": (numbers * 1j, ValueError, "[Cc]omplex"),
        "sparse": (sparse.csr_array(numbers.to_numpy()), TypeError, "sparse input is not supported"),
        "infinite": (numbers + np.inf, ValueError, "infin"),
        "dates": (
            numbers.assign(z=pd.Timestamp("2020-01-01")),
            ValueError,
            "must be numeric; found .2020-01-01.*These are dates",
        ),
        "mixed": (numbers.assign(z=[1.5, "one"] * 30), ValueError, "'z' must be numeric; found 'one' in row 1"),
        "a column of X": (table()[0][["a"]], ValueError, "regular or privileged, not both"),
        "the target": (table()[2] > 0, ValueError, "is the target itself"),
        "three dimensions": (np.zeros((60, 2, 2)), ValueError, "dim"),
    }


@pytest.mark.parametrize("trap", _traps())
def test_fit__silent_traps__raise(trap: str) -> None:
    X, _, number = table()
    privileged, error, message = _traps()[trap]
    with pytest.raises(error, match=message):
        classifier().fit(X, labels(number), privileged=privileged)


def test_fit__privileged_against_the_index_of_y__where_x_has_lost_its_own() -> None:
    X, Z, number = table()
    y = pd.Series(labels(number), index=X.index)
    with pytest.raises(ValueError, match="index of y"):
        classifier().fit(X[["a"]].to_numpy(), y, privileged=Z.iloc[::-1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "upper"}, "without the privileged"), ({"method": "all"}, "must be one that trains networks"),
        ({"method": "XYZ"}, "no method"),
        ({"balance": "nothing"}, "no balancing strategy"), ({"method": "KT", "balance": "equal"}, "at least two tasks"),
        ({"epochs": 0}, "epochs"), ({"lr": -1.0}, "lr"), ({"inner_folds": 40}, "inner folds"),
        ({"class_weight": "even"}, "class_weight"), ({"class_weight": {"a": -1.0}}, "class_weight"),
        ({"categorical": "all"}, "categorical"), ({"categorical": ["nowhere"]}, "nowhere"), ({"lr": 1e38}, "diverged"),
        ({"random_state": "x"}, "random_state"), ({"privileged_columns": ["b"]}, "not both"),
    ],
)  # fmt: skip
def test_fit__wrong_parameters__raise(wrong: dict[str, Any], message: str) -> None:
    X, Z, number = table()
    with pytest.raises(ValueError, match=message):
        classifier(**wrong).fit(X, labels(number), privileged=Z)


def test_regressor__tpd__says_that_it_needs_classes() -> None:
    X, Z, number = table()
    with pytest.raises(ValueError, match="MT-TPD needs classes"):
        regressor(method="MT-TPD").fit(X, number, privileged=Z)


# ---------------------------------------------------------------------- weights, stopping, refit


@pytest.mark.parametrize("method", ["lower", "MT", "AUX"])
@pytest.mark.parametrize("balance", ["own", "equal"])
def test_sample_weight__full_batch__is_a_row_given_as_often(method: str, balance: str) -> None:
    X, Z, number = table()
    weights = np.random.default_rng(1).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    options = {"method": method, "batch_size": "all", "early_stopping": False, "dtype": "float64", "lr": 0.05,
               "epochs": 20, "class_weight": "balanced"}  # fmt: skip
    if method != "lower":
        options["balance"] = balance
    y = labels(number, 3)
    weighted = classifier(**options).fit(X, y, sample_weight=weights, privileged=Z)
    x_again, z_again = (frame.iloc[rows].reset_index(drop=True) for frame in (X, Z))
    repeated = classifier(**options).fit(x_again, y[rows], privileged=z_again)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9)
    scaled = classifier(**options).fit(X, y, sample_weight=7.0 * weights, privileged=Z)
    np.testing.assert_allclose(weighted.predict_proba(X), scaled.predict_proba(X), atol=1e-9)


def test_sample_weight__numeric_target__moves_its_units_too() -> None:
    X, Z, number = table()
    weights = np.random.default_rng(1).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    options = {"method": "MT", "batch_size": "all", "early_stopping": False, "dtype": "float64", "lr": 0.05}
    weighted = regressor(**options).fit(X, number, sample_weight=weights, privileged=Z)
    x_again, z_again = (frame.iloc[rows].reset_index(drop=True) for frame in (X, Z))
    repeated = regressor(**options).fit(x_again, number[rows], privileged=z_again)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)


def test_sample_weight__all_zero__raises() -> None:
    X, Z, number = table()
    with pytest.raises(ValueError, match=r"non-zero|sample_weight is 0 for all rows"):
        classifier().fit(X, labels(number), sample_weight=np.zeros(60), privileged=Z)


def test_class_weight__dict__is_that_of_the_labels() -> None:
    X, Z, number = table()
    y = labels(number)
    balanced = classifier(class_weight="balanced").fit(X, y, privileged=Z)
    counts = pd.Series(y).value_counts()
    # "balanced" looks at each training set by itself: equal where all of them are the whole.
    weights = {label: 60 / (2 * count) for label, count in counts.items()}
    plain = {"method": "lower", "early_stopping": False, "dtype": "float64"}
    one = classifier(**plain, class_weight=weights).fit(X, y)
    other = classifier(**plain, class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-12)
    heavy = classifier(class_weight={"a": 100.0, "b": 0.01}, epochs=40, lr=0.05).fit(X, y, privileged=Z)
    assert (heavy.predict(X) == "a").mean() > (balanced.predict(X) == "a").mean()


def test_early_stopping__false__trains_all_epochs_on_all_rows() -> None:
    X, Z, number = table()
    y = labels(number)
    long = {"epochs": 60, "lr": 0.1, "patience": 2}
    stopped = classifier(**long).fit(X, y, privileged=Z)
    through = classifier(**long, early_stopping=False).fit(X, y, privileged=Z)
    assert stopped.n_iter_ < 60
    assert through.n_iter_ == 60
    # What validates, with early stopping, moves no weights; without it every row does.
    flipped = y.copy()
    flipped[0] = "b" if y[0] == "a" else "a"
    other = classifier(**long, early_stopping=False).fit(X, flipped, privileged=Z)
    assert not np.allclose(through.predict_proba(X), other.predict_proba(X))


def test_refit__trains_on_all_rows_for_the_best_number_of_epochs() -> None:
    X, Z, number = table()
    y = labels(number)
    long = {"method": "lower", "epochs": 60, "lr": 0.1, "patience": 3}
    refitted = classifier(**long, refit=True).fit(X, y, privileged=Z)
    assert refitted.n_iter_ < 60
    same = classifier(**{**long, "epochs": refitted.n_iter_}, early_stopping=False).fit(X, y, privileged=Z)
    np.testing.assert_array_equal(refitted.predict_proba(X), same.predict_proba(X))
    for method in ("KT-TPD", "MT-TPD"):
        model = classifier(method=method, refit=True).fit(X, y, privileged=Z)
        assert not np.allclose(
            model.predict_proba(X), classifier(method=method).fit(X, y, privileged=Z).predict_proba(X)
        )


# ---------------------------------------------------------------------- habits of scikit-learn


def test_fit__twice_and_beside_other_randomness__gives_the_same_and_moves_nothing() -> None:
    X, Z, number = table()
    y = labels(number)
    np.random.seed(5)  # noqa: NPY002  the global state is what must not move
    before, torch_before, threads = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    model = classifier().fit(X, y, privileged=Z)
    first = model.predict_proba(X)
    classifier(random_state=None).fit(X, y, privileged=Z)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(model.fit(X, y, privileged=Z).predict_proba(X), first)
    np.testing.assert_array_equal(clone(model).fit(X, y, privileged=Z).predict_proba(X), first)
    assert not np.allclose(classifier(random_state=1).fit(X, y, privileged=Z).predict_proba(X), first)
    assert np.isfinite(classifier(random_state=np.random.default_rng(0)).fit(X, y, privileged=Z).predict_proba(X)).all()


def test_fit__leaves_its_input_as_it_was() -> None:
    X, Z, number = table()
    x_before, z_before = X.copy(), Z.copy()
    classifier().fit(X, labels(number), privileged=Z).predict(X)
    pd.testing.assert_frame_equal(X, x_before)
    pd.testing.assert_frame_equal(Z, z_before)
    array = np.random.default_rng(0).normal(size=(40, 3))
    copy = array.copy()
    regressor().fit(array, array[:, 0], privileged=array[:, 1] * array[:, 2]).predict(array)
    np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("method", ["MT-TPD", "KT-TPD", "lower"])
def test_round_trips__pickle_joblib_and_skops__are_exact(method: str) -> None:
    skops = pytest.importorskip("skops.io")
    X, Z, number = table()
    model = classifier(method=method, members=2).fit(X, labels(number), privileged=Z)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    kept = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=kept)
    assert untrusted == ["lupi.estimators.predictors.PrivilegedClassifier"]
    for again in (pickle.loads(pickle.dumps(model)), joblib.load(buffer), skops.loads(kept, trusted=untrusted)):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert again.get_params() == model.get_params()


def test_predict__rows_and_batches__do_not_know_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Z, number = table()
    model = classifier(method="KT-TPD", members=2).fit(X, labels(number), privileged=Z)
    whole_table = model.predict_proba(X)
    monkeypatch.setattr("lupi.estimators.tabular.ROWS_READ", 16)
    monkeypatch.setattr("lupi.estimators.student.ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(model.predict_proba(X), whole_table, atol=1e-14)
    alone = np.concatenate([model.predict_proba(X.iloc[[i]]) for i in range(60)])
    np.testing.assert_allclose(alone, whole_table, atol=1e-14)


def test_predict__infinite_or_wrong_cells__raise() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(50, 3))
    model = classifier().fit(X, X[:, 0] > 0, privileged=X[:, 1] + X[:, 2])
    X[7, 1] = -np.inf
    with pytest.raises(ValueError, match="infin"):
        model.predict(X)
    with pytest.raises(ValueError, match="must hold numbers"):
        model.predict(np.full((2, 3), "high", dtype=object))
    huge = np.array([[1e200, -1e250, 1e299]])
    assert np.isfinite(model.predict_proba(huge)).all()


def test_verbose__one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    X, Z, number = table()
    with caplog.at_level(logging.INFO, logger="lupi"):
        classifier().fit(X, labels(number), privileged=Z)
        assert not caplog.records
        classifier(verbose=1).fit(X, labels(number), privileged=Z)
    assert [record.message.split(":")[0] for record in caplog.records] == ["PrivilegedClassifier"]
    assert "MT-TPD, 4 epochs" in caplog.text


@pytest.mark.slow
def test_import__of_the_package__brings_nothing_heavy() -> None:
    code = (
        "import sys, lupi; print('torch' in sys.modules, 'pandas' in sys.modules, lupi.PrivilegedClassifier.__name__)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["False", "False", "PrivilegedClassifier"]
    assert "PrivilegedRegressor" in dir(lupi)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lupi.nothing  # noqa: B018


def test_fit__large_data__are_kept_in_float32_and_standardised_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Z, number = table()
    y = labels(number)
    usual = classifier(epochs=10, lr=0.02).fit(X, y, privileged=Z)
    monkeypatch.setattr("lupi.estimators.reading._LARGE", 10)
    monkeypatch.setattr("lupi.study.preparation._AT_ONCE", 100)
    monkeypatch.setattr("lupi.estimators.tabular.ROWS_READ", 7)
    large = classifier(epochs=10, lr=0.02).fit(X, y, privileged=Z)
    np.testing.assert_allclose(large._student["x_scale"], usual._student["x_scale"], rtol=1e-6)
    np.testing.assert_allclose(large.predict_proba(X), usual.predict_proba(X), atol=1e-4)
    exact = classifier(epochs=10, lr=0.02, dtype="float64").fit(X, y, privileged=Z)
    monkeypatch.undo()
    again = classifier(epochs=10, lr=0.02, dtype="float64").fit(X, y, privileged=Z)
    np.testing.assert_allclose(exact.predict_proba(X), again.predict_proba(X), atol=1e-12)


# ---------------------------------------------------------------------- evidence


def test_diagnose__classes__bounds_verdict_points_and_a_figure() -> None:
    X, Z, number = table(120)
    model = classifier(epochs=30, lr=0.03)
    found = model.diagnose(X, labels(number), Z, folds=3, repeats=1)
    assert not hasattr(model, "classes_")
    assert set(found.comparisons()["against"]) == {
        "lower", "shuffled", "noise", "absent", "unit-weights", "shuffled-weights",
    }  # fmt: skip
    assert str(found).startswith(found.verdict)
    assert found.upper == pytest.approx(found.records.loc[found.records["method"] == "upper", "error"].mean())
    points, errors = found.points(), found.errors()
    assert len(points) == 120  # one numeric column
    np.testing.assert_allclose(found.dr, points["z_hat"] - points["z"])
    assert (errors["errors"] == errors["both"] + errors["caused"] + errors["own"]).all()
    assert errors["errors"].sum() == (points["student"] != points["truth"]).sum()
    assert found.summary().loc[("lower", "none"), ("error", "mean")] == pytest.approx(found.lower)
    assert len(found.draw().axes) == 2


def test_diagnose__of_a_study__has_its_records() -> None:
    X, Z, number = table(90)
    found = classifier(method="PFD").diagnose(X, labels(number), Z, folds=3, repeats=1, twins=("noise",))
    data = PrivilegedData(
        "sim", *(fitted(frame, list(frame), (), range(frame.shape[1]))[1] for frame in (X, Z)),
        (labels(number) == "b").astype(np.int64), ("a", "b"),
    )  # fmt: skip
    options = _options("PFD", methods=("lower", "upper", "PFD"), twins=("noise",), members=1, epochs=4, seed=0,
                       regressor_layers=(4,), classifier_layers=(4,), dtype="float32", lr=1e-3, weight_decay=0.0,
                       batch_size=128)  # fmt: skip
    arms = run.run(data, options, run.splits_of(data, options, range(1))).records
    assert [arm["error"] for arm in arms] == found.records["error"].to_list()
    assert found.points().empty
    assert found.dc.size == 0
    assert len(found.draw().axes) == 1


def test_diagnose__number_and_balance__no_causes() -> None:
    X, Z, number = table(60)
    found = regressor(balance="equal").diagnose(X, number, Z, folds=2, repeats=1, twins=("noise",))
    assert found.method == "MT-PFD+equal"
    assert found.errors().empty
    with pytest.raises(ValueError, match="needs privileged features"):
        regressor(method="lower").diagnose(X, number, Z)
