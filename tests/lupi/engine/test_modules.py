"""People's own modules as networks: a small convolutional one on images of 8 by 8 trains through the engine."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lupi import rng
from lupi.balancing import STRATEGIES
from lupi.columns import Column
from lupi.engine.batches import Batch
from lupi.engine.models import Arrays, IndexSets, Models
from lupi.engine.modules import ModuleNetwork
from lupi.engine.network import Architecture
from lupi.engine.options import TrainingOptions
from lupi.engine.programs import PROGRAMS, Program
from lupi.engine.training import Engine
from tests.lupi.engine.test_weighing import cut_and_resumed

N, SIDE = 40, 8
#: The privileged information: a sharper image of 2 by 2, which is one column, and a category.
COLUMNS = (Column("sharp", 0, 4, shape=(2, 2)), Column("level", 4, 3, True))
OPTIONS = TrainingOptions(batch_size=16, patience=3, dtype=torch.float64)


class Convolutional(nn.Module):
    def __init__(self, extra: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.GroupNorm(1, 3), nn.GELU(), nn.Flatten())
        self.head = nn.Linear(27 + extra, outputs)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        features = self.features(x)
        return self.head(features if z is None else torch.cat([features, z], 1))


class Convolutions(Architecture):
    """Every network of a study is convolutional."""

    def predictor(self, inputs: int, outputs: int) -> ModuleNetwork:
        return self._network(inputs, 0, outputs)

    def classifier(self, inputs: int, extra: int, outputs: int) -> ModuleNetwork:
        return self._network(inputs, extra, outputs)

    def trunk(self, inputs: int, outputs: int) -> ModuleNetwork:
        return self._network(inputs, 0, outputs)

    def _network(self, inputs: int, extra: int, outputs: int) -> ModuleNetwork:
        return ModuleNetwork(lambda: Convolutional(extra, outputs), inputs, extra, outputs, shape=(1, SIDE, SIDE))


def problem(kind: str) -> tuple[Program, Arrays]:
    draw = np.random.default_rng(0)
    images = draw.normal(size=(N, SIDE, SIDE))
    sharp = images.reshape(N, 2, 4, 2, 4).mean((2, 4)).reshape(N, 4) * 4
    codes = (sharp[:, 0] + 0.3 * draw.normal(size=N) > 0).astype(int)
    z = np.column_stack([sharp, np.eye(3)[draw.integers(0, 3, N)]])
    z[3, 1], z[5, 4:] = np.nan, np.nan
    program = PROGRAMS[kind](SIDE * SIDE, COLUMNS, 1, False, Convolutions())
    tensors = (torch.tensor(images.reshape(N, -1)), torch.tensor(codes[:, None]).double(), torch.tensor(codes))
    return program, Arrays(*tensors, torch.tensor(z[None]))


def models(m: int) -> Models:
    draw = np.random.default_rng(1)
    orders = [draw.permutation(N) for _ in range(3)]
    knobs = {"hard": 1.0, "imitate": 0.0, "privileged_teacher": 0.0, "repulsion": 1.0,
             "temperature": 1.0, "epsilon": 0.5, "learned": 0.0, "smoothing": 0.0, "epochs": 7.0,
             "lr": 0.01, "weight_decay": 0.0}  # fmt: skip
    return Models(
        seed=rng.keys(7, np.arange(m)),
        fit=IndexSets([order[:28] for order in orders]),
        fit_of=np.arange(m) % 3,
        validation=IndexSets([order[28:] for order in orders]),
        validation_of=np.arange(m) % 3,
        x_center=np.zeros((m, SIDE * SIDE)),
        x_scale=np.ones((m, SIDE * SIDE)),
        z_center=np.zeros((m, 7)),
        z_scale=np.ones((m, 7)),
        z_of=np.zeros(m, int),
        teacher_of=np.full(m, -1),
        y_center=np.zeros(m),
        y_scale=np.ones(m),
        class_weights=np.ones((m, 2)),
        knobs={name: np.full(m, value) for name, value in knobs.items()},
    )


def plain_loss(program: Program, modules: list[nn.Module], x: Tensor, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The target's loss and the whole one of one model, in PyTorch's own words."""
    images = x.view(-1, 1, SIDE, SIDE)
    if program.kind == "target":
        target, predicted = modules[0](images, z.nan_to_num(0.0)), None
    elif program.kind == "shared":
        target, predicted = modules[0](images).split([1, 7], 1)
    else:
        predicted = modules[0](images)
        target = modules[1](images, torch.cat([predicted[:, :4], predicted[:, 4:].softmax(1)], 1))
    loss = nn.functional.binary_cross_entropy_with_logits(target, y)
    if predicted is None:
        return loss, loss
    there = ~z[:, :4].isnan()
    squares = (predicted[:, :4] - z[:, :4].nan_to_num(0.0)).square() * there
    image = (squares.sum(1) / there.sum(1)).mean()
    known = ~z[:, 4].isnan()
    level = nn.functional.cross_entropy(predicted[known, 4:], z[known, 4:].argmax(1))
    return loss, loss + 0.5 * (image + level) / 2


