"""Facts: what goes into JSON comes back of the same type and value, and nothing else is made."""

import datetime
import enum
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lupi.estimators.facts import decode, encode, strict_json


def there_and_back(value: Any) -> Any:
    return decode(strict_json(json.dumps(encode(value), allow_nan=False)))


def same(a: Any, b: Any) -> bool:
    """Equal in type and value, all the way down; NaN equals NaN, and 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same([*a.values()], [*b.values()])
    if isinstance(a, (float, np.floating)):
        return bool(a == b or (a != a and b != b)) and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, (np.datetime64, np.timedelta64)):
        return a.dtype == b.dtype and int(a.astype(np.int64)) == int(b.astype(np.int64))
    if a is pd.NaT or a is pd.NA:
        return a is b
    if isinstance(a, pd.Timestamp):
        return a == b and a.unit == b.unit and str(a.tz) == str(b.tz) and a.isoformat() == b.isoformat()
    return bool(a == b)


not_nan = st.floats(allow_nan=False)
numbers = st.integers() | st.floats().filter(lambda x: x == x or math.copysign(1, x) > 0)
leaves = st.none() | st.booleans() | numbers | st.text(st.characters(), max_size=5)
keys = st.text(max_size=3) | st.integers() | not_nan | st.booleans() | st.tuples(st.integers()) | st.just("$")
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(values)
def test_facts__any_plain_value__comes_back_of_the_same_type(value: Any) -> None:
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    "value",
    [
        *(np.dtype(name).type(1) for name in ("int8", "int16", "int32", "int64", "uint8", "uint64")),
        *(dtype(x) for dtype in (np.float16, np.float32, np.float64) for x in (0.1, -0.0, np.nan, -np.inf)),
        np.iinfo(np.int64).min,
        np.uint64(2**64 - 1),
        np.True_,
        np.str_("ä"),
        np.datetime64("2020-02-29"),
        np.datetime64("NaT", "ns"),
        np.timedelta64(-3, "h"),
        pd.Timestamp("2020-02-29 12:34:56.123456789"),
        pd.Timestamp("2020-02-29").as_unit("ms"),
        pd.Timestamp("2020-10-25 02:30", tz="UTC").tz_convert("Europe/Paris"),
        pd.Timestamp("2020-10-25 00:30", tz="UTC").tz_convert("Europe/Paris"),
        pd.Timestamp("2020-02-29", tz="UTC+02:30"),
        pd.Timedelta("1 days 00:00:00.5"),
        pd.Interval(0, 1.5, closed="left"),
        pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
        pd.NaT,
        pd.NA,
        {"$": "tuple", "value": [1]},
        {0: 1.0, "0": 2.0, None: 3, True + 1: ()},
        "\ud800",
    ],
    ids=repr,
)
def test_facts__typed_values__come_back_exactly(value: Any) -> None:
    assert same(there_and_back(value), value)
    assert same(there_and_back({"levels": [value, value]}), {"levels": [value, value]})


def test_facts__levels_that_compare_equal__stay_apart_by_type() -> None:
    levels = [1, 1.0, True, "1", np.int64(1), np.float32(1), None, "None", float("nan"), "nan"]
    assert [type(level) for level in there_and_back(levels)] == [type(level) for level in levels]


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "object"),
        ({1, 2}, "set"),
        (np.arange(2), "ndarray"),
        (1j, "complex"),
        (np.complex64(1), "complex64"),
        (np.longdouble(1), "longdouble"),
        (b"x", "bytes"),
        (Colour.RED, "Colour"),
        (pd.Series([1]), "Series"),
        (np.void(b"x"), "void"),
        (pd.Timestamp("2020", tz=datetime.timezone(datetime.timedelta(hours=1), "here")), "Timestamp"),
        (pd.Period("2020"), "Period"),
        (len, "builtin_function_or_method"),
    ],
)
def test_encode__what_would_not_come_back__is_refused_with_its_place(value: Any, named: str) -> None:
    with pytest.raises(ValueError, match=rf"facts\['a'\]\[1\]: expected values that can be kept.*{named}"):
        encode({"a": [0, value]})


def test_encode__cycle__is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested too deeply"):
        encode(value)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[-Infinity]", "[" * 100_000, "{", ""])
def test_strict_json__what_python_would_let_pass__is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"twice|NaN|Infinity|nested|Expecting"):
        strict_json(text)


@pytest.mark.parametrize(
    "encoded",
    [
        {"$": "os.system", "value": "true"},
        {"$": []},
        {"$": "float", "value": "1e5"},
        {"$": "float"},
        {"$": "numpy", "value": 1, "dtype": "object"},
        {"$": "numpy", "value": 300, "dtype": "int8"},
        {"$": "numpy", "value": 1e300, "dtype": "float16"},
        {"$": "numpy", "value": 0.5, "dtype": "int8"},
        {"$": "numpy", "value": 1, "dtype": "float32"},
        {"$": "numpy", "value": [1, 2], "dtype": "int8"},
        {"$": "numpy", "value": "1", "dtype": "datetime64[ns]"},
        {"$": "numpy", "value": 2**70, "dtype": "datetime64[ns]"},
        {"$": "timestamp", "value": 0, "unit": "ns", "zone": "dateutil//etc/passwd"},
        {"$": "timestamp", "value": 0, "unit": "ns", "zone": "Nowhere/None"},
        {"$": "timestamp", "value": 0, "unit": "Y", "zone": None},
        {"$": "timedelta", "value": 0.5, "unit": "ns"},
        {"$": "interval", "value": [1], "closed": "left"},
        {"$": "interval", "value": [1, 2], "closed": "ajar"},
        {"$": "dict", "value": [[[], 1]]},
        {"$": "tuple", "value": 3},
        {"$": "missing", "value": "None"},
    ],
    ids=str,
)
def test_decode__what_encode_does_not_write__is_a_value_error(encoded: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode([encoded])
