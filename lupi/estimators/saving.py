"""Fitted estimators as files: arrays, and beside them parameters and attributes in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lupi.estimators import file_format
from lupi.estimators.student import check_shapes
from lupi.files import PathLike

Estimator = TypeVar("Estimator")

_NUMBERS = "biuf"  # kinds of arrays that a file holds as such
_BETWEEN = "/"  # names of arrays within dictionaries: "_student/target"


def save(path: PathLike, kind: str, parameters: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Write the parameters of an estimator of class `kind`, and what `fit` set beside them."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    fitted = {name: _without_arrays(value, name, arrays) for name, value in attributes.items()}
    file_format.write(path, kind, {"parameters": dict(parameters), "fitted": fitted}, arrays)


def load(path: PathLike, kind: type[Estimator]) -> Estimator:
    """The estimator of class `kind` whose state `save` wrote, on any device and platform. No code of the file is run.

    Raises
    ------
    FileNotFoundError : where there is no file.
    ValueError : for a file that is no estimator of this kind, or not as it was written.
    """
    facts, arrays = file_format.read(path, kind.__name__)
    try:
        estimator = kind(**facts["parameters"])
        for name, value in facts["fitted"].items():
            setattr(estimator, name, _with_arrays(value, arrays))
        check_shapes(vars(estimator)["_student"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the parameters and attributes of a {kind.__name__}; found others ({error}). Save the "
            "estimator again with this version."
        ) from error
    return estimator


def _without_arrays(value: Any, name: str, arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """A value whose arrays of numbers are put into `arrays`; arrays of text and objects become lists."""
    if isinstance(value, Mapping):
        return {key: _without_arrays(inner, f"{name}{_BETWEEN}{key}", arrays) for key, inner in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in _NUMBERS:
        arrays[name] = value
        return {"array": name}
    return {"values": value.tolist(), "dtype": "object" if value.dtype.kind == "O" else value.dtype.str}


def _with_arrays(value: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """What `_without_arrays` was given."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        return arrays[value["array"]]
    if value.keys() == {"values", "dtype"}:
        array = np.empty(len(value["values"]), dtype=np.dtype(value["dtype"]))
        array[:] = value["values"]
        return array
    return {key: _with_arrays(inner, arrays) for key, inner in value.items()}
