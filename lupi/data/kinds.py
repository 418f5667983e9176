"""The rule that decides what a column is: numbers, a category, or something that the user must name.

The readers of tables (`PrivilegedData.from_frame`, `--csv` of the commands) and the estimators share this rule, so that
a mistyped number becomes a category nowhere. Each says in its own words (`Wording`) how to mend what it finds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.data import dates

Kind = Literal["number", "boolean", "category"]
Problem = Literal["stray text", "decimal comma", "numbers as text", "dates", "many texts", "other values"]

#: The most different texts that make a category without being declared; each must stand twice on average.
FEW_TEXTS = 20

_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "empty")
_DATES = ("datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period")
_MOST_SHOWN = 5
_MOST_LISTED = 12


def floats(column: pd.Series) -> npt.NDArray[np.float64]:
    """Values [n] of a column of numbers: NaN where missing, infinite where a whole number is too large for a float.

    Raises
    ------
    ValueError, TypeError : for cells that are no numbers.
    """
    try:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except OverflowError:
        return np.array([_float(cell) for cell in column])


def _float(cell: Any) -> float:
    try:
        return np.nan if pd.isna(cell) else float(cell)
    except OverflowError:
        return np.inf


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A column whose kind must be said by the user.

    problem : "stray text": numbers, and cells that are none; "decimal comma": numbers with a comma; "numbers as text";
        "dates"; "many texts": more than `FEW_TEXTS`, or too seldom repeated; "other values".
    cells : different contents that make the doubt, at most five.
    row : the place, from 0, of the first of them.
    count : how many cells make the doubt (many texts: how many different texts).
    """

    column: str
    problem: Problem
    cells: tuple[str, ...]
    row: int
    count: int


@dataclasses.dataclass(frozen=True)
class Wording:
    """How a reader of tables says what the user can do.

    row : names a row by its place, counted from 0.
    categorical, drop : declare columns categories, leave columns out.
    missing : read these texts of these columns as missing cells.
    comma : read decimal commas.
    dates : read a column of dates.
    """

    row: Callable[[int], str]
    categorical: Callable[[Sequence[str]], str]
    drop: Callable[[Sequence[str]], str]
    missing: Callable[[Sequence[str], Sequence[str]], str]
    comma: str
    dates: str


#: For functions that take `categorical` and `drop`.
LIBRARY = Wording(
    row=lambda place: f"row {place} (counted from 0)",
    categorical=lambda columns: f"categorical={list(columns)}",
    drop=lambda columns: f"drop={list(columns)}",
    missing=lambda _, __: "pd.to_numeric(column, errors='coerce')",
    comma="column.str.replace(',', '.').astype(float)",
    dates="make them numbers of days, as (dates - dates.min()).dt.days",
)


