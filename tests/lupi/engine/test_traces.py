"""Traces: from training through the store to figures, tables and the report, with every gap named."""

import dataclasses
import itertools
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text

import datasets
from lupi.engine.traces import Trace, averaged, unpacked
from lupi.methods.options import StudyOptions
from lupi.study import records
from lupi.study.run import Results, run, splits_of
from studies.grid import Grid
from studies.report import parts, sections
from studies.report.figures import conflicts as conflict_figures
from studies.report.figures import weights as weight_figures
from studies.report.figures.style import COLUMN, PAGE
from studies.store import Store
from studies.views import traces as trace_tables
from tests.conftest import Command
from tests.studies import frames
from tests.studies.report.test_figures import beyond_the_axes, texts
from tests.studies.test_store import CONFIG, record

PRECISION = 2.0**-11

# ---------------------------------------------------------------------- precision

numbers = st.floats(2.0**-100, 2.0**100, width=32) | st.sampled_from([0.0, np.nan, np.inf])


@st.composite
def any_trace(draw: st.DrawFn) -> Trace:
    """Weights and norms of any size, cosines of a third of the pairs unknown; a task without gradient has none."""
    epochs, k = draw(st.integers(1, 9)), draw(st.integers(2, 5))
    many = st.lists(numbers, min_size=epochs * k, max_size=epochs * k)
    weights, norms = (np.array(draw(many), np.float32).reshape(epochs, k) for _ in range(2))
    weights *= np.where(draw(st.booleans()), 1, -1)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    cosines = random.uniform(-1, 1, (epochs, k, k)).astype(np.float32)
    cosines[random.random(cosines.shape) < 0.3] = np.nan
    cosines = (cosines + cosines.transpose(0, 2, 1)) / 2
    cosines[:, range(k), range(k)] = np.where(np.isfinite(norms) & (norms > 0), 1.0, np.nan)
    return Trace(weights, norms, cosines)


@given(any_trace())
def test_packed__any_trace__comes_back_within_the_precision(trace: Trace) -> None:
    found = unpacked(trace.packed(), trace.weights.shape[1])
    for field in dataclasses.fields(Trace):
        put, got = getattr(trace, field.name), getattr(found, field.name)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, put, rtol=PRECISION, atol=0)  # NaN and infinity are themselves


def test_packed__size__is_about_two_bytes_a_number() -> None:
    row = frames.traces(splits=120).iloc[119]
    trace = Trace(row["weights"], row["norms"], row["cosines"])
    assert len(trace.packed()) < 2.5 * len(trace.weights) * 5  # two weights, two norms, one cosine
    assert len(zlib.decompress(trace.packed())) == 4 * len(trace.weights) * 5


# ---------------------------------------------------------------------- members


def test_averaged__members__count_where_they_have_the_task_and_still_train() -> None:
    nan = np.nan
    one = Trace(np.array([[1, nan], [3, 1]]), np.array([[1, nan], [1, 5]]), np.ones((2, 2, 2)))
    two = Trace(np.array([[3, nan], [5, 3], [7, 9]]), np.array([[3, nan], [nan, 7], [2, 2]]), np.zeros((3, 2, 2)))
    mean = averaged([one, two])
    np.testing.assert_array_equal(mean.weights, [[2, nan], [4, 2], [7, 9]])
    np.testing.assert_array_equal(mean.norms, [[2, nan], [1, 6], [2, 2]])
    np.testing.assert_array_equal(mean.cosines[:, 0, 1], [0.5, 0.5, 0])
    assert averaged([one]) is one


def small_study(**more: Any) -> Results:
    data = datasets.load("clean-labels:n=60,seed=1")
    plain: dict[str, Any] = {
        "methods": ("lower", "PFD", "MT", "MT-PFD"), "balance": ("own", "equal", "dwa"), "trace": True, "folds": 2,
        "repeats": 1, "inner_folds": 2, "epochs": 4, "regressor_layers": (3,), "classifier_layers": (3,),
    }  # fmt: skip
    options = StudyOptions(**(plain | more))
    return run(data, options, splits_of(data, options, [0]))


