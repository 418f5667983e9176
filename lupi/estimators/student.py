"""A trained student as plain data that any format can keep, and its networks, which predict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lupi.data.encoding import FARTHEST, smoothly_clipped
from lupi.engine.mlp import MLPPair
from lupi.engine.network import Architecture, Workspace
from lupi.engine.programs import PROGRAMS, Program
from lupi.engine.tabular import Style, TabularPair
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
    style : the ingredients of the networks (fields of `engine.tabular.Style`); None: plain perceptrons.
    x_center, x_scale : [D] standardisation of the encoded rows.
    x_bound : [D] their smooth clip (see `engine.stored.bounded`); 0: none.
    z_center, z_scale : [Q] standardisation of the encoded Z.
    y_center, y_scale : a number is output / y_scale + y_center.
    temperature : by which the outputs of every member are divided.
    prior : [K] frequencies of the classes that are taken out of the probabilities; None: they stay.
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
    style: dict[str, Any] | None
    x_center: Floats
    x_scale: Floats
    x_bound: Floats
    z_center: Floats
    z_scale: Floats
    temperature: float
    prior: Floats | None
    y_center: float
    y_scale: float


def programs_of(student: Student) -> tuple[Program, Program]:
    """The target's program, and that of a network which predicts Z before it."""
    layers = tuple(student["regressor_layers"]), tuple(student["classifier_layers"])
    regular, columns = len(student["x_center"]), columns_of(student["privileged"])
    pair: Architecture = MLPPair(*layers)
    if student["style"] is not None:
        pair = TabularPair(*layers, Style(**student["style"]), columns_of(student["features"]), columns)
    shape = regular, columns, student["outputs"], student["numeric"], pair
    return PROGRAMS[student["kind"]](*shape), PROGRAMS["privileged"](*shape)


def check_shapes(student: Student) -> None:
    """Raise ValueError where the arrays of a student do not fit the networks that they are said to be of."""
    target, before = programs_of(student)
    width = sum(column.width for column in columns_of(student["features"]))
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(("x_center", "x_scale", "x_bound"), (width,))
    expected["target"] = (len(student["target"]), target.n_parameters)
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
        self._bound = student["x_bound"] if student["x_bound"].any() else None
        self._workspace = Workspace()

    @torch.no_grad()
    def privileged(self, table: pd.DataFrame, places: list[int]) -> Iterator[tuple[slice, Floats]]:
        """(rows, ẑ [rows, Q]) likewise, averaged over members, in the units of the encoded Z: numbers, and
        probabilities of the levels of a category."""
        student = self.student
        unit = np.divide(1.0, student["z_scale"], out=np.zeros_like(student["z_scale"]), where=student["z_scale"] > 0)
        for rows, x in self._standardised(table, places):
            given = torch.from_numpy(x)
            z = self._given_z(given)
            if z is None:
                parts = self._program.parts(self._target)
                every = given.expand(len(self._target), -1, -1)
                predicted = self._program.outputs_of(parts, every, None, self._workspace)[1]
                assert predicted is not None
                z = self._program.layout.read(predicted).mean(0)
            yield rows, z.mT.numpy() * unit + student["z_center"]

    @torch.no_grad()
    def outputs(self, table: pd.DataFrame, places: list[int]) -> Iterator[tuple[slice, Floats]]:
        """(rows, outputs [members, C, rows]) for some rows after the other: log-odds or logits at the temperature of
        the student, or numbers.

        The arrays are overwritten by the next.

        places : of the student's features in the table.
        """
        student = self.student
        for rows, x in self._standardised(table, places):
            output = self._forward(torch.from_numpy(x)).numpy()
            if student["numeric"]:
                output = output / student["y_scale"] + student["y_center"]
            else:
                output = output / student["temperature"]
            yield rows, output

    def _standardised(self, table: pd.DataFrame, places: list[int]) -> Iterator[tuple[slice, Floats]]:
        """(rows, x [rows, D] as the networks read it) for some rows after the other, overwritten by the next."""
        memory = np.empty((min(ROWS_AT_ONCE, len(table)), len(self._origin)))
        for first in range(0, len(table), tabular.ROWS_READ):
            read = raw_rows(table.iloc[first : first + tabular.ROWS_READ], self.student["features"], places)
            for begin in range(0, len(read), ROWS_AT_ONCE):
                raw = read[begin : begin + ROWS_AT_ONCE]
                x = memory[: len(raw)]
                self._standardise(raw, x)
                yield slice(first + begin, first + begin + len(raw)), x

    def _standardise(self, raw: Floats, x: Floats) -> None:
        with np.errstate(over="ignore"):
            np.subtract(raw, self._origin, out=x)
            x /= self._unit
        np.clip(x, -FARTHEST, FARTHEST, out=x)
        x *= self._scale
        x += self._shift
        if self._bound is not None:
            x[:] = smoothly_clipped(x, self._bound)
        if np.isnan(x.sum()):
            np.nan_to_num(x, copy=False, nan=0.0)

    def _forward(self, x: Tensor) -> Tensor:
        def expanded(parameters: Tensor) -> Tensor:
            return x.expand(len(parameters), -1, -1)

        mean = self._given_z(x)
        z = None if mean is None else mean.expand(len(self._target), -1, -1)
        parts = self._program.parts(self._target)
        target = self._program.outputs_of(parts, expanded(self._target), z, self._workspace)[0]
        assert target is not None
        return target

    def _given_z(self, x: Tensor) -> Tensor | None:
        """ẑ [Q, rows] of the networks that predict it before, averaged over members; None where there are none."""
        if self._regressor is None:
            return None
        parts, every = self._before.parts(self._regressor), x.expand(len(self._regressor), -1, -1)
        predicted = self._before.outputs_of(parts, every, None, self._workspace)[1]
        assert predicted is not None
        return self._before.layout.read(predicted).mean(0)
