#!/usr/bin/env python3
"""The estimators in one run: a search against scikit-learn's, fits, predictions, files, and the import.

    python benchmarks/estimators.py [--parts search fit predict files import] [--full-search]

1. PrivilegedSearchCV over 24 candidates of MT-TPD on 5 folds of 2,000 rows, against GridSearchCV over the same
   estimator and the same folds; without --full-search the latter fits every sixth candidate and its time is scaled up.
2. `fit` with default parameters on 10,000 rows of 50 columns, and the peak of memory of one epoch on a million.
3. `predict_proba`, rows a second.
4. `save` and `load`, and the size of the file beside that of the weights.
5. What `import lupi` adds to `import torch`.

Seconds are those of the processor on one thread, but for the import. Writes results/benchmarks/estimators.md.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sklearn.model_selection import GridSearchCV  # noqa: E402

from lupi import PrivilegedClassifier, PrivilegedSearchCV  # noqa: E402
from lupi.files import write_atomically  # noqa: E402
from studies.grid import Grid  # noqa: E402

Floats = npt.NDArray[np.float64]

GRID: dict[str, list[float]] = {
    "lr": [1e-3, 3e-3], "epsilon": [0.3, 1.0, 3.0], "imitation": [0.25, 0.5], "weight_decay": [0.0, 1e-2],
}  # fmt: skip


def table(n: int, d: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """X [n, d], Z [n, 2] and two classes that follow Z."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=(n, 2))
    x = draw.normal(size=(n, d))
    x[:, :3] += z[:, :1]
    return x, z, (z[:, 0] + 0.5 * draw.normal(size=n) > 0).astype(np.int64)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def searching(full: bool) -> list[list[str]]:
    x, z, y = table(2000, 10)
    estimator = PrivilegedClassifier(random_state=0)
    options: dict[str, Any] = {"cv": 5, "scoring": "neg_log_loss", "refit": False}
    for search in (PrivilegedSearchCV, GridSearchCV):  # warm up: imports, memory
        search(PrivilegedClassifier(random_state=0, epochs=1), {"lr": [1e-3]}, **options).fit(x, y, privileged=z)
    fast, mine = seconds(lambda: PrivilegedSearchCV(estimator, GRID, **options).fit(x, y, privileged=z))
    candidates = mine.cv_results_["params"]
    at = np.arange(0, len(candidates), 1 if full else 6)
    some = [{name: [value] for name, value in candidates[i].items()} for i in at]
    slow, theirs = seconds(lambda: GridSearchCV(estimator, some, **options).fit(x, y, privileged=z))
    slow *= len(candidates) / len(at)
    differ = max(
        np.abs(mine.cv_results_[f"split{k}_test_score"][at] - theirs.cv_results_[f"split{k}_test_score"]).max()
        for k in range(5)
    )
    how = "" if full else f" (from {len(at)} candidates)"
    beside = f"GridSearchCV {slow:.0f} s{how}: {slow / fast:.1f}x"
    return [
        ["search, 24 candidates x 5 folds, 2,000 rows", f"{fast:.1f} s", beside],
        ["greatest difference of a score", f"{differ:.0e}", "log loss"],
    ]  # fmt: skip


def fitting() -> list[list[str]]:
    x, z, y = table(10_000, 50)
    took, model = seconds(lambda: PrivilegedClassifier(random_state=0).fit(x, y, privileged=z))
    code = (
        f"import resource, sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'benchmarks')!r}]\n"
        "import torch; torch.set_num_threads(1)\n"
        "from estimators import PrivilegedClassifier, table\n"
        "x, z, y = table(1_000_000, 50)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "PrivilegedClassifier(random_state=0, method='MT', epochs=1).fit(x, y, privileged=z)\n"
        "print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, x.nbytes // 1024)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, peak, data = map(int, printed.split())
    grown = peak - before
    return [
        ["fit of the defaults, 10,000 x 50", f"{took:.1f} s", f"{model.n_iter_} epochs at most"],
        ["memory of a fit, 1,000,000 x 50", f"{grown / 1024:.0f} MiB", f"{grown / data:.2f} x the data"],
    ]  # fmt: skip


def predicting() -> list[list[str]]:
    x, z, y = table(2_000, 50)
    model = PrivilegedClassifier(random_state=0, epochs=3).fit(x, y, privileged=z)
    many = np.tile(x, (500, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rates = [len(many) / seconds(lambda: model.predict_proba(many))[0] for _ in range(3)]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return [
        ["predict_proba, 1,000,000 x 50", f"{max(rates):,.0f} rows/s", f"{grown:.0f} MiB more, 15 of them the result"]
    ]


def keeping() -> list[list[str]]:
    x, z, y = table(2_000, 50)
    model = PrivilegedClassifier(random_state=0, epochs=3, members=5).fit(x, y, privileged=z)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        times = []
        for _ in range(10):
            start = time.perf_counter()
            model.save(path)
            PrivilegedClassifier.load(path)
            times.append(time.perf_counter() - start)
        size = path.stat().st_size
    weights = model._student["target"].nbytes
    return [["save and load", f"{1e3 * min(times):.1f} ms", f"{size / weights:.2f} x the weights ({weights:,} bytes)"]]


def importing() -> list[list[str]]:
    def took(code: str) -> float:
        command = [sys.executable, "-c", f"import torch, time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"]  # fmt: skip  # noqa: E501
        return min(float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout) for _ in range(3))  # fmt: skip  # noqa: E501

    return [
        ["import lupi, after torch", f"{1e3 * took('import lupi'):.1f} ms", ""],
        [
            "its first estimator",
            f"{took('from lupi import PrivilegedClassifier'):.1f} s",
            "scikit-learn, pandas, SciPy",
        ],
    ]


def main() -> None:
    parts: dict[str, Callable[[bool], list[list[str]]]] = {
        "search": searching, "fit": lambda _: fitting(), "predict": lambda _: predicting(),
        "files": lambda _: keeping(), "import": lambda _: importing(),
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=tuple(parts), default=list(parts))
    parser.add_argument("--full-search", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = [row for name in asked.parts for row in parts[name](asked.full_search)]
    table = Grid.of(["what", "measured", "beside"], rows)
    print(table.console())
    text = table.markdown()
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}"
    command = f"python benchmarks/estimators.py {' '.join(sys.argv[1:])}".strip()
    target = ROOT / "results" / "benchmarks" / "estimators.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, f"# Estimators\n\n`{command}` on {machine}.\n\n{text}\n")


if __name__ == "__main__":
    main()
