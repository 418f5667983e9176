"""The checks that `PrivilegedData` makes on construction: rows, names, columns and a target that can be trained on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd


class Table(Protocol):
    """What is checked: the fields of `PrivilegedData`."""

    @property
    def name(self) -> str: ...
    @property
    def X(self) -> pd.DataFrame: ...
    @property
    def Z(self) -> pd.DataFrame: ...
    @property
    def y(self) -> np.ndarray: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...


def check(data: Table) -> None:
    """Raise ValueError for anything that cannot be trained on; `PrivilegedData` calls it when it is made."""
    n, name = len(data.y), data.name
    if not len(data.X) == len(data.Z) == n:
        raise ValueError(f"{name}: X, Z and y must have equally many rows; found {len(data.X)}, {len(data.Z)} and {n}.")
    if not data.X.index.equals(data.Z.index):
        raise ValueError(f"{name}: X and Z must have the same index: row i of both is the same example.")
    _check_target(data)
    shared = [column for column in data.Z.columns if column in set(data.X.columns)]
    if shared:
        raise ValueError(f"{name}: columns must be regular or privileged, not both; found {listed(shared)} in both.")
    if data.X.shape[1] == 0:
        raise ValueError(f"{name}: at least one regular feature is needed; all columns are privileged or dropped.")
    for role, table in (("regular", data.X), ("privileged", data.Z)):
        if table.columns.has_duplicates:
            twice = list(table.columns[table.columns.duplicated()])
            raise ValueError(f"{name}: column names must differ; found twice: {listed(twice)}.")
        for column in table.columns:
            _check_column(table[column], name, role)
    _check_that_all_vary(data)
    for column in data.Z.columns:
        if _equals_target(data.Z[column], data):
            raise ValueError(
                f"{name}: the privileged column {column!r} is the target itself (under other names at most); a "
                "teacher that sees it is the labels. Choose another column."
            )


def _check_target(data: Table) -> None:
    y, name = data.y, data.name
    kind = np.float64 if data.classes is None else np.int64
    if not isinstance(y, np.ndarray) or y.ndim != 1 or y.dtype != kind:
        given = f"{y.dtype} {list(y.shape)}" if isinstance(y, np.ndarray) else type(y).__name__
        raise ValueError(f"{name}: y must be an array [n] of {kind.__name__}; found {given}.")
    if data.classes is None:
        if not np.isfinite(y).all():
            raise ValueError(f"{name}: the target must be known and finite in every row.")
        if np.ptp(y) == 0:
            raise ValueError(f"{name}: the target must vary; found {y[0]} in all {len(y)} rows.")
        return
    if not ((y >= 0) & (y < len(data.classes))).all():
        raise ValueError(
            f"{name}: y must be codes of the {len(data.classes)} classes, 0 to {len(data.classes) - 1}; found "
            f"{y.min()} to {y.max()}."
        )
    if len(np.unique(y)) < 2:
        raise ValueError(f"{name}: the target must have at least two classes in these rows; found one.")


def _check_column(column: pd.Series, name: str, role: str) -> None:
    what = f"{name}: the {role} column {column.name!r}"
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories
        if len(levels) > 100:
            raise ValueError(f"{what} has {len(levels)} categories; at most 100 are allowed. Is it an identifier?")
    elif column.dtype == np.float64:
        infinite = int((np.abs(column.to_numpy()) > 1e300).sum())
        if infinite:
            raise ValueError(
                f"{what} has {infinite} infinite values (or beyond 1e300); replace them by numbers or by missing."
            )
    else:
        raise ValueError(f"{what} must be float64 or categorical; found {column.dtype}.")


def _check_that_all_vary(data: Table) -> None:
    """Raise ValueError for columns that have no value, or one alone: all of them at once."""
    constant = {}
    for role, table in (("regular", data.X), ("privileged", data.Z)):
        for column in table.columns:
            values = table[column].dropna().unique()
            if len(values) == 0:
                constant[column] = f"the {role} column {column!r} is missing in every row"
            elif len(values) == 1:
                constant[column] = f"the {role} column {column!r} has the same value ({values[0]}) in every row"
    if len(constant) == 1:
        raise ValueError(f"{data.name}: {next(iter(constant.values()))}; drop it.")
    if constant:
        raise ValueError(f"{data.name}: {', '.join(constant.values())}; drop them: {' '.join(map(repr, constant))}.")


def _equals_target(column: pd.Series, data: Table) -> bool:
    """Whether the column is the target: the same classes under any names, or a number that orders the rows alike."""
    if column.isna().any():
        return False
    numeric = data.classes is None and column.dtype == np.float64
    codes, levels = pd.factorize(column, sort=numeric)
    targets, classes = pd.factorize(data.y, sort=numeric)
    if numeric:
        return bool((codes == targets).all() or (codes == len(levels) - 1 - targets).all())
    return len(levels) == len(classes) == len(set(zip(codes, targets, strict=True)))


def nearest(names: Sequence[str], known: Sequence[str]) -> str:
    """A question for the columns that were perhaps meant; blanks at an end are easily overlooked."""
    near = [match for name in names for match in difflib.get_close_matches(name, known, n=1)]
    return f" Did you mean {', '.join(map(repr, near))}?" if near else ""


def listed(names: Sequence[object], most: int = 12) -> str:
    """The first names in quotes, and how many more there are."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
