"""Students as ONNX graphs: onnxruntime computes what the networks compute."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lupi.columns import Column
from lupi.engine.mlp import MLPPair
from lupi.engine.network import Architecture
from lupi.engine.programs import PROGRAMS
from lupi.engine.tabular import Style, TabularPair
from lupi.estimators.onnx_graph import OnnxStudent, TrainedProgram, export_onnx
from lupi.evidence import metrics
from lupi.evidence.calibration import with_prior

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

D, ROWS = 5, 40
NUMBER, CATEGORY, SECOND = Column("a", 0, 1, False), Column("b", 1, 3, True), Column("c", 4, 1, False)
MIXED = (NUMBER, CATEGORY, SECOND)
PAIR = MLPPair((6, 4), (7,))
#: Of x: a number, a category that is large beside `category_width` 2, and a number.
OF_X = (Column("p", 0, 1, False), Column("q", 1, 3, True), Column("r", 4, 1, False))
WAVES: dict[str, Any] = {"frequencies": 3, "frequency_scale": 0.5, "embedding_width": 4}
INGREDIENTS: dict[str, dict[str, Any]] = {
    "silu": {"activation": "silu"},
    "mish": {"activation": "mish"},
    "selu": {"activation": "selu"},
    "slopes": {"activation": "silu", "parametric": True},
    "waves": {"embedding": "waves", **WAVES},
    "pbld": {"embedding": "pbld", **WAVES},
    "plr": {"embedding": "plr", **WAVES},
    "vectors": {"category_width": 2},
    "skip": {"skip": True},
    "scale": {"input_scale": True},
    "all of them": {
        "activation": "mish", "parametric": True, "embedding": "plr", **WAVES, "category_width": 2, "skip": True,
        "input_scale": True, "tangent": True,
    },
}  # fmt: skip


def pair_of(style: dict[str, Any], hidden: tuple[int, ...] = (6, 4)) -> TabularPair:
    return TabularPair(hidden, hidden, Style(**style)).for_columns(OF_X, MIXED)


def fitted(
    kind: str,
    outputs: int,
    numeric: bool,
    columns: Sequence[Column] = MIXED,
    members: int = 3,
    pair: Architecture = PAIR,
) -> TrainedProgram:
    program = PROGRAMS[kind](D, tuple(columns), outputs, numeric, pair)
    draw = np.random.default_rng(len(kind) + outputs + members)
    return TrainedProgram(program, 0.6 * draw.normal(size=(members, program.n_parameters)))


def student(kind: str, outputs: int, numeric: bool, **more: Any) -> OnnxStudent:
    """A student of one kind; "pair" is KT's regressor and target network, of 2 and 3 members."""
    draw = np.random.default_rng(1)
    given: dict[str, Any] = {"x_shift": draw.normal(size=D), "x_scale": draw.uniform(0.5, 2, D)}
    if numeric:
        given |= {"y_origin": 10.0, "y_unit": 2.5}
    if kind == "pair":
        regressor = fitted("privileged", outputs, numeric, **{**more, "members": 2})
        return OnnxStudent(fitted("target", outputs, numeric, **more), regressor=regressor, **given)
    return OnnxStudent(fitted(kind, outputs, numeric, **more), **given)  # type: ignore[arg-type]


def rows(count: int = ROWS) -> np.ndarray:
    x = np.random.default_rng(2).normal(size=(count, D))
    x[np.random.default_rng(3).random(x.shape) < 0.1] = np.nan
    return x


def outputs_of(of: TrainedProgram, x: np.ndarray, z: torch.Tensor | None = None) -> tuple[Any, Any]:
    """By PyTorch's own operations: target [M, C, rows] and privileged output [M, Q, rows]."""
    parts = of.program.parts(torch.tensor(of.parameters))
    each = torch.tensor(x).expand(len(of.parameters), -1, -1)
    return of.program.outputs_of(parts, each, z, reference=True)


def expected(of: OnnxStudent, x: np.ndarray) -> np.ndarray:
    standard = np.nan_to_num((x - of.x_shift) * of.x_scale, nan=0.0)
    if of.x_bound is not None:
        standard /= np.sqrt(1 + (of.x_bound * standard) ** 2)
    z = None
    if of.regressor is not None:
        output = outputs_of(of.regressor, standard)[1]
        z = of.regressor.program.layout.read(output).mean(0)
        if of.z_shift is not None and of.z_scale is not None:
            z = (z - torch.tensor(of.z_shift)[:, None]) * torch.tensor(of.z_scale)[:, None]
        z = z.expand(len(of.target.parameters), -1, -1)
    output = outputs_of(of.target, standard, z)[0].mT.numpy()
    if of.target.program.numeric:
        return np.asarray(of.y_origin + of.y_unit * output.mean(0)[:, 0])
    mean = np.asarray(np.mean([metrics.probabilities(member / of.temperature) for member in output], axis=0))
    return mean if of.prior is None else with_prior(mean, of.prior)


