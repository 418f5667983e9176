#!/usr/bin/env python3
"""What each ingredient of the preset `best` is worth: the preset, and the preset with one thing changed.

    python benchmarks/recipes.py [--data data] [--changes NAME ...] [--out results/benchmarks/recipes.md]

The recipe was chosen on these sets: 500 rows at most of phoneme (also among 25 columns of noise), obesity,
phishing_uci, abalone_rings and wine, and three made tables, one of them linear. The other sets of `benchmarks/peers.py`
were not looked at for it; what it is worth on them, that benchmark tells. The network is the plain one
(method="lower"), so that privileged information plays no part. Five folds; log loss of classes, squared error in units
of the variance of numbers; "change" is the mean over sets of the logarithm of the ratio to the preset, in %: above 0 it
does worse. One thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import peers as sets  # noqa: E402
import torch  # noqa: E402
from sklearn.datasets import make_classification, make_friedman1  # noqa: E402
from sklearn.model_selection import KFold, StratifiedKFold  # noqa: E402

from lupi.files import write_atomically  # noqa: E402
from studies.grid import Grid  # noqa: E402

ROWS = 500
REAL = ("phoneme", "obesity", "phishing_uci", "abalone_rings", "wine")

#: What is changed -> the arguments that change it.
CHANGES: dict[str, dict[str, Any]] = {
    "preset best": {},
    "no embedding": {"embedding": "none"},
    "embedding pbld": {"embedding": "pbld"},
    "standard scaling, no clip": {"scaling": "standard"},
    "no dropout": {"dropout": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "constant learning rate": {"schedule": "constant"},
    "coslog4": {"schedule": "coslog4"},
    "β₂ .999": {"beta2": 0.999},
    "no learned scale": {"input_scale": False},
    "skip connection": {"skip": True},
    "label smoothing .05": {"label_smoothing": 0.05},
    "ReLU": {"activation": "relu"},
    "Mish": {"activation": "mish"},
    "128-128": {"classifier_layers": (128, 128)},
    "all members alike": {"dropout": 0.3, "weight_decay": 0.1, "embedding_rate": 1.0},
    "5 members": {"members": 5},
    "20 members": {"members": 20},
    "one validation part for all": {"bagging": False, "calibration": "none"},
    "no temperature": {"calibration": "none"},
    "twice the epochs": {"epochs": 128, "patience": 32},
    "preset fast": {"preset": "fast"},
    "preset paper": {"preset": "paper"},
}


def made(name: str, X: np.ndarray, y: np.ndarray, classes: int | None) -> sets.Set:
    kind = KFold if classes is None else StratifiedKFold
    folds = list(kind(sets.FOLDS, shuffle=True, random_state=0).split(X, y))
    return sets.Set(name, pd.DataFrame(X).add_prefix("x"), y, classes, folds)


def made_sets() -> list[sets.Set]:
    draw = np.random.default_rng(3)
    linear = draw.normal(size=(200, 10))
    of_linear = (linear @ draw.normal(size=10) + draw.logistic(size=200) > 0).astype(np.int64)
    clusters, of_clusters = make_classification(
        ROWS, 20, n_informative=6, n_redundant=4, n_clusters_per_class=3, weights=[0.8], random_state=0
    )
    friedman, of_friedman = make_friedman1(400, 15, noise=1.0, random_state=0)
    return [
        made("friedman", friedman, of_friedman, None),
        made("clusters", np.exp(clusters / 2), of_clusters, 2),
        made("linear", linear, of_linear, 2),
    ]


def with_noise(data: sets.Set, columns: int) -> sets.Set:
    """The set among columns that tell nothing."""
    noise = np.exp(np.random.default_rng(1).normal(size=(len(data.X), columns)))
    frame = pd.concat([data.X, pd.DataFrame(noise).add_prefix("noise")], axis=1)
    return sets.Set(f"{data.name}+noise", frame, data.y, data.classes, data.folds)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--changes", nargs="*", default=[], choices=CHANGES)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "recipes.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    every = [*sets.at_hand(REAL, sets.finder(options.data), ROWS), *made_sets()]
    every += [with_noise(data, 25) for data in every if data.name == "phoneme"]
    losses: dict[str, list[float]] = {}
    rows = []
    for name in dict.fromkeys(["preset best", *(options.changes or CHANGES)]):
        start = time.perf_counter()
        losses[name] = [
            float(np.mean([sets.own_rows(data, name, CHANGES[name], fold)[0][6] for fold in range(sets.FOLDS)]))
            for data in every
        ]
        seconds = time.perf_counter() - start
        change = 100 * np.mean(np.log(np.array(losses[name]) / losses["preset best"]))
        rows.append([name, *(f"{loss:.3f}" for loss in losses[name]), f"{change:+.1f}", f"{seconds:.0f}"])
        print("  ".join(rows[-1]), flush=True)
    grid = Grid.of(["", *(data.name for data in every), "change, %", "seconds"], rows)
    given = f" --changes {' '.join(map(repr, options.changes))}" if options.changes else ""
    text = f"# Ingredients of the preset `best`\n\n`python benchmarks/recipes.py{given}`; lower is better.\n\n"
    write_atomically(options.out, (text + grid.markdown() + "\n").encode())


if __name__ == "__main__":
    main()
