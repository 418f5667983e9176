#!/usr/bin/env python3
"""The distance to change against the published procedure, on the same model and rows, in one run.

    python benchmarks/causes.py [--rows 10000] [--sample 200]

A teacher (two hidden layers of 20) is trained on 8 regular features and one privileged one; then the nearest value of
the privileged one that changes its class is sought for every row. The published procedure takes the rows one by one: a
table of the row at every value of a grid in steps of 0.01, a prediction in batches of 32 (Keras' default), the nearest
change to the left and to the right. It is timed on a sample of the rows; its results, which the size of the batches
does not alter, are compared in all rows (of the two harder cases, in a fifth). Times are the best of several rounds,
which take turns.
Prints a table and writes it to results/benchmarks/causes.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lupi.columns import Column  # noqa: E402
from lupi.engine.mlp import MLP  # noqa: E402
from lupi.engine.teachers import PerceptronTeacher  # noqa: E402
from lupi.evidence.causes import Floats, distance_to_change  # noqa: E402
from lupi.evidence.errors import nearest  # noqa: E402
from studies.grid import Grid  # noqa: E402

REGULAR, HIDDEN, STEP, ROUNDS, TRIES = 8, (20, 20), 0.01, 3, 10
Network = torch.nn.Sequential


def trained(x: Floats, z: Floats, y: Floats, seed: int) -> Network:
    """A teacher on [x, z], by the loop that everybody writes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        linear, relu = torch.nn.Linear, torch.nn.ReLU
        net = Network(linear(REGULAR + 1, HIDDEN[0]), relu(), linear(*HIDDEN), relu(), linear(HIDDEN[1], 1))
        inputs, target = (torch.as_tensor(v, dtype=torch.float32) for v in (np.column_stack([x, z]), y[:, None]))
        optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(8):
            for batch in torch.randperm(len(y)).split(128):
                optimiser.zero_grad()
                torch.nn.functional.binary_cross_entropy_with_logits(net(inputs[batch]), target[batch]).backward()
                optimiser.step()
    return net


def teacher_of(networks: list[Network], x: Floats, z: Floats) -> PerceptronTeacher:
    """The same networks as the toolkit holds them."""
    mlp = MLP(REGULAR, 1, HIDDEN, 1)
    parameters = torch.zeros(len(networks), mlp.n_parameters)
    layers, of_z = mlp.split(parameters)
    for m, network in enumerate(networks):
        linears = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        for i, (linear, (weight, bias)) in enumerate(zip(linears, layers, strict=True)):
            given = linear.weight.detach()
            weight[m] = given[:, :REGULAR] if i == 0 else given
            bias[m, :, 0] = linear.bias.detach()
            if i == 0:
                of_z[m] = given[:, REGULAR:]
    return PerceptronTeacher(mlp, parameters, x, z[:, None])


def predict(networks: list[Network], frame: pd.DataFrame, batch: int) -> Floats:
    """Probabilities [G] of class 1, averaged over networks."""
    inputs = torch.as_tensor(np.array(frame, dtype=np.float32))
    with torch.no_grad():
        outputs = [torch.cat([net(part).sigmoid() for part in inputs.split(batch)]) for net in networks]
    return np.asarray(np.mean([output.numpy()[:, 0] for output in outputs], 0), dtype=np.float64)


@dataclasses.dataclass
class Published:
    """The published procedure: the nearest change to the left and to the right of some rows."""

    networks: list[Network]
    x: Floats
    z: Floats

    def __call__(self, rows: range, batch: int) -> Floats:
        names = [f"x{i}" for i in range(REGULAR)]
        changes = np.full((len(rows), 2), np.nan)
        for place, row in enumerate(rows):
            grid = np.arange(self.z.min(), self.z.max(), STEP)
            frame = pd.DataFrame(np.tile(self.x[row], (len(grid), 1)), columns=names)
            frame["z"] = grid
            own = pd.DataFrame([[*self.x[row], self.z[row]]], columns=[*names, "z"])
            differs = predict(self.networks, frame, batch).round() != predict(self.networks, own, batch).round()
            left, right = grid[differs & (grid < self.z[row])], grid[differs & (grid > self.z[row])]
            if len(left):
                changes[place, 0] = left.max() - self.z[row]
            if len(right):
                changes[place, 1] = right.min() - self.z[row]
        return changes


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(label: str, networks: list[Network], x: Floats, z: Floats, sample: int, compared: int) -> list[str]:
    column, limits = Column("z", 0, 1, False), [[z.min(), z.max()]]
    published = Published(networks, x, z)
    sample = min(sample, len(z))

    def ours() -> Floats:  # the teacher is made anew in every round: that is part of the work
        return distance_to_change(teacher_of(networks, x, z), [column], limits)

    rounds = [
        (min(seconds(ours) for _ in range(TRIES)), seconds(lambda: published(range(sample), 32)) / sample)
        for _ in range(ROUNDS)
    ]
    best, a_row = (min(times) for times in zip(*rounds, strict=True))
    mine, reference = ours()[:compared], published(range(compared), 10**9)
    # Their grid ends before the greatest value: a change in the last part of a step is not a disagreement.
    grid = np.arange(z.min(), z.max(), STEP)
    last = grid[-1] - z[:compared]
    mine[:, 1] = np.where(np.isnan(reference[:, 1]) & (mine[:, 1] > last), np.nan, mine[:, 1])
    distances = np.abs(nearest(mine))
    apart = np.nanmax(np.abs(distances - np.abs(nearest(reference))))
    alone = int((np.isnan(mine) != np.isnan(reference)).any(1).sum())
    return [
        label, f"{len(grid):,}", f"{100 * np.isfinite(distances).mean():.0f}", f"{best:.3f}", f"{a_row * len(z):,.1f}",
        f"{1e3 * a_row:.2f}", f"{a_row * len(z) / best:,.0f}", f"{compared:,}", f"{apart:.4f}", str(alone),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=200, help="rows on which the published procedure is timed")
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    x, u = draw.normal(size=(options.rows, REGULAR)), draw.normal(size=options.rows)
    z = x[:, 0] + u
    z = (z - z.mean()) / z.std()
    y = (np.sin(2 * z) + x[:, 1] * z + 0.5 * x[:, 2] + 0.5 * draw.normal(size=len(z)) > 0).astype(np.float64)
    networks = [trained(x, z, y, seed) for seed in range(5)]
    far = z.copy()
    far[0] = far.min() + 40.0
    few, fifth = max(options.sample // 5, 1), max(options.rows // 5, 1)
    headings = ["teacher", "grid points", "rows with a DC %", "seconds", "published: seconds", "ms a row",
                "times faster", "rows compared", "farthest apart", "found by one alone"]  # fmt: skip
    rows = [
        measure("one network", networks[:1], x, z, options.sample, options.rows),
        measure("one network, an outlier at 40 sd", networks[:1], x, far, few, fifth),
        measure("five networks", networks, x, z, few, fifth),
    ]
    table = Grid.of(headings, rows)
    print(table.console())
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    text = table.markdown()
    note = (
        f"{options.rows:,} rows, one column. The published procedure is timed on {options.sample} rows ({few} in the "
        "second and third case), from which its seconds are extrapolated. Farthest apart: the largest difference of "
        f"|DC| in standard deviations; a grid step is {STEP}. Found by one alone: rows in which one of the two finds a "
        "change on a side, the other none."
    )
    target = ROOT / "results" / "benchmarks" / "causes.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    command = "python benchmarks/causes.py " + " ".join(sys.argv[1:])
    target.write_text(f"# Causes\n\n`{command.strip()}` on {machine}.\n\n{text}\n\n{note}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
