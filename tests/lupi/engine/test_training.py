"""The engine against a plain training loop, and the independence of its rows."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from lupi import rng
from lupi.columns import Column
from lupi.engine.batches import Knobs
from lupi.engine.mlp import MLP, MLPPair
from lupi.engine.models import Arrays, IndexSets, Models
from lupi.engine.options import TrainingOptions
from lupi.engine.programs import PROGRAMS, Program
from lupi.engine.training import Engine
from tests.lupi.engine.test_networks import plain_layers

N, D = 60, 4
COLUMNS = (Column("lab", 0, 1, False), Column("level", 1, 3, True))
Q = 4
FLOAT64 = TrainingOptions(batch_size=16, patience=3, dtype=torch.float64)


def problem(kind: str, outputs: int = 1, numeric: bool = False) -> tuple[Program, Arrays]:
    """A small data set with missing cells, two blocks of Z and two teachers."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(N, D)) * [1, 10, 0.1, 3] + [0, 5, 0, -2]
    signal = x[:, 0] + (x[:, 1] - 5) / 10 + 0.3 * draw.normal(size=N)
    lab = signal + 0.3 * draw.normal(size=N)
    levels = np.eye(3)[np.digitize(signal, [-0.7, 0.7])]
    z = np.stack([np.column_stack([lab, levels]), np.column_stack([lab[::-1], levels[::-1]])])
    x[3, 2], z[0, 5, 0], z[0, 9, 1:] = np.nan, np.nan, np.nan
    codes = np.digitize(signal, [0.0] if outputs == 1 else [-0.6, 0.6])
    y = signal[:, None] if numeric else codes[:, None].astype(float) if outputs == 1 else np.eye(outputs)[codes]
    teacher = draw.normal(size=(2, N, outputs))
    if outputs > 1:
        teacher = teacher - np.log(np.exp(teacher).sum(-1, keepdims=True))
    program = PROGRAMS[kind](D, COLUMNS, outputs, numeric, MLPPair((5,), (6, 5)))  # type: ignore[arg-type]
    return program, Arrays(
        torch.tensor(x),
        torch.tensor(y),
        None if numeric else torch.tensor(codes),
        torch.tensor(z),
        torch.tensor(teacher),
    )


def rows(m: int, **changes: Any) -> Models:
    """m rows that differ in everything that may differ."""
    draw = np.random.default_rng(1)
    orders = [draw.permutation(N) for _ in range(3)]
    fit = IndexSets([order[:length] for order, length in zip(orders, (40, 33, 16), strict=True)])
    validation = IndexSets([order[40 : 40 + length] for order, length in zip(orders, (10, 7, 20), strict=True)])
    of = np.arange(m) % 3
    uniform = lambda low, high: draw.uniform(low, high, m)  # noqa: E731
    table = Models(
        seed=rng.keys(7, np.arange(m)),
        fit=fit,
        fit_of=of,
        validation=validation,
        validation_of=of,
        x_center=draw.normal(size=(m, D)),
        x_scale=draw.uniform(0.5, 2, (m, D)) * (draw.uniform(size=(m, D)) > 0.2),
        z_center=np.zeros((m, Q)),
        z_scale=np.ones((m, Q)),
        z_of=np.arange(m) % 2,
        teacher_of=np.arange(m) % 2,
        y_center=uniform(-1, 1),
        y_scale=uniform(0.5, 2),
        class_weights=draw.uniform(0.5, 2, (m, 3)),
        knobs={
            "epochs": np.full(m, 12.0), "lr": uniform(1e-3, 3e-2), "weight_decay": uniform(0, 0.1),
            "hard": uniform(0.2, 1), "imitate": uniform(0, 1), "privileged_teacher": uniform(0, 1),
            "repulsion": uniform(0, 2), "temperature": uniform(0.5, 3), "epsilon": uniform(0, 2),
            "learned": (np.arange(m) % 2).astype(float), "smoothing": uniform(0, 0.2),
        },
    )  # fmt: skip
    return dataclasses.replace(table, **changes)


KINDS = [("target", 1, False), ("target", 3, False), ("target", 1, True), ("privileged", 1, False),
         ("chained", 1, False), ("chained", 3, False), ("chained", 1, True), ("shared", 1, False),
         ("tram", 1, False), ("tram", 3, False), ("tram++", 1, False), ("tram++", 1, True)]  # fmt: skip


def suited(table: Models, outputs: int, numeric: bool) -> Models:
    weights = table.class_weights[:, : max(outputs, 2)]
    return dataclasses.replace(table, class_weights=np.ones((len(table), 1)) if numeric else weights)


