"""Fitted estimators as files: saved without pickle, and exported to ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from lupi.estimators import export, persistence
from lupi.estimators.persistence import PathLike
from lupi.estimators.student import Student, programs_of
from lupi.estimators.tabular import units_of

if TYPE_CHECKING:
    from lupi.estimators.base import PrivilegedEstimator

    Estimator = TypeVar("Estimator", bound=PrivilegedEstimator)

_NUMBERS = "biuf"  # kinds of arrays that a file holds as such
_BETWEEN = "/"  # names of arrays within dictionaries: "_student/target"


def save(estimator: PrivilegedEstimator, path: PathLike) -> None:
    """Write a fitted estimator: its parameters and attributes as JSON, its weights as arrays."""
    check_is_fitted(estimator)
    parameters = estimator.get_params(deep=False)
    arrays: dict[str, npt.NDArray[Any]] = {}
    fitted = {n: _apart(value, n, arrays) for n, value in vars(estimator).items() if n not in parameters}
    persistence.write(path, type(estimator).__name__, {"parameters": parameters, "fitted": fitted}, arrays)


def load(kind: type[Estimator], path: PathLike) -> Estimator:
    """Read what `save` wrote, on any device and platform. No code of the file is run.

    Raises
    ------
    FileNotFoundError : where there is no file.
    ValueError : for a file that is no estimator of this kind, or not as it was written.
    """
    facts, arrays = persistence.read(path, kind.__name__)
    try:
        estimator = kind(**facts["parameters"])
        for name, value in facts["fitted"].items():
            setattr(estimator, name, _together(value, name, arrays))
        _check(estimator._student)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the parameters and attributes of a {kind.__name__}; found others ({error}). Save the "
            "estimator again with this version."
        ) from error
    return estimator


def _apart(value: Any, name: str, arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """A value with the arrays of numbers in it put into `arrays`."""
    if isinstance(value, Mapping):
        return {key: _apart(each, f"{name}{_BETWEEN}{key}", arrays) for key, each in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in _NUMBERS:
        arrays[name] = value
        return {"array": name}
    return {"values": list(value), "dtype": value.dtype.str if value.dtype.kind != "O" else "O"}


def _together(value: Any, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """What `_apart` took apart."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        return arrays[value["array"]]
    if value.keys() == {"values", "dtype"}:
        found = np.empty(len(value["values"]), dtype=np.dtype(value["dtype"]))
        found[:] = value["values"]
        return found
    return {key: _together(each, f"{name}{_BETWEEN}{key}", arrays) for key, each in value.items()}


def _check(student: Student) -> None:
    """Raise ValueError where arrays do not fit the networks that they are said to be of."""
    target, before = programs_of(student)
    width = sum(1 if feature["levels"] is None else len(feature["levels"]) for feature in student["features"])
    expected = {"x_center": (width,), "x_scale": (width,), "target": (len(student["target"]), target.n_parameters)}
    regressor = student["regressor"]
    if regressor is not None:
        expected["regressor"] = (len(regressor), before.n_parameters)
    for name, shape in expected.items():
        found = np.shape(student[name])  # type: ignore[literal-required]
        if found != shape:
            raise ValueError(f"expected the array {name} of shape {shape}; found {found}. Save the estimator again.")


def export_onnx(estimator: PrivilegedEstimator, path: PathLike, dtype: Literal["float32", "float64"]) -> None:
    """Write the student as an ONNX graph that takes the rows of `PrivilegedEstimator.encode`."""
    check_is_fitted(estimator)
    student = estimator._student
    origin, unit = units_of(student["features"])
    target, before = programs_of(student)
    regressor = student["regressor"]
    names = [str(name) for name in getattr(estimator, "classes_", ())]
    export.export_onnx(
        path,
        export.Student(
            target=export.Fitted(target, student["target"]),
            # Units and standardisation are one affine map of the raw numbers.
            x_shift=origin + unit * student["x_center"],
            x_scale=student["x_scale"] / unit,
            regressor=None if regressor is None else export.Fitted(before, regressor),
            y_origin=student["y_center"],
            y_unit=1.0 / student["y_scale"],
        ),
        dtype=dtype,
        properties={"classes": "\n".join(names), "method": estimator.method_} if names else None,
    )
