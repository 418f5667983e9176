"""The engine with every ingredient on at once: against a loop by hand, row by row, cut and resumed."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lupi import rng
from lupi.balancing import STRATEGIES
from lupi.columns import Column
from lupi.engine import dropout
from lupi.engine.batches import Batch, Knobs
from lupi.engine.models import PLAIN_KNOBS, Arrays, Models, Trained
from lupi.engine.options import TrainingOptions
from lupi.engine.programs import PROGRAMS, Program
from lupi.engine.stored import bounded
from lupi.engine.tabular import Style, TabularPair
from lupi.engine.training import Engine
from tests.lupi.engine.test_training import COLUMNS, FLOAT64, D, N, Q, problem, rows, suited
from tests.lupi.engine.test_weighing import cut_and_resumed

STYLE = Style(
    "mish", parametric=True, embedding="pbld", frequencies=3, frequency_scale=0.3, embedding_width=3, category_width=2,
    skip=True, input_scale=True, tangent=True,
)  # fmt: skip
KINDS = ("target", "chained", "shared")
OTHERS = ("privileged", "masked", "tram", "tram++")


def everything(kind: str, m: int, style: Style = STYLE, **knobs: Any) -> tuple[Program, Arrays, Models]:
    """m models that differ in every knob, on sets of rows of their own, with bounded inputs."""
    plain, arrays = problem(kind)
    pair = TabularPair((5,), (6, 5), style).for_columns([Column(name, i, 1) for i, name in enumerate("abcd")], COLUMNS)
    columns = plain.columns
    if kind == "masked":  # which reconstructs the cells of x
        columns = tuple(Column(name, i, 1) for i, name in enumerate("abcd"))
        arrays = dataclasses.replace(arrays, z=arrays.x[None].expand(2, -1, -1).contiguous())
    program = PROGRAMS[kind](D, columns, 1, False, pair)
    table, draw, width = suited(rows(m), 1, False), np.random.default_rng(8), sum(c.width for c in columns)
    bound = np.where(draw.random((m, D)) < 0.3, 0.0, 1 / 3)
    own = {
        "dropout": np.arange(m) % 4 * 0.15, "beta2": draw.choice([0.9, 0.95, 0.999], m),
        "schedule": (np.arange(m) % 3).astype(float), "embedding_rate": draw.choice([0.0, 0.1, 1.0], m),
        "lr": draw.uniform(3e-3, 5e-2, m), **knobs,
    }  # fmt: skip
    units = {"z_center": np.zeros((m, width)), "z_scale": np.ones((m, width))}
    return program, arrays, dataclasses.replace(table, x_bound=bound, knobs=table.knobs | own, **units)


# ---------------------------------------------------------------------- bounded inputs


def test_bounded__values__follow_the_formula_and_stay_below_one_over_b() -> None:
    values = torch.tensor([0.0, 0.1, -1.0, 3.0, -30.0, 1e6, torch.nan], dtype=torch.float64)
    by_hand = [0.0, *(v / math.sqrt(1 + (v / 3) ** 2) for v in (0.1, -1.0, 3.0, -30.0, 1e6))]
    found = bounded(values.clone(), torch.tensor(1 / 3, dtype=torch.float64))
    np.testing.assert_allclose(found[:-1], by_hand, rtol=1e-14)
    assert found[:-1].abs().max() <= 3
    assert found[-1].isnan()
    assert torch.equal(bounded(values[:-1].clone(), torch.tensor(0.0, dtype=torch.float64)), values[:-1])


def test_batch__bounded_inputs__are_those_of_their_model() -> None:
    program, arrays, table = everything("target", 4)
    engine = Engine(program, arrays, table, FLOAT64)
    index = torch.arange(N)[None].expand(4, -1)
    batch = engine._data.batch(engine._admit(np.arange(4)), index, np.full(4, N))
    assert table.x_bound is not None
    raw = (arrays.x.numpy() - table.x_center[:, None]) * table.x_scale[:, None]
    expected = np.nan_to_num(raw / np.sqrt(1 + (table.x_bound[:, None] * raw) ** 2), nan=0.0)
    np.testing.assert_allclose(batch.x, expected, rtol=1e-13, atol=1e-13)
    assert np.nanmax(np.abs(raw)) > 3, "nothing was bounded"


# ---------------------------------------------------------------------- the loop by hand


def by_hand(
    program: Program, arrays: Arrays, table: Models, row: int, options: TrainingOptions
) -> tuple[Tensor, list[float]]:
    """One model trained by Adam as its paper writes it, one step after the other: (last parameters, validation losses).

    The program's own loss is differentiated by autograd; data, draws, rates and steps are made here.
    """
    knob = {name: float(values[row]) for name, values in (plain_knobs(table) | table.knobs).items()}
    knobs = Knobs(**{
        field.name: torch.tensor([knob[field.name]], dtype=torch.float64) for field in dataclasses.fields(Knobs)
    })  # fmt: skip
    seed = table.seed[row : row + 1]
    fit = table.fit.padded[table.fit_of[row], : table.fit.lengths[table.fit_of[row]]]
    check = table.validation.padded[table.validation_of[row], : table.validation.lengths[table.validation_of[row]]]
    assert table.x_bound is not None
    x = (arrays.x - torch.tensor(table.x_center[row])) * torch.tensor(table.x_scale[row])
    x = (x / (1 + (torch.tensor(table.x_bound[row]) * x) ** 2).sqrt()).nan_to_num(nan=0.0)
    z = arrays.z[table.z_of[row]]
    z = z if program.predicts_z else z.nan_to_num(nan=0.0)
    assert arrays.codes is not None
    assert arrays.teacher is not None
    weights = torch.tensor(table.class_weights[row])[arrays.codes]
    units = [network.n_dropped for network in program.networks]

    def batch(of: np.ndarray, keep: Tensor | None = None) -> Batch:
        assert arrays.teacher is not None
        taught = arrays.teacher[table.teacher_of[row], of].mT[None]
        kept = None if keep is None else tuple(keep.split(units, 1))
        return Batch(x[of][None], z[of].mT[None], arrays.y[of].mT[None], taught, weights[of][None] / len(of), keep=kept)

    sees_z = np.ones((1, table.z_scale.shape[1]), bool)
    theta = torch.tensor(program.initial(seed, table.x_scale[row : row + 1] != 0, sees_z))
    factor = np.concatenate([*(network.rates for network in program.networks), np.ones(program.n_scalars)])  # type: ignore[list-item]
    embeds = np.concatenate([*(network.embeds for network in program.networks), np.zeros(program.n_scalars, bool)])  # type: ignore[list-item]
    decayed = np.concatenate([*(network.decayed for network in program.networks), np.zeros(program.n_scalars, bool)])  # type: ignore[list-item]
    rate_of = torch.tensor(factor * np.where(embeds, knob["embedding_rate"], 1.0))
    decay_of = rate_of * torch.tensor(decayed)
    epochs, size = int(knob["epochs"]), options.batch_size
    total = math.ceil(len(fit) / size) * epochs
    mean, square, step, losses = torch.zeros_like(theta), torch.zeros_like(theta), 0, []
    for epoch in range(epochs):
        order = rng.permutations(rng.keys(seed, 1, epoch), np.array([len(fit)]), N)[0]
        for begin in range(0, len(fit), size):
            of = fit[order[begin : begin + size]]
            keep = dropout.kept(seed, np.array([step]), np.array([knob["dropout"]]), sum(units), len(of), size, theta)
            parts = program.leaves(theta)
            gradient = torch.cat(torch.autograd.grad(program.objective(parts, batch(of, keep), knobs).sum(), parts), 1)
            t = step / total
            shares = 1.0, (1 + math.cos(math.pi * t)) / 2, (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t))) / 2
            lr = knob["lr"] * shares[int(knob["schedule"])]
            step += 1
            mean = 0.9 * mean + 0.1 * gradient
            square = knob["beta2"] * square + (1 - knob["beta2"]) * gradient**2
            corrected = mean / (1 - 0.9**step), square / (1 - knob["beta2"] ** step)
            theta = theta - lr * knob["weight_decay"] * decay_of * theta
            theta = theta - lr * rate_of * corrected[0] / (corrected[1].sqrt() + 1e-8)
        losses.append(float(program.monitored(program.parts(theta), batch(check), knobs, options.monitor_total)))
    return theta[0], losses


def plain_knobs(table: Models) -> dict[str, np.ndarray]:
    return {name: np.full(len(table), value) for name, value in PLAIN_KNOBS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_engine__every_ingredient__equals_adam_by_hand(kind: str) -> None:
    program, arrays, table = everything(kind, 6, epochs=np.full(6, 4.0))
    options = dataclasses.replace(FLOAT64, patience=1000, restore_best=False)
    trained = Engine(program, arrays, table, options).train()
    for row in range(6):
        expected, losses = by_hand(program, arrays, table, row, options)
        # Adam divides rounding noise of vanishing gradients by its eps of 1e-8: no two programs agree further.
        torch.testing.assert_close(trained.parameters[row], expected, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(trained.curves[row], losses, rtol=1e-7)
        assert trained.best_loss[row] == trained.curves[row].min()


@pytest.mark.parametrize("name", list(PLAIN_KNOBS))
def test_knobs__left_out__are_the_plain_ones(name: str) -> None:
    program, arrays, table = everything("target", 3)
    table.knobs[name][:] = PLAIN_KNOBS[name]
    left_out = dataclasses.replace(table, knobs={k: v for k, v in table.knobs.items() if k != name})
    given, plain = (Engine(program, arrays, one, FLOAT64).train() for one in (table, left_out))
    assert torch.equal(given.parameters, plain.parameters)


@pytest.mark.parametrize(
    ("name", "value"), [("dropout", 0.5), ("beta2", 0.9), ("schedule", 1.0), ("embedding_rate", 0.0)]
)
def test_knobs__of_one_model__change_it_alone(name: str, value: float) -> None:
    program, arrays, table = everything("target", 3)
    table.knobs[name][:] = PLAIN_KNOBS[name]
    changed = dataclasses.replace(
        table, knobs=table.knobs | {name: np.array([PLAIN_KNOBS[name], value, PLAIN_KNOBS[name]])}
    )
    before, after = (Engine(program, arrays, one, FLOAT64).train() for one in (table, changed))
    assert not torch.equal(before.parameters[1], after.parameters[1])
    torch.testing.assert_close(after.parameters[[0, 2]], before.parameters[[0, 2]], rtol=0, atol=1e-10)


def test_embedding_rate_zero__leaves_the_embedding_as_it_began() -> None:
    program, arrays, table = everything("target", 3, embedding_rate=np.array([0.0, 0.0, 1.0]))
    engine = Engine(program, arrays, table, FLOAT64)
    began, trained = engine._initial(table), engine.train().parameters.numpy()
    embeds = program.embeds
    assert embeds is not None
    np.testing.assert_array_equal(trained[:2, embeds], began[:2, embeds])
    assert (trained[2, embeds] != began[2, embeds]).mean() > 0.5
    assert (trained[:2, ~embeds] != began[:2, ~embeds]).mean() > 0.5


def test_dropout__validation_and_prediction__have_none() -> None:
    """The loss that early stopping watched, and the outputs, are those of the whole network."""
    program, arrays, table = everything("target", 4, dropout=np.full(4, 0.5))
    engine = Engine(program, arrays, table, FLOAT64)
    trained = engine.train()
    output, _ = engine.predict(trained, table.validation, table.validation_of)
    again, _ = engine.predict(trained, table.validation, table.validation_of)
    assert output is not None
    assert again is not None
    torch.testing.assert_close(output, again, rtol=0, atol=0, equal_nan=True)
    active = engine._admit(np.arange(4), trained.parameters)
    counts = table.validation.lengths[table.validation_of]
    index = torch.as_tensor(table.validation.padded[table.validation_of])
    batch = engine._data.batch(active, index, counts)
    assert batch.keep is None
    network = program.networks[0]
    whole = network(trained.parameters, batch.x, batch.z)
    for row, count in enumerate(counts):
        torch.testing.assert_close(output[row, :count], whole[row, :, :count].mT)
    loss = program.monitored(program.parts(trained.parameters), batch, engine._knobs(active), False)
    np.testing.assert_allclose(loss, trained.best_loss, rtol=1e-12)


# ---------------------------------------------------------------------- a row does not know its neighbours


@pytest.mark.parametrize(
    ("kind", "embedding"),
    [*((kind, name) for kind in KINDS for name in ("pbld", "plr", "waves")), *((kind, "pbld") for kind in OTHERS)],
)
def test_rows__every_ingredient__trained_alone_or_among_others__give_the_same(kind: str, embedding: str) -> None:
    program, arrays, table = everything(kind, 13, dataclasses.replace(STYLE, embedding=embedding))
    options = dataclasses.replace(FLOAT64, width=6)  # narrower than the table: rows join as others leave
    together = Engine(program, arrays, table, options).train()
    for row in (0, 5, 12):
        alone = Engine(program, arrays, table.take(np.array([row])), options).train()
        assert alone.epochs[0] == together.epochs[row]
        assert alone.best_epoch[0] == together.best_epoch[row]
        torch.testing.assert_close(alone.parameters[0], together.parameters[row], rtol=0, atol=1e-10)
        np.testing.assert_allclose(alone.curves[0], together.curves[row], rtol=0, atol=1e-10)
        assert len(together.curves[row]) == together.epochs[row]
    assert len(np.unique(together.epochs)) > 1, "the rows stop at different epochs, or nothing was tested"


@pytest.mark.parametrize("strategy", ["dwa", "pcgrad"])
@pytest.mark.parametrize("kind", ["chained", "shared"])
def test_weighed_rows__every_ingredient__trained_alone_or_among_others__give_the_same(kind: str, strategy: str) -> None:
    program, arrays, table = everything(kind, 7)
    table = weighed(table, strategy)
    options = dataclasses.replace(FLOAT64, width=4)
    together = Engine(program, arrays, table, options, STRATEGIES[strategy]).train()
    for row in (0, 6):
        alone = Engine(program, arrays, table.take(np.array([row])), options, STRATEGIES[strategy]).train()
        assert alone.epochs[0] == together.epochs[row]
        torch.testing.assert_close(alone.parameters[0], together.parameters[row], rtol=0, atol=1e-9)


def weighed(table: Models, strategy: str) -> Models:
    values = {knob.name: np.full(len(table), knob.default) for knob in STRATEGIES[strategy].knobs}
    return dataclasses.replace(table, strategy_parameters=values)


@pytest.mark.parametrize("kind", KINDS)
def test_static_strategy__every_ingredient__trains_what_fixed_weights_train(kind: str) -> None:
    """The gradients of single tasks, which go by another way, drop the same units."""
    m = 6
    tpd = {"privileged_teacher": np.zeros(m), "learned": np.zeros(m), "repulsion": np.ones(m)}
    program, arrays, table = everything(kind, m, **tpd)
    if kind == "target":
        table = dataclasses.replace(table, z_of=np.full(m, -1))
    table = dataclasses.replace(table, knobs={k: np.array(v) for k, v in table.knobs.items()})
    fixed = Engine(program, arrays, table, FLOAT64).train()
    found = Engine(program, arrays, weighed(table, "static"), FLOAT64, STRATEGIES["static"]).train()
    np.testing.assert_array_equal(found.epochs, fixed.epochs)
    torch.testing.assert_close(found.parameters, fixed.parameters, rtol=0, atol=1e-9)


# ---------------------------------------------------------------------- cut and resumed


@pytest.mark.parametrize("strategy", [None, "dwa"])
@pytest.mark.parametrize("kind", KINDS)
def test_run__every_ingredient__cut_and_resumed__is_the_same_to_the_last_bit(kind: str, strategy: str | None) -> None:
    program, arrays, table = everything(kind, 7)
    if strategy is not None:
        table = weighed(table, strategy)
    options = dataclasses.replace(FLOAT64, width=4, dtype=torch.float32)

    def engine() -> Engine:
        return Engine(program, arrays, table, options, None if strategy is None else STRATEGIES[strategy])

    whole = engine().train()
    assert whole.epochs.max() > 5, "the cut falls into the training, or nothing was tested"
    for cut in (1, 5):
        assert_equal(cut_and_resumed(engine, cut), whole)


def assert_equal(one: Trained, two: Trained) -> None:
    assert torch.equal(one.parameters, two.parameters)
    for name in ("epochs", "best_epoch", "best_loss"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for a, b in zip(one.curves, two.curves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_program__of_tabular_networks__gathers_their_facts() -> None:
    program, _, _ = everything("chained", 2)
    first, second = program.networks
    n = first.n_parameters, second.n_parameters, program.n_scalars
    assert n[2] == 3
    assert program.rates is not None
    assert program.embeds is not None
    np.testing.assert_array_equal(program.rates[: n[0]], first.rates)  # type: ignore[arg-type]
    np.testing.assert_array_equal(program.rates[n[0] : -3], second.rates)  # type: ignore[arg-type]
    np.testing.assert_array_equal(program.rates[-3:], 1.0)
    assert not program.decayed[-3:].any(), "learned variances are not drawn to 0"
    assert not program.embeds[-3:].any()
    assert program.width == Q
