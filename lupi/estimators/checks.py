"""Checks of an estimator's parameters and of the rows that it is given, made before anything is trained.

Hyper-parameters are checked by their table, `lupi.settings`, the others for their kinds.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.validation import _check_sample_weight

from lupi.settings import HYPER_PARAMETERS

Floats = npt.NDArray[np.float64]
RandomState = int | np.random.RandomState | np.random.Generator | None

_FLAGS = ("early_stopping", "refit")
_TEXTS = ("method", "preset", "balance", "device")
_LARGEST_WEIGHT = 1e150  # of a row or a class; sums and products of weights stay finite


# ---------------------------------------------------------------------- parameters


def check_parameters(parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise ValueError for the first parameter of a wrong kind, or out of its range, with what it must be.

    defaults : of the parameters; where it is None, None is the value of the preset.
    """
    for name in _TEXTS:
        _check_kind(name, parameters[name], str, "a string")
    for name in _FLAGS:
        _check_kind(name, parameters[name], (bool, np.bool_), "True or False")
    if not isinstance(parameters["dtype"], str):
        raise ValueError(f"dtype must be the text 'float32' or 'float64'; found {parameters['dtype']!r}.")
    _check_kind("verbose", parameters["verbose"], numbers.Integral, "a whole number")
    for name, row in HYPER_PARAMETERS.items():
        all_rows = name == "batch_size" and isinstance(parameters.get(name), str) and parameters[name] == "all"
        preset = parameters.get(name) is None and defaults.get(name) is None
        if name != "class_weight" and not all_rows and not preset:  # which may be weights by label
            row.check(parameters[name])


def check_list(name: str, value: Any, of: str, otherwise: str = "") -> None:
    """Raise ValueError unless `value` is a sequence, and no text, which is a sequence of letters."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        mend = f" Write {name}=[{value!r}]." if isinstance(value, str | int) else ""
        raise ValueError(f"{name} must be {otherwise}a list of {of}; found {value!r}." + mend)


def _check_kind(name: str, value: Any, kind: Any, what: str) -> None:
    boolean = isinstance(value, bool | np.bool_) and name not in (*_FLAGS, "verbose")
    if boolean or not isinstance(value, kind):
        raise ValueError(f"{name} must be {what}; found {value!r}.")


def usable_device(device: str) -> str:
    """The device by its name in PyTorch; "auto" is CUDA where there is one, else the CPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used here. Use 'auto' or 'cpu'.") from error
    return device


def seed_of(random_state: RandomState) -> int:
    """A seed; no global random state is read or moved."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> np.uint64(1))
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise ValueError(f"random_state must be None, a whole number, or a generator of NumPy; found {random_state!r}.")


# ---------------------------------------------------------------------- rows


def check_named(estimator: str, misplaced: tuple[Any, ...]) -> None:
    """Raise TypeError where `fit` was given more than X and y by position: Z could be meant, or weights."""
    if misplaced:
        raise TypeError(
            f"{estimator}.fit takes X and y by position; found {2 + len(misplaced)} arguments. Name the others: "
            "fit(X, y, privileged=Z), fit(X, y, sample_weight=w)."
        )


def known_target(estimator: str, y: Any, rows: int) -> npt.NDArray[Any]:
    """The target [n] as an array.

    Raises
    ------
    ValueError : where it is missing, as a whole or in some cells, infinite, or of another length than `rows`.
    """
    if y is None:
        raise ValueError(f"{estimator} requires y to be passed, but the target y is None: there is nothing to learn.")
    y = without_mask(y, "y")
    if isinstance(y, pd.Series | list | tuple):  # whose None and pd.NA arrays of NumPy cannot hold
        check_known(pd.Series(y, dtype=None if isinstance(y, pd.Series) else object))
    target: npt.NDArray[Any] = column_or_1d(y, warn=True)
    if target.dtype == object:
        check_known(pd.Series(target))
    assert_all_finite(target, input_name="y")
    check_consistent_length(np.empty(rows), target)
    return target


def check_known(target: pd.Series) -> None:
    """Raise ValueError, with the first such row, unless every cell is known."""
    missing = target.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Input y contains NaN: the target must be known in every row; it is missing in {missing.sum()} of "
            f"{len(target)}, the first of them row {missing.argmax()} (counted from 0). Remove these rows first."
        )


def without_mask(values: Any, name: str) -> Any:
    """Values all of which must be known, of a masked array its plain one; ValueError where cells are masked."""
    if not np.ma.isMaskedArray(values):
        return values
    masked = np.ma.getmaskarray(values)
    if masked.any():
        first = int(masked.reshape(len(masked), -1).any(1).argmax())
        raise ValueError(
            f"{name} must be known in every row; it is masked in {int(masked.sum())} of {masked.size} cells, the first "
            f"in row {first} (counted from 0). Remove these rows first."
        )
    return np.ma.getdata(values)


def check_same_index(X: Any, **others: Any) -> None:
    """Raise ValueError where a Series or DataFrame among `others` has another index than the DataFrame X."""
    for name, other in others.items():
        both = isinstance(X, pd.DataFrame) and isinstance(other, pd.Series | pd.DataFrame)
        if both and not other.index.equals(X.index):
            raise ValueError(
                f"{name} must have the index of X: row i of both is the same example; found {_few(other.index)} beside "
                f"{_few(X.index)}. Reorder it with {name}.loc[X.index], or reset both indexes if the order is right."
            )


def _few(index: pd.Index) -> str:
    return f"[{', '.join(map(str, index[:3]))}{', ...' if len(index) > 3 else ''}]"


def weights_of(sample_weight: Any, table: Any) -> Floats:
    """Weights [n] of the rows of a table: finite, not negative."""
    given = without_mask(sample_weight, "sample_weight")
    try:
        weights: Floats = _check_sample_weight(given, table, dtype=np.float64, ensure_non_negative=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"sample_weight must be finite numbers >= 0, one for each row: {error}") from error
    check_weights_small("sample_weight", weights)
    return weights


def counting_rows(weights: Floats) -> npt.NDArray[np.intp]:
    """Places of the rows whose weight is not 0; ValueError where there are none."""
    counting = np.flatnonzero(weights)
    if not len(counting):
        raise ValueError("sample_weight is 0 for all rows: nothing is left to train on.")
    return counting


def check_weights_small(name: str, weights: Floats) -> None:
    """Raise ValueError for weights whose sum a float cannot hold."""
    if weights.max(initial=0.0) > _LARGEST_WEIGHT:
        raise ValueError(
            f"{name} must be at most {_LARGEST_WEIGHT:g}; found {weights.max():g}. Only ratios of weights count: "
            "divide all of them by the largest."
        )
