"""Parameters, tables and targets of a wrong kind: one clear ValueError, before anything is trained."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.estimators import base

N = 40
QUICK: dict[str, Any] = {
    "epochs": 2, "regressor_layers": (2,), "classifier_layers": (2,), "inner_folds": 2, "random_state": 0,
    "device": "cpu",
}  # fmt: skip
Z = np.random.default_rng(0).normal(size=(N, 1))
X = pd.DataFrame(Z + np.random.default_rng(1).normal(size=(N, 3)), columns=["a", "b", "c"])
Y = (Z[:, 0] > 0).astype(int)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training would be a defect of the test's."""

    def train(jobs: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(base, "train", train)


WRONG_PARAMETERS: list[tuple[str, Any, str]] = [
    ("classifier_layers", 20, r"tuple of whole numbers .* found 20\. For one hidden layer write .*=\(20,\)"),
    ("regressor_layers", "20", "tuple of whole numbers of at least 1, the hidden widths; found '20'"),
    ("regressor_layers", (2.5,), "tuple of whole numbers"),
    ("regressor_layers", (0,), "tuple of whole numbers"),
    ("classifier_layers", None, "An empty tuple makes a linear model"),
    ("method", 3, "method must be a string; found 3"),
    ("balance", None, "balance must be a string; found None"),
    ("members", "2", "members must be a whole number"),
    ("members", True, "members must be a whole number"),
    ("members", 1.5, "members must be a whole number"),
    ("members", -1, "members must be a whole number of at least 1"),
    ("epochs", np.inf, "epochs must be a whole number"),
    ("batch_size", 2.5, "batch_size must be a whole number"),
    ("patience", "a", "patience must be a whole number"),
    ("inner_folds", None, "inner_folds must be a whole number"),
    ("lr", "fast", "lr must be a number; found 'fast'"),
    ("lr", None, "lr must be a number"),
    ("lr", np.nan, "lr must lie between"),
    ("epsilon", "a", "epsilon must be a number"),
    ("validation_fraction", "a", "validation_fraction must be a number"),
    ("early_stopping", "no", "early_stopping must be True or False; found 'no'"),
    ("refit", None, "refit must be True or False"),
    ("dtype", "float16", "dtype must be one of float32, float64"),
    ("device", "tpu", "device 'tpu' cannot be used here. Use 'auto' or 'cpu'"),
    ("device", 0, "device must be a string"),
    ("verbose", "yes", "verbose must be a whole number"),
    ("class_weight", {0: "a", 1: 1}, "class_weight must hold finite weights >= 0"),
    ("categorical", "a", r"'auto', or a list of columns; found 'a'\. Write categorical=\['a'\]"),
    ("categorical", None, "'auto', or a list of columns; found None"),
    ("random_state", "a", "random_state must be None, a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), WRONG_PARAMETERS, ids=lambda value: str(value)[:20])
def test_fit__parameter_of_a_wrong_kind__says_what_it_must_be(
    name: str, value: Any, message: str, untrained: None
) -> None:
    with pytest.raises(ValueError, match=message):
        PrivilegedClassifier(**{**QUICK, name: value}).fit(X, Y, privileged=Z)


@pytest.mark.parametrize("columns", ["a", 3])
def test_fit__privileged_columns_that_are_no_list__say_how_to_write_one(columns: Any, untrained: None) -> None:
    with pytest.raises(ValueError, match=rf"Write privileged_columns=\[{columns!r}\]"):
        PrivilegedClassifier(**QUICK, privileged_columns=columns).fit(X, Y)


UNKNOWN_TARGETS: dict[str, Any] = {
    "None in a list": [None, *Y[1:]],
    "None in an array": np.array([None, *["a", "b"] * 19, "a"], dtype=object),
    "NaN among texts": pd.Series(np.where(Y, "a", "b")).where(np.arange(N) > 0),
    "NA of strings": pd.Series(np.where(Y, "a", "b"), dtype="string").where(np.arange(N) > 0),
    "NA of whole numbers": pd.Series(Y).astype("Int64").where(np.arange(N) > 0),
    "NA of booleans": pd.Series(Y).astype("boolean").where(np.arange(N) > 0),
    "no category": pd.Series(np.where(Y, "a", "b"), dtype="category").where(np.arange(N) > 0),
}


@pytest.mark.parametrize("case", UNKNOWN_TARGETS)
@pytest.mark.parametrize(
    "model", [PrivilegedClassifier(**QUICK), PrivilegedRegressor(**QUICK)], ids=["classes", "numbers"]
)
def test_fit__target_with_an_unknown_cell__names_its_row(case: str, model: Any, untrained: None) -> None:
    with pytest.raises(ValueError, match=r"missing in 1 of 40, the first of them row 0 \(counted from 0\)"):
        model.fit(X, UNKNOWN_TARGETS[case], privileged=Z)


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (["0", "1"] * 19 + ["?", "0"], r"found '\?' in row 38"),
        ([1, "a"] * 20, "found 'a' in row 1"),
        (pd.date_range("2020", periods=N), "found '2020-01-01"),
    ],
    ids=["stray", "mixed", "dates"],
)
def test_regressor__target_that_is_no_number__is_named(y: Any, found: str, untrained: None) -> None:
    with pytest.raises(ValueError, match=f"column 'y' must hold numbers.*{found}"):
        PrivilegedRegressor(**QUICK).fit(X, y, privileged=Z)


WRONG_COLUMNS: dict[str, tuple[Any, str]] = {
    "stray text": (["?", *map(str, Z[1:, 0])], r"'q' must be numeric; found '\?' in row 0 .*to_numeric"),
    "numbers and text": (pd.Series([1.5, "x", "y", "w"] * (N // 4), dtype=object), "'q' must hold numbers, text"),
    "text of numbers": ([str(z) for z in Z[:, 0]], "'q' must hold numbers that are no text.*astype"),
    "decimal commas": ([f"0,{i}" for i in range(N)], "'q' must be numeric; found '0,0'.*str.replace"),
    "dates": ([datetime.date(2020, 1, 1 + i % 28) for i in range(N)], "These are dates: make them numbers of days"),
    "dates as text": ([f"2020-01-{1 + i % 28:02}" for i in range(N)], "These are dates"),
    "lists": (pd.Series([[1], [2]] * (N // 2)), "'q' must hold numbers, text, booleans"),
    "durations": (pd.to_timedelta(range(N), unit="D"), "These are dates"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_COLUMNS)
@pytest.mark.parametrize("role", ["regular", "privileged"])
def test_fit__column_that_nobody_should_guess__is_named_with_row_and_remedy(
    case: str, role: str, untrained: None
) -> None:
    values, message = WRONG_COLUMNS[case]
    table, privileged = (X.assign(q=values), Z) if role == "regular" else (X, pd.DataFrame({"q": values}))
    with pytest.raises(ValueError, match=message):
        PrivilegedClassifier(**QUICK).fit(table, Y, privileged=privileged)


def test_fit__all_doubtful_columns__are_named_at_once(untrained: None) -> None:
    strays = ["?", *map(str, Z[1:, 0])]
    with pytest.raises(ValueError, match=r"column 'p' must .*and so in 'q'.*categorical=\['p', 'q'\].*Column 'r'"):
        PrivilegedClassifier(**QUICK).fit(
            X.assign(p=strays, q=strays, r=pd.date_range("2020", periods=N)), Y, privileged=Z
        )


def test_fit__doubtful_column_declared_a_category__is_one() -> None:
    strays = np.resize(["1.5", "2", "?"], N)
    model = PrivilegedClassifier(**QUICK, categorical=["q"]).fit(X.assign(q=strays), Y, privileged=Z)
    assert model.encode(X.assign(q=strays)).shape == (N, 6)


@pytest.mark.parametrize("cells", [["?"], pd.to_datetime(["2020-01-01"]), [[1]]], ids=["text", "date", "list"])
def test_predict__cell_that_is_no_number__is_named(cells: Any) -> None:
    model = PrivilegedClassifier(**QUICK).fit(X, Y, privileged=Z)
    with pytest.raises(ValueError, match=r"column 'b' must hold numbers, in fit and in prediction; found .* in row 0"):
        model.predict(X[:1].assign(b=pd.Series(cells)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": "a"}, "folds must be a whole number of at least 2; found 'a'"),
        ({"repeats": 1.5}, "repeats must be a whole number"),
        ({"twins": "shuffled"}, r"list of control twins; found 'shuffled'. Write twins=\['shuffled'\]"),
        ({"twins": 3}, "list of control twins"),
    ],
)
def test_diagnose__argument_of_a_wrong_kind__says_what_it_must_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrivilegedClassifier(**QUICK).diagnose(X, Y, Z, **arguments)


@pytest.mark.parametrize("weights", [["a"] * N, np.full(N, np.nan), -np.ones(N), np.ones(3)])
def test_fit__weights_of_a_wrong_kind__say_what_they_must_be(weights: Any, untrained: None) -> None:
    with pytest.raises(ValueError, match="sample_weight must be finite numbers >= 0, one for each row"):
        PrivilegedClassifier(**QUICK).fit(X, Y, weights, privileged=Z)