def kind_of(column: pd.Series, few: int | None = FEW_TEXTS) -> Kind | Doubt:
    """What the column [n] is, where that is safe to say; else why it is not.

    few : the most different texts of a category; None: any number of them.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "boolean"
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        return "number"
    content = pd.api.types.infer_dtype(column, skipna=True)
    if content == "boolean":
        return "boolean"
    if content in _NUMBERS:
        return "number"
    if content in _DATES:
        return _doubt(column, "dates", column.notna())
    if content == "string" or (content in ("mixed", "mixed-integer") and _texts_and_numbers(column)):
        return _kind_of_texts(column, few, mixed=content != "string")
    return _doubt(column, "other values", column.notna())


def stray_text(column: pd.Series) -> Doubt | None:
    """The doubt about a column of numbers in which some cells are none; for targets, whose texts are classes."""
    kind = kind_of(column, few=None)
    return kind if isinstance(kind, Doubt) and kind.problem in ("stray text", "decimal comma") else None


def _texts_and_numbers(column: pd.Series) -> bool:
    return all(isinstance(cell, str | int | float) and not isinstance(cell, bool) for cell in column.dropna())


def _kind_of_texts(column: pd.Series, few: int | None, mixed: bool) -> Kind | Doubt:
    known = column.notna()
    texts = pd.Series(pd.unique(column[known]), dtype=object)
    numeric = pd.to_numeric(texts, errors="coerce").notna()
    are_numbers = column.isin(texts[numeric])
    with_commas = texts.astype(str).str.fullmatch(r"\s*[+-]?\d+,\d+\s*")
    if (numeric | with_commas).all() and with_commas.any():
        return _doubt(column, "decimal comma", known & ~are_numbers)
    if numeric.all() and not texts.astype(str).str.fullmatch(r"\s*\d+\s*").all():
        return _doubt(column, "numbers as text", known)
    if not numeric.all() and max(numeric.mean(), are_numbers[known].mean()) >= 0.5:
        return _doubt(column, "stray text", known & ~are_numbers)
    if mixed:
        return _doubt(column, "other values", known & are_numbers)
    if dates.ways_of_writing(column):
        return _doubt(column, "dates", known)
    if few is not None and (len(texts) > few or known.sum() < 2 * len(texts)):
        return dataclasses.replace(_doubt(column, "many texts", known), count=len(texts))
    return "category"


def _doubt(column: pd.Series, problem: Problem, cells: pd.Series) -> Doubt:
    """The doubt that the cells where `cells` [n] holds give rise to."""
    different = pd.unique(column[cells].map(str))[:_MOST_SHOWN]
    row = int(cells.to_numpy(dtype=bool).argmax())
    return Doubt(str(column.name), problem, tuple(different), row, int(cells.sum()))


# ---------------------------------------------------------------------- what to do


def sentences(doubts: Sequence[Doubt], words: Wording) -> str:
    """All doubts and how to mend them, in one line; columns of one problem together, so that one flag mends them."""
    parts = []
    for problem in dict.fromkeys(doubt.problem for doubt in doubts):
        alike = [doubt for doubt in doubts if doubt.problem == problem]
        parts.append(f"{_what_is_wrong(alike, words)} {_mend(problem, alike, words)}")
    return " ".join([parts[0], *(part[0].upper() + part[1:] for part in parts[1:])])


def _what_is_wrong(alike: Sequence[Doubt], words: Wording) -> str:
    if alike[0].problem == "many texts":
        counts = [f"{doubt.column!r} ({doubt.count} different, such as {doubt.cells[0]!r})" for doubt in alike]
        return f"columns must be numeric, or text of few repeated levels; found {_and_more(counts)}."
    wanted = {
        "numbers as text": "must hold numbers that are no text",
        "other values": "must hold numbers, text, booleans or categories, and one of these alone",
    }.get(alike[0].problem, "must be numeric")
    first, *others = [f"{doubt.cells[0]!r} in {words.row(doubt.row)}{_beside(doubt)}" for doubt in alike]
    also = [f"{doubt.column!r} ({cell})" for doubt, cell in zip(alike[1:], others, strict=True)]
    return f"column {alike[0].column!r} {wanted}; found {first}" + (f", and so in {_and_more(also)}." if also else ".")


def _beside(doubt: Doubt) -> str:
    """Other stray texts of the column."""
    if doubt.problem != "stray text" or doubt.count == 1:
        return ""
    others = f", as {', '.join(map(repr, doubt.cells[1:]))}" if len(doubt.cells) > 1 else ""
    return f" and no number in {doubt.count - 1} more{others}"


def _mend(problem: Problem, alike: Sequence[Doubt], words: Wording) -> str:
    columns = [doubt.column for doubt in alike]
    texts = list(dict.fromkeys(cell for doubt in alike for cell in doubt.cells))
    categories = f"If categories: {words.categorical(columns)}."
    leave_out = f"or leave out what is not needed: {words.drop(columns)}."
    return {
        "stray text": f"If such cells are missing: {words.missing(columns, texts)}. {categories}",
        "decimal comma": f"If these are decimal commas: {words.comma}. {categories}",
        "numbers as text": f"Convert it with .astype(float). {categories}",
        "dates": f"These are dates: {words.dates}; {leave_out}",
        "many texts": f"{categories} If identifiers, leave them out: {words.drop(columns)}.",
        "other values": f"Convert it, {leave_out} {categories}",
    }[problem]


def _and_more(items: Sequence[str]) -> str:
    rest = len(items) - _MOST_LISTED
    return ", ".join(items[:_MOST_LISTED]) + (f" and {rest} more columns" if rest > 0 else "")
