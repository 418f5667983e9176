"""Parameters, tables and targets of a wrong kind: one clear ValueError, before anything is trained."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.estimators import base
from lupi.estimators.search_cache import digest_of
from lupi.estimators.tabular import as_dataframe

N = 40
QUICK: dict[str, Any] = {
    "preset": "paper", "method": "MT-PFD", "epochs": 2, "regressor_layers": (2,), "classifier_layers": (2,),
    "inner_folds": 2, "random_state": 0, "device": "cpu",
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
    ("classifier_layers", "20", "An empty tuple makes a linear model"),
    ("preset", "bets", "preset must be one of best, fast, paper; found 'bets'"),
    ("preset", None, "preset must be a string"),
    ("imitation", None, "imitation must be a number"),
    ("bagging", "no", "bagging must be"),
    ("batch_size", "every", "batch_size must be a whole number"),
    ("activation", "tanh", "activation must be one of"),
    ("calibration", "isotonic", "calibration must be one of"),
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
    ("class_weight", {0: True, 1: 1}, "class_weight must hold finite weights >= 0"),
    ("class_weight", {0: 10**400}, "class_weight must hold finite weights >= 0"),
    ("class_weight", {0: 1e308, 1: 1e308}, r"class_weight must be at most 1e\+150; found 1e\+308. Only ratios"),
    ("class_weight", {"ill": 2.0}, "class_weight must have labels of y for its keys, 0, 1; found 'ill'"),
    ("class_weight", "even", "class_weight must be None, 'balanced' or a dict of a weight for every label"),
    ("class_weight", np.ones(2), "class_weight must be None, 'balanced' or a dict"),
    ("class_weight", pd.Series([1.0, 2.0]), "class_weight must be None, 'balanced' or a dict"),
    ("method", None, "method must be a string; found None"),
    ("epochs", 1.5, "epochs must be a whole number of at least 1; found 1.5"),
    ("device", "nope", "device 'nope' cannot be used here. Use 'auto' or 'cpu'"),
    ("dtype", np.float32, "dtype must be the text 'float32' or 'float64'; found <class 'numpy.float32'>"),
    ("dtype", torch.float64, "dtype must be the text 'float32' or 'float64'; found torch.float64"),
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
        PrivilegedClassifier(**QUICK).fit(X, Y, sample_weight=weights, privileged=Z)


@pytest.mark.parametrize("weights", [np.full(N, 1e308), np.r_[1e308, np.ones(N - 1)]], ids=["all", "one"])
def test_fit__weights_whose_sum_is_infinite__say_how_to_mend_them(weights: Any, untrained: None) -> None:
    with pytest.raises(ValueError, match=r"sample_weight must be at most 1e\+150; found 1e\+308.*divide all of them"):
        PrivilegedClassifier(**QUICK).fit(X, Y, sample_weight=weights, privileged=Z)


def test_fit__whole_number_too_large_for_a_float_as_weight__is_one_error(untrained: None) -> None:
    with pytest.raises(ValueError, match="sample_weight must be finite numbers >= 0"):
        PrivilegedClassifier(**QUICK).fit(X, Y, sample_weight=[10**400, *np.ones(N - 1)], privileged=Z)


@pytest.mark.parametrize("privileged", [Z, Z[:, 0], pd.DataFrame(Z)], ids=["array", "column", "frame"])
def test_fit__privileged_by_position__says_how_to_name_it(privileged: Any, untrained: None) -> None:
    with pytest.raises(TypeError, match=r"takes X and y by position; found 3 arguments.*fit\(X, y, privileged=Z\)"):
        PrivilegedClassifier(**QUICK).fit(X, Y, privileged)


HUGE = [10**400, *range(N - 1)]


@pytest.mark.parametrize("role", ["regular", "privileged", "array", "target"])
def test_fit__whole_number_too_large_for_a_float__counts_as_infinite(role: str, untrained: None) -> None:
    given: dict[str, tuple[Any, Any, Any]] = {
        "regular": (X.assign(q=HUGE), Y, Z),
        "privileged": (X, Y, pd.DataFrame({"q": HUGE})),
        "array": (np.array([HUGE, [1] * N], dtype=object).T, Y, Z),
        "target": (X, HUGE, Z),
    }
    x, y, z = given[role]
    model = PrivilegedRegressor if role == "target" else PrivilegedClassifier
    with pytest.raises(ValueError, match=r"has 1 infinite values \(or beyond 1e\+300\).*Replace them"):
        model(**QUICK).fit(x, y, privileged=z)


def test_predict__whole_number_too_large_for_a_float__counts_as_infinite() -> None:
    model = PrivilegedClassifier(**QUICK).fit(X, Y, privileged=Z)
    with pytest.raises(ValueError, match="a has 1 infinite values"):
        model.predict(X.assign(a=HUGE))


def test_predict__dates__are_named_with_a_remedy_for_numbers_and_for_categories() -> None:
    days = pd.date_range("2020", periods=N)
    model = PrivilegedClassifier(**QUICK).fit(X, Y, privileged=Z)
    with pytest.raises(
        ValueError, match=r"column 'a' must hold numbers.*found '2020-01-01.*Make dates numbers, as in fit"
    ):
        model.predict(X.assign(a=days))
    colours = X.assign(q=np.resize(["red", "blue"], N))
    model = PrivilegedClassifier(**QUICK).fit(colours, Y, privileged=Z)
    with pytest.raises(
        ValueError, match=r"column 'q' must hold categories as in fit \(blue, red.*found dates, as 2020"
    ):
        model.predict(colours.assign(q=days))
    dated = PrivilegedClassifier(**QUICK, categorical=["q"]).fit(X.assign(q=days[:2].repeat(N // 2)), Y, privileged=Z)
    assert dated.predict(X.assign(q=days)).shape == (N,)  # dates that are categories


@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_fit__another_index_than_that_of_x__says_how_to_reorder(name: str, untrained: None) -> None:
    other = pd.Series(Y, index=X.index[::-1]) if name == "y" else pd.Series(1.0, index=X.index[::-1])
    given = {"y": Y, "privileged": Z, name: other}
    with pytest.raises(ValueError, match=rf"{name} must have the index of X.*found \[39, 38, 37, \.\.\.\].*\.loc\[X"):
        PrivilegedClassifier(**QUICK).fit(X, **given)


def test_fit__masked_target_or_weight__names_its_row(untrained: None) -> None:
    hidden = np.arange(N) == 7
    with pytest.raises(ValueError, match=r"y must be known in every row; it is masked in 1 of 40 cells.*row 7"):
        PrivilegedClassifier(**QUICK).fit(X, np.ma.array(Y, mask=hidden), privileged=Z)
    with pytest.raises(ValueError, match="sample_weight must be known in every row; it is masked in 1 of 40"):
        PrivilegedClassifier(**QUICK).fit(X, Y, privileged=Z, sample_weight=np.ma.array(np.ones(N), mask=hidden))


def test_masked_cells__are_missing_cells() -> None:
    mask = np.random.default_rng(2).random((N, 3)) < 0.2
    regular, privileged = np.where(mask, -999.0, X), np.where(mask[:, :1], -999.0, Z)
    one = PrivilegedClassifier(**QUICK).fit(
        np.ma.array(regular, mask=mask), np.ma.array(Y), privileged=np.ma.array(privileged, mask=mask[:, :1])
    )
    other = PrivilegedClassifier(**QUICK).fit(np.where(mask, np.nan, X), Y, privileged=np.where(mask[:, :1], np.nan, Z))
    np.testing.assert_array_equal(one._student["target"], other._student["target"])
    asked = np.ma.array(regular, mask=mask)
    np.testing.assert_array_equal(one.predict_proba(asked), other.predict_proba(np.where(mask, np.nan, X)))
    whole = np.ma.array(np.arange(6).reshape(3, 2), mask=np.eye(3, 2))
    np.testing.assert_array_equal(as_dataframe(whole, "X"), [[np.nan, 1], [2, np.nan], [4, 5]])
    text = np.ma.array([["a"], ["b"]], mask=[[0], [1]])
    assert as_dataframe(text, "X").isna().to_numpy().tolist() == [[False], [True]]


def test_digest__of_a_masked_array__knows_its_mask() -> None:
    cells = np.ones((3, 2))
    assert digest_of(np.ma.array(cells, mask=np.eye(3, 2))) != digest_of(np.ma.array(cells, mask=1 - np.eye(3, 2)))


@pytest.mark.parametrize("why", ["bad input", "divergence", "interrupt"])
def test_fit__that_fails__leaves_the_estimator_as_it_was(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = PrivilegedClassifier(**QUICK).fit(X, np.where(Y, "ill", "well"), privileged=Z)
    before, labels = model.predict_proba(X), model.predict(X)
    if why == "bad input":
        model.set_params(categorical=["z"])

    def failing(jobs: Any) -> Any:
        if why == "interrupt":
            raise KeyboardInterrupt
        return [ValueError("training diverged")]

    monkeypatch.setattr(base, "train", failing)
    with pytest.raises(KeyboardInterrupt if why == "interrupt" else ValueError):
        model.fit(X[["b", "a"]], np.resize(["x", "y", "z"], N), privileged=Z)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    np.testing.assert_array_equal(model.predict(X), labels)
    assert list(model.feature_names_in_) == ["a", "b", "c"]


def test_fit__first_that_fails__is_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "train", lambda jobs: [ValueError("training diverged")])
    model = PrivilegedClassifier(**QUICK)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, Y, privileged=Z)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
