#!/usr/bin/env python3
"""What privileged columns cost: a step of auxiliary learning (AUX) with 1 to 64 of them, in steps of `lower`.

All are read on the same rows, with the same trunk; each ratio is of the least times of rounds that take turns. Also how
many models are active at once, which follows from their parameters and activations. Writes
results/benchmarks/columns.md.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lupi import rng  # noqa: E402
from lupi.columns import Column  # noqa: E402
from lupi.engine.mlp import MLPPair  # noqa: E402
from lupi.engine.models import Arrays, IndexSets, Models  # noqa: E402
from lupi.engine.options import TrainingOptions  # noqa: E402
from lupi.engine.programs import PROGRAMS  # noqa: E402
from lupi.engine.training import Engine  # noqa: E402

N, D, EPOCHS, ROUNDS = 640, 20, 4, 7
KNOBS = {"hard": 1.0, "imitate": 0.0, "privileged_teacher": 0.0, "repulsion": 1.0, "temperature": 1.0, "epsilon": 0.2,
         "learned": 0.0, "smoothing": 0.0, "epochs": EPOCHS, "lr": 1e-3, "weight_decay": 0.0}  # fmt: skip


def engine(kind: str, columns: tuple[Column, ...], models: int) -> Engine:
    """Models of one program on random rows; of "target" programs z is hidden, as for `lower`."""
    draw = np.random.default_rng(0)
    width, ones = sum(column.width for column in columns), np.ones(models)
    rows = draw.permutation(N)
    y = torch.as_tensor(draw.integers(0, 2, N))
    x, z = torch.as_tensor(draw.normal(size=(N, D))), torch.as_tensor(draw.normal(size=(1, N, width)))
    table = Models(
        seed=rng.keys(np.arange(models)),
        fit=IndexSets([rows[:512]]),
        fit_of=np.zeros(models, np.intp),
        validation=IndexSets([rows[512:]]),
        validation_of=np.zeros(models, np.intp),
        x_center=np.zeros((models, D)),
        x_scale=np.ones((models, D)),
        z_center=np.zeros((models, width)),
        z_scale=np.ones((models, width)),
        z_of=np.full(models, -1 if kind == "target" else 0),
        teacher_of=np.full(models, -1),
        y_center=0 * ones,
        y_scale=ones,
        class_weights=np.ones((models, 2)),
        knobs={name: value * ones for name, value in KNOBS.items()},
    )
    program = PROGRAMS[kind](D, columns, 1, False, MLPPair())
    options = TrainingOptions(patience=EPOCHS + 1, width=models)
    return Engine(program, Arrays(x, y[:, None], y, z), table, options)


def contenders() -> dict[str, tuple[str, tuple[Column, ...]]]:
    """Name -> the kind of program, and its columns."""

    def numbers(q: int) -> tuple[Column, ...]:
        return tuple(Column(f"z{i}", i, 1) for i in range(q))

    mixed = (*numbers(16), *(Column(f"c{i}", 16 + 3 * i, 3, True) for i in range(16)))
    return {
        "lower": ("target", numbers(1)),
        "lower, beside 64 numbers": ("target", numbers(64)),
        "AUX, 1 number": ("shared", numbers(1)),
        "AUX, 8 numbers": ("shared", numbers(8)),
        "AUX, 64 numbers": ("shared", numbers(64)),
        "AUX, 1 spectrum of 64": ("shared", (Column("spectrum", 0, 64, shape=(64,)),)),
        "AUX, 16 numbers and 16 categories": ("shared", mixed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=128)
    models = parser.parse_args().models
    torch.set_num_threads(1)
    engines = {name: engine(*of, models) for name, of in contenders().items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, training in engines.items():
            start = time.perf_counter()
            training.train()
            times[name].append(time.perf_counter() - start)
    least = {name: min(of) for name, of in times.items()}
    steps = models * EPOCHS * 4
    lines = ["| model | µs a step | in steps of lower |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {1e6 * s / steps:.1f} | {s / least['lower']:.2f} |" for name, s in least.items()]
    text = "\n".join(lines)
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}, {models} models"
    print(text)
    target = ROOT / "results" / "benchmarks" / "columns.md"
    target.write_text(f"# Privileged columns\n\n`python benchmarks/columns.py` on {machine}.\n\n{text}\n", "utf-8")


if __name__ == "__main__":
    main()