def test_records__balanced_arms__have_the_mean_trace_of_their_members(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Trace]] = []

    def spy(traces: list[Trace]) -> Trace:
        seen.append(traces)
        return averaged(traces)

    monkeypatch.setattr(records, "averaged", spy)
    found = small_study(members=2).records
    columns = datasets.load("clean-labels:n=60,seed=1").Z.columns.tolist()
    assert {len(traces) for traces in seen} == {2}
    assert all(not np.array_equal(one.weights[1:], two.weights[1:]) or np.all(one.weights == one.weights[0])
               for one, two in seen)  # fmt: skip
    for arm in found:
        balanced = "+" in arm["method"]
        assert ("trace" in arm) == balanced, arm["method"]
        if not balanced:
            continue
        trace, tasks = arm["trace"], arm["tasks"]
        base = arm["method"].partition("+")[0]
        assert tasks == ["target", "distillation", *(columns if base != "PFD" else [])]
        assert trace.weights.shape == (4, len(tasks))
        absent = np.isnan(trace.weights).all(0)
        assert absent[1] == (base == "MT")
        assert (absent[2:] == (arm["control"] == "absent")).all()
        if "equal" in arm["method"]:
            assert (trace.weights[:, ~absent] == 1).all()
    controls = {(arm["method"], arm["control"]) for arm in found if "trace" in arm}
    assert {("MT+dwa", "none"), ("MT+dwa", "shuffled"), ("MT+dwa", "noise"), ("MT+dwa", "absent")} <= controls


def test_records__without_trace__have_none() -> None:
    assert not [arm for arm in small_study(trace=False).records if "trace" in arm or "tasks" in arm]


# ---------------------------------------------------------------------- the store


def traced_record(fold: int = 0, **more: Any) -> dict[str, Any]:
    row = frames.traces(splits=9).iloc[fold]
    return record(fold, tasks=row["tasks"], trace=Trace(row["weights"], row["norms"], row["cosines"]), **more)


def test_store__traces__come_back_and_results_have_none_of_them(tmp_path: Path) -> None:
    put = [traced_record(0, control="none"), traced_record(1), traced_record(1, control="shuffled"), record(2)]
    with Store(tmp_path, CONFIG) as store:
        store.add("one", [0], 4, 1.0, put)
        store.add("two", [0], 1, 1.0, [traced_record(0, method="MT+dwa")])
    with Store(tmp_path, CONFIG) as store:
        assert store.traced() == [("one", "MT"), ("two", "MT+dwa")]
        found = store.traces("one", "MT")
        assert not {"tasks", "trace", "weights"} & set(store.results().columns)
    assert found["value"].isna().all()
    assert found[["dataset", "control", "swept", "repeat", "fold"]].to_numpy().tolist() == [
        ["one", "none", "", 0, 0], ["one", "none", "", 0, 1], ["one", "shuffled", "", 0, 1],
    ]  # fmt: skip
    for row, was in zip(found.to_dict("records"), put, strict=False):
        assert row["tasks"] == was["tasks"]
        for field in dataclasses.fields(Trace):
            np.testing.assert_allclose(row[field.name], getattr(was["trace"], field.name), rtol=PRECISION)