def run(path: Path, x: np.ndarray) -> np.ndarray:
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("kind", ["target", "chained", "shared", "pair"])
@pytest.mark.parametrize(
    ("outputs", "numeric"), [(1, False), (4, False), (1, True)], ids=["binary", "classes", "number"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_export_onnx__every_kind__computes_what_the_networks_do(
    tmp_path: Path, kind: str, outputs: int, numeric: bool, dtype: Any
) -> None:
    of, x = student(kind, outputs, numeric), rows().astype(dtype)
    export_onnx(tmp_path / "student.onnx", of, dtype=dtype)
    found, true = run(tmp_path / "student.onnx", x), expected(of, x.astype(np.float64))
    assert found.dtype == dtype
    assert found.shape == true.shape == ((ROWS,) if numeric else (ROWS, max(outputs, 2)))
    assert np.ptp(true, axis=0).min() > 0.02  # something to tell apart
    np.testing.assert_allclose(found, true, rtol=1e-5, atol=1e-5 if dtype == "float32" else 1e-11)


@pytest.mark.parametrize(
    "more",
    [
        {"members": 1},
        {"columns": (Column("only", 0, 1, False),)},
        {"columns": (Column("only", 0, 2, True),)},
        {"pair": MLPPair((), ())},
    ],
    ids=["one member", "one number", "one category", "linear"],
)
@pytest.mark.parametrize("kind", ["target", "chained", "shared", "pair"])
def test_export_onnx__other_shapes__compute_what_the_networks_do(tmp_path: Path, kind: str, more: Any) -> None:
    of, x = student(kind, 1, False, **more), rows()
    export_onnx(tmp_path / "m", of, dtype="float64")
    np.testing.assert_allclose(run(tmp_path / "m", x), expected(of, x), atol=1e-11)


def test_export_onnx__no_privileged_columns__is_a_plain_network(tmp_path: Path) -> None:
    of = student("target", 1, False, columns=())
    export_onnx(tmp_path / "m", of, dtype="float64")
    np.testing.assert_allclose(run(tmp_path / "m", rows()), expected(of, rows()), atol=1e-11)


def test_export_onnx__other_units_of_z__are_changed_in_between(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    of = student("pair", 1, False)
    changed = dataclasses.replace(of, z_shift=draw.normal(size=5), z_scale=draw.uniform(0.5, 2, 5))
    export_onnx(tmp_path / "m", changed, dtype="float64")
    found = run(tmp_path / "m", rows())
    np.testing.assert_allclose(found, expected(changed, rows()), atol=1e-11)
    assert abs(found - expected(of, rows())).max() > 0.01


@pytest.mark.parametrize("ingredient", INGREDIENTS)
@pytest.mark.parametrize("kind", ["target", "chained", "shared", "pair"])
def test_export_onnx__ingredient__computes_what_the_networks_do(tmp_path: Path, ingredient: str, kind: str) -> None:
    for outputs, numeric, hidden in ((1, False, (6, 4)), (3, False, (5,)), (1, True, ())):
        of, x = student(kind, outputs, numeric, pair=pair_of(INGREDIENTS[ingredient], hidden)), rows()
        plain = student(kind, outputs, numeric, pair=MLPPair(hidden, hidden))
        assert hidden == () or of.target.program != plain.target.program
        export_onnx(tmp_path / "exact", of, dtype="float64")
        true = expected(of, x)
        assert np.ptp(true, axis=0).min() > 0.005  # something to tell apart
        np.testing.assert_allclose(run(tmp_path / "exact", x), true, rtol=1e-9, atol=1e-11)
        single = x.astype(np.float32)
        export_onnx(tmp_path / "single", of)
        near = run(tmp_path / "single", single)
        np.testing.assert_allclose(near, expected(of, single.astype(np.float64)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_export_onnx__smooth_clip_temperature_and_prior__are_those_of_the_formulas(
    tmp_path: Path, outputs: int
) -> None:
    of, x = student("chained", outputs, False), rows()
    prior = np.array([0.9, 0.1]) if outputs == 1 else np.array([0.7, 0.0, 0.3])
    changes: list[dict[str, Any]] = [
        {"x_bound": np.array([1 / 3, 0, 0, 2, 1 / 3])}, {"temperature": 2.5}, {"prior": prior},
    ]  # fmt: skip
    for change in [*changes, changes[0] | changes[1] | changes[2]]:
        changed = dataclasses.replace(of, **change)
        export_onnx(tmp_path / "m", changed, dtype="float64")
        np.testing.assert_allclose(run(tmp_path / "m", x), expected(changed, x), atol=1e-11)
        assert abs(expected(changed, x) - expected(of, x)).max() > 0.02
        export_onnx(tmp_path / "single", changed)
        single = run(tmp_path / "single", x.astype(np.float32))
        np.testing.assert_allclose(single, expected(changed, x), atol=2e-5)


def test_export_onnx__number_far_out__is_clipped_in_either_precision(tmp_path: Path) -> None:
    of = dataclasses.replace(student("target", 1, False), x_bound=np.full(D, 1 / 3))
    x = np.array([[1e30, -1e30, 1e21, 0.0, 1e12]])
    for dtype in ("float32", "float64"):
        export_onnx(tmp_path / "m", of, dtype=dtype)  # type: ignore[arg-type]
        np.testing.assert_allclose(run(tmp_path / "m", x.astype(dtype)), expected(of, x), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 1_000])
def test_export_onnx__any_number_of_rows(tmp_path: Path, count: int) -> None:
    for pair in (PAIR, pair_of(INGREDIENTS["all of them"])):
        of = student("chained", 3, False, pair=pair)
        export_onnx(tmp_path / "m", of)
        found = run(tmp_path / "m", rows(count).astype(np.float32))
        assert found.shape == (count, 3)
        np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-5)


def test_export_onnx__float32_parameters__are_taken_as_they_are(tmp_path: Path) -> None:
    of = student("chained", 1, False)
    single = dataclasses.replace(of, target=TrainedProgram(of.target.program, of.target.parameters.astype(np.float32)))
    export_onnx(tmp_path / "m", single)
    double = dataclasses.replace(
        of, target=TrainedProgram(of.target.program, single.target.parameters.astype(np.float64))
    )
    x = rows().astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "m", x), expected(double, x.astype(np.float64)), atol=1e-5)


def test_file__is_checked_small_reproducible_and_names_its_origin(tmp_path: Path) -> None:
    of = student("chained", 3, False)
    for name in ("a", "b"):
        export_onnx(tmp_path / name, of, properties={"classes": '["größer", "kleiner", "?"]'})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    model = onnx.load(tmp_path / "a")
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.opset_import[0].version, model.ir_version) == ("lupi", 17, 8)
    assert {each.key: each.value for each in model.metadata_props} == {"classes": '["größer", "kleiner", "?"]'}
    assert [each.dim_param or each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim] == ["rows", D]
    kept = sum(np.prod(each.dims) for each in model.graph.initializer)
    learned = 3 * (of.target.program.n_parameters - of.target.program.n_scalars)
    assert learned <= kept <= learned + 2 * D + 20  # without the learned weights of the tasks


