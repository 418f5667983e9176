"""What is checked of an estimator's parameters and of the rows that it is given, before anything is trained.

Parameters are checked for their kinds; their ranges are those of `StudyOptions`.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils.validation import _check_sample_weight

Floats = npt.NDArray[np.float64]
RandomState = int | np.random.RandomState | np.random.Generator | None

_WHOLE = ("members", "epochs", "batch_size", "patience", "inner_folds", "verbose")
_NUMBERS = (
    "lr", "weight_decay", "imitation", "temperature", "repulsion", "epsilon", "validation_fraction", "label_smoothing",
)  # fmt: skip
_FLAGS = ("early_stopping", "refit")
_TEXTS = ("method", "balance", "device")
_LAYERS = ("regressor_layers", "classifier_layers")
_OPTIONAL = ("batch_size", "patience", "epsilon")
_DTYPES = ("float32", "float64")


# ---------------------------------------------------------------------- parameters


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for the first parameter of a wrong kind, with what it must be."""
    for names, kind, what in (
        (_TEXTS, str, "a string"),
        (_WHOLE, numbers.Integral, "a whole number"),
        (_NUMBERS, numbers.Real, "a number"),
        (_FLAGS, (bool, np.bool_), "True or False"),
    ):
        for name in names:
            if name in parameters and not (name in _OPTIONAL and parameters[name] is None):
                _check_kind(name, parameters[name], kind, what)
    for name in _LAYERS:
        _check_layers(name, parameters[name])
    if parameters["dtype"] not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}; found {parameters['dtype']!r}.")


def check_list(name: str, value: Any, of: str, otherwise: str = "") -> None:
    """Raise ValueError unless `value` is a sequence, and no text, which is a sequence of letters."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        mend = f" Write {name}=[{value!r}]." if isinstance(value, str | int) else ""
        raise ValueError(f"{name} must be {otherwise}a list of {of}; found {value!r}." + mend)


def check_whole(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a whole number."""
    _check_kind(name, value, numbers.Integral, "a whole number")


def _check_kind(name: str, value: Any, kind: Any, what: str) -> None:
    boolean = isinstance(value, bool | np.bool_) and name not in (*_FLAGS, "verbose")
    if boolean or not isinstance(value, kind):
        raise ValueError(f"{name} must be {what}; found {value!r}.")


def _check_layers(name: str, value: Any) -> None:
    whole = isinstance(value, numbers.Integral)
    fits = not isinstance(value, str) and hasattr(value, "__iter__")
    if not fits or not all(isinstance(width, int | np.integer) and width >= 1 for width in value):
        mend = f" For one hidden layer write {name}=({value},)." if whole else " An empty tuple makes a linear model."
        raise ValueError(
            f"{name} must be a tuple of whole numbers of at least 1, the hidden widths; found {value!r}.{mend}"
        )


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


def check_known(target: pd.Series) -> None:
    """Raise ValueError, with the first such row, unless every cell is known."""
    missing = target.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Input y contains NaN: the target must be known in every row; it is missing in {missing.sum()} of "
            f"{len(target)}, the first of them row {missing.argmax()} (counted from 0). Remove these rows first."
        )


def weights_of(sample_weight: Any, table: pd.DataFrame) -> Floats:
    """Weights [n] of the rows of a table: finite, not negative."""
    try:
        weights: Floats = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"sample_weight must be finite numbers >= 0, one for each row: {error}") from error
    return weights
