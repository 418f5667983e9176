"""A data set with regular features, privileged features and a target.

`PrivilegedData` is the one container that everything in this library takes: two tables and a target over the same
rows, checked once, when it is made. `encode` turns it into the arrays that the engine trains on.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
TargetKind = Literal["binary", "multiclass", "numeric"]


@dataclasses.dataclass(frozen=True, eq=False)
class PrivilegedData:
    """Regular features X, privileged features Z and target y of the same n rows.

    Columns of `X` and `Z` are float64 (NaN = missing) or pandas Categorical (NaN = missing).

    Parameters
    ----------
    name : short identifier, used in tables and file names.
    X : DataFrame [n, d], regular features: known in training and at deployment.
    Z : DataFrame [n, q] with the index of `X`, privileged features: known in training only. With no column, one numeric
        column of `X` is chosen within every training fold: the one of largest |Spearman correlation| with the target.
    y : array [n], class codes 0..K-1 (int64) where `classes` is given, else numbers (float64).
    classes : names of the classes in the order of their codes, or None for a numeric target.
    notes : remarks that belong beside every figure made from these rows (for example that they are simulated).

    Raises
    ------
    ValueError : for anything that cannot be trained on: unequal lengths, duplicate columns, infinite values, columns
        that are constant or wholly missing, one class only, a missing target, a privileged column equal to the target.
    """

    name: str
    X: pd.DataFrame
    Z: pd.DataFrame
    y: np.ndarray
    classes: tuple[str, ...] | None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    @property
    def target_kind(self) -> TargetKind:
        if self.classes is None:
            return "numeric"
        return "binary" if len(self.classes) == 2 else "multiclass"

    @property
    def chooses_privileged(self) -> bool:
        """Whether the privileged column is chosen within every training fold."""
        return self.Z.shape[1] == 0

    def with_privileged(self, names: Sequence[str], *, others: pd.DataFrame | None = None) -> PrivilegedData:
        """The same rows with exactly the columns `names` privileged.

        Each name is looked up in `Z`, in `X` (from which it is then taken out) and in `others` (columns known in
        training only that are not in use). Columns of `Z` that are not named are left out: they do not become regular.
        """
        tables = [self.Z, self.X] + ([] if others is None else [others])
        known = {column: table for table in reversed(tables) for column in table.columns}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"{self.name}: no column named {_listed(unknown)} to be privileged; there are {_listed(list(known))}."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: privileged columns are named twice: {_listed(list(names))}.")
        return dataclasses.replace(
            self,
            X=self.X.drop(columns=[name for name in names if name in self.X.columns]),
            Z=pd.DataFrame({name: known[name][name].array for name in names}, index=self.X.index),
        )

    def fingerprint(self) -> dict[str, object]:
        """Rows, columns, class counts and a digest of all values: what has to be equal for a study to be the same."""
        digest = hashlib.sha256()
        for table in (self.X, self.Z):
            digest.update("\0".join(map(str, table.columns)).encode())
            if table.shape[1]:
                digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
        digest.update(np.ascontiguousarray(self.y).tobytes())
        counts = None
        if self.classes is not None:
            counts = dict(zip(self.classes, np.bincount(self.y, minlength=len(self.classes)).tolist(), strict=True))
        return {
            "rows": len(self.y),
            "regular": [str(column) for column in self.X.columns],
            "privileged": [str(column) for column in self.Z.columns],
            "classes": counts,
            "sha256": digest.hexdigest(),
        }

    def determining_columns(self) -> list[str]:
        """Privileged columns (or those that could be chosen) whose value determines the class.

        A teacher that sees one is a copy of the labels.

        A column determines the class where all rows that share a value share their class, and it has far fewer values
        than rows (a column of unique numbers determines everything and says nothing).
        """
        if self.classes is None:
            return []
        found = []
        table = self.X.select_dtypes("number") if self.chooses_privileged else self.Z
        for column in table.columns:
            values = table[column]
            seen = values.notna().to_numpy()
            grouped = pd.Series(self.y[seen]).groupby(values[seen].to_numpy(), observed=True)
            if len(grouped) * 5 <= seen.sum() and seen.mean() > 0.5 and (grouped.nunique() == 1).all():
                found.append(str(column))
        return found

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        target: str,
        *,
        name: str,
        privileged: Sequence[str] = (),
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> PrivilegedData:
        """Make a data set from one table.

        Parameters
        ----------
        frame : one row per example, one column per feature, and the target.
        target : name of the target column. Text, booleans, categories and whole numbers of at most 20 values are
            classes; other numbers are a numeric target, unless `categorical` names it.
        privileged : columns known in training only.
        categorical : columns to read as categories. Text columns must be named here (or be of dtype category), so
            that a mistyped number never becomes a category unnoticed.
        drop : columns to leave out, such as identifiers.
        """
        columns = [str(column) for column in frame.columns]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"{name}: column names must differ; found twice: {_listed(twice)}.")
        frame = frame.set_axis(columns, axis=1)
        wanted = {"target": [target], "privileged": privileged, "categorical": categorical, "dropped": drop}
        for role, named in wanted.items():
            missing = [column for column in named if column not in columns]
            if missing:
                raise ValueError(
                    f"{name}: no column named {_listed(missing)} to be {role}; the table has {_listed(columns)}."
                )
        if target in privileged:
            raise ValueError(f"{name}: the target column {target!r} cannot be privileged too.")
        if frame.empty:
            raise ValueError(f"{name}: the table has no rows.")
        y, classes = _read_target(frame[target], name, target in categorical)
        used = [column for column in columns if column != target and column not in set(drop)]
        left_out = [column for column in privileged if column not in used]
        if left_out:
            raise ValueError(f"{name}: {_listed(left_out)} cannot be both privileged and dropped.")
        read = {c: _read_column(frame[c], name, c in categorical) for c in used}
        index = pd.RangeIndex(len(frame))
        return cls(
            name=name,
            X=pd.DataFrame({c: read[c] for c in used if c not in privileged}, index=index),
            Z=pd.DataFrame({c: read[c] for c in privileged}, index=index),
            y=y,
            classes=classes,
            notes=tuple(notes),
        )


def _listed(names: Sequence[object], most: int = 12) -> str:
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _read_target(column: pd.Series, name: str, categorical: bool) -> tuple[np.ndarray, tuple[str, ...] | None]:
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(
            f"{name}: the target {column.name!r} must be known in every row; it is missing in {missing} of "
            f"{len(column)}. Remove these rows first."
        )
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
            f"{name}: the target {column.name!r} must have at least two classes; found only {_listed(list(levels))}."
        )
    if len(levels) > 100:
        raise ValueError(
            f"{name}: the target {column.name!r} is a category of {len(levels)} values; at most 100 classes can be "
            "told apart. Is it an identifier?"
        )
    return codes.astype(np.int64), tuple(str(level) for level in levels)


def _read_column(column: pd.Series, name: str, categorical: bool) -> pd.Series:
    if categorical or isinstance(column.dtype, pd.CategoricalDtype):
        text = column.map(str, na_action="ignore")
        values: pd.Series = pd.Series(pd.Categorical(text), name=column.name)
    elif pd.api.types.is_numeric_dtype(column):
        values = pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan), name=column.name)
    else:
        example = column.dropna().iloc[0] if column.notna().any() else None
        if example is None:
            raise ValueError(f"{name}: column {column.name!r} is missing in every row; drop it.")
        raise ValueError(
            f"{name}: column {column.name!r} must be numeric; found {example!r}. Declare it categorical, or drop it."
        )
    return values


def _check(data: PrivilegedData) -> None:
    n, name = len(data.y), data.name
    if not len(data.X) == len(data.Z) == n:
        raise ValueError(f"{name}: X, Z and y must have equally many rows; found {len(data.X)}, {len(data.Z)} and {n}.")
    if not data.X.index.equals(data.Z.index):
        raise ValueError(f"{name}: X and Z must have the same index: row i of both is the same example.")
    _check_target(data)
    shared = [column for column in data.Z.columns if column in set(data.X.columns)]
    if shared:
        raise ValueError(f"{name}: columns must be regular or privileged, not both; found {_listed(shared)} in both.")
    if data.X.shape[1] == 0:
        raise ValueError(f"{name}: at least one regular feature is needed; all columns are privileged or dropped.")
    for role, table in (("regular", data.X), ("privileged", data.Z)):
        if table.columns.has_duplicates:
            twice = list(table.columns[table.columns.duplicated()])
            raise ValueError(f"{name}: column names must differ; found twice: {_listed(twice)}.")
        for column in table.columns:
            _check_column(table[column], name, role)
    for column in data.Z.columns:
        if _equals_target(data.Z[column], data):
            raise ValueError(
                f"{name}: the privileged column {column!r} is the target itself (under other names at most); a "
                "teacher that sees it is the labels. Choose another column."
            )


def _check_target(data: PrivilegedData) -> None:
    y, name = data.y, data.name
    kind = np.float64 if data.classes is None else np.int64
    if not isinstance(y, np.ndarray) or y.ndim != 1 or y.dtype != kind:
        found = f"{y.dtype} {list(y.shape)}" if isinstance(y, np.ndarray) else type(y).__name__
        raise ValueError(f"{name}: y must be an array [n] of {kind.__name__}; found {found}.")
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
    seen = column.dropna()
    if seen.empty:
        raise ValueError(f"{what} is missing in every row; drop it.")
    if seen.nunique() == 1:
        raise ValueError(f"{what} has the same value ({seen.iloc[0]}) in every row; drop it.")


def _equals_target(column: pd.Series, data: PrivilegedData) -> bool:
    """Whether the column is the target: the same classes under any names, or a number that orders the rows alike."""
    if column.isna().any():
        return False
    numeric = data.classes is None and column.dtype == np.float64
    codes, levels = pd.factorize(column, sort=numeric)
    targets, classes = pd.factorize(data.y, sort=numeric)
    if numeric:
        return bool((codes == targets).all() or (codes == len(levels) - 1 - targets).all())
    return len(levels) == len(classes) == len(set(zip(codes, targets, strict=True)))