@pytest.mark.parametrize(("kind", "outputs", "numeric"), KINDS)
@pytest.mark.parametrize("protocol", [{}, {"restore_best": False, "monitor_total": True}])
def test_rows__trained_alone_or_among_fifty__give_the_same(
    kind: str, outputs: int, numeric: bool, protocol: dict[str, bool]
) -> None:
    program, arrays = problem(kind, outputs, numeric)
    options = dataclasses.replace(FLOAT64, width=20, **protocol)  # narrower than the table: rows join as others leave
    table = suited(rows(51), outputs, numeric)
    together = Engine(program, arrays, table, options).train()
    for row in (0, 13, 25, 50):
        alone = Engine(program, arrays, table.take(np.array([row])), options).train()
        assert alone.epochs[0] == together.epochs[row]
        assert alone.best_epoch[0] == together.best_epoch[row]
        torch.testing.assert_close(alone.parameters[0], together.parameters[row], rtol=0, atol=1e-10)
    assert len(np.unique(together.epochs)) > 1, "the rows stop at different epochs, or nothing was tested"


def plain_network(mlp: MLP, parameters: Tensor, inputs: Tensor) -> Tensor:
    """Outputs [rows, C] of one model for inputs [rows, width]."""
    layers = plain_layers(mlp, parameters[None], 0)
    h = inputs
    for i, (weight, bias) in enumerate(layers):
        h = torch.nn.functional.linear(h, weight, bias)
        h = h.relu() if i < len(layers) - 1 else h
    return h


