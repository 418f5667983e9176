"""Tables of any kind as columns to train on, and new rows read as the columns were fitted.

A table comes as an array, a list of rows, or a DataFrame of pandas or polars. Its columns are numbers or categories.
What is fitted of a column is a `Feature`, plain data that any format can keep.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils import check_array

from lupi.columns import Column
from lupi.data.encoding import FARTHEST, center_of, flag_name
from lupi.data.kinds import LIBRARY, Doubt, floats, kind_of, sentences

Floats = npt.NDArray[np.float64]

#: Rows of a table that are read at once.
ROWS_READ = 32768

_LARGEST = 1e300  # beyond which a number counts as infinite


class Feature(TypedDict):
    """A column as it was fitted.

    place : of the column in the table.
    levels : texts of the categories in the order of their codes; None: a number.
    flag : whether a column of 0 and 1 behind all features tells where a number is missing.
    origin, unit : a number is encoded as (value - origin) / unit (see `data.center_of`); 0 and 1 for a category.
    """

    name: str
    place: int
    levels: list[str] | None
    origin: float
    unit: float
    flag: bool


# ---------------------------------------------------------------------- tables


def as_dataframe(values: Any, role: str) -> pd.DataFrame:
    """A table as a DataFrame; arrays are not copied. One-dimensional ones are one column, but for X.

    role : "X" or "privileged", for messages.

    Raises
    ------
    TypeError : for what is no table: a dict, a string, a sparse matrix.
    ValueError : for a table without rows or columns, and complex numbers.
    """
    if issparse(values):  # some of which are dicts
        raise TypeError(f"{role} is sparse, and sparse input is not supported; make it dense with .toarray().")
    if isinstance(values, dict | str | bytes) or values is None:
        raise TypeError(
            f"{role} must be a table (a two-dimensional array, or a DataFrame); found {type(values).__name__}."
            + (" Make it a DataFrame." if isinstance(values, dict) else "")
        )
    if isinstance(values, pd.Series) and role != "X":
        values = values.to_frame()
    if _is_polars(values):
        values = _from_polars(values, role)
    if not isinstance(values, pd.DataFrame):
        return pd.DataFrame(_array(values, role), copy=False)
    if not len(values) or not values.shape[1]:
        what, count = ("sample", len(values)) if not len(values) else ("feature", values.shape[1])
        raise ValueError(
            f"Found array with {count} {what}(s) (shape={values.shape}) while a minimum of 1 is required in {role}."
        )
    return values


def _array(values: Any, role: str) -> npt.NDArray[Any]:
    array = _unmasked(values) if np.ma.isMaskedArray(values) else np.asarray(values)
    if array.dtype.kind in "US" and not isinstance(values, np.ndarray):  # numbers beside text stay numbers
        array = np.asarray(values, dtype=object)
    if array.ndim == 1 and role != "X":
        array = array[:, None]
    checked: npt.NDArray[Any] = check_array(array, dtype=None, ensure_all_finite=False, input_name=role)
    return checked


def _unmasked(values: Any) -> npt.NDArray[Any]:
    """A masked array as a plain one, in which masked cells are missing."""
    if not np.ma.getmaskarray(values).any():
        return np.asarray(np.ma.getdata(values))
    if values.dtype.kind in "iuf":
        return np.asarray(values.astype(np.float64).filled(np.nan))
    plain = np.ma.getdata(values).astype(object)
    plain[np.ma.getmaskarray(values)] = None
    return plain


def _is_polars(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "polars"


def _from_polars(values: Any, role: str) -> pd.DataFrame:
    """A DataFrame or Series of polars, without pyarrow."""
    if not hasattr(values, "to_numpy"):
        raise TypeError(f"{role} must be a DataFrame of polars, not a {type(values).__name__}; collect it first.")
    frame = values if hasattr(values, "columns") else values.to_frame()
    columns = {}
    for column in frame.iter_columns():
        plain = column.dtype.is_numeric() and not column.dtype.is_decimal()
        columns[column.name] = column.to_numpy() if plain else pd.Series(column.to_list(), dtype=object)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)), copy=False)


def names_of(table: pd.DataFrame, role: str) -> list[str]:
    """Names of the columns; where they have none (or numbers for names) "X[0]", "X[1]", ..."""
    if not all(isinstance(name, str) for name in table.columns):
        return [f"{role}[{i}]" for i in range(table.shape[1])]
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ValueError(f"column names of {role} must differ; found twice: {', '.join(map(repr, twice[:12]))}.")
    return list(table.columns)


def places_of(asked: Sequence[str | int], names: Sequence[str], what: str) -> list[int]:
    """Places of the columns `asked` by name or by place.

    Raises
    ------
    ValueError : for a column that is not there, or asked for twice.
    """
    places = []
    for column in asked:
        if isinstance(column, str):
            if column not in names:
                raise ValueError(f"{what}: no column is called {column!r}; there are {', '.join(names[:12])}.")
            places.append(names.index(column))
        elif isinstance(column, bool | np.bool_) or not (
            isinstance(column, int | np.integer) and 0 <= column < len(names)
        ):
            raise ValueError(
                f"{what} must hold names of columns, or places from 0 to {len(names) - 1}; found {column!r}."
            )
        else:
            places.append(int(column))
    if len(set(places)) < len(places):
        raise ValueError(f"{what} names a column twice: {list(asked)}.")
    return places


# ---------------------------------------------------------------------- columns


def fitted(
    table: pd.DataFrame,
    names: Sequence[str],
    categorical: Collection[str],
    places: Sequence[int],
    missing_flags: bool = False,
) -> tuple[list[Feature], pd.DataFrame]:
    """What there is to learn from in the columns at `places`, and these columns: float64, or Categorical.

    Columns with one value, or none, are left out: nothing can be learned from them.

    categorical : names of columns that are categories whatever their dtype.
    missing_flags : whether numbers of which some are missing get a flag.

    Raises
    ------
    ValueError : for columns whose kind nobody should guess, all of them at once (see `data.kinds`).
    """
    features: list[Feature] = []
    columns: dict[str, Any] = {}
    for place, is_category in _categories(table, names, categorical, places).items():
        column, name = table.iloc[:, place], names[place]
        if is_category:
            levels = _levels(column)
            if len(levels) > 1:
                features.append(Feature(name=name, place=place, levels=levels, origin=0.0, unit=1.0, flag=False))
                columns[name] = pd.Categorical.from_codes(_codes(column, levels), pd.Index(levels))
            continue
        values = numbers_of(column, name)
        known = values[~np.isnan(values)]
        if len(known) and (known != known[0]).any():
            origin, unit = center_of(values)
            flag = missing_flags and len(known) < len(values)
            features.append(Feature(name=name, place=place, levels=None, origin=origin, unit=unit, flag=flag))
            columns[name] = values
    return features, pd.DataFrame(columns, index=pd.RangeIndex(len(table)), copy=False)


#: How an estimator says what can be done about a column.
_WORDS = dataclasses.replace(LIBRARY, drop=lambda columns: f".drop(columns={list(columns)})")


def _categories(
    table: pd.DataFrame, names: Sequence[str], categorical: Collection[str], places: Sequence[int]
) -> dict[int, bool]:
    """Whether the column at each place is a category; ValueError names all columns that nobody should guess."""
    categories, doubts = {}, []
    for place in places:
        column, name = table.iloc[:, place], names[place]
        if pd.api.types.is_complex_dtype(column.dtype):
            raise ValueError(f"Complex data not supported: column {name!r} holds complex numbers.")
        kind = "category" if name in categorical else kind_of(column.rename(name), few=None)
        categories[place] = kind in ("category", "boolean")
        if isinstance(kind, Doubt):
            doubts.append(kind)
    if doubts:
        raise ValueError(sentences(doubts, _WORDS))
    return categories


def _text(value: Any) -> str:
    """A category's name: whole numbers read the same whether or not missing cells made them floats."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _levels(column: pd.Series) -> list[str]:
    """Names of the categories that occur, in the order of a Categorical, else of the alphabet."""
    try:
        seen = pd.factorize(column.dropna())[1]  # whose dates are those of `_codes`
    except TypeError as error:  # lists and the like
        raise ValueError(f"column {column.name!r} must hold texts or numbers to be a category: {error}.") from error
    if isinstance(column.dtype, pd.CategoricalDtype):
        occurring = set(seen)
        return list(dict.fromkeys(_text(level) for level in column.cat.categories if level in occurring))
    return sorted({_text(value) for value in seen})


