#!/usr/bin/env python3
"""The distance to change against the published procedure, on the same model and rows, in one run.

    python benchmarks/causes.py [--rows 10000] [--sample 200]

A teacher (two hidden layers of 20) is trained on 8 regular features and one privileged one; then the nearest value of
the privileged one that changes its class is sought for every row. The published procedure takes the rows one by one: a
table of the row at every value of a grid in steps of 0.01, a prediction in batches of 32 (Keras' default), the nearest
change to the left and to the right. It is timed on a sample of the rows; its results, which the size of the batches
does not alter, are compared in all rows. Times are the best of several rounds, which take turns.
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

from lupi.causes import Floats, Teacher, distance_to_change, nearest  # noqa: E402
from lupi.losses import Column  # noqa: E402
from lupi.networks import MLP  # noqa: E402
from tables import aligned  # noqa: E402

REGULAR, HIDDEN, STEP, ROUNDS = 8, (20, 20), 0.01, 5
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


def teacher_of(networks: list[Network], x: Floats, z: Floats) -> Teacher:
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
    return Teacher(mlp, parameters, x, z[:, None])


def predict(networks: list[Network], frame: pd.DataFrame, batch: int) -> Floats:
    """Probabilities [G] of class 1, averaged over networks."""
    inputs = torch.as_tensor(frame.to_numpy(dtype=np.float32))
    with torch.no_grad():
        each = [torch.cat([net(part).sigmoid() for part in inputs.split(batch)]) for net in networks]
    return np.mean([output.numpy()[:, 0] for output in each], 0)


@dataclasses.dataclass
class Published:
    """The published procedure: the nearest change to the left and to the right of some rows."""

    networks: list[Network]
    x: Floats
    z: Floats

    def __call__(self, rows: range, batch: int) -> Floats:
        names = [f"x{i}" for i in range(REGULAR)]
        found = np.full((len(rows), 2), np.nan)
        for place, row in enumerate(rows):
            grid = np.arange(self.z.min(), self.z.max(), STEP)
            frame = pd.DataFrame(np.tile(self.x[row], (len(grid), 1)), columns=names)
            frame["z"] = grid
            own = pd.DataFrame([[*self.x[row], self.z[row]]], columns=[*names, "z"])
            differs = predict(self.networks, frame, batch).round() != predict(self.networks, own, batch).round()
            left, right = grid[differs & (grid < self.z[row])], grid[differs & (grid > self.z[row])]
            if len(left):
                found[place, 0] = left.max() - self.z[row]
            if len(right):
                found[place, 1] = right.min() - self.z[row]
        return found


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(label: str, networks: list[Network], x: Floats, z: Floats, sample: int) -> list[str]:
    column, limits = Column("z", 0, 1, False), [[z.min(), z.max()]]
    published = Published(networks, x, z)
    # The teacher is made anew in every round: that is part of the work.
    contenders = {
        "ours": lambda: seconds(lambda: distance_to_change(teacher_of(networks, x, z), [column], limits)),
        "published": lambda: seconds(lambda: published(range(min(sample, len(z))), 32)) / min(sample, len(z)) * len(z),
    }
    rounds = [{name: contender() for name, contender in contenders.items()} for _ in range(ROUNDS)]
    ours, theirs = (min(each[name] for each in rounds) for name in contenders)
    mine, reference = distance_to_change(teacher_of(networks, x, z), [column], limits), published(range(len(z)), 10**9)
    # Their grid ends before the greatest value: a change in the last part of a step is not a disagreement.
    last = np.arange(z.min(), z.max(), STEP)[-1] - z
    mine[:, 1] = np.where(np.isnan(reference[:, 1]) & (mine[:, 1] > last), np.nan, mine[:, 1])
    mine_dc, reference_dc = np.abs(nearest(mine)), np.abs(nearest(reference))
    one_sided = int((np.isnan(mine) != np.isnan(reference)).any(1).sum())
    apart = np.nanmax(np.abs(mine_dc - reference_dc))
    return [
        label, f"{len(np.arange(z.min(), z.max(), STEP)):,}", f"{100 * np.isfinite(mine_dc).mean():.0f}", f"{ours:.3f}",
        f"{theirs:,.1f}", f"{1e3 * theirs / len(z):.2f}", f"{theirs / ours:,.0f}", f"{apart:.4f}", str(one_sided),
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
    headings = ["teacher", "grid points a row", "rows with a DC %", "seconds", "published: seconds", "ms a row",
                "times faster", "largest disagreement", "change in one alone"]  # fmt: skip
    rows = [
        measure("one network", networks[:1], x, z, options.sample),
        measure("one network, an outlier at 40 sd", networks[:1], x, far, max(options.sample // 5, 1)),
        measure("five networks", networks, x, z, max(options.sample // 5, 1)),
    ]
    print("\n".join(aligned([headings, *rows])))
    grid = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    text = "\n".join("| " + " | ".join(row) + " |" for row in grid)
    told = (
        f"{options.rows:,} rows, one column. Seconds of the published procedure are those of {options.sample} rows (of "
        f"{max(options.sample // 5, 1)} in the second and third case), extrapolated. Disagreement: of |DC|, over all "
        f"rows, in standard deviations; one grid step is {STEP}. Change in one alone: rows in which one of the two finds "
        "a change on a side and the other none."
    )
    target = ROOT / "results" / "benchmarks" / "causes.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    command = "python benchmarks/causes.py " + " ".join(sys.argv[1:])
    target.write_text(f"# Causes\n\n`{command.strip()}` on {machine}.\n\n{text}\n\n{told}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
