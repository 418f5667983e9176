"""Columns of a table as `PrivilegedData` holds them: float64 or Categorical, and a target of classes or numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from lupi.data.checks import listed
from lupi.data.kinds import LIBRARY, Doubt, floats, kind_of, sentences, stray_text


def target_of(column: pd.Series, name: str, categorical: bool) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Class codes (int64) and names of the classes, or numbers (float64) and None.

    categorical : whether numbers are classes however many there are.
    """
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(
            f"{name}: the target {column.name!r} must be known in every row; it is missing in {missing} of "
            f"{len(column)}. Remove these rows first."
        )
    doubt = None if categorical else stray_text(column)
    if doubt:
        raise ValueError(f"{name}: the target: {sentences([doubt], LIBRARY)}")
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric:
        values = column.to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: the target {column.name!r} has infinite values.")
        whole = bool((values == np.round(values)).all() and np.abs(values).max() < 2**53)
        if not categorical and not (whole and len(np.unique(values)) <= 20):
            return values, None
        if whole:
            column = column.astype(np.int64)
    codes, levels = pd.factorize(column, sort=True)
    if len(levels) < 2:
        raise ValueError(
            f"{name}: the target {column.name!r} must have at least two classes; found only {listed(list(levels))}."
        )
    if len(levels) > 100:
        raise ValueError(
            f"{name}: the target {column.name!r} is a category of {len(levels)} values; at most 100 classes can be "
            "distinguished. Is it an identifier?"
        )
    return codes.astype(np.int64), tuple(str(level) for level in levels)


def columns_of(
    frame: pd.DataFrame, names: Sequence[str], name: str, categorical: Collection[str]
) -> dict[str, pd.Series]:
    """The columns `names` of a table: numbers and booleans as float64, categories as Categorical.

    Raises
    ------
    ValueError : for columns of which nobody should guess what they are, all of them at once (see `data.kinds`).
    """
    kinds = {column: "category" if column in categorical else kind_of(frame[column]) for column in names}
    doubts = [kind for kind in kinds.values() if isinstance(kind, Doubt)]
    if doubts:
        raise ValueError(f"{name}: {sentences(doubts, LIBRARY)}")
    return {column: _values(frame[column], str(kind)) for column, kind in kinds.items()}


def _values(column: pd.Series, kind: str) -> pd.Series:
    if kind == "category":
        return pd.Series(pd.Categorical(column.map(str, na_action="ignore")), name=column.name)
    if kind == "boolean":
        column = column.astype("boolean")
    return pd.Series(floats(column), name=column.name)