def _codes(column: pd.Series, levels: Sequence[str]) -> npt.NDArray[np.intp]:
    """Codes [n] of the categories; -1 where missing, or not among `levels`."""
    places, values = pd.factorize(column)
    known = {level: code for code, level in enumerate(levels)}
    codes = np.array([known.get(_text(value), -1) for value in values] + [-1], dtype=np.intp)
    return np.asarray(codes[places], dtype=np.intp)


def numbers_of(column: pd.Series, name: str) -> Floats:
    """Values [n] of a column of numbers, NaN where missing.

    Raises
    ------
    ValueError : for cells that are none, dates among them, and infinite ones.
    """
    content = column.dtype if column.dtype != object else pd.api.types.infer_dtype(column, skipna=True)
    strange = "datetime" in str(content) or "timedelta" in str(content)
    try:
        values: Floats = floats(column)
    except (ValueError, TypeError):
        strange = True
    if strange:
        place, cell = _first_that_is_no_number(column)
        dates = " Make dates numbers, as in fit: of days, say." if _holds_dates(column) else ""
        raise ValueError(
            f"column {name!r} must hold numbers, in fit and in prediction; found {cell!r} in {_WORDS.row(place)}."
            + dates
        )
    _check_finite(values, name)
    return values


def _holds_dates(column: pd.Series) -> bool:
    """Whether a column holds dates, times or spans of time."""
    content = str(column.dtype) if column.dtype != object else pd.api.types.infer_dtype(column, skipna=True)
    return any(kind in content for kind in ("date", "time", "period"))