def test_store__without_traces__has_no_table_for_them_and_says_that_there_are_none(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as store:
        store.add("one", [0], 1, 1.0, [record()])
        assert store.traced() == []
        assert store.traces("one", "MT").empty
        assert trace_tables.views(store) == []
        tables = store._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert sorted(tables) == [("chunks",), ("results",), ("splits",)]


def test_store__chunk_that_fails__leaves_no_trace(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as store:
        store.add("one", [0], 1, 1.0, [traced_record(0)])
        with pytest.raises(sqlite3.IntegrityError):
            store.add("one", [1], 2, 1.0, [traced_record(1, repeat=1), record(2), record(2)])
        assert store.traces("one", "MT")["fold"].tolist() == [0]


# ---------------------------------------------------------------------- views


def test_course__two_splits__worked_out_by_hand() -> None:
    """Splits of 2 and 1 epochs: shares 1/4, 3/4 and -1/2, 1/2; then 1/5 and 4/5 of the first split alone."""
    nan = np.nan
    cosines = [np.array([[[1, 0.5], [0.5, 1]], [[1, -0.1], [-0.1, 1]]]), np.array([[[1, nan], [nan, 1]]])]
    traces = pd.DataFrame({
        "dataset": "one", "method": "MT+dwa", "control": "none", "swept": "", "value": nan,
        "tasks": [["target", "a"], ["target", "b"]],
        "weights": [np.array([[1.0, 3.0], [2.0, 8.0]]), np.array([[-4.0, 4.0]])], "cosines": cosines,
    })  # fmt: skip
    found = trace_tables.weighed(traces)
    assert found is not None
    assert (found.tasks, found.twin) == (("target", "the chosen column"), None)
    own = found.own
    assert (own.splits, own.left.tolist()) == (2, [2, 1])
    np.testing.assert_allclose(own.middle, [[-0.125, 0.625], [0.2, 0.8]])
    np.testing.assert_allclose(own.low, [[-0.425, 0.525], [0.2, 0.8]])
    np.testing.assert_allclose(own.high, [[0.175, 0.725], [0.2, 0.8]])
    np.testing.assert_allclose(own.first, [-0.125, 0.625])
    np.testing.assert_allclose(own.last, [-0.15, 0.65])
    np.testing.assert_allclose(own.cosines, [[1, 0.2], [0.2, 1]])
    np.testing.assert_allclose(own.conflicts, [0, 0.5])


def test_weighed__task_that_a_method_lacks__is_left_out() -> None:
    traces = frames.traces(tasks=("target", "distillation", "Glucose"))
    for weights in traces["weights"]:
        weights[:, 1] = np.nan
    found = trace_tables.weighed(traces)
    assert found is not None
    assert found.twin is not None
    assert found.tasks == ("target", "Glucose")
    assert found.own.middle.shape[1] == len(found.twin.last) == 2
    np.testing.assert_allclose(found.own.middle.sum(1)[:1], 1, atol=0.2)
    assert trace_tables.weighed(traces[traces["control"] == "absent"]) is None
    assert trace_tables.weighed(traces.assign(swept="epsilon", value=5.0)) is None
    alone = frames.traces(controls=("absent",)).assign(control="none")
    assert trace_tables.weighed(alone) is None


def test_weighed__column_called_like_a_task__is_told_from_it() -> None:
    (found,) = frames.weighed("MT+dwa", tasks=("target", "distillation", "target"))
    assert found.tasks == ("target", "distillation", "target (Z)")


def test_grid__rows__have_shares_and_cosines_of_every_task() -> None:
    found = frames.weighed("MT+dwa", "MT+nash-mtl", tasks=("target", "a", "b"))
    grid = trace_tables.grid(found)
    rows = grid.rows
    assert grid.headings == trace_tables.HEADINGS
    names = itertools.product(("MT+dwa", "MT+nash-mtl"), ("target", "a", "b"))
    assert [tuple(row[:2]) for row in rows] == list(names)
    assert sum(float(row[3]) for row in rows[:3]) == pytest.approx(100, abs=0.2)
    assert rows[0][5:] == ("–", "–", "–")
    assert float(rows[1][5]) == pytest.approx(found[0].own.cosines[0, 1], abs=0.005)
    (line, _) = trace_tables.lines(found)
    assert line.startswith(f"one, MT+dwa: weights in the last epoch: target {100 * found[0].own.last[0]:.1f} %, a ")
    assert "(shuffled twin: " in line
    without = dataclasses.replace(found[0], twin=None)
    assert "twin" not in trace_tables.lines([without])[0]
    assert trace_tables.grid([without]).rows[0][4] == "–"


# ---------------------------------------------------------------------- figures

METHODS = ("MT+dwa", "MT-PFD+auxinash:bound=0.5,every=3", "AUX+equal")
TASKS = (("target", "Glucose"), ("target", "distillation", "a", "BMI of the mother", "$a$ $", "b"),
         ("target", *"abcdefghijk"))  # fmt: skip


def drawn() -> dict[str, Figure]:
    found = {}
    for tasks, width in [*itertools.product(TASKS[:2], (PAGE, COLUMN)), (TASKS[2], COLUMN)]:
        views = frames.weighed(*METHODS[: 1 if len(tasks) > 6 else 3], tasks=tasks)
        for draw in (weight_figures.weights, conflict_figures.conflicts):
            found[f"{draw.__name__}, {len(tasks)} tasks, {width} in"] = draw(views, width=width, title="one, MT")
    return found


@pytest.mark.slow
def test_figures__texts__lie_inside_and_do_not_overlap() -> None:
    for name, figure in drawn().items():
        hidden = beyond_the_axes(figure) | {
            text for axes in figure.axes if not axes.get_visible() for text in axes.findobj(Text)
        }
        shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
        boxes = {text: text.get_window_extent() for text in shown}
        for text, box in boxes.items():
            where = f"{name}: {text.get_text()!r} at {box.bounds}, the figure has {figure.bbox.bounds}"
            assert box.x0 >= -1, where
            assert box.y0 >= -1, where
            assert box.x1 <= figure.bbox.x1 + 1, where
            assert box.y1 <= figure.bbox.y1 + 1, where
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
            assert not overlap, f"{name}: {one.get_text()!r} and {other.get_text()!r}"


def test_weights__curves__are_the_medians_of_the_traces() -> None:
    views = frames.weighed("MT+dwa", "MT+nash-mtl", tasks=("target", "a", "b"))
    traces = frames.traces("MT+dwa", tasks=("target", "a", "b"))
    figure = weight_figures.weights(views)
    first = figure.axes[0]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["MT+dwa", "MT+nash-mtl"]
    for control, style in (("none", "-"), ("shuffled", "--")):
        lines = [line for line in first.get_lines() if line.get_linestyle() == style]
        weights = [w / w.sum(1, keepdims=True) for w in traces[traces["control"] == control]["weights"]]
        assert len(lines) == 3
        for k, line in enumerate(lines):
            # Of eight splits that train for 4 to 11 epochs, four are left in the eighth.
            assert line.get_xdata().tolist() == list(range(1, 9))
            expected = [np.median([w[epoch, k] for w in weights if len(w) > epoch]) for epoch in range(8)]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    labels = texts(figure)
    assert labels.count("to epoch 8: 4 of 8 splits left") == 2
    assert {"target", "a", "b", "shuffled twin", "10–90 % of the splits"} <= set(labels)


@pytest.mark.parametrize(("tasks", "scale"), [(("target", "a"), "linear"), (("target", *"abcdef"), "log")])
def test_weights__scale__is_logarithmic_where_shares_are_far_apart(tasks: tuple[str, ...], scale: str) -> None:
    assert weight_figures.weights(frames.weighed("MT+dwa", tasks=tasks)).axes[0].get_yscale() == scale


def test_weights__negative_shares__are_drawn() -> None:
    traces = frames.traces()
    for weights in traces["weights"]:
        weights[:, 1] *= -1
    found = trace_tables.weighed(traces)
    assert found is not None
    axes = weight_figures.weights([found]).axes[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < found.own.middle.min() < 0


def test_conflicts__maps__are_the_medians_of_the_traces() -> None:
    tasks = ("target", "a", "b")
    traces = frames.traces("MT+dwa", tasks=tasks)
    figure = conflict_figures.conflicts(frames.weighed("MT+dwa", tasks=tasks))
    meshes = [mesh for axes in figure.axes[:2] for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    assert len(meshes) == 2
    for mesh, control in zip(meshes, ("none", "shuffled"), strict=True):
        each = [np.median(cosines, 0) for cosines in traces[traces["control"] == control]["cosines"]]
        expected = np.median(each, 0)
        found = np.ma.getdata(mesh.get_array())[np.tril_indices(2)]
        np.testing.assert_allclose(found, expected[[1, 2, 2], [0, 0, 1]], rtol=1e-6)
        assert mesh.norm.vmin == -mesh.norm.vmax
        assert mesh.norm.vmax >= np.abs(found).max()
    assert {"method", "shuffled", "target", "b"} <= set(texts(figure))


def test_conflicts__pair_that_is_unknown__is_a_dash() -> None:
    (found,) = frames.weighed("MT+dwa", tasks=("target", "a", "b"))
    unknown = dataclasses.replace(found.own, cosines=np.full((3, 3), np.nan))
    figure = conflict_figures.conflicts([dataclasses.replace(found, own=unknown, twin=None)])
    assert texts(figure).count("–") == 3
    assert "shuffled" not in texts(figure)


def test_pages__many_methods__are_shown_by_base_method() -> None:
    few = frames.weighed(*(f"MT+{i}" for i in range(12)))
    assert [(dataset, base, len(group)) for dataset, base, group in weight_figures.pages(few)] == [("one", "", 12)]
    many = [*few, *frames.weighed("AUX+1", "MT-PFD+1"), *frames.weighed("MT+1", dataset="two")]
    assert [(dataset, base, len(group)) for dataset, base, group in weight_figures.pages(many)] == [
        ("one", "MT", 12), ("one", "AUX", 1), ("one", "MT-PFD", 1), ("two", "", 1),
    ]  # fmt: skip
    for draw in (weight_figures.weights, conflict_figures.conflicts):
        with pytest.raises(ValueError, match="no method has traces"):
            draw([])


# ---------------------------------------------------------------------- the report and the command


def test_report__section__has_figures_with_alternatives_and_the_table() -> None:
    found = [*frames.weighed("MT+dwa", "MT+nash-mtl"), *frames.weighed("MT+dwa", dataset="two")]
    shown = sections.weighing_parts(found)
    pictures = [part for part in shown if isinstance(part, parts.Picture)]
    assert [picture.text.partition(" between")[0].partition(" of the")[0] for picture in pictures] == [
        "one: shares", "one: cosines", "two: shares", "two: cosines",
    ]  # fmt: skip
    assert all(picture.narrow is not None and "for MT+dwa" in picture.text for picture in pictures)
    tables = [part for part in shown if isinstance(part, Grid)]
    assert [table.title for table in tables] == ["one: weights and conflicts", "two: weights and conflicts"]
    assert [len(table.rows) for table in tables] == [4, 2]
    assert sections.weighing_parts([]) == []


TRACED = (
    "--csv t.csv --target y --privileged z --methods lower MT --balance equal dwa --folds 2 --repeats 1 "
    "--preset paper --inner-folds 2 --epochs 6 -l_reg 3 -l_clas 3 --device cpu --out out"
)


@pytest.mark.slow
def test_command__trace__is_drawn_told_and_kept(command: Command, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False)
    done = command(f"{TRACED} --trace")
    assert done.status == 0
    names = {path.name for path in Path("out/figures").iterdir()}
    assert {f"t-{name}.{kind}" for name in ("weights", "conflicts") for kind in ("png", "pdf")} <= names
    text = Path("out/report.html").read_text(encoding="utf-8")
    assert "How the tasks were weighed" in text
    assert "t: weights and conflicts" in text
    line = "t, MT+equal: weights in the last epoch: target 50.0 %, z 50.0 % (shuffled twin: 50.0 %, 50.0 %)"
    assert line in done.out
    assert f"- {line}\n" in Path("out/table.md").read_text(encoding="utf-8")
    assert done.out.count("weights in the last epoch") == 2


def test_command__without_trace__is_as_if_there_were_none(command: Command, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False)
    done = command(TRACED)
    assert done.status == 0
    assert "last epoch" not in done.out
    assert not list(Path("out/figures").glob("t-weights*"))
    assert "How the tasks were weighed" not in Path("out/report.html").read_text(encoding="utf-8")
    database = sqlite3.connect("out/study.sqlite")
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    database.close()
    assert sorted(tables) == [("chunks",), ("results",), ("splits",)]
