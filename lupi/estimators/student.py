"""A trained student as plain data that any format can keep, and its networks, which predict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lupi.data.encoding import FARTHEST
from lupi.engine.mlp import MLPPair
from lupi.engine.network import Workspace
from lupi.engine.programs import PROGRAMS, Program
from lupi.estimators import tabular
from lupi.estimators.tabular import Feature, columns_of, raw_rows, units_of

Floats = npt.NDArray[np.float64]

#: Rows that are predicted at once: what a cache holds of a network's activations.
ROWS_AT_ONCE = 4096


class Student(TypedDict):
    """What predicts: plain data and arrays, that any format can keep.

    kind : of the target's program (see `engine.programs`).
    features, privileged : the columns of X that it reads, and those of Z that it was taught.
    outputs : width of the target: 1 for two classes or a number, K for K classes.
    numeric : whether the target is a number.
    target : [members, P] parameters of the target's networks (and of those that predict Z end to end with them).
    regressor : [members, P'] of the networks that predict Z, where these were trained before; else None.
    x_center, x_scale : [D] standardisation of the encoded rows.
    y_center, y_scale : a number is output / y_scale + y_center.
    """

    kind: str
    features: list[Feature]
    privileged: list[Feature]
    outputs: int
    numeric: bool
    regressor_layers: list[int]
    classifier_layers: list[int]
    target: npt.NDArray[np.floating]
    regressor: npt.NDArray[np.floating] | None
    x_center: Floats
    x_scale: Floats
    y_center: float
    y_scale: float


def programs_of(student: Student) -> tuple[Program, Program]:
    """The target's program, and that of a network which predicts Z before it."""
    pair = MLPPair(tuple(student["regressor_layers"]), tuple(student["classifier_layers"]))
    regular, columns = len(student["x_center"]), columns_of(student["privileged"])
    shape = regular, columns, student["outputs"], student["numeric"], pair
    return PROGRAMS[student["kind"]](*shape), PROGRAMS["privileged"](*shape)


def check_shapes(student: Student) -> None:
    """Raise ValueError where the arrays of a student do not fit the networks that they are said to be of."""
    target, before = programs_of(student)
    width = sum(column.width for column in columns_of(student["features"]))
    expected = {"x_center": (width,), "x_scale": (width,), "target": (len(student["target"]), target.n_parameters)}
    regressor = student["regressor"]
    if regressor is not None:
        expected["regressor"] = (len(regressor), before.n_parameters)
    for name, shape in expected.items():
        there = np.shape(student[name])  # type: ignore[literal-required]
        if there != shape:
            raise ValueError(f"expected the array {name} of shape {shape}; found {there}. Save the estimator again.")


class StudentNetworks:
    """The networks of a student in float64, on the CPU.

    Every row is predicted by itself but for rounding, and the memory does not grow with the number of rows.
    """

    def __init__(self, student: Student) -> None:
        self.student = student
        self._program, self._before = programs_of(student)
        self._target = torch.as_tensor(student["target"]).double()
        regressor = student["regressor"]
        self._regressor = None if regressor is None else torch.as_tensor(regressor).double()
        self._origin, self._unit = units_of(student["features"])
        self._scale, self._shift = student["x_scale"], -student["x_center"] * student["x_scale"]
        self._workspace = Workspace()

    @torch.no_grad()
    def outputs(self, table: pd.DataFrame, places: list[int]) -> Iterator[tuple[slice, Floats]]:
        """(rows, outputs [members, C, rows]) for some rows after the other: log-odds, logits, or numbers.

        The arrays are overwritten by the next.

        places : of the student's features in the table.
        """
        memory = np.empty((min(ROWS_AT_ONCE, len(table)), len(self._origin)))
        for first in range(0, len(table), tabular.ROWS_READ):
            read = raw_rows(table.iloc[first : first + tabular.ROWS_READ], self.student["features"], places)
            for begin in range(0, len(read), ROWS_AT_ONCE):
                raw = read[begin : begin + ROWS_AT_ONCE]
                x = memory[: len(raw)]
                self._standardise(raw, x)
                output = self._forward(torch.from_numpy(x)).numpy()
                if self.student["numeric"]:
                    output = output / self.student["y_scale"] + self.student["y_center"]
                yield slice(first + begin, first + begin + len(raw)), output

    def _standardise(self, raw: Floats, x: Floats) -> None:
        with np.errstate(over="ignore"):
            np.subtract(raw, self._origin, out=x)
            x /= self._unit
        np.clip(x, -FARTHEST, FARTHEST, out=x)
        x *= self._scale
        x += self._shift
        if np.isnan(x.sum()):
            np.nan_to_num(x, copy=False, nan=0.0)

    def _forward(self, x: Tensor) -> Tensor:
        def expanded(parameters: Tensor) -> Tensor:
            return x.expand(len(parameters), -1, -1)

        z = None
        if self._regressor is not None:
            parts = self._before.parts(self._regressor)
            predicted = self._before.outputs_of(parts, expanded(self._regressor), None, self._workspace)[1]
            assert predicted is not None
            mean = self._before.layout.read(predicted).mean(0)
            z = mean.expand(len(self._target), -1, -1)
        parts = self._program.parts(self._target)
        target = self._program.outputs_of(parts, expanded(self._target), z, self._workspace)[0]
        assert target is not None
        return target
