"""Reads and checks the arguments of `fit`: regular and privileged columns, and the data that a study trains on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.data.encoding import Encoded
from lupi.data.privileged_data import PrivilegedData
from lupi.estimators import tabular
from lupi.estimators.checks import check_list
from lupi.methods.table import Method
from lupi.study.preparation import Fitting

Floats = npt.NDArray[np.float64]

_LARGE = 2**24  # cells of X from which memory counts more than the last digits


@dataclasses.dataclass(frozen=True)
class FitInput:
    """What `fit` was given, read.

    features : the columns of X and of Z that are learned from.
    methods : what is trained: the method that was asked for; where it is chosen, all that it is chosen among; without
        anything privileged to learn from, the plain network.
    counting : places of the rows that train among those given; rows : how many were given.
    """

    data: PrivilegedData
    features: tuple[list[tabular.Feature], list[tabular.Feature]]
    fitting: Fitting
    methods: tuple[Method, ...]
    counting: npt.NDArray[np.intp] = dataclasses.field(default_factory=lambda: np.zeros(0, np.intp))
    rows: int = 0


@dataclasses.dataclass(frozen=True)
class GivenColumns:
    """Where the regular and the privileged columns lie.

    names : of the columns of X.
    regular : places of the regular columns in X.
    source : the table of the privileged columns; None: there are none.
    places, privileged_names : of the privileged columns in `source`.
    within : whether the privileged columns are columns of X.
    """

    names: list[str]
    regular: list[int]
    source: pd.DataFrame | None
    places: list[int]
    privileged_names: list[str]
    within: bool = False

    def of_rows(self, rows: npt.NDArray[np.intp]) -> GivenColumns:
        """The same of some rows."""
        return self if self.source is None else dataclasses.replace(self, source=self.source.iloc[rows])


def given_columns(
    X: Any, table: pd.DataFrame, y: Any, privileged: Any, privileged_columns: Sequence[str | int] | None
) -> GivenColumns:
    """The regular and the privileged columns: those of `privileged`, or those of X that `privileged_columns` names."""
    names = tabular.names_of(table, "X")
    if privileged_columns is None:
        every = list(range(len(names)))
        if privileged is None:
            return GivenColumns(names, every, None, [], [])
        source = tabular.as_dataframe(privileged, "privileged")
        _check_same_rows(X, y, privileged, len(table), source)
        theirs = tabular.names_of(source, "privileged")
        return GivenColumns(names, every, source, list(range(len(theirs))), theirs)
    if privileged is not None:
        raise ValueError("privileged columns come from X (privileged_columns) or by privileged=..., not both.")
    check_list("privileged_columns", privileged_columns, "names or places of columns", "None, or ")
    places = tabular.places_of(privileged_columns, names, "privileged_columns")
    if not places or len(places) == len(names):
        raise ValueError(
            f"privileged_columns must leave regular columns and name a privileged one; it names {len(places)} of "
            f"{len(names)}."
        )
    regular = [i for i in range(len(names)) if i not in set(places)]
    return GivenColumns(names, regular, table, places, [names[i] for i in places], within=True)


def categorical_names(categorical: Literal["auto"] | Sequence[str | int], given: GivenColumns) -> set[str]:
    """Names of the columns, regular and privileged, that are declared to be categories."""
    if isinstance(categorical, str) and categorical == "auto":
        return set()
    check_list("categorical", categorical, "columns", "'auto', or ")
    every = [*given.names, *(name for name in given.privileged_names if name not in given.names)]
    declared = set()
    for asked in categorical:
        candidates = every if isinstance(asked, str) else given.names  # a place is one of X
        declared.add(candidates[tabular.places_of([asked], candidates, "categorical")[0]])
    return declared


def privileged_features(
    estimator: str, given: GivenColumns, categorical: set[str], n: int
) -> tuple[list[tabular.Feature], pd.DataFrame, str]:
    """What is learned of the privileged columns: features, their columns [n], and why there are none, if so."""
    nothing = pd.DataFrame(index=pd.RangeIndex(n))
    if given.source is None:
        return [], nothing, "privileged features were not given"
    if given.source.iloc[:, given.places].isna().all(axis=None):
        raise ValueError(f"{estimator}: all cells of the privileged columns are missing; leave them out.")
    own = dict(zip(given.places, given.privileged_names, strict=True))
    names = [own.get(i, "") for i in range(given.source.shape[1])]
    features, frame = tabular.fitted(given.source, names, categorical, given.places)
    return (features, frame, "") if features else ([], nothing, "no privileged column varies")


def encoded(
    data: PrivilegedData,
    features: tuple[list[tabular.Feature], list[tabular.Feature]],
    table: pd.DataFrame,
    source: pd.DataFrame | None,
    dtype: str,
) -> Encoded:
    """The data as arrays, as `data.encode` makes them of given privileged columns (here there may be none)."""
    regular, privileged = features
    light = dtype == "float32" and table.size > _LARGE  # the engine reads float32 then, without another copy
    x = tabular.encoded_rows(table, regular, "float32" if light else "float64")
    z = tabular.encoded_rows(source, privileged) if source is not None and privileged else np.empty((len(x), 0))
    origin, unit, y = 0.0, 1.0, data.y[:, None].astype(np.float64)
    if data.classes is None:
        origin, unit = float(data.y.mean()), float(data.y.std())
        y = (y - origin) / unit
    elif len(data.classes) > 2:
        y = np.eye(len(data.classes))[data.y]
    columns, z_columns = tabular.columns_of(regular), tabular.columns_of(privileged)
    return Encoded(x, columns, z[None], z_columns, (), y, y_origin=origin, y_unit=unit)


def _check_same_rows(X: Any, y: Any, privileged: Any, rows: int, source: pd.DataFrame) -> None:
    """Raise ValueError unless the privileged rows are those of X, as far as lengths and indexes tell."""
    if len(source) != rows:
        raise ValueError(
            f"privileged must have a row for every row of X; found {len(source)} rows for {rows}. (In a "
            "cross-validation: pass all rows of both, they are sliced together.)"
        )
    pandas = (pd.DataFrame, pd.Series)
    if not isinstance(privileged, pandas):
        return
    for name, other in (("X", X), ("y", y)):
        if isinstance(other, pandas) and not privileged.index.equals(other.index):
            raise ValueError(
                f"privileged must have the index of {name}: row i of both is the same example. Reorder it with "
                f"privileged.loc[{name}.index], or reset both indexes if the order is right."
            )
