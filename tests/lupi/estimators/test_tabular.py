"""Tables of any kind: what is read of them, and that new rows are read as the columns were fitted."""

from __future__ import annotations

import warnings
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.data.encoding import FARTHEST
from lupi.estimators.tabular import (
    as_dataframe,
    columns_of,
    encoded_rows,
    fitted,
    names_of,
    places_of,
    raw_rows,
    units_of,
)

_NUMBERS = st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, -1.0, 1e-300, 1e15, np.nan])
_TEXTS = st.sampled_from(["red", "green", "", "ä", None])
_CODES = st.sampled_from(["1", "02", "10", None])
_KINDS: dict[str, Any] = {
    "float64": _NUMBERS,
    "float32": st.floats(width=32, allow_infinity=False),
    "int64": st.integers(-(2**40), 2**40),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
    "object": _TEXTS,
    "string": _CODES,
    "category": _TEXTS | _CODES,
    "Int64": st.integers(-5, 5) | st.none(),
    "boolean": st.booleans() | st.none(),
}


@st.composite
def frames(draw: st.DrawFn, rows: int | None = None, columns: int | None = None) -> pd.DataFrame:
    """A frame of columns of any dtype, with missing cells, and columns that do not vary."""
    n = draw(st.integers(2, 12)) if rows is None else rows
    kinds = draw(st.lists(st.sampled_from(list(_KINDS)), min_size=columns or 1, max_size=columns or 5))
    made = {}
    for i, kind in enumerate(kinds):
        values = draw(st.lists(_KINDS[kind], min_size=n, max_size=n))
        constant = draw(st.integers(0, 7)) == 0
        made[f"c{i}"] = pd.Series([values[0]] * n if constant else values, dtype=kind)
    return pd.DataFrame(made)


@given(frames())
def test_fitted__any_frame__encodes_to_bounded_numbers(frame: pd.DataFrame) -> None:
    features, columns = fitted(frame, names_of(frame, "X"), (), range(frame.shape[1]))
    assert [feature["name"] for feature in features] == list(columns.columns)
    for name in columns:
        assert columns[name].nunique() > 1
    if not features:
        return
    rows = encoded_rows(frame, features)
    assert rows.shape == (len(frame), sum(column.width for column in columns_of(features)))
    assert (np.isnan(rows) | (np.abs(rows) <= FARTHEST)).all()
    for feature, column in zip(features, columns_of(features), strict=True):
        missing = frame[feature["name"]].isna().to_numpy()
        np.testing.assert_array_equal(np.isnan(rows[:, column.start]), missing)
        if column.categorical:
            assert set(np.unique(rows[~missing, column.span])) == {0.0, 1.0}
            np.testing.assert_array_equal(rows[~missing, column.span].sum(1), 1.0)
    alone = np.concatenate([encoded_rows(frame.iloc[[i]], features) for i in range(len(frame))])
    np.testing.assert_array_equal(alone, rows)
    np.testing.assert_array_equal(encoded_rows(frame.iloc[::-1], features)[::-1], rows)


@given(frames(rows=6, columns=3), frames(rows=4, columns=3))
def test_raw_rows__another_frame__unseen_categories_are_missing(frame: pd.DataFrame, other: pd.DataFrame) -> None:
    other = pd.DataFrame({
        name: other[name].astype(object) if frame[name].dtype.kind not in "fiu" else np.arange(4.0) for name in frame
    })  # fmt: skip
    features, _ = fitted(frame, list(frame), (), range(3))
    rows = raw_rows(other, features, [feature["place"] for feature in features])
    for feature, column in zip(features, columns_of(features), strict=True):
        if column.categorical:
            levels, values = feature["levels"], other[feature["name"]]
            assert levels is not None
            texts = [
                None if pd.isna(v) else str(int(v)) if isinstance(v, float) and v.is_integer() else str(v)
                for v in values
            ]
            np.testing.assert_array_equal(~np.isnan(rows[:, column.start]), [text in levels for text in texts])


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@example(
    frame=pd.DataFrame({"a": [1e300, -1e300] * 10}), privileged=pd.DataFrame({"z": [None] + [1, 2, 3, 4] * 4 + [1] * 3})
)
@given(frames(rows=20), frames(rows=20))
def test_estimators__any_frames__predict_finite_numbers_or_say_why_not(
    frame: pd.DataFrame, privileged: pd.DataFrame
) -> None:
    privileged = privileged.add_prefix("z")
    y = np.arange(20) % 3
    quick = {"epochs": 1, "regressor_layers": (2,), "classifier_layers": (2,), "method": "MT", "device": "cpu"}
    for model in (PrivilegedClassifier(**quick), PrivilegedRegressor(**quick)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*no privileged column varies", UserWarning)
            why_not = ""
            try:
                model.fit(frame, y, privileged=privileged)
            except ValueError as error:
                why_not = str(error)
        if why_not:
            assert any(reason in why_not for reason in ("no column of X", "are missing", "is the target", "diverged"))
            continue
        found = model.predict_proba(frame) if hasattr(model, "predict_proba") else model.predict(frame)
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.empty((0, 3)), ValueError, r"0 sample\(s\)"), (np.empty((3, 0)), ValueError, r"0 feature\(s\)"),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\)"), (pd.DataFrame(index=[1, 2]), ValueError, r"0 feature"),
        ([], ValueError, "2D"), (None, TypeError, "NoneType"), (np.zeros(3), ValueError, "2D"), (5.0, ValueError, "2D"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "found twice: 'a'"),
    ],
)  # fmt: skip
def test_as_dataframe__what_is_no_table__raises(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        names_of(as_dataframe(values, "X"), "X")


def test_as_dataframe__arrays__are_not_copied() -> None:
    array = np.random.default_rng(0).normal(size=(5, 3))
    table = as_dataframe(array, "X")
    assert np.shares_memory(table.to_numpy(), array)
    features, _ = fitted(table, names_of(table, "X"), (), range(3))
    assert np.shares_memory(raw_rows(table.iloc[1:4], features, [0, 1, 2]), array)
    assert names_of(table, "privileged") == ["privileged[0]", "privileged[1]", "privileged[2]"]


def test_as_dataframe__lists_of_rows__keep_numbers_beside_text() -> None:
    table = as_dataframe([[1.5, "red"], [2.5, "blue"]], "X")
    features, _ = fitted(table, ["a", "b"], (), [0, 1])
    assert [feature["levels"] for feature in features] == [None, ["blue", "red"]]


def test_fitted__levels__in_the_order_of_a_categorical_else_of_the_alphabet() -> None:
    frame = pd.DataFrame({"a": pd.Categorical(["low", "high", "low"], ["low", "never", "high"]), "b": ["z", "y", "x"]})
    features, columns = fitted(frame, ["a", "b"], (), [0, 1])
    assert [feature["levels"] for feature in features] == [["low", "high"], ["x", "y", "z"]]
    assert list(columns["a"].cat.categories) == ["low", "high"]


def test_units_of__numbers_and_categories() -> None:
    frame = pd.DataFrame({"a": ["p", "q", "r"], "b": [1.0, 2.0, 4.0]})
    origin, unit = units_of(fitted(frame, ["a", "b"], (), [0, 1])[0])
    np.testing.assert_array_equal(origin, [0.0, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(unit, [1.0, 1.0, 1.0, 1.0])


def test_places_of__names_and_places() -> None:
    assert places_of(["b", 0], ["a", "b"], "these") == [1, 0]
    with pytest.raises(ValueError, match="twice"):
        places_of(["a", 0], ["a", "b"], "these")