def plain_training(program: Program, arrays: Arrays, table: Models, model: int) -> tuple[Tensor, int]:
    """One model trained by torch.optim.Adam: (best parameters, epochs)."""
    networks = [n for n in program.networks if isinstance(n, ModuleNetwork)]
    modules = [network._make().double() for network in networks]
    seed = table.seed[model : model + 1]
    for role, module, network in zip(program.roles, modules, networks, strict=True):
        start = network.initial(rng.keys(seed, 0, role), np.ones((1, network.inputs + network.extra), bool))
        nn.utils.vector_to_parameters(torch.tensor(start[0]), module.parameters())
    fit, check = table.fit.padded[table.fit_of[model]], table.validation.padded[table.validation_of[model]]
    optimiser = torch.optim.Adam([p for module in modules for p in module.parameters()], lr=0.01)

    def losses(of: np.ndarray) -> tuple[Tensor, Tensor]:
        return plain_loss(program, modules, arrays.x[of], arrays.z[0, of], arrays.y[of])

    def now() -> Tensor:
        return torch.cat([nn.utils.parameters_to_vector(module.parameters()).detach().clone() for module in modules])

    best, best_loss, best_epoch = now(), np.inf, 0
    for epoch in range(7):
        order = rng.permutations(rng.keys(seed, 1, epoch), np.array([len(fit)]), N)[0]
        for begin in range(0, len(fit), 16):
            optimiser.zero_grad()
            losses(fit[order[begin : begin + 16]])[1].backward()
            optimiser.step()
        with torch.no_grad():
            value = float(losses(check)[0])
        if value < best_loss:
            best, best_loss, best_epoch = now(), value, epoch + 1
        if epoch + 1 - best_epoch >= 3:
            break
    return best, epoch + 1


@pytest.mark.parametrize("kind", ["target", "chained", "shared"])
def test_convolutional_network__trained_by_the_engine__equals_a_plain_loop_over_models(kind: str) -> None:
    program, arrays = problem(kind)
    table = models(4)
    trained = Engine(program, arrays, table, OPTIONS).train()
    for model in range(4):
        expected, epochs = plain_training(program, arrays, table, model)
        assert trained.epochs[model] == epochs
        own = trained.parameters[model, : len(expected)]
        torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("strategy", [None, "auxinash"])
def test_convolutional_models__alone_or_among_others__give_the_same(strategy: str | None) -> None:
    program, arrays = problem("chained")
    table = balanced(6)
    chosen = None if strategy is None else STRATEGIES[strategy]
    together = Engine(program, arrays, table, dataclasses.replace(OPTIONS, width=4), chosen).train()
    for model in (0, 5):
        alone = Engine(program, arrays, table.take(np.array([model])), OPTIONS, chosen).train()
        torch.testing.assert_close(alone.parameters[0], together.parameters[model], rtol=0, atol=1e-10)


def balanced(m: int) -> Models:
    knobs = STRATEGIES["auxinash"].knobs
    return dataclasses.replace(models(m), strategy_parameters={k.name: np.full(m, k.default) for k in knobs})


def test_convolutional_run_with_auxinash__kept_and_resumed__is_the_same_to_the_last_bit() -> None:
    program, arrays = problem("shared")

    def engine() -> Engine:
        return Engine(program, arrays, balanced(5), OPTIONS, STRATEGIES["auxinash"])

    assert torch.equal(cut_and_resumed(engine, 3).parameters, engine().train().parameters)


def test_task_gradients__of_modules__are_those_of_autograd() -> None:
    program, arrays = problem("chained")
    engine = Engine(program, arrays, balanced(3), OPTIONS, STRATEGIES["auxinash"])
    active = engine._admit(np.arange(3))
    batch: Batch = engine._data.batch(active, torch.arange(12).expand(3, 12), np.full(3, 12))
    each, _, gradients = program.task_gradients(active.parameters, batch, engine._knobs(active), None)
    parameters = active.parameters.clone().requires_grad_()
    expected, _ = program.task_losses(program.parts(parameters), batch, engine._knobs(active), reference=True)
    torch.testing.assert_close(each, expected.detach())
    for task in range(each.shape[1]):
        (gradient,) = torch.autograd.grad(expected[:, task].sum(), parameters, retain_graph=True)
        torch.testing.assert_close(gradients[:, task], gradient)


def test_initial__weights_of_a_model__depend_on_its_key_alone_and_leave_the_global_generator() -> None:
    network = Convolutions().predictor(64, 3)
    seen = np.ones((3, 64), bool)
    before = torch.random.get_rng_state()
    three = network.initial(rng.keys(3, np.arange(3)), seen)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(network.initial(rng.keys(3, np.array([2])), seen[:1])[0], three[2])
    assert (three[0] != three[1]).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)), "no buffers.*group or layer"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1), nn.Linear(3, 2)), "no dropout"),
        (nn.Flatten, "must have parameters"),
        (lambda: nn.Linear(4, 3), r"must return \[rows, 2\]; found \[2, 3\]"),
    ],
)
def test_module__that_models_cannot_share__is_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModuleNetwork(make, 4, 0, 2)


def test_module__whose_head_is_not_last__is_refused() -> None:
    with pytest.raises(ValueError, match="the head's parameters must be the last"):
        ModuleNetwork(lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), 4, 0, 2, head="0")


def test_width__of_larger_networks__is_smaller() -> None:
    program, arrays = problem("target")
    engine = Engine(program, arrays, models(2), OPTIONS)
    wide = Engine(program, arrays, models(2), dataclasses.replace(OPTIONS, batch_size=4))
    assert 1 <= engine.width < wide.width
