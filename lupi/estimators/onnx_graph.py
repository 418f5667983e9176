"""Export of a student as an ONNX graph, which predicts without Python and torch.

The graph takes encoded rows (numbers, and the one-hot levels of categories) and does the rest: standardisation, the
prediction ẑ of the privileged columns, the target network of every member, and their mean. It is written operation by
operation from the arrays; the members are one batched product, not copies of the graph.

Needs the package onnx (`pip install '.[onnx]'`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

import lupi
from lupi.engine.mlp import MLP
from lupi.engine.network import Network
from lupi.engine.programs import Program
from lupi.estimators.student import Student, programs_of
from lupi.estimators.tabular import units_of
from lupi.files import PathLike, write_atomically

Floats = npt.NDArray[np.float64]
#: Version of ONNX's operators, and of its file format at that time: runtimes from 2022 on read both.
_OPSET, _IR = 17, 8
_MOST_BYTES = 2**31 - 2**20  # of the weights, in a file of ONNX without others beside it


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedProgram:
    """A program and the parameters of its members [M, P], laid out as `Program.parts` and `MLP.split` have them."""

    program: Program
    parameters: npt.NDArray[np.floating[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class OnnxStudent:
    """All that the graph of a student computes with.

    Parameters
    ----------
    target : of kind "target", "chained" or "shared". A "target" program without `regressor` reads x alone.
    x_shift, x_scale : [D], the networks read (x - x_shift) * x_scale, and 0 where x is NaN.
    regressor : of kind "privileged": its ẑ, averaged over members, is the second input of a "target" program.
    z_shift, z_scale : [Q], this program reads (ẑ - z_shift) * z_scale; None: ẑ as it is.
    y_origin, y_unit : a numeric target is y_origin + y_unit * output.
    """

    target: TrainedProgram
    x_shift: Floats
    x_scale: Floats
    regressor: TrainedProgram | None = None
    z_shift: Floats | None = None
    z_scale: Floats | None = None
    y_origin: float = 0.0
    y_unit: float = 1.0

    def __post_init__(self) -> None:
        _check(self)


def onnx_student(student: Student) -> OnnxStudent:
    """What the graph of a trained student computes with; it reads the rows of `PrivilegedEstimator.encode`."""
    origin, unit = units_of(student["features"])
    target, before = programs_of(student)
    regressor = student["regressor"]
    return OnnxStudent(
        target=TrainedProgram(target, student["target"]),
        # Units and standardisation are one affine map of the raw numbers.
        x_shift=origin + unit * student["x_center"],
        x_scale=student["x_scale"] / unit,
        regressor=None if regressor is None else TrainedProgram(before, regressor),
        y_origin=student["y_center"],
        y_unit=1.0 / student["y_scale"],
    )


def export_onnx(
    path: PathLike,
    student: OnnxStudent,
    *,
    dtype: Literal["float32", "float64"] = "float32",
    properties: Mapping[str, str] | None = None,
) -> None:
    """Write a student as an ONNX file (opset 17), which is there whole or not at all.

    The graph's input is `x` [rows, D] of type `dtype`, finite or NaN (missing); any number of rows. Its output is
    `probabilities` [rows, K], of the classes in the order of their codes, or for a numeric target `prediction` [rows].

    Parameters
    ----------
    dtype : of input, output and all that lies between.
    properties : text to keep in the file's metadata, such as the names of columns and classes.

    Raises
    ------
    ImportError : without the package onnx.
    ValueError : for another `dtype`, a student of more than 2 GiB, and what `write_atomically` refuses.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"expected dtype float32 or float64; found {dtype!r}.")
    parameters = [part.parameters.size for part in (student.target, student.regressor) if part is not None]
    if (size := sum(parameters) * np.dtype(dtype).itemsize) > _MOST_BYTES:
        raise ValueError(f"expected at most {_MOST_BYTES} bytes of weights, ONNX's limit; found {size}. Fewer members?")
    onnx = _package()
    graph = _Graph(onnx, np.dtype(dtype))
    program = student.target.program
    result = _student(graph, student)
    name = "prediction" if program.numeric else "probabilities"
    shape: list[str | int] = ["rows"] if program.numeric else ["rows", max(program.outputs, 2)]
    graph.node("Identity", result, output=name)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, "student", [graph.value("x", ["rows", program.regular])], [graph.value(name, shape)],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR, producer_name="lupi", producer_version=lupi.__version__,
    )  # fmt: skip
    onnx.helper.set_model_props(model, dict(properties or {}))
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, model.SerializeToString())


def _package() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("export to ONNX needs the package onnx: pip install '.[onnx]', or onnx itself.") from error
    return onnx


class _Graph:
    """Operations and constants, each named by its number."""

    def __init__(self, onnx: Any, dtype: np.dtype[Any]) -> None:
        self._onnx, self._dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: npt.ArrayLike) -> str:
        return self._keep(np.asarray(values, self._dtype, order="C"))

    def integers(self, values: list[int]) -> str:
        return self._keep(np.array(values, np.int64))

    def _keep(self, array: npt.NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operation, inputs, [name], name, **attributes))
        return name

    def value(self, name: str, shape: list[str | int]) -> Any:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(self._dtype)
        return self._onnx.helper.make_tensor_value_info(name, kind, shape)

    def columns(self, values: str, start: int, end: int) -> str:
        """Entries start to end of the last of three axes."""
        return self.node("Slice", values, *(self.integers([i]) for i in (start, end, 2)))

    def affine(self, values: str, shift: Floats, scale: Floats) -> str:
        """(values - shift) * scale."""
        return self.node("Mul", self.node("Sub", values, self.constant(shift)), self.constant(scale))