def reference(
    program: Program, arrays: Arrays, table: Models, row: int, options: TrainingOptions
) -> tuple[Tensor, int]:
    """One binary model trained by torch.optim.AdamW and plain autograd: (best parameters, epochs)."""
    n_fit = table.fit.lengths[table.fit_of[row]]
    fit = table.fit.padded[table.fit_of[row], :n_fit]
    check = table.validation.padded[table.validation_of[row], : table.validation.lengths[table.validation_of[row]]]
    x = ((arrays.x - torch.tensor(table.x_center[row])) * torch.tensor(table.x_scale[row])).nan_to_num(0.0)
    z = arrays.z[table.z_of[row]]
    knob = {name: float(values[row]) for name, values in table.knobs.items()}
    weights = torch.tensor(table.class_weights[row])
    sees_x = table.x_scale[row] != 0
    networks = []
    for role, mlp in zip(program.roles, program.networks, strict=True):
        seen = sees_x if role < 2 else np.ones(mlp.inputs, bool)  # the heads of TRAM do not read x
        visible = np.concatenate([seen, np.ones(mlp.extra, bool)])[None]
        start = mlp.initial(rng.keys(table.seed[row : row + 1], 0, role), visible)
        networks.append(torch.tensor(start[0] * (role != 2), requires_grad=True))  # TRAM's head on φ alone starts at 0
    scalars = torch.full((program.n_scalars,), 0.1, dtype=torch.float64, requires_grad=True)
    groups = [{"params": networks, "weight_decay": knob["weight_decay"]}, {"params": [scalars], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=knob["lr"])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    random = torch.tensor(rng.normal(rng.keys(table.seed[row : row + 1], 3), N)).mT

    def informed(of: npt.NDArray[np.intp]) -> Tensor:
        """What the head says that is given z, and the number of each row's own in TRAM++."""
        inputs = [z[of].nan_to_num(0.0), *([random[of]] if program.kind == "tram++" else [])]
        features = plain_network(program.networks[0], networks[0], x[of]).relu()
        return plain_network(program.networks[2], networks[2], torch.cat([*inputs, features], 1))

    def outputs(of: npt.NDArray[np.intp]) -> tuple[Tensor, Tensor | None]:
        if program.kind == "target":
            return plain_network(program.networks[0], networks[0], torch.cat([x[of], z[of].nan_to_num(0.0)], 1)), None
        if program.kind == "shared":
            both = plain_network(program.networks[0], networks[0], x[of])
            return both[:, :1], both[:, 1:]
        predicted = plain_network(program.networks[0], networks[0], x[of])
        if program.kind in ("tram", "tram++"):
            return plain_network(program.networks[1], networks[1], predicted.relu().detach()), None
        read = torch.cat([predicted[:, :1], predicted[:, 1:].softmax(1)], 1)
        return plain_network(program.networks[1], networks[1], torch.cat([x[of], read], 1)), predicted

    def of_output(output: Tensor, of: npt.NDArray[np.intp]) -> Tensor:
        u, y = output[:, 0], arrays.y[of, 0]
        t = arrays.teacher[table.teacher_of[row], of, 0] / knob["temperature"]
        smooth = y * (1 - knob["smoothing"]) + 0.5 * knob["smoothing"]
        right = (t > 0) == (y > 0.5)
        tpd = torch.where(right, 1.0, knob["repulsion"]) * t.abs() * (y - u.sigmoid()).abs()
        each = (
            knob["hard"] * bce(u, smooth, reduction="none")
            + knob["imitate"] * bce(u, t.sigmoid(), reduction="none")
            + knob["privileged_teacher"] * tpd
        )
        return (each * weights[y.long()]).mean()

    def loss(of: npt.NDArray[np.intp], of_target_alone: bool = False) -> Tensor:
        output, predicted = outputs(of)
        target = of_output(output, of)
        if program.kind in ("tram", "tram++") and not of_target_alone:
            return target + of_output(informed(of), of)
        if predicted is None or of_target_alone:
            return target
        lab, level = ~z[of, 0].isnan(), ~z[of, 1].isnan()
        squared = (predicted[lab, 0] - z[of][lab, 0]).square().mean()
        entropy = torch.nn.functional.cross_entropy(predicted[level, 1:], z[of][level, 1:].argmax(1))
        if not knob["learned"]:
            return target + knob["epsilon"] * (squared + entropy) / 2
        variance = scalars.exp()
        regularised = knob["epsilon"] * squared / (2 * variance[0]) + scalars[0] / 2
        regularised = regularised + knob["epsilon"] * entropy / variance[1] + scalars[1] / 2
        return target / variance[2] + scalars[2] / 2 + regularised / 2

    def now() -> Tensor:
        return torch.cat([*networks, scalars]).detach().clone()

    best, best_loss, best_epoch = now(), np.inf, 0
    for epoch in range(int(table.knobs["epochs"][row])):
        order = rng.permutations(rng.keys(table.seed[row : row + 1], 1, epoch), np.array([n_fit]), N)[0]
        for begin in range(0, n_fit, options.batch_size):
            optimiser.zero_grad()
            loss(fit[order[begin : begin + options.batch_size]]).backward()
            optimiser.step()
        with torch.no_grad():
            value = float(loss(check, of_target_alone=not options.monitor_total))
        if value < best_loss:
            best, best_loss, best_epoch = now(), value, epoch + 1
        if epoch + 1 - best_epoch >= options.patience:
            break
    return best, epoch + 1


@pytest.mark.parametrize("row", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", ["target", "chained", "shared", "tram", "tram++"])
@pytest.mark.parametrize("total", [False, True])
def test_engine__binary_model_with_teacher_and_all_knobs__equals_a_plain_loop(kind: str, row: int, total: bool) -> None:
    program, arrays = problem(kind)
    table = suited(rows(6), 1, False)
    options = dataclasses.replace(FLOAT64, monitor_total=total)
    found = Engine(program, arrays, table, options).train()
    expected, epochs = reference(program, arrays, table, row, options)
    assert found.epochs[row] == epochs
    # Adam divides rounding noise of vanishing gradients by its eps of 1e-8: no two programs agree further.
    torch.testing.assert_close(found.parameters[row], expected, rtol=1e-7, atol=1e-7)


def test_engine__float32__stays_near_float64() -> None:
    program, arrays = problem("chained")
    table = suited(rows(6), 1, False)
    table.knobs["epochs"][:] = 2
    options = FLOAT64
    exact = Engine(program, arrays, table, options).train()
    rough = Engine(program, arrays, table, dataclasses.replace(options, dtype=torch.float32)).train()
    assert rough.parameters.dtype == torch.float32
    torch.testing.assert_close(rough.parameters.double(), exact.parameters, rtol=1e-3, atol=1e-4)


def test_engine__hidden_columns__change_nothing() -> None:
    """A row from which a column is hidden gives the same result whatever that column holds."""
    program, arrays = problem("target")
    table = suited(rows(3), 1, False)
    table.x_scale[:, 1] = 0.0
    table.z_of[:] = -1
    one = Engine(program, arrays, table, FLOAT64).train()
    x = arrays.x.clone()
    x[:, 1] = torch.randn(N)
    other = Engine(program, dataclasses.replace(arrays, x=x, z=torch.randn_like(arrays.z)), table, FLOAT64).train()
    torch.testing.assert_close(one.parameters, other.parameters, rtol=0, atol=0)


def test_engine__sample_weight_zero__removes_a_row() -> None:
    program, arrays = problem("target")
    table = suited(rows(3), 1, False)
    weight = torch.ones(N)
    weight[table.fit.padded[0, :5]] = 0.0
    spoiled = arrays.x.clone()
    spoiled[table.fit.padded[0, :5]] = 100.0
    results = [
        Engine(
            program, dataclasses.replace(arrays, x=x, sample_weight=weight), table.take(np.array([0])), FLOAT64
        ).train()
        for x in (arrays.x, spoiled)
    ]
    torch.testing.assert_close(results[0].parameters, results[1].parameters, rtol=0, atol=0)


def test_engine__diverging_row__ends_and_harms_no_other() -> None:
    program, arrays = problem("target")
    table = suited(rows(4), 1, False)
    calm = Engine(program, arrays, table, FLOAT64).train()
    table.x_scale[2] = np.inf
    wild = Engine(program, arrays, table, FLOAT64).train()
    assert wild.epochs[2] == FLOAT64.patience
    assert wild.best_loss[2] == np.inf
    assert wild.parameters[2].isnan().all(), "weights that were never any good are not handed out"
    for row in (0, 1, 3):
        torch.testing.assert_close(wild.parameters[row], calm.parameters[row], rtol=0, atol=1e-10)


def test_engine__extreme_row_in_no_set__changes_nothing() -> None:
    """Padding reads no row outside a model's own set, whatever its neighbours' lengths."""
    program, arrays = problem("chained")
    table = suited(rows(3), 1, False)
    for sets in (table.fit, table.validation):
        sets.padded[sets.padded == 0] = 1
    before = Engine(program, arrays, table, FLOAT64).train()
    z = arrays.z.clone()
    z[:, 0] = 1e200
    after = Engine(program, dataclasses.replace(arrays, z=z), table, FLOAT64).train()
    torch.testing.assert_close(after.parameters, before.parameters, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["privileged", "shared"])
def test_engine__width__changes_nothing_with_missing_cells_and_long_validation_sets(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, arrays = problem(kind)
    z = arrays.z.clone()
    z[:, ::3, 0] = torch.nan
    table = suited(rows(9), 1, False)
    found = []
    for width, at_once in ((9, 65536), (4, 65536), (9, 25), (9, 1)):
        monkeypatch.setattr("lupi.engine.training._EVALUATION_ROWS", at_once)
        options = dataclasses.replace(FLOAT64, width=width, monitor_total=True)
        found.append(Engine(program, dataclasses.replace(arrays, z=z), table, options).train())
    for other in found[1:]:
        np.testing.assert_array_equal(other.epochs, found[0].epochs)
        torch.testing.assert_close(other.parameters, found[0].parameters, rtol=0, atol=1e-10)


def test_objective__epsilon_zero__leaves_sigma_alone() -> None:
    """With ε = 0 nothing would hold ln σ, and a study that watches the total loss would never stop."""
    program, arrays = problem("chained")
    table = suited(rows(4), 1, False)
    table.knobs["learned"][:], table.knobs["epsilon"][:] = 1.0, 0.0
    table.knobs["epochs"][:] = 200
    options = dataclasses.replace(FLOAT64, monitor_total=True, restore_best=False)
    trained = Engine(program, arrays, table, options).train()
    assert (trained.epochs < 200).all()
    scalars = program.parts(trained.parameters)[-1]
    torch.testing.assert_close(scalars[:, :-1], torch.full((4, 2), 0.1, dtype=torch.float64), rtol=0, atol=0)
    assert (scalars[:, -1] != 0.1).all()


def test_engine__epochs__are_each_rows_own() -> None:
    """A row that may run for 3 epochs ends as it would have alone, beside one that may run for 7."""
    program, arrays = problem("target")
    table = suited(rows(6), 1, False)
    table.knobs["epochs"][:] = [3, 7, 3, 7, 1, 12]
    options = dataclasses.replace(FLOAT64, patience=1000)
    np.testing.assert_array_equal(Engine(program, arrays, table, options).train().epochs, [3, 7, 3, 7, 1, 12])


def test_engine__min_delta__ends_slow_progress_and_keeps_the_best() -> None:
    program, arrays = problem("target")
    table = suited(rows(6), 1, False)
    table.knobs["epochs"][:] = 60
    options = FLOAT64
    patient = Engine(program, arrays, table, options).train()
    strict = Engine(program, arrays, table, dataclasses.replace(options, min_delta=0.05)).train()
    assert (strict.epochs <= patient.epochs).all()
    assert (strict.epochs < patient.epochs).any()
    assert (strict.best_epoch >= strict.epochs - options.patience).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("kind", "outputs", "numeric"), KINDS)
def test_engine__cuda__agrees_with_the_cpu(kind: str, outputs: int, numeric: bool) -> None:
    program, arrays = problem(kind, outputs, numeric)
    table = suited(rows(9), outputs, numeric)
    options = dataclasses.replace(FLOAT64, width=4)
    here, there = (
        Engine(program, arrays, table, dataclasses.replace(options, device=d)).train() for d in ("cpu", "cuda")
    )
    np.testing.assert_array_equal(here.epochs, there.epochs)
    torch.testing.assert_close(there.parameters.cpu(), here.parameters, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("restore", [True, False])
def test_engine__restore_best__returns_the_best_or_the_last_weights(restore: bool) -> None:
    program, arrays = problem("target")
    table = suited(rows(6), 1, False)
    table.knobs["lr"][:] = 0.1
    table.knobs["epochs"][:] = 30
    options = dataclasses.replace(FLOAT64, restore_best=restore)
    long = Engine(program, arrays, table, options).train()
    ends = long.best_epoch if restore else long.epochs
    assert (long.best_epoch < long.epochs).any()
    for row in range(6):
        until = dataclasses.replace(options, patience=1000, restore_best=False)
        alone = table.take(np.array([row]))
        alone.knobs["epochs"][:] = ends[row]
        short = Engine(program, arrays, alone, until).train()
        torch.testing.assert_close(short.parameters[0], long.parameters[row], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("kind", "outputs", "numeric"), KINDS)
def test_predict__rows_of_unequal_sets__equal_the_program_applied_to_them(
    kind: str, outputs: int, numeric: bool
) -> None:
    program, arrays = problem(kind, outputs, numeric)
    table = suited(rows(5), outputs, numeric)
    table.knobs["epochs"][:] = 1
    engine = Engine(program, arrays, table, dataclasses.replace(FLOAT64, width=2))
    trained = engine.train()
    sets = IndexSets([np.arange(4), np.arange(9)])
    of = np.array([0, 1, 1, 0, 1])
    target, privileged = engine.predict(trained, sets, of)
    assert (target is None) == (kind == "privileged")
    assert (privileged is None) == (kind in ("target", "tram", "tram++"))
    for found in (target, privileged):
        if found is not None:
            assert found.shape[:2] == (5, 9)
            for row, length in enumerate(sets.lengths[of]):
                assert not found[row, :length].isnan().any()
                assert found[row, length:].isnan().all()
    if privileged is not None:
        torch.testing.assert_close(privileged[1, :, 1:].sum(1), torch.ones(9, dtype=torch.float64))
    if kind == "target" and not numeric:
        x = ((arrays.x[:9] - torch.tensor(table.x_center[1])) * torch.tensor(table.x_scale[1])).nan_to_num(0.0)
        z = arrays.z[1, :9].nan_to_num(0.0).mT[None]
        direct = program.networks[0](trained.parameters[1:2], x[None], z)
        assert target is not None
        torch.testing.assert_close(target[1, :9], direct[0].mT)


def test_program__learned_noise_on_a_frozen_network__reaches_the_loss() -> None:
    """σ² and T² settle at MSE and 2 CE when only they can move."""
    program, arrays = problem("chained")
    table = suited(rows(1), 1, False)
    table.knobs["learned"][:] = 1.0
    table.knobs["epsilon"][:] = 1.0
    table.class_weights[:] = 1.0
    engine = Engine(program, arrays, table, dataclasses.replace(FLOAT64, batch_size=64))
    active = engine._admit(np.array([0]))
    index = torch.arange(40)[None]
    batch = engine._data.batch(active, index, np.array([40]))
    parts = program.parts(active.parameters)
    scalars = parts[-1].clone().requires_grad_()
    knobs = Knobs(**{f.name: torch.tensor(table.knobs[f.name]) for f in dataclasses.fields(Knobs)})

    optimiser = torch.optim.Adam([scalars], lr=0.05)
    for _ in range(1500):
        optimiser.zero_grad()
        program.objective([*parts[:-1], scalars], batch, knobs).sum().backward()
        optimiser.step()
    target, predicted = program.outputs_of(parts, batch.x, batch.z)
    assert target is not None
    assert predicted is not None
    columns = program.privileged_losses(predicted, batch)[0][0]
    expected = torch.stack([columns[0], 2 * columns[1], 2 * program.target_loss(target, batch, knobs)[0]])
    torch.testing.assert_close(scalars.detach()[0].exp(), expected, rtol=1e-4, atol=0)
