"""What kind a column is, where that is safe to say, and what is said where it is not."""

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi.data.dates import days, ways_of_writing
from lupi.data.kinds import LIBRARY, Doubt, kind_of, sentences, stray_text
from lupi.data.privileged_data import PrivilegedData

KINDS: dict[str, tuple[Any, str]] = {
    "floats": ([1.5, 2.5] * 5, "number"),
    "floats and None": (pd.Series([1.5, 2.5, None] * 5, dtype=object), "number"),
    "decimals": (pd.Series([decimal.Decimal(1), decimal.Decimal(2), None] * 5, dtype=object), "number"),
    "nullable": (pd.Series([1, 2, pd.NA] * 5, dtype="Int64"), "number"),
    "nothing": (pd.Series([None] * 10, dtype=object), "number"),
    "booleans": ([True, False] * 5, "boolean"),
    "booleans and None": (pd.Series([True, False, None, True] * 5, dtype=object), "boolean"),
    "nullable booleans": (pd.Series([True, False, pd.NA] * 5, dtype="boolean"), "boolean"),
    "category": (pd.Categorical(["?", "1", "2"] * 5), "category"),
    "texts": (["red", "green"] * 5, "category"),
    "codes": (["01", "02"] * 5, "category"),
    "texts and a few numbers": (["none", "few", "some", "7"] * 5, "category"),
    "stray text": (["1", "2", "?"] * 5, "stray text"),
    "stray text among numbers": (pd.Series([1.5, 2, "?"] * 5, dtype=object), "stray text"),
    "many strays, different numbers": (["?"] * 20 + ["1.5", "2.5", "3.5"], "stray text"),
    "decimal comma": (["1,5", "2", "3,25"] * 5, "decimal comma"),
    "numbers as text": (["1.5", "2"] * 5, "numbers as text"),
    "dates as text": (["2020-01-01", "2020-01-31", "Unknown"] * 5, "dates"),
    "timestamps": (pd.date_range("2020", periods=10), "dates"),
    "dates": (pd.Series([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2), None] * 5, dtype=object), "dates"),
    "durations": (pd.to_timedelta(range(10), unit="D"), "dates"),
    "names": ([f"n{i}" for i in range(10)], "many texts"),
    "lists": (pd.Series([[1], [2]] * 5, dtype=object), "other values"),
    "text and booleans": (pd.Series(["a", True] * 5, dtype=object), "other values"),
    "complex": ([1j, 2j] * 5, "other values"),
    "periods": (pd.period_range("2020", periods=10, freq="D"), "dates"),
}


@pytest.mark.parametrize("case", KINDS)
def test_kind_of__column__is_named_or_doubted(case: str) -> None:
    values, expected = KINDS[case]
    kind = kind_of(pd.Series(values, name="a"))
    assert (kind.problem if isinstance(kind, Doubt) else kind) == expected


@pytest.mark.parametrize("case", [case for case, (_, kind) in KINDS.items() if kind not in ("number", "boolean")])
def test_from_frame__doubtful_column__is_refused_in_one_line_and_a_category_when_declared(case: str) -> None:
    values, kind = KINDS[case]
    table = pd.DataFrame({"a": values, "b": np.arange(float(len(values))), "y": np.arange(len(values)) % 2})
    if kind != "category":
        with pytest.raises(ValueError, match=r"^t: columns? .*'a'") as error:
            PrivilegedData.from_frame(table, "y", name="t")
        assert "\n" not in str(error.value)
    declared = PrivilegedData.from_frame(table, "y", name="t", categorical=["a"])
    assert isinstance(declared.X["a"].dtype, pd.CategoricalDtype)


NUMBERS = [case for case, (_, kind) in KINDS.items() if kind in ("number", "boolean") and case != "nothing"]


@pytest.mark.parametrize("case", NUMBERS)
def test_from_frame__numbers_of_any_dtype__are_floats(case: str) -> None:
    values = pd.Series(KINDS[case][0])
    table = pd.DataFrame({"a": values, "b": np.arange(float(len(values))), "y": np.arange(len(values)) % 2})
    data = PrivilegedData.from_frame(table, "y", name="t")
    assert data.X["a"].dtype == np.float64
    np.testing.assert_array_equal(data.X["a"], [np.nan if pd.isna(cell) else float(cell) for cell in values])


def test_from_frame__several_doubts__are_told_at_once() -> None:
    n = 30
    table = pd.DataFrame(
        {
            "a": ["?", *map(str, range(n - 1))],
            "b": [f"n{i}" for i in range(n)],
            "c": [f"m{i}" for i in range(n)],
            "d": pd.date_range("2020", periods=n),
            "y": np.arange(n) % 2,
        }
    )
    with pytest.raises(ValueError, match=r"column 'a'.*Columns must be.*categorical=\['b', 'c'\].*Column 'd'.*dates"):
        PrivilegedData.from_frame(table, "y", name="t")


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=30),
    st.text("?!-xyz ", min_size=1, max_size=3),
    st.data(),
)
def test_kind_of__any_stray_text_among_numbers__is_found_in_its_row(
    numbers: list[float], stray: str, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, len(numbers) - 1))
    texts = [str(number) for number in numbers]
    texts[row] = stray
    doubt = stray_text(pd.Series(texts, name="a"))
    assert doubt == Doubt("a", "stray text", (stray,), row, 1)
    assert f"found {stray!r} in row {row} (counted from 0)" in sentences([doubt], LIBRARY)


def test_stray_text__classes_of_text__are_none() -> None:
    assert stray_text(pd.Series(["<=50K", ">50K"] * 5)) is None
    assert stray_text(pd.Series([f"n{i}" for i in range(10)])) is None


# ---------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("texts", "ways"),
    [
        (["2020-01-31", "2020-2-1"], ["year-month-day"]),
        (["3/19/2019", "Unknown", None], ["month/day/year"]),
        (["19/3/2019"], ["day/month/year"]),
        (["1/2/2019", "2/1/2019"], ["month/day/year", "day/month/year"]),
        (["1/13/2019", "13/1/2019"], []),
        (["Unknown"], []),
        (["2020-01-31", "?"], []),
        (["January 1"], []),
    ],
)
def test_ways_of_writing__dates__are_those_in_which_every_one_can_be_read(texts: list[Any], ways: list[str]) -> None:
    assert ways_of_writing(pd.Series(texts, dtype=object)) == ways


def test_days__count_from_the_first_and_refuse_another_text() -> None:
    read, first = days(pd.Series(["3/19/2019", "Unknown", None, "2/28/2019"], name="when"), "month/day/year")
    assert first == pd.Timestamp("2019-02-28")
    np.testing.assert_array_equal(read, [19.0, np.nan, np.nan, 0.0])
    with pytest.raises(ValueError, match="when must be month/day/year or Unknown; found '2019'"):
        days(pd.Series(["3/19/2019", "2019"], name="when"), "month/day/year")
