"""Export of a student as an ONNX graph, which predicts without Python and torch.

The graph takes encoded rows (numbers, and the one-hot levels of categories) and does the rest: standardisation, the
prediction ẑ of the privileged columns, the target network of every member, and their mean, at its temperature and for
its prior. It is written operation by operation from the arrays; the members are one batched product, not copies of the
graph.

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
from lupi.engine.programs import Program
from lupi.estimators.onnx_network import Graph, network_outputs
from lupi.estimators.student import Student, programs_of
from lupi.estimators.tabular import units_of
from lupi.files import PathLike, write_atomically

Floats = npt.NDArray[np.float64]
#: Version of ONNX's operators, and of its file format at that time: runtimes from 2022 on read both.
_OPSET, _IR = 17, 8
_FAR = 1e15  # in standard units: beyond, the smooth clip is flat in either precision, and squares may overflow
_MOST_BYTES = 2**31 - 2**20  # of the weights, in a file of ONNX without others beside it


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedProgram:
    """A program and the parameters of its members [M, P], laid out as `Program.parts` has them."""

    program: Program
    parameters: npt.NDArray[np.floating[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class OnnxStudent:
    """All that the graph of a student computes with.

    Parameters
    ----------
    target : of kind "target", "chained" or "shared". A "target" program without `regressor` reads x alone.
    x_shift, x_scale : [D], standard rows are (x - x_shift) * x_scale, and 0 where x is NaN.
    x_bound : [D], the networks read v / sqrt(1 + (x_bound v)²) of the standard rows v; None: v itself.
    regressor : of kind "privileged": its ẑ, averaged over members, is the second input of a "target" program.
    z_shift, z_scale : [Q], this program reads (ẑ - z_shift) * z_scale; None: ẑ as it is.
    y_origin, y_unit : a numeric target is y_origin + y_unit * output.
    temperature : by which the outputs of every member are divided before they become probabilities.
    prior : [K] frequencies of the classes that are taken out of the probabilities; None: they stay.
    """

    target: TrainedProgram
    x_shift: Floats
    x_scale: Floats
    x_bound: Floats | None = None
    regressor: TrainedProgram | None = None
    z_shift: Floats | None = None
    z_scale: Floats | None = None
    y_origin: float = 0.0
    y_unit: float = 1.0
    temperature: float = 1.0
    prior: Floats | None = None

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
        x_bound=student["x_bound"] if student["x_bound"].any() else None,
        regressor=None if regressor is None else TrainedProgram(before, regressor),
        y_origin=student["y_center"],
        y_unit=1.0 / student["y_scale"],
        temperature=student["temperature"],
        prior=student["prior"],
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
    graph = Graph(onnx, np.dtype(dtype))
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


def _student(graph: Graph, student: OnnxStudent) -> str:
    """Class probabilities [rows, K], or values [rows], averaged over members."""
    standard = graph.affine("x", student.x_shift, student.x_scale)
    x = graph.node("Where", graph.node("IsNaN", standard), graph.constant(0.0), standard)
    if student.x_bound is not None:
        x = _bounded(graph, x, student.x_bound)
    program, parts = student.target.program, _parts(student.target)
    if program.kind == "chained":
        z = _privileged(graph, program, parts[0], x)
        output = network_outputs(graph, program.networks[1], parts[1], x, z)
    elif student.regressor is not None:
        regressor = student.regressor
        of_members = _privileged(graph, regressor.program, _parts(regressor)[0], x)
        z = graph.node("ReduceMean", of_members, axes=[0], keepdims=0)
        if student.z_shift is not None and student.z_scale is not None:
            z = graph.affine(z, student.z_shift, student.z_scale)
        output = network_outputs(graph, program.networks[0], parts[0], x, z)
    else:
        output = network_outputs(graph, program.networks[0], parts[0], x, None, program.outputs)
    if program.numeric:
        mean = graph.node("ReduceMean", output, axes=[0, 2], keepdims=0)  # over members, and the one output
        scaled = graph.node("Mul", mean, graph.constant(student.y_unit))
        return graph.node("Add", scaled, graph.constant(student.y_origin))
    if student.temperature != 1.0:
        output = graph.node("Mul", output, graph.constant(1.0 / student.temperature))
    if program.outputs == 1:
        log_odds = graph.node("Concat", graph.node("Neg", output), output, axis=2)
        probabilities = graph.node("Sigmoid", log_odds)
    else:
        probabilities = graph.node("Softmax", output, axis=2)
    mean = graph.node("ReduceMean", probabilities, axes=[0], keepdims=0)
    return mean if student.prior is None else _with_prior(graph, mean, student.prior)


def _bounded(graph: Graph, x: str, bound: Floats) -> str:
    """x / sqrt(1 + (bound x)²)."""
    near = graph.node("Clip", x, graph.constant(-_FAR), graph.constant(_FAR))
    scaled = graph.node("Mul", near, graph.constant(bound))
    squared = graph.node("Add", graph.node("Mul", scaled, scaled), graph.constant(1.0))
    return graph.node("Div", near, graph.node("Sqrt", squared))


def _with_prior(graph: Graph, probabilities: str, prior: Floats) -> str:
    """As `evidence.calibration.with_prior`: for classes of equal frequency."""
    factor = np.divide(1.0, prior, out=np.zeros_like(prior), where=prior > 0)
    shifted = graph.node("Mul", probabilities, graph.constant(factor))
    return graph.node("Div", shifted, graph.node("ReduceSum", shifted, graph.integers([1]), keepdims=1))


def _parts(trained: TrainedProgram) -> list[torch.Tensor]:
    return trained.program.parts(torch.from_numpy(np.ascontiguousarray(trained.parameters, np.float64)))


def _privileged(graph: Graph, program: Program, parameters: torch.Tensor, x: str) -> str:
    """ẑ [M, rows, Q]: numbers as they are, levels of a category as probabilities."""
    output = network_outputs(graph, program.networks[0], parameters, x, None)
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
        "x_bound": program.regular,
        "z_shift": program.width,
        "z_scale": program.width,
        "prior": max(program.outputs, 2),
    }
    for name, width in widths.items():
        values = getattr(student, name)
        if values is not None and values.shape != (width,):
            raise ValueError(f"expected {name} [{width}]; found {values.shape}.")
    numbers = {name: getattr(student, name) for name in (*widths, "y_origin", "y_unit", "temperature")}
    numbers["parameters"] = student.target.parameters
    numbers["parameters of the regressor"] = None if regressor is None else regressor.parameters
    for name, values in numbers.items():
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"expected finite {name}; found NaN or infinity.")
    if student.temperature <= 0:
        raise ValueError(f"expected a temperature > 0; found {student.temperature}.")
    if student.prior is not None and program.numeric:
        raise ValueError("expected no prior beside a numeric target; found one.")
    if student.prior is not None and ((student.prior < 0).any() or not student.prior.any()):
        raise ValueError(f"expected frequencies >= 0, not all of them 0, as the prior; found {student.prior}.")
