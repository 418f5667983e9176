#!/usr/bin/env python3
"""The engine against a plain PyTorch loop, scikit-learn, skorch, and the matrix products alone, in one run.

    python benchmarks/engine.py [--models 512] [--epochs 40] [--device cpu] [--compile]

Every contender trains the network of the lower bound (two hidden layers of 20, Adam, batches of 128) on the shapes of
diabetes (768 x 8) and wine (6497 x 11): 64 % of the rows fit, 16 % validate once an epoch. The figures are ratios
within this run; each time is the best of several rounds, which take turns. The matrix products are those of training
and validation in the fastest layout known here: no program that does them can be faster.
Prints a table and writes it to results/benchmarks/engine.md.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lupi import rng  # noqa: E402
from lupi.columns import Column  # noqa: E402
from lupi.engine.batches import Knobs  # noqa: E402
from lupi.engine.mlp import MLPPair  # noqa: E402
from lupi.engine.models import Arrays, IndexSets, Models  # noqa: E402
from lupi.engine.options import TrainingOptions  # noqa: E402
from lupi.engine.programs import PROGRAMS  # noqa: E402
from lupi.engine.training import Engine  # noqa: E402
from studies.grid import Grid  # noqa: E402

SHAPES = {"diabetes": (768, 8), "wine": (6497, 11)}
BATCH, HIDDEN, ROUNDS = 128, (20, 20), 3


class Problem:
    """Made-up data of a given shape, and the split that all contenders train on."""

    def __init__(self, n: int, d: int) -> None:
        draw = np.random.default_rng(0)
        self.x = draw.normal(size=(n, d))
        self.y = (self.x[:, 0] + draw.normal(size=n) > 0).astype(np.int64)
        order = draw.permutation(n)[: int(0.8 * n)]
        cut = int(0.8 * len(order))
        self.fit, self.validation = order[:cut], order[cut:]


def engine(problem: Problem, models: int, epochs: int, device: str, compiled: bool) -> float:
    """Seconds a model and epoch of the engine with `models` rows at once."""
    d, ones = problem.x.shape[1], np.ones(models)
    knobs = {"epsilon": 1.0, "temperature": 1.0, "repulsion": 1.0, "hard": 1.0, "lr": 1e-3, "epochs": epochs}
    names = [*Knobs.__dataclass_fields__, "epochs", "lr", "weight_decay"]
    rows = Models(
        seed=rng.keys(np.arange(models)),
        fit=IndexSets([problem.fit]),
        fit_of=np.zeros(models, np.intp),
        validation=IndexSets([problem.validation]),
        validation_of=np.zeros(models, np.intp),
        x_center=np.zeros((models, d)),
        x_scale=np.ones((models, d)),
        z_center=np.zeros((models, 0)),
        z_scale=np.ones((models, 0)),
        z_of=np.full(models, -1),
        teacher_of=np.full(models, -1),
        y_center=0 * ones,
        y_scale=ones,
        class_weights=np.ones((models, 2)),
        knobs={name: knobs.get(name, 0.0) * ones for name in names},
    )
    y = torch.as_tensor(problem.y)
    arrays = Arrays(torch.as_tensor(problem.x), y[:, None], y, torch.zeros(1, len(y), 0))
    columns: tuple[Column, ...] = ()
    options = TrainingOptions(patience=epochs, width=models, device=device, compile=compiled)
    trainer = Engine(PROGRAMS["target"](d, columns, 1, False, MLPPair((), HIDDEN)), arrays, rows, options)
    start = time.perf_counter()
    trainer.train()
    return (time.perf_counter() - start) / models / epochs


def plain_loop(problem: Problem, epochs: int) -> float:
    """Seconds an epoch of one model in the loop that everybody writes."""
    x = torch.as_tensor(problem.x, dtype=torch.float32)
    y = torch.as_tensor(problem.y, dtype=torch.float32)
    net = _network(problem.x.shape[1])
    optimiser = torch.optim.Adam(net.parameters())
    loss = torch.nn.BCEWithLogitsLoss()
    fit, validation = torch.as_tensor(problem.fit), torch.as_tensor(problem.validation)
    best, kept = float("inf"), net.state_dict()
    start = time.perf_counter()
    for _ in range(epochs):
        for batch in fit[torch.randperm(len(fit))].split(BATCH):
            optimiser.zero_grad()
            loss(net(x[batch]).squeeze(1), y[batch]).backward()
            optimiser.step()
        with torch.no_grad():
            value = loss(net(x[validation]).squeeze(1), y[validation]).item()
        if value < best:
            best, kept = value, {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.load_state_dict(kept)
    return (time.perf_counter() - start) / epochs


def scikit_learn(problem: Problem, epochs: int) -> float:
    """Seconds an epoch of MLPClassifier, which validates nothing here."""
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(HIDDEN, batch_size=BATCH, max_iter=epochs, n_iter_no_change=epochs, tol=0.0)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(problem.x[problem.fit], problem.y[problem.fit])
    return (time.perf_counter() - start) / int(net.n_iter_)


def skorch(problem: Problem, epochs: int) -> float:
    """Seconds an epoch of skorch's NeuralNetBinaryClassifier with its own validation split."""
    from skorch import NeuralNetBinaryClassifier
    from skorch.dataset import ValidSplit

    rows = np.concatenate([problem.fit, problem.validation])
    net = NeuralNetBinaryClassifier(
        _network(problem.x.shape[1]), max_epochs=epochs, batch_size=BATCH, optimizer=torch.optim.Adam, lr=1e-3,
        iterator_train__shuffle=True, train_split=ValidSplit(0.2), verbose=0,
    )  # fmt: skip
    start = time.perf_counter()
    net.fit(problem.x[rows].astype(np.float32), problem.y[rows].astype(np.float32))
    return (time.perf_counter() - start) / epochs