def _student(graph: _Graph, student: OnnxStudent) -> str:
    """Class probabilities [rows, K], or values [rows], averaged over members."""
    standard = graph.affine("x", student.x_shift, student.x_scale)
    x = graph.node("Where", graph.node("IsNaN", standard), graph.constant(0.0), standard)
    program, parts = student.target.program, _parts(student.target)
    if program.kind == "chained":
        z = _privileged(graph, program, parts[0], x)
        output = _network(graph, program.networks[1], parts[1], x, z)
    elif student.regressor is not None:
        regressor = student.regressor
        of_members = _privileged(graph, regressor.program, _parts(regressor)[0], x)
        z = graph.node("ReduceMean", of_members, axes=[0], keepdims=0)
        if student.z_shift is not None and student.z_scale is not None:
            z = graph.affine(z, student.z_shift, student.z_scale)
        output = _network(graph, program.networks[0], parts[0], x, z)
    else:
        output = _network(graph, program.networks[0], parts[0], x, None, program.outputs)
    if program.numeric:
        mean = graph.node("ReduceMean", output, axes=[0, 2], keepdims=0)  # over members, and the one output
        scaled = graph.node("Mul", mean, graph.constant(student.y_unit))
        return graph.node("Add", scaled, graph.constant(student.y_origin))
    if program.outputs == 1:
        log_odds = graph.node("Concat", graph.node("Neg", output), output, axis=2)
        probabilities = graph.node("Sigmoid", log_odds)
    else:
        probabilities = graph.node("Softmax", output, axis=2)
    return graph.node("ReduceMean", probabilities, axes=[0], keepdims=0)


def _parts(trained: TrainedProgram) -> list[torch.Tensor]:
    return trained.program.parts(torch.from_numpy(np.ascontiguousarray(trained.parameters, np.float64)))


def _network(
    graph: _Graph, network: Network, parameters: torch.Tensor, x: str, z: str | None, outputs: int | None = None
) -> str:
    """Outputs [M, rows, C] of a perceptron for x [rows, D] and z [M or none, rows, Q]; only the first of `outputs`."""
    if not isinstance(network, MLP):
        raise ValueError(f"only perceptrons can be exported to ONNX by this function; found {type(network).__name__}.")
    layers, of_z = network.split(parameters)
    h = x
    for index, (weight, bias) in enumerate(layers):
        last = index == len(layers) - 1
        kept = slice(outputs if last else None)
        h = graph.node("MatMul", h if index == 0 else graph.node("Relu", h), graph.constant(weight[:, kept].mT.numpy()))
        if index == 0 and z is not None:
            h = graph.node("Add", h, graph.node("MatMul", z, graph.constant(of_z[:, kept].mT.numpy())))
        h = graph.node("Add", h, graph.constant(bias[:, kept].mT.numpy()))
    return h


def _privileged(graph: _Graph, program: Program, parameters: torch.Tensor, x: str) -> str:
    """ẑ [M, rows, Q]: numbers as they are, levels of a category as probabilities."""
    output = _network(graph, program.networks[0], parameters, x, None)
    if not any(column.categorical for column in program.columns):
        return output
    blocks = []
    for column in program.columns:
        block = graph.columns(output, column.start, column.start + column.width)
        blocks.append(graph.node("Softmax", block, axis=2) if column.categorical else block)
    return graph.node("Concat", *blocks, axis=2)


def _check(student: OnnxStudent) -> None:
    program, regressor = student.target.program, student.regressor
    if program.kind == "privileged":
        raise ValueError('expected a target program of kind "target", "chained" or "shared"; found "privileged".')
    if regressor is not None and (
        program.kind != "target"
        or regressor.program.kind != "privileged"
        or (regressor.program.regular, regressor.program.width) != (program.regular, program.width)
    ):
        raise ValueError(
            'expected a regressor of kind "privileged" beside a target of kind "target", of the same x and z; found '
            f"{regressor.program.kind} of widths {regressor.program.regular} and {regressor.program.width} beside "
            f"{program.kind} of widths {program.regular} and {program.width}."
        )
    for trained in (student.target, *([] if regressor is None else [regressor])):
        shape, p = trained.parameters.shape, trained.program.n_parameters
        if len(shape) != 2 or shape[0] < 1 or shape[1] != p:
            raise ValueError(f"expected parameters [members, {p}]; found {shape}.")
    if (student.z_shift is None) != (student.z_scale is None) or (student.z_shift is not None and regressor is None):
        raise ValueError(
            "expected z_shift and z_scale both, beside a regressor, or neither; found one, or no regressor."
        )
    widths = {
        "x_shift": program.regular,
        "x_scale": program.regular,
        "z_shift": program.width,
        "z_scale": program.width,
    }
    for name, width in widths.items():
        values = getattr(student, name)
        if values is not None and values.shape != (width,):
            raise ValueError(f"expected {name} [{width}]; found {values.shape}.")
    numbers = {name: getattr(student, name) for name in (*widths, "y_origin", "y_unit")}
    numbers["parameters"] = student.target.parameters
    numbers["parameters of the regressor"] = None if regressor is None else regressor.parameters
    for name, values in numbers.items():
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"expected finite {name}; found NaN or infinity.")
