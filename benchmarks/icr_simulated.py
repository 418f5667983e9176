#!/usr/bin/env python3
"""How fair a stand-in the simulated ICR rows are: common learners on them, beside the same learners on the real files.

    python benchmarks/icr_simulated.py [--repeats 3] [--seeds 0 1 2 3 4] [--without CatBoost]

Natural log loss, area under the ROC curve and error rate of predictions out of fold: five stratified folds, the median
over several shuffles of them, for rows of several seeds. Learners have their makers' defaults, one thread, and X alone;
missing cells are the median where a learner cannot take them. The figures of the real files, which may not be
redistributed, are recorded ones of five folds; the learners' settings were not recorded with them, so those of the
simulated rows may differ in the MLP's. LightGBM and CatBoost run where they are installed.
Writes results/benchmarks/icr_simulated.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import log_loss, roc_auc_score  # noqa: E402
from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from lupi.files import write_atomically  # noqa: E402
from studies.sources import simulated  # noqa: E402

REAL = {
    "logistic regression": (0.395, 0.885, 10.9),
    "MLP": (0.380, 0.905, 8.1),
    "random forest": (0.245, 0.944, 8.3),
    "LightGBM": (0.223, 0.959, 7.1),
    "HistGradientBoosting": (0.210, 0.962, 6.6),
    "CatBoost": (0.188, 0.963, 6.6),
}
"""Log loss, AUC and error (%) of each learner on Kaggle's train.csv."""


def _optional(module: str, name: str, **settings: Any) -> Any:
    return getattr(importlib.import_module(module), name)(**settings)


def _scaled(learner: Any) -> Any:
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), learner)


LEARNERS: dict[str, Callable[[int], Any]] = {
    "logistic regression": lambda seed: _scaled(LogisticRegression(max_iter=2000)),
    "MLP": lambda seed: _scaled(MLPClassifier(random_state=seed)),
    "random forest": lambda seed: make_pipeline(
        SimpleImputer(strategy="median"), RandomForestClassifier(300, random_state=seed)
    ),
    "LightGBM": lambda seed: _optional("lightgbm", "LGBMClassifier", random_state=seed, n_jobs=1, verbose=-1),
    "HistGradientBoosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "CatBoost": lambda seed: _optional(
        "catboost", "CatBoostClassifier", random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False
    ),
}
"""A fresh learner of each kind, from its seed."""


def scores(learner: Callable[[int], Any], x: pd.DataFrame, y: np.ndarray, repeats: int) -> tuple[float, float, float]:
    """Medians over the repeats of log loss, AUC and error (%), out of fold."""
    found = []
    for seed in range(repeats):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # the MLP's default is 200 epochs, and so it was measured
            p = cross_val_predict(learner(seed), x, y, cv=folds, method="predict_proba")[:, 1].astype(float)
        found.append((log_loss(y, p), roc_auc_score(y, p), 100 * ((p > 0.5) != y).mean()))
    loss, auc, error = np.median(found, axis=0)
    return float(loss), float(auc), float(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="seeds of the folds")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds of the rows; 0 is the data set"
    )
    parser.add_argument("--without", nargs="*", default=[], choices=list(REAL), help="learners to leave out")
    args = parser.parse_args()

    tables = []
    for seed in args.seeds:
        train, _ = simulated.simulate_icr(seed)
        x = train.drop(columns=["Id", "Class"]).assign(EJ=(train["EJ"] == "A").astype(float)).rename(columns=str.strip)
        tables.append((x, train["Class"].to_numpy()))
    seeds = " ".join(map(str, args.seeds))
    lines = [
        "# Simulated ICR rows beside the real ones",
        "",
        f"`python benchmarks/icr_simulated.py --repeats {args.repeats} --seeds {seeds}`, version {simulated.VERSION}",
        f"of the simulation: log loss / AUC / error %, five folds, medians over {args.repeats} seeds of the folds.",
        "",
        f"| learner | real files | rows of seed {args.seeds[0]} | median over the seeds of the rows | log losses |",
        "| --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    for name in (name for name in REAL if name not in args.without):
        cells = [_cell(REAL[name])]
        try:
            found = [scores(LEARNERS[name], x, y, args.repeats) for x, y in tables]
            losses = [loss for loss, _, _ in found]
            cells += [_cell(found[0]), _cell(np.median(found, axis=0)), f"{min(losses):.3f} to {max(losses):.3f}"]
        except ModuleNotFoundError as error:
            cells += [f"{error.name} is not installed", "", ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    write_atomically(ROOT / "results" / "benchmarks" / "icr_simulated.md", "\n".join(lines) + "\n")


def _cell(values: Sequence[float] | np.ndarray) -> str:
    loss, auc, error = values
    return f"{loss:.3f} / {auc:.3f} / {error:.1f}"


if __name__ == "__main__":
    main()
