#!/usr/bin/env python3
"""Whether three small studies still give the numbers that they gave before the house was rebuilt.

`python tests/moved/check.py record` writes them, `python tests/moved/check.py` compares (1e-12).
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMON = ["--dtype", "float64", "--device", "cpu"]


def table(path: Path, numeric: bool) -> None:
    """A table of one's own with numbers, categories and missing cells, in X and in Z."""
    draw = np.random.default_rng(7)
    n = 120
    x = draw.normal(size=(n, 4))
    z = x[:, :2] + 0.5 * draw.normal(size=(n, 2))
    level = np.array(["low", "mid", "high"])[np.digitize(z[:, 0] + 0.3 * draw.normal(size=n), [-0.5, 0.5])]
    score = z.sum(1) + 0.5 * draw.normal(size=n)
    frame = pd.DataFrame(x, columns=["a", "b", "c", "d"]).round(6)
    frame["colour"] = draw.choice(["red", "green", "blue"], n)
    frame["lab"], frame["late"], frame["grade"] = z[:, 0].round(6), z[:, 1].round(6), level
    for name in ("b", "colour", "late", "grade"):
        frame.loc[draw.random(n) < 0.1, name] = np.nan
    frame["y"] = score.round(6) if numeric else np.where(score > 0.3, "sick", "well")
    frame.to_csv(path, index=False)


def studies(folder: Path) -> dict[str, list[str]]:
    table(folder / "own.csv", numeric=False)
    table(folder / "numbers.csv", numeric=True)
    own = ["--target", "y", "--privileged", "lab", "late", "grade", "--categorical", "colour", "grade"]
    small = ["--folds", "3", "--repeats", "2", "--inner-folds", "2", "--epochs", "40"]
    return {
        "own": ["MT_main.py", "--csv", str(folder / "own.csv"), *own, *small, "--methods", "all", "--members", "2",
                "--label-smoothing", "0.05", "--class-weight", "balanced", "--train-sizes", "30", "40",
                "--weight-decay", "0.01"],
        "icr": ["MT_weightP.py", "--dataset", "icr-simulated", "--folds", "2", "--repeats", "1", "--inner-folds", "2",
                "--epochs", "12", "--methods", "MT", "MT-TPD", "AUX", "--balance", "own", "auxinash", "uncertainty",
                "pcgrad", "--epsilons", "0.25", "5", "--fixed-epsilons", "1", "--imitations", "0.25",
                "--repulsions", "2", "--temperatures", "2"],
        "numbers": ["MT_main.py", "--csv", str(folder / "numbers.csv"), *own, *small, "--methods", "all",
                    "--protocol", "strict", "--balance", "own", "nash-mtl", "gcs"],
        "paper": ["MT_main.py", "--csv", str(folder / "own.csv"), *own, *small, "--methods", "paper",
                  "--protocol", "paper"],
    }  # fmt: skip


def run() -> dict[str, np.ndarray]:
    """name/column -> values, rows in the order of their keys."""
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, command in studies(folder).items():
            out = folder / name
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            subprocess.run([sys.executable, *command, *COMMON, "--out", str(out), "--data", str(folder / "none")],
                           cwd=ROOT, check=True, env=environment, stdout=subprocess.DEVNULL)  # fmt: skip
            found |= {f"{name}/{key}": value for key, value in read(out / "study.sqlite").items()}
    return found


def read(path: Path) -> dict[str, np.ndarray]:
    with sqlite3.connect(path) as database:
        frame = pd.read_sql_query("SELECT * FROM results", database)
        splits = pd.read_sql_query("SELECT * FROM splits", database)
    found = {}
    for what, rows in (("arm", keyed(frame)), ("split", keyed(splits))):
        found[f"{what} keys"] = rows["key"].to_numpy(dtype=str)
        for column in rows.columns.difference(["key", "seconds"]):
            values = rows[column]
            if values.map(lambda value: isinstance(value, bytes)).any():
                kind = {"rows": "<i8", "truth": "<f8"}.get(column, "<f4")
                joined = np.concatenate([np.frombuffer(value or b"", kind) for value in values])
                found[f"{what} {column}"] = joined
            elif column in ("z_each", "learned"):
                numbers = [flat(json.loads(value)) if isinstance(value, str) else [] for value in values]
                found[f"{what} {column}"] = np.array([each for row in numbers for each in row], dtype=np.float64)
            elif column not in ("privileged", "columns"):
                found[f"{what} {column}"] = values.to_numpy(dtype=np.float64)
    return found


def keyed(frame: pd.DataFrame) -> pd.DataFrame:
    """With one text as key in place of the columns that name a row, sorted by it."""
    if "swept" in frame:  # a text of both, as it was
        pairs = zip(frame.pop("swept"), frame.pop("value"), strict=True)
        frame = frame.assign(setting=[f"{swept}={value:g}" if swept else "" for swept, value in pairs])
    names = [name for name in ("dataset", "method", "control", "setting", "repeat", "fold") if name in frame]
    key = frame[names].astype(str).agg("|".join, axis=1)
    return frame.drop(columns=names).assign(key=key).sort_values("key").reset_index(drop=True)


def flat(value: object) -> list[float]:
    if isinstance(value, dict):
        return [each for part in value.values() for each in flat(part)]
    return [float(value)]  # type: ignore[arg-type]


def compare(now: dict[str, np.ndarray], then: dict[str, np.ndarray]) -> int:
    wrong = sorted(set(now) ^ set(then))
    for name in sorted(set(now) & set(then)):
        a, b = now[name], then[name]
        if a.shape != b.shape:
            wrong.append(f"{name}: {b.shape} before, {a.shape} now")
        elif a.dtype.kind == "U":
            if (a != b).any():
                wrong.append(f"{name}: {[x for x in zip(b, a, strict=True) if x[0] != x[1]][:2]}")
        elif not np.allclose(a, b, rtol=1e-12 if a.dtype == np.float64 else 1e-6, atol=1e-12, equal_nan=True):
            wrong.append(f"{name}: largest difference {np.nanmax(np.abs(a - b)):.3g}")
    print("\n".join(wrong) if wrong else f"{len(then)} arrays are equal")
    return int(bool(wrong))


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        np.savez_compressed(HERE / "before.npz", **run())
    else:
        with np.load(HERE / "before.npz") as stored:
            sys.exit(compare(run(), dict(stored)))