def _check_category(column: pd.Series, feature: Feature) -> None:
    """Raise ValueError for dates where `fit` saw categories that were none."""
    levels = pd.Series(feature["levels"], dtype=object)
    if (
        _holds_dates(column)
        and column.notna().any()
        and pd.to_datetime(levels, errors="coerce", format="mixed").isna().all()
    ):
        raise ValueError(
            f"column {feature['name']!r} must hold categories as in fit ({', '.join(levels[:3])}, ...); found dates, "
            f"as {column.dropna().iloc[0]}. Give it as it was in fit."
        )


def _first_that_is_no_number(column: pd.Series) -> tuple[int, str]:
    """Place and content of a cell."""
    for place, cell in enumerate(column):
        try:
            if not pd.isna(cell):
                float(cell)
        except (ValueError, TypeError):
            return place, str(cell)
        except OverflowError:
            continue
    return 0, str(column.iloc[0])


def _check_finite(values: Floats, name: str) -> None:
    """Raise ValueError for infinite values; missing ones (NaN) may be."""
    with np.errstate(invalid="ignore"):
        infinite = int((np.abs(values) > _LARGEST).sum())
    if infinite:
        raise ValueError(
            f"{name} has {infinite} infinite values (or beyond {_LARGEST:g}): Input X contains infinity or a value too "
            "large. Replace them by numbers or by missing (NaN)."
        )


# ---------------------------------------------------------------------- encoded rows


def columns_of(features: Sequence[Feature]) -> tuple[Column, ...]:
    """Where each feature lies in an encoded row."""
    columns, at = [], 0
    for feature in features:
        levels = None if feature["levels"] is None else tuple(feature["levels"])
        width = 1 if levels is None else len(levels)
        columns.append(Column(feature["name"], at, width, levels is not None, levels))
        at += width
    flagged = [feature["name"] for feature in features if feature["flag"]]
    return (*columns, *(Column(flag_name(name), at + i, 1, False) for i, name in enumerate(flagged)))


