"""`predict` and `show`: what a saved student says of new rows, and of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.cli import card
from lupi.cli.csv_file import read_csv
from lupi.cli.errors import check_out
from lupi.data import dates
from lupi.data.checks import listed, nearest
from lupi.estimators import file_format
from lupi.files import write_atomically

Student = PrivilegedClassifier | PrivilegedRegressor

_TABLE = "the table"
_KINDS: dict[str, type[Student]] = {kind.__name__: kind for kind in (PrivilegedClassifier, PrivilegedRegressor)}


def show(values: Mapping[str, Any]) -> str:
    """The model card of a saved student."""
    path = _path_of(values, "show")
    return card.render(load(path), path.name)


def predict(values: Mapping[str, Any]) -> str:
    """Predictions of the rows of a table as CSV, in their order; with --out written there, and "" is returned.

    Columns: those of --keep; `prediction`, and of classes `probability of <class>` for each; with --privileged
    `predicted <column>` for each privileged column.

    Raises
    ------
    ValueError : for a table that lacks a column that the student reads, or has text where it reads numbers.
    """
    path = _path_of(values, "predict")
    if not values["table"]:
        raise ValueError(f"predict needs a table: python -m lupi predict {path.name} new.csv.")
    table_path, out = Path(values["table"]), Path(values["out"]) if values["out"] else None
    if out:
        check_out(out, [path, table_path])
    student = load(path)
    columns = _read_by(student, path)
    reading = _reading(student, values)
    frame = read_csv(table_path, _TABLE, reading, [column["name"] for column in columns if column["text"]])
    X = _features(frame, columns, table_path, path, student)
    predicted = pd.concat([_kept(table_path, frame, reading, values["keep"]), _predictions(student, X)], axis=1)
    if values["privileged"]:
        predicted = pd.concat([predicted, _privileged(student, X, path)], axis=1)
    twice = predicted.columns[predicted.columns.duplicated()]
    if len(twice):
        raise ValueError(f"--keep: the predictions have a column {twice[0]!r} too. Rename it in {table_path}.")
    text: str = predicted.to_csv(index=False, lineterminator="\n")
    if out is None:
        return text
    write_atomically(out, text)
    return ""


def load(path: Path) -> Student:
    """The estimator that a file holds; ValueError for any other file."""
    kind = file_format.kind_of(path)
    if kind not in _KINDS:
        raise ValueError(f"{path}: expected a student ({' or '.join(_KINDS)}); found a {kind}. Load it in Python.")
    return _KINDS[kind].load(path)


def _path_of(values: Mapping[str, Any], command: str) -> Path:
    if not values["student"]:
        raise ValueError(f"{command} needs a student that fit has saved: python -m lupi {command} student.lupi.")
    return Path(values["student"])


# ---------------------------------------------------------------------- the table


def _read_by(student: Student, path: Path) -> list[dict[str, Any]]:
    """The columns that the student reads, in their order: name, and how their cells are written."""
    if not hasattr(student, "feature_names_in_"):
        raise ValueError(
            f"{path}: expected a student that was fitted on columns with names; found one without. Fit it on a "
            "DataFrame, or with python -m lupi fit."
        )
    facts = {column["name"]: column for column in getattr(student, "card_", {"columns": []})["columns"]}
    numbers = {feature["name"] for feature in student._student["features"] if feature["levels"] is None}
    needed = {feature["name"] for feature in student._student["features"]}
    return [
        {
            "name": name, "number": name in numbers, "text": facts.get(name, {}).get("text", False),
            "date": facts.get(name, {}).get("date"), "needed": name in needed,
        }
        for name in student.feature_names_in_
        if student.privileged_columns is None or name not in student.privileged_names_in_
    ]  # fmt: skip


def _reading(student: Student, values: Mapping[str, Any]) -> dict[str, Any]:
    """How the table is read: as in fit, but for what the options say."""
    usual = getattr(student, "card_", {"reading": {"sep": None, "decimal": None, "na_values": []}})["reading"]
    asked = {name: values[name] for name in usual if values[name] is not None}
    return {"on": None, "drop": [], **usual, **asked}


def _features(
    frame: pd.DataFrame, columns: Sequence[Mapping[str, Any]], table: Path, student_path: Path, student: Student
) -> pd.DataFrame:
    """The columns that the student reads, as it reads them; those that tell it nothing may be absent."""
    absent = [column["name"] for column in columns if column["needed"] and column["name"] not in frame.columns]
    if absent:
        raise ValueError(
            f"{table} must have the columns that {student_path} reads; it lacks {listed(absent)}, and has "
            f"{listed(list(frame.columns))}." + nearest(absent, list(map(str, frame.columns)))
        )
    if frame.empty:
        raise ValueError(f"{table} must have rows to predict; found none below its header.")
    values, wrong = {}, []
    for column in columns:
        name = column["name"]
        cells = frame[name] if name in frame.columns else pd.Series(np.nan, index=frame.index)
        if column["date"]:
            way, first = column["date"]
            cells = _days(cells, way, first, table)
        elif column["number"]:
            problem = _no_number(cells)
            wrong += [problem] if problem else []
        values[name] = cells
    if wrong:
        raise ValueError(
            f"{table}: "
            + "; ".join(wrong[:12])
            + ". Columns of numbers must hold numbers here as in fit. If such cells "
            "are missing: --na-values TEXT; if these are decimal commas: --decimal ,"
        )
    return pd.DataFrame(values)


def _no_number(cells: pd.Series) -> str | None:
    """Where a column of numbers has another cell."""
    if pd.api.types.is_numeric_dtype(cells):
        return None
    strange = cells.notna() & pd.to_numeric(cells, errors="coerce").isna()
    if not strange.any():
        return None
    row = int(strange.to_numpy(dtype=bool).argmax())
    more = int(strange.sum()) - 1
    also = f" and in {more} more rows" if more else ""
    return f"column {cells.name!r} has {str(cells.iloc[row])!r} in row {row + 1}{also}"


def _days(cells: pd.Series, way: str, first: str, table: Path) -> pd.Series:
    """A column of dates as days since the first date of fit."""
    try:
        since, own_first = dates.days(cells.astype(object), way)
    except ValueError as error:
        raise ValueError(f"{table}: column {error} Write its dates as in fit.") from None
    return since if pd.isna(own_first) else since + float((own_first - pd.Timestamp(first)).days)


def _kept(path: Path, frame: pd.DataFrame, reading: Mapping[str, Any], keep: Sequence[str]) -> pd.DataFrame:
    """The columns to copy, cell by cell as they are written."""
    absent = [name for name in keep if name not in frame.columns]
    if absent:
        raise ValueError(
            f"--keep: {path} has no column {listed(absent)}; it has {listed(list(frame.columns))}."
            + nearest(absent, list(map(str, frame.columns)))
        )
    if not keep:
        return pd.DataFrame(index=frame.index)
    raw = read_csv(path, _TABLE, {**reading, "na_values": []}, list(keep), as_written=True)
    return raw[list(dict.fromkeys(keep))]


# ---------------------------------------------------------------------- predictions


def _predictions(student: Student, X: pd.DataFrame) -> pd.DataFrame:
    if isinstance(student, PrivilegedRegressor):
        return pd.DataFrame({"prediction": student.predict(X)}, index=X.index)
    probabilities = student.predict_proba(X)
    labels = student.classes_[probabilities.argmax(1)]
    named = {f"probability of {label}": probabilities[:, k] for k, label in enumerate(student.classes_)}
    return pd.DataFrame({"prediction": labels, **named}, index=X.index)


def _privileged(student: Student, X: pd.DataFrame, path: Path) -> pd.DataFrame:
    try:
        predicted = student.predict_privileged(X)
    except ValueError:
        raise ValueError(
            f"--privileged needs a student that predicts the privileged columns; {path} holds {student.method_}, which "
            "does not. Fit one with --method MT or KT-PFD."
        ) from None
    return predicted.add_prefix("predicted ")
