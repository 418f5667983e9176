"""Balancing strategies at work in the engine."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lupi.balancing import STRATEGIES
from lupi.engine.models import Arrays, Models, Trained
from lupi.engine.programs import Program
from lupi.engine.training import Engine, Run
from tests.lupi.engine.test_training import FLOAT64, problem, rows, suited

#: Kind of program, outputs, whether the target is a number, whether there are teachers.
KINDS = [("chained", 1, False, True), ("shared", 3, False, False), ("chained", 1, True, False),
         ("target", 1, False, True)]  # fmt: skip
MANY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}{'-numeric' * kind[2]}")
#: Strategies that are tried with every kind of program; all are with the first.
EVERYWHERE = ("equal", "auxinash", "auxilearn-nonlinear", "pcgrad")


def balanced(m: int, kind: tuple[str, int, bool, bool], name: str) -> tuple[Program, Arrays, Models]:
    """m rows for a strategy, some without distillation, some without a privileged task."""
    shape, outputs, numeric, taught = kind
    program, arrays = problem(shape, outputs, numeric)
    table = suited(rows(m), outputs, numeric)
    imitate, tpd = (np.arange(m) % 3 == 1) * 0.4, (np.arange(m) % 3 == 2) * 0.6 * (not numeric)
    epsilon = table.knobs["epsilon"] * (np.arange(m) % 4 > 0)
    knobs = {**table.knobs, "imitate": imitate, "privileged_teacher": tpd, "epsilon": epsilon, "learned": 0.0 * tpd}
    values = {knob.name: np.full(m, knob.default) for knob in STRATEGIES[name].knobs}
    if "held_out" in values:
        values["held_out"] = (np.arange(m) % 2).astype(float)
    if shape == "target":
        table = dataclasses.replace(table, z_of=np.full(m, -1))
    table = dataclasses.replace(table, knobs=knobs, strategy_parameters=values)
    return program, arrays if taught else dataclasses.replace(arrays, teacher=None), table


@MANY
def test_static_strategy__trains_what_fixed_weights_train(kind: tuple[str, int, bool, bool]) -> None:
    # λ and ε as weights of separate tasks, or as coefficients of one loss: the same models.
    program, arrays, table = balanced(12, kind, "static")
    fixed = Engine(program, arrays, table, FLOAT64).train()
    weighed = Engine(program, arrays, table, FLOAT64, STRATEGIES["static"]).train()
    np.testing.assert_array_equal(weighed.epochs, fixed.epochs)
    torch.testing.assert_close(weighed.parameters, fixed.parameters, rtol=0, atol=1e-9)


def test_traced_training__is_the_same_as_untraced() -> None:
    program, arrays, table = balanced(9, KINDS[0], "auxinash")
    one, two = (
        Engine(program, arrays, table, dataclasses.replace(FLOAT64, trace=trace), STRATEGIES["auxinash"]).train()
        for trace in (False, True)
    )
    assert torch.equal(one.parameters, two.parameters)
    assert one.traces is None
    assert two.traces is not None
    assert [len(trace.weights) for trace in two.traces] == two.epochs.tolist()


def test_trace__of_equal_weights__has_ones_and_cosines_and_gaps_where_a_task_is_absent() -> None:
    program, arrays, table = balanced(8, KINDS[0], "equal")
    traced = Engine(program, arrays, table, dataclasses.replace(FLOAT64, trace=True), STRATEGIES["equal"]).train()
    assert traced.traces is not None
    for row, trace in enumerate(traced.traces):
        absent = np.array([False, row % 3 == 0, row % 4 == 0, row % 4 == 0])
        np.testing.assert_array_equal(
            trace.weights, np.broadcast_to(np.where(absent, np.nan, 1.0), (len(trace.weights), 4))
        )
        assert np.isnan(trace.norms[:, absent]).all()
        assert (trace.norms[:, ~absent] > 0).all()
        there = trace.cosines[:, ~absent][:, :, ~absent]
        np.testing.assert_allclose(np.diagonal(there, axis1=1, axis2=2), 1.0, atol=1e-6)
        np.testing.assert_allclose(there, there.swapaxes(1, 2), atol=1e-6)
        assert (np.abs(there) <= 1 + 1e-6).all()


def test_one_task__has_nothing_to_weigh() -> None:
    program, arrays, table = balanced(3, ("target", 1, False, False), "equal")
    with pytest.raises(ValueError, match="equal weighs at least two tasks; these models have one, target"):
        Engine(program, arrays, table, FLOAT64, STRATEGIES["equal"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [*((KINDS[0], name) for name in STRATEGIES), *((kind, name) for kind in KINDS[1:] for name in EVERYWHERE)],
)
def test_balanced_rows__trained_alone_or_among_others__give_the_same(
    kind: tuple[str, int, bool, bool], name: str
) -> None:
    program, arrays, table = balanced(9, kind, name)
    table.knobs["epochs"][:] = 10  # of 1 to 3 steps: some learn once
    options = dataclasses.replace(FLOAT64, width=4, patience=9)
    together = Engine(program, arrays, table, options, STRATEGIES[name]).train()
    for row in (0, 5, 7):
        alone = Engine(program, arrays, table.take(np.array([row])), options, STRATEGIES[name]).train()
        assert alone.epochs[0] == together.epochs[row]
        # IMTL-G divides by the Gramian's least eigenvalues: a last digit of a nearly singular one is not the last.
        off = 1e-4 if name == "imtl-g" else 1e-9
        torch.testing.assert_close(alone.parameters[0], together.parameters[row], rtol=0, atol=off)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(STRATEGIES))
def test_run__kept_as_a_file_and_resumed__is_the_same_to_the_last_bit(name: str) -> None:
    program, arrays, table = balanced(7, KINDS[0], name)
    table.knobs["epochs"][:] = 19  # of up to 3 steps: learning before and after the cut
    options = dataclasses.replace(FLOAT64, width=4, patience=18, dtype=torch.float32, trace=True)

    def engine() -> Engine:
        return Engine(program, arrays, table, options, STRATEGIES[name])

    _assert_equal(cut_and_resumed(engine, 10), engine().train())


def cut_and_resumed(engine: Callable[[], Engine], epochs: int) -> Trained:
    """A training that stops after some epochs, is kept as a file, and goes on in an engine of its own."""
    run, file = Run(engine()), io.BytesIO()
    for _ in range(epochs):
        run.epoch()
    np.savez(file, **run.state())  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        resumed = Run(engine(), dict(kept))
    while not resumed.finished:
        resumed.epoch()
    return resumed.result()


def _assert_equal(one: Trained, two: Trained) -> None:
    assert torch.equal(one.parameters, two.parameters)
    for field in ("epochs", "best_epoch", "best_loss"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    assert one.traces is not None
    assert two.traces is not None
    for a, b in zip(one.traces, two.traces, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(a.cosines, b.cosines)