def ceiling(problem: Problem, models: int, device: str) -> float:
    """Seconds a model and epoch of the batched products of training and validation, in their fastest layouts, alone."""
    sizes = (problem.x.shape[1], *HIDDEN, 1)
    weights = [torch.randn(models, o, i, device=device) for i, o in itertools.pairwise(sizes)]

    def products(rows: int, backward: bool) -> Callable[[], None]:
        x = torch.randn(models, rows, sizes[0], device=device)
        h1, h2, g1, g2 = (torch.randn(models, size, rows, device=device) for size in HIDDEN * 2)
        y = torch.randn(models, 1, rows, device=device)
        d1 = torch.empty(models, sizes[0], HIDDEN[0], device=device)
        d2, d3 = torch.empty_like(weights[1]), torch.empty_like(weights[2])

        def run() -> None:
            torch.bmm(weights[0], x.mT, out=h1)
            torch.bmm(weights[1], h1, out=h2)
            torch.bmm(weights[2], h2, out=y)
            if backward:
                torch.bmm(y, h2.mT, out=d3)
                torch.mul(weights[2].mT, y, out=g2)
                torch.bmm(g2, h1.mT, out=d2)
                torch.bmm(weights[1].mT, g2, out=g1)
                torch.bmm(x.mT, g1.mT, out=d1)

        return run

    full, rest = divmod(len(problem.fit), BATCH)
    whole, last, check = products(BATCH, True), products(max(rest, 1), True), products(len(problem.validation), False)
    repeats = max(1, 40 // full)
    start = time.perf_counter()
    for _ in range(repeats):
        for _ in range(full):
            whole()
        if rest:
            last()
        check()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats / models


def _network(d: int) -> torch.nn.Module:
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return torch.nn.Sequential(linear(d, HIDDEN[0]), relu(), linear(*HIDDEN), relu(), linear(HIDDEN[1], 1))


def measure(name: str, models: int, epochs: int, device: str, compiled: bool) -> list[list[str]]:
    problem = Problem(*SHAPES[name])
    contenders: dict[str, Callable[[], float]] = {
        f"engine, {models} models": lambda: engine(problem, models, epochs, device, compiled),
        "engine, 100 models": lambda: engine(problem, 100, epochs, device, compiled),
        "plain PyTorch loop": lambda: plain_loop(problem, max(epochs // 4, 5)),
        "scikit-learn MLPClassifier": lambda: scikit_learn(problem, max(epochs // 4, 5)),
        "skorch": lambda: skorch(problem, max(epochs // 8, 3)),
        "matrix products alone": lambda: ceiling(problem, 128, device),
    }
    for contender in contenders.values():  # warm up: imports, compilation, memory
        contender()
    rounds = [{label: contender() for label, contender in contenders.items()} for _ in range(ROUNDS)]
    best = {label: min(times[label] for times in rounds) for label in contenders}
    steps = -(-len(problem.fit) // BATCH)
    first = next(iter(best.values()))
    return [
        [name, label, f"{1e6 * s:,.1f}", f"{1e6 * s / steps:,.1f}", f"{60e3 * s:,.2f}", f"{s / first:.2f}"]
        for label, s in best.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    headings = ["shape", "contender", "µs a model-epoch", "µs a step", "ms a model (60 epochs)", "engine = 1"]
    rows = []
    for name in SHAPES:
        epochs = max(options.epochs * 768 // SHAPES[name][0], 5)
        rows += measure(name, options.models, epochs, options.device, options.compile)
    table = Grid.of(headings, rows)
    print(table.console())
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.device}"
    text = table.markdown()
    target = ROOT / "results" / "benchmarks" / "engine.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    command = "python benchmarks/engine.py " + " ".join(sys.argv[1:])
    target.write_text(f"# Engine\n\n`{command.strip()}` on {machine}.\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