def test_export_onnx__shared__leaves_the_privileged_heads_out(tmp_path: Path) -> None:
    export_onnx(tmp_path / "m", student("shared", 1, False))
    shapes = [list(each.dims) for each in onnx.load(tmp_path / "m").graph.initializer]
    assert [3, 7, 1] in shapes
    assert [3, 7, 6] not in shapes


def test_student__parts_that_do_not_fit__raise() -> None:
    good = student("pair", 1, False)
    target, regressor = good.target, good.regressor
    bad: list[tuple[dict[str, Any], str]] = [
        ({"target": regressor, "regressor": None}, 'found "privileged"'),
        ({"target": fitted("chained", 1, False)}, 'a regressor of kind "privileged" beside'),
        ({"regressor": target}, 'a regressor of kind "privileged" beside'),
        ({"regressor": fitted("privileged", 1, False, columns=(NUMBER,))}, "of widths 5 and 1 beside"),
        ({"target": TrainedProgram(target.program, target.parameters[:, 1:])}, "expected parameters"),
        ({"target": TrainedProgram(target.program, target.parameters[0])}, "expected parameters"),
        ({"target": TrainedProgram(target.program, target.parameters[:0])}, "expected parameters"),
        ({"target": TrainedProgram(target.program, np.full_like(target.parameters, np.nan))}, "finite parameters"),
        ({"x_shift": np.zeros(D + 1)}, "expected x_shift"),
        ({"x_scale": np.full(D, np.inf)}, "finite x_scale"),
        ({"z_shift": np.zeros(5)}, "z_shift and z_scale both"),
        ({"regressor": None, "z_shift": np.zeros(5), "z_scale": np.ones(5)}, "z_shift and z_scale both"),
        ({"z_shift": np.zeros(4), "z_scale": np.ones(5)}, "expected z_shift"),
        ({"y_unit": np.nan}, "finite y_unit"),
        ({"x_bound": np.zeros(D + 1)}, "expected x_bound"),
        ({"temperature": 0.0}, "temperature > 0"),
        ({"temperature": np.inf}, "finite temperature"),
        ({"prior": np.ones(3) / 3}, r"expected prior \[2\]"),
        ({"prior": np.zeros(2)}, "not all of them 0"),
        ({"prior": np.array([-0.5, 1.5])}, "frequencies >= 0"),
        ({"target": fitted("target", 1, True), "prior": np.ones(2) / 2}, "no prior beside a numeric"),
    ]
    for change, match in bad:
        with pytest.raises(ValueError, match=match):
            dataclasses.replace(good, **change)


def test_export_onnx__bad_arguments__raise_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype float32 or float64"):
        export_onnx(tmp_path / "m", student("target", 1, False), dtype="float16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a folder"):
        export_onnx(tmp_path, student("target", 1, False))
    large = student("target", 1, False)
    object.__setattr__(large.target, "parameters", np.broadcast_to(np.float64(0), (2**20, 2**10)))
    with pytest.raises(ValueError, match="ONNX's limit"):
        export_onnx(tmp_path / "m", large)
    assert not list(tmp_path.iterdir())


def test_export_onnx__without_onnx__says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[onnx\]'"):
        export_onnx(tmp_path / "m", student("target", 1, False))