def description(features: Sequence[Feature]) -> str:
    """How `raw_rows` makes rows of a table, as JSON: name, place, kind, levels and entries of each column, and of the
    flags of missing cells behind them."""
    columns = columns_of(features)
    described = [
        _described(feature, column, "category" if column.categorical else "number")
        for feature, column in zip(features, columns, strict=False)
    ]
    flagged = (feature for feature in features if feature["flag"])
    described += [
        _described(feature, column, "missing")
        for feature, column in zip(flagged, columns[len(features) :], strict=True)
    ]
    return json.dumps(described, ensure_ascii=False)


def _described(feature: Feature, column: Column, kind: str) -> dict[str, Any]:
    entries = [column.start, column.start + column.width]
    return {
        "name": feature["name"], "place": feature["place"], "kind": kind, "levels": feature["levels"],
        "entries": entries,
    }  # fmt: skip


def units_of(features: Sequence[Feature]) -> tuple[Floats, Floats]:
    """Origin and unit [D] of the entries of an encoded row."""
    columns = columns_of(features)
    widths = [column.width for column in columns]
    origin = [*(feature["origin"] for feature in features), *[0.0] * (len(columns) - len(features))]
    unit = [*(feature["unit"] for feature in features), *[1.0] * (len(columns) - len(features))]
    return np.repeat(origin, widths).astype(np.float64), np.repeat(unit, widths).astype(np.float64)


def raw_rows(table: pd.DataFrame, features: Sequence[Feature], places: Sequence[int]) -> Floats:
    """Rows [n, D] before numbers are centred; levels one-hot, all NaN where missing or unseen in fit. It may be a view.

    places : of the features in this table.
    """
    columns = columns_of(features)
    plain = not any(column.categorical for column in columns) and len(columns) == len(features)
    if plain and list(places) == list(range(table.shape[1])) and (table.dtypes == np.float64).all():
        rows: Floats = table.to_numpy()
        with np.errstate(all="ignore"):
            total = rows.sum()
        if not np.isfinite(total):
            _check_finite(rows, "X")
        return rows
    rows = np.empty((len(table), sum(column.width for column in columns)))
    flagged = [column.start for feature, column in zip(features, columns, strict=False) if feature["flag"]]
    for feature, column, place in zip(features, columns, places, strict=False):
        values = table.iloc[:, place]
        if feature["levels"] is None:
            rows[:, column.start] = numbers_of(values, feature["name"])
            continue
        _check_category(values, feature)
        codes = _codes(values, feature["levels"])
        rows[:, column.span] = codes[:, None] == np.arange(column.width)
        rows[codes < 0, column.span] = np.nan
    if flagged:
        rows[:, -len(flagged) :] = np.isnan(rows[:, flagged])
    return rows


def decoded(rows: Floats, features: Sequence[Feature]) -> pd.DataFrame:
    """Encoded rows [n, D] as the columns that they were: numbers, and of categories the most probable level."""
    columns: dict[str, Any] = {}
    for feature, column in zip(features, columns_of(features), strict=True):
        if feature["levels"] is None:
            columns[feature["name"]] = feature["origin"] + feature["unit"] * rows[:, column.start]
        else:
            columns[feature["name"]] = np.array(feature["levels"], dtype=object)[rows[:, column.span].argmax(1)]
    return pd.DataFrame(columns)


def encoded_rows(table: pd.DataFrame, features: Sequence[Feature], dtype: str = "float64") -> Floats:
    """Rows [n, D] as `data.encode` gives them, in the precision `dtype`."""
    origin, unit = units_of(features)
    places = [feature["place"] for feature in features]
    rows = np.empty((len(table), len(origin)), dtype)
    for first in range(0, len(table), ROWS_READ):
        part = slice(first, first + ROWS_READ)
        with np.errstate(over="ignore"):
            encoded = (raw_rows(table.iloc[part], features, places) - origin) / unit
        rows[part] = encoded.clip(-FARTHEST, FARTHEST)
    return rows
