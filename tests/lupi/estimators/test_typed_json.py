"""Typed JSON: what goes in comes back of the same type and value, and nothing else is made."""

import enum
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lupi.estimators.typed_json import dumps, loads


def there_and_back(value: Any) -> Any:
    return loads(dumps(value))


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
    return bool(a == b)


not_nan = st.floats(allow_nan=False)
numbers = st.integers() | st.floats().filter(lambda x: x == x or math.copysign(1, x) > 0)
leaves = st.none() | st.booleans() | numbers | st.text(st.characters(), max_size=5)
keys = (
    st.text(max_size=3)
    | st.integers()
    | not_nan
    | st.booleans()
    | st.tuples(st.integers())
    | st.sampled_from(["$", "$tuple", "$numpy"])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(values)
def test_dumps_and_loads__any_plain_value__comes_back_of_the_same_type(value: Any) -> None:
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
        {"$tuple": [1]},
        {0: 1.0, "0": 2.0, None: 3, True + 1: ()},
        "\ud800",
    ],
    ids=repr,
)
def test_dumps_and_loads__typed_values__come_back_exactly(value: Any) -> None:
    assert same(there_and_back(value), value)
    assert same(there_and_back({"levels": [value, value]}), {"levels": [value, value]})


def test_dumps_and_loads__levels_that_compare_equal__stay_apart_by_type() -> None:
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
        (np.void(b"x"), "void"),
        (np.datetime64("2020-02-29"), "datetime64"),
        (pd.Timestamp("2020"), "Timestamp"),
        (pd.NA, "NAType"),
        (pd.Interval(0, 1), "Interval"),
        (pd.Series([1]), "Series"),
        (len, "builtin_function_or_method"),
    ],
)
def test_dumps__what_would_not_come_back__is_refused_with_its_place(value: Any, named: str) -> None:
    with pytest.raises(ValueError, match=rf"\['a'\]\[1\]: expected None, bool, int.*{named}"):
        dumps({"a": [0, value]})


@pytest.mark.parametrize(
    "text",
    [
        "{", "", '{"$": "os.system"}', '{"$run": []}', '{"$tuple": 3}', '{"$tuple": [], "more": 1}', '{"$dict": 1}',
        '{"$dict": [[1, 2, 3]]}', '{"$numpy": 1}', '{"$numpy": ["object", 1]}', '{"$numpy": ["datetime64[ns]", 1]}',
        '{"$numpy": [["int8"], 1]}', '{"$numpy": ["int8", "x"]}',
    ],
)  # fmt: skip
def test_loads__what_dumps_does_not_write__is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"tagged|Expecting|dictionary update|invalid literal"):
        loads(text)
