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
import pandas as pd

from lupi.data import reading
from lupi.data.checks import check, listed, nearest

TargetKind = Literal["binary", "multiclass", "numeric"]


@dataclasses.dataclass(frozen=True, eq=False)
class PrivilegedData:
    """Regular features X, privileged features Z and target y of the same n rows.

    Columns of `X` and `Z` are float64 (NaN = missing) or pandas Categorical (NaN = missing). Make one from a table by
    `from_frame`.

    Shape
    -----
    X : [n, d]; Z : [n, q], where q may be 0; y : [n].

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
        check(self)

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
                f"{self.name}: no column named {listed(unknown)} to be privileged; there are {listed(list(known))}."
                + nearest(unknown, list(known))
            )
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: privileged columns are named twice: {listed(list(names))}.")
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
        determining = []
        table = self.X.select_dtypes("number") if self.chooses_privileged else self.Z
        for column in table.columns:
            values = table[column]
            seen = values.notna().to_numpy()
            grouped = pd.Series(self.y[seen]).groupby(values[seen].to_numpy(), observed=True)
            if len(grouped) * 5 <= seen.sum() and seen.mean() > 0.5 and (grouped.nunique() == 1).all():
                determining.append(str(column))
        return determining

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

        >>> import pandas as pd
        >>> table = pd.DataFrame({
        ...     "age": [41, 58, 63, 37], "sex": ["f", "m", "m", "f"],
        ...     "biopsy": [0.2, 0.9, 0.8, 0.1], "ill": ["no", "yes", "yes", "no"],
        ... })
        >>> data = PrivilegedData.from_frame(table, "ill", name="ward", privileged=["biopsy"], categorical=["sex"])
        >>> data.X.shape, data.Z.shape
        ((4, 2), (4, 1))
        >>> data.classes, data.y.tolist()
        (('no', 'yes'), [0, 1, 1, 0])

        Shape
        -----
        frame : [n, columns] -> X : [n, d], Z : [n, q] and y : [n], of the same n rows.

        Parameters
        ----------
        frame : one row per example, one column per feature, and the target.
        target : name of the target column. Text, booleans, categories and whole numbers of at most 20 values are
            classes; other numbers are a numeric target, unless `categorical` names it.
        privileged : columns known in training only.
        categorical : columns to read as categories. Those of dtype category, and of few repeated texts, need not be
            named.
        drop : columns to leave out, such as identifiers.

        Raises
        ------
        ValueError : as above; for columns that are not there; and for columns of which nobody should guess what they
            are, all of them at once: numbers with stray texts such as "?", many different texts, dates.
        """
        columns = [str(column) for column in frame.columns]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"{name}: column names must differ; found twice: {listed(twice)}.")
        frame = frame.set_axis(columns, axis=1)
        wanted = {"target": [target], "privileged": privileged, "categorical": categorical, "dropped": drop}
        for role, named in wanted.items():
            missing = [column for column in named if column not in columns]
            if missing:
                raise ValueError(
                    f"{name}: no column named {listed(missing)} to be {role}; the table has {listed(columns)}."
                    + nearest(missing, columns)
                )
        if target in privileged:
            raise ValueError(f"{name}: the target column {target!r} cannot be privileged too.")
        if frame.empty:
            raise ValueError(f"{name}: the table has no rows.")
        y, classes = reading.target_of(frame[target], name, target in categorical)
        used = [column for column in columns if column != target and column not in set(drop)]
        left_out = [column for column in privileged if column not in used]
        if left_out:
            raise ValueError(f"{name}: {listed(left_out)} cannot be both privileged and dropped.")
        read = reading.columns_of(frame, used, name, categorical)
        index = pd.RangeIndex(len(frame))
        return cls(
            name=name,
            X=pd.DataFrame({c: read[c] for c in used if c not in privileged}, index=index),
            Z=pd.DataFrame({c: read[c] for c in privileged}, index=index),
            y=y,
            classes=classes,
            notes=tuple(notes),
        )
