"""Dates written as text are read as numbers of days."""

from __future__ import annotations

import pandas as pd

#: How dates can be written -> the format in the words of `strptime`; leading zeros may be left out.
FORMATS = {
    "year-month-day": "%Y-%m-%d",
    "year/month/day": "%Y/%m/%d",
    "month/day/year": "%m/%d/%Y",
    "day/month/year": "%d/%m/%Y",
    "day.month.year": "%d.%m.%Y",
}

#: The only text beside dates that is read as a missing cell.
UNKNOWN = "Unknown"


def ways_of_writing(texts: pd.Series) -> list[str]:
    """Names of the `FORMATS` in which every text [n] but `UNKNOWN` is a date; none where there is another text.

    Two names are an ambiguity: no day beyond the twelfth tells month/day/year from day/month/year.
    """
    written = pd.Series(pd.unique(texts.dropna()), dtype=object)
    written = written[written != UNKNOWN]
    if written.empty or not isinstance(written.iloc[0], str) or not written.iloc[0][:1].isdigit():
        return []
    return [name for name in FORMATS if _parsed(written, name).notna().all()]


def days(texts: pd.Series, way: str) -> tuple[pd.Series, pd.Timestamp]:
    """Days since the first date (float64, NaN where the text is missing or `UNKNOWN`), and the first date.

    way : one of `FORMATS`.

    Raises
    ------
    ValueError : for any other text.
    """
    known = texts[texts.notna() & (texts != UNKNOWN)]
    dates = _parsed(known, way)
    if dates.isna().any():
        raise ValueError(f"{texts.name} must be {way} or {UNKNOWN}; found {known[dates.isna()].iloc[0]!r}.")
    return (dates - dates.min()).dt.days.astype("float64").reindex(texts.index), dates.min()


def _parsed(texts: pd.Series, way: str) -> pd.Series:
    return pd.to_datetime(texts, format=FORMATS[way], errors="coerce")
