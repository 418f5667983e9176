"""Tables of the user's own, as options of a command describe them: kinds and dates of columns, two tables joined."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lupi.cli.csv_file import read_csv
from lupi.data import dates
from lupi.data.kinds import Doubt, Wording, kind_of, sentences, stray_text

log = logging.getLogger("lupi")

_FLAGS = Wording(
    row=lambda place: f"row {place + 1}",
    categorical=lambda columns: f"--categorical {shlex.join(columns)}",
    drop=lambda columns: f"--drop {shlex.join(columns)}",
    missing=lambda _, texts: f"--na-values {shlex.join(texts)}",
    comma="--decimal ,",
    dates="write them year-month-day",
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, and its second one joined, whose columns are numbers and categories.

    privileged, drop : columns that are privileged, and left out: those named, and what a second table adds to them.
    texts : columns of text that nobody declared.
    notes : what was read otherwise than it is written.
    dates : columns of dates, read as days -> how they are written (`dates.FORMATS`), and the first date.
    """

    frame: pd.DataFrame
    privileged: list[str]
    drop: list[str]
    texts: list[str]
    notes: list[str]
    dates: dict[str, tuple[str, pd.Timestamp]]


def read(path: Path, flag: str, values: dict[str, Any]) -> Table:
    """The table that the options describe.

    flag : that named the file, for messages.
    values : of the options target, privileged, and `READING_OPTIONS`.

    Raises
    ------
    ValueError : for files, columns and options that do not fit, saying what to do.
    """
    key, second = values["on"], values["privileged_file"]
    if bool(key) != bool(second):
        raise ValueError("--privileged-file and --on, the column of both tables that joins them, need each other.")
    first = read_csv(path, flag, values)
    if not values["target"]:
        raise ValueError(f"{flag} needs --target: one of {', '.join(map(str, first.columns))}.")
    tables = [_Raw(str(path), first, {*values["categorical"], *values["drop"], key})]
    if second:
        others = read_csv(Path(second), "--privileged-file", values)
        unused = others.columns.difference(values["privileged"]) if values["privileged"] else ()
        tables.append(_Raw(second, others, {*tables[0].settled, *unused}))
    settled = _settled(tables, values["target"])
    frame, *further = (table.frame for table in settled)
    privileged, drop = list(values["privileged"] or []), list(values["drop"])
    if second:
        frame, theirs = _joined(frame, further[0], str(path), values)
        privileged = privileged or [column for column in theirs if column not in drop]
        drop += [column for column in (*theirs, key) if column not in (*privileged, *drop)]
    return Table(
        frame,
        privileged,
        drop,
        [column for table in settled for column in table.categories],
        [note for table in settled for note in table.notes],
        {column: how for table in settled for column, how in table.dates.items()},
    )


# ---------------------------------------------------------------------- what kind each column is


@dataclasses.dataclass(frozen=True)
class _Raw:
    """A table as its file has it; `settled` are columns about whose kind there is nothing to find out."""

    path: str
    frame: pd.DataFrame
    settled: set[str]


@dataclasses.dataclass(frozen=True)
class _Settled:
    """A table whose columns are numbers and categories.

    categories : columns of text that nobody declared.
    notes : what was read otherwise than it is written.
    dates : as in `Table`.
    """

    frame: pd.DataFrame
    categories: list[str]
    notes: list[str]
    dates: dict[str, tuple[str, pd.Timestamp]]


def _settled(tables: Sequence[_Raw], target: str) -> list[_Settled]:
    """The tables with dates read as days; ValueError names every column whose kind nobody should guess."""
    settled, complaints = [], []
    for table in tables:
        kinds = {
            column: stray_text(table.frame[column]) if column == target else kind_of(table.frame[column])
            for column in map(str, table.frame.columns)
            if column not in table.settled
        }
        ways = {column: _way_of_dates(table.frame[column], kind) for column, kind in kinds.items()}
        dated = {column: (way, *dates.days(table.frame[column], way)) for column, way in ways.items() if way}
        doubts = [kind for column, kind in kinds.items() if isinstance(kind, Doubt) and column not in dated]
        if doubts:
            complaints.append(f"{table.path}: {sentences(doubts, _FLAGS)}")
        frame = table.frame.assign(**{column: days for column, (_, days, _) in dated.items()})
        texts = [column for column, kind in kinds.items() if kind == "category"]
        notes = [_note(table, column, way, first) for column, (way, _, first) in dated.items()]
        settled.append(
            _Settled(frame, texts, notes, {column: (way, first) for column, (way, _, first) in dated.items()})
        )
    if complaints:
        raise ValueError(" ".join(complaints))
    return settled


def _way_of_dates(column: pd.Series, kind: object) -> str | None:
    """How the dates of a column are written, where there is one way alone to read them."""
    if not (isinstance(kind, Doubt) and kind.problem == "dates"):
        return None
    ways = dates.ways_of_writing(column)
    return ways[0] if len(ways) == 1 else None


def _note(table: _Raw, column: str, way: str, first: pd.Timestamp) -> str:
    note = f"{table.path}: {column} holds dates ({way}), read as days since {first.date()}"
    unknown = int((table.frame[column] == dates.UNKNOWN).sum())
    return note + (f"; its {unknown} cells {dates.UNKNOWN!r} are missing." if unknown else ".")


# ---------------------------------------------------------------------- two tables


def _joined(
    frame: pd.DataFrame, second: pd.DataFrame, first_path: str, values: dict[str, Any]
) -> tuple[pd.DataFrame, list[str]]:
    """The table with the columns of --privileged-file beside its own, and the names of those columns."""
    path, key = values["privileged_file"], values["on"]
    for table, where in ((frame, first_path), (second, path)):
        _check_key(table, key, where)
    shared = [str(column) for column in second.columns if column != key and column in frame.columns]
    second = second.drop(columns=[column for column in shared if column in values["drop"]])
    shared = [column for column in shared if column not in values["drop"]]
    if shared:
        raise ValueError(
            f"--privileged-file: both tables have {', '.join(shared)}; rename in one, or --drop from both."
        )
    partners = int(second[key].isin(frame[key]).sum())
    if partners == 0:
        raise ValueError(
            f"--on: no value of {key!r} is in both tables, which are compared as text; {values['csv']} has "
            f"{frame[key].iloc[0]!r}, {path} has {second[key].iloc[0]!r}."
        )
    if partners < len(second):
        log.warning("%s: %d of %d rows have no partner and are not used", path, len(second) - partners, len(second))
    if partners < len(frame):
        log.warning(
            "%s: %d of %d rows have no partner; their privileged cells are missing",
            first_path, len(frame) - partners, len(frame),
        )  # fmt: skip
    others = [str(column) for column in second.columns if column != key]
    return frame.merge(second, on=key, how="left", validate="one_to_one"), others


def _check_key(table: pd.DataFrame, key: str, path: str) -> None:
    if key not in table.columns:
        names = ", ".join(map(str, table.columns))
        raise ValueError(f"--on: {key!r} must be a column of both tables; {path} has {names}.")
    empty, repeats = int(table[key].isna().sum()), int(table[key].dropna().duplicated().sum())
    if empty or repeats:
        what = f"repeats it in {repeats} rows" if repeats else f"leaves it empty in {empty} rows"
        raise ValueError(f"--on: {key!r} must name every row once; {path} {what}.")
