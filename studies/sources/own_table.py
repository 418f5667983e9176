"""A table of the user's own: --csv, --target, --privileged-file and what goes with them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lupi.data.privileged_data import PrivilegedData
from studies.options import file_name

log = logging.getLogger("lupi")


def load(values: dict[str, Any]) -> PrivilegedData:
    """The data set that --csv and the options beside it describe; ValueError says what is wrong with them."""
    path, key, second = Path(values["csv"]), values["on"], values["privileged_file"]
    if bool(key) != bool(second):
        raise ValueError("--privileged-file and --on, the column of both tables that joins them, need each other.")
    frame = _read_table(path, "--csv", key, values["drop"])
    if not values["target"]:
        raise ValueError(f"--csv needs --target: one of {', '.join(map(str, frame.columns))}.")
    privileged, drop = list(values["privileged"] or []), list(values["drop"])
    if second:
        frame, others = _joined(frame, values)
        privileged = privileged or [column for column in others if column not in drop]
        drop += [column for column in (*others, key) if column not in (*privileged, *drop)]
    return PrivilegedData.from_frame(
        frame,
        values["target"],
        name=file_name(path.stem),
        privileged=privileged,
        categorical=values["categorical"],
        drop=drop,
    )


def _joined(frame: pd.DataFrame, values: dict[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """The table with the columns of --privileged-file beside its own, and the names of those columns."""
    path, key = values["privileged_file"], values["on"]
    second = _read_table(Path(path), "--privileged-file", key, values["drop"])
    for table, where in ((frame, values["csv"]), (second, path)):
        if key not in table.columns:
            names = ", ".join(map(str, table.columns))
            raise ValueError(f"--on: {key!r} must be a column of both tables; {where} has {names}.")
        empty, repeats = int(table[key].isna().sum()), int(table[key].dropna().duplicated().sum())
        if empty or repeats:
            what = f"repeats it in {repeats} rows" if repeats else f"leaves it empty in {empty} rows"
            raise ValueError(f"--on: {key!r} must name every row once; {where} {what}.")
    shared = [str(column) for column in second.columns if column != key and column in frame.columns]
    second = second.drop(columns=[column for column in shared if column in values["drop"]])
    shared = [column for column in shared if column not in values["drop"]]
    if shared:
        raise ValueError(
            f"--privileged-file: both tables have {', '.join(shared)}; rename in one, or --drop from both."
        )
    others = [str(column) for column in second.columns if column != key]
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
            values["csv"], len(frame) - partners, len(frame),
        )  # fmt: skip
    return frame.merge(second, on=key, how="left", validate="one_to_one"), others


def _read_table(path: Path, flag: str, key: str | None, drop: Sequence[str]) -> pd.DataFrame:
    """A CSV file as it is, with `key` as text. pandas alone would rename, shift and number columns without a word."""
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].to_list()
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, dtype={key: str} if key else None, index_col=False)
    except FileNotFoundError:
        raise ValueError(f"{flag}: there is no file {path}.") from None
    except OSError as error:
        raise ValueError(f"{flag}: {path} cannot be read: {error.strerror}.") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{flag}: rows of {path} have more cells than its header, which has {len(header)}.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{flag}: {path} cannot be read as CSV: {str(error).strip()}.") from None
    if len(header) == 1:
        raise ValueError(f"{flag}: {path} must have columns separated by commas; found only {header[0]!r}.")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ValueError(f"{flag}: the columns of {path} must differ; found twice: {', '.join(twice)}.")
    unnamed = [name for name, given in zip(frame.columns, header, strict=True) if not given and name not in drop]
    if unnamed:
        raise ValueError(
            f"{flag}: every column of {path} needs a name; found none for {', '.join(map(repr, unnamed))} (as it is "
            "called for want of one). Row numbers, as pandas writes them? Name it, or --drop it."
        )
    return frame
