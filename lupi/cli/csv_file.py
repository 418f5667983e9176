"""One CSV file of the user's own, read as it is: pandas alone would rename, shift and number columns without a word."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(
    path: Path, flag: str, values: dict[str, Any], texts: Sequence[str] = (), *, as_written: bool = False
) -> pd.DataFrame:
    """The table in a file, its key column as text.

    flag : of the command that named the file, for messages.
    values : of the options sep, decimal, na_values, on and drop.
    texts : columns whose cells are text also where all of them look like numbers.
    as_written : no cell is missing: an empty one is the empty text, and NA the text NA.

    Raises
    ------
    ValueError : for a file that cannot be read, rows longer than the header, and columns without names of their own.
    """
    separator, decimal = _marks(values["sep"], values["decimal"])
    reading = {
        "sep": separator,
        "decimal": decimal,
        "na_values": values["na_values"],
        "index_col": False,
        "keep_default_na": not as_written,
    }
    as_text = dict.fromkeys([*texts, *([values["on"]] if values["on"] else [])], str) or None
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, sep=separator)
        names = header.iloc[0].to_list()
        _check_separator(path, flag, names, separator)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame: pd.DataFrame = pd.read_csv(path, dtype=as_text, low_memory=False, **reading)
    except FileNotFoundError:
        raise ValueError(f"{flag}: there is no file {path}.") from None
    except OSError as error:
        raise ValueError(f"{flag}: {path} cannot be read: {error.strerror}.") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{flag}: rows of {path} have more cells than its header, which has {len(names)}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{flag}: {path} cannot be read as CSV: {error}. Save it as CSV in UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{flag}: {path} cannot be read as CSV: {str(error).strip()}.") from None
    _check_names(path, flag, names, frame, values["drop"])
    return frame


def _marks(separator: str | None, decimal: str | None) -> tuple[str, str]:
    """What separates columns, and the decimal mark."""
    mark = {None: ",", "\\t": "\t", "tab": "\t"}.get(separator, separator) or ""
    if len(mark) != 1:
        raise ValueError(f"--sep must be one character, or tab; found {separator!r}.")
    if decimal not in (None, ".", ","):
        raise ValueError(f"--decimal must be a point or a comma; found {decimal!r}.")
    if mark == decimal:
        raise ValueError(f"--sep and --decimal must differ; found {mark!r} for both.")
    return mark, decimal or "."


def _check_separator(path: Path, flag: str, names: Sequence[str], separator: str) -> None:
    if len(names) > 1:
        return
    expected = _SEPARATORS.get(separator, repr(separator))
    inside = [other for other in _SEPARATORS if other != separator and other in names[0]]
    options = [f"{_SEPARATORS[other]}? --sep {'tab' if other == chr(9) else repr(other)}" for other in inside[:1]]
    raise ValueError(
        f"{flag}: {path} must have columns separated by {expected}; found only {names[0]!r}."
        + "".join(f" Are they separated by {option}" for option in options)
    )


def _check_names(path: Path, flag: str, names: Sequence[str], frame: pd.DataFrame, drop: Sequence[str]) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"{flag}: the columns of {path} must differ; found twice: {', '.join(twice)}.")
    unnamed = [name for name, given in zip(frame.columns, names, strict=True) if not given and name not in drop]
    if unnamed:
        raise ValueError(
            f"{flag}: every column of {path} needs a name; found none for {', '.join(map(repr, unnamed))} (as it is "
            "called for want of one). Row numbers, as pandas writes them? Name it, or --drop it."
        )
