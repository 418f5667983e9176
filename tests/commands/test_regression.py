"""One small study still gives the numbers that it gave when they were recorded.

`python tests/commands/test_regression.py` records them anew: for a change that is meant to change numbers, which
CHANGELOG.md then names.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

RECORD = Path(__file__).with_name("regression.npz")
ROOT = Path(__file__).parents[2]
#: Every method with its twins, a balanced one, columns of all kinds with missing cells.
STUDY = """MT_main.py --csv own.csv --target y --privileged lab late grade --categorical colour grade --methods all
    --balance own auxinash --folds 2 --repeats 1 --inner-folds 2 --epochs 6 --regressor-layers 6 --classifier-layers 6
    --preset paper --seed 3 --dtype float64 --device cpu --out out"""
KEY = ["method", "control", "repeat", "fold"]
#: Arrays of the store, which keeps them in single precision.
ARRAYS = ("prediction", "z_hat", "crossing")

Arrays = dict[str, npt.NDArray[Any]]


def write_table(path: Path) -> None:
    """Numbers, categories and missing cells, in X and in Z."""
    draw, n = np.random.default_rng(7), 80
    x = draw.normal(size=(n, 3))
    z = x[:, :2] + 0.5 * draw.normal(size=(n, 2))
    level = np.array(["low", "mid", "high"])[np.digitize(z[:, 0] + 0.3 * draw.normal(size=n), [-0.5, 0.5])]
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).round(6)
    frame["colour"] = draw.choice(["red", "green", "blue"], n)
    frame["lab"], frame["late"], frame["grade"] = z[:, 0].round(6), z[:, 1].round(6), level
    for name in ("b", "colour", "late", "grade"):
        frame.loc[draw.random(n) < 0.1, name] = np.nan
    frame["y"] = np.where(z.sum(1) + 0.5 * draw.normal(size=n) > 0.3, "sick", "well")
    frame.to_csv(path, index=False)


def machine() -> str:
    """What decides the last digits: the processor, and the libraries that compute on it."""
    import scipy
    import sklearn
    import torch

    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    versions = [f"{library.__name__} {library.__version__}" for library in (torch, np, scipy, sklearn)]
    return ", ".join([platform.machine(), processor, torch.backends.cpu.get_cpu_capability(), *versions])


def study(folder: Path) -> Arrays:
    """The numbers of the study, in an order of their own, trained by one thread in a process of its own."""
    from studies.store import Store

    write_table(folder / "own.csv")
    script, *argv = STUDY.split()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, str(ROOT / script), *argv]
    done = subprocess.run(
        command, cwd=folder, check=False, env={**os.environ, **threads}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    config = json.loads((folder / "out" / "config.json").read_text("utf-8"))
    with Store(folder / "out", config) as store:
        results, splits = store.results().sort_values(KEY), store.splits().sort_values(["repeat", "fold"])
    numbers: Arrays = {"arms": results[KEY].astype(str).agg(" ".join, axis=1).to_numpy(dtype=str)}
    for name in results.select_dtypes("number").columns.difference([*KEY, "seconds", "value"]):
        numbers[name] = results[name].to_numpy(dtype=np.float64)
    for name in ARRAYS:
        numbers[name] = np.concatenate([array.ravel() for array in results[name] if array is not None])
    numbers["learned"] = np.array([number for entry in results["learned"] for number in _flat(entry)])
    numbers["change"] = np.concatenate([array.ravel() for array in splits["change"]])
    return numbers


def _flat(learned: Any) -> list[float]:
    """The numbers in a dictionary of numbers and of dictionaries."""
    if isinstance(learned, dict):
        return [number for part in learned.values() for number in _flat(part)]
    return [float(learned)] if isinstance(learned, int | float) and np.isfinite(learned) else []


@pytest.mark.slow
def test_study__recorded_before__gives_the_same_numbers(tmp_path: Path) -> None:
    """To 1e-12 on the machine that recorded them, in what is stored in double precision.

    Another processor or library adds up in another order: its sums differ in their last digit, 1e-16, and training
    multiplies that, here to 1e-9 (measured with ATEN_CPU_CAPABILITY=default: other instructions). 1e-6 leaves
    room for it, and shows every change that is meant.
    """
    numbers = study(tmp_path)
    with np.load(RECORD) as recorded:
        exact = str(recorded["machine"]) == machine()
        names = [name for name in recorded.files if name != "machine"]
        assert sorted(names) == sorted(numbers)
        np.testing.assert_array_equal(numbers["arms"], recorded["arms"])
        for name in names:
            if name != "arms":
                double = exact and recorded[name].dtype == np.float64
                rtol, atol = (1e-12, 1e-12) if double else (1e-6, 1e-6)
                np.testing.assert_allclose(numbers[name], recorded[name], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", ["error", "prediction", "learned", "change"])
def test_record__of_the_study__has_numbers_of_this_kind(name: str) -> None:
    with np.load(RECORD) as recorded:
        assert np.isfinite(recorded[name]).sum() > 10
    assert RECORD.stat().st_size < 200_000


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as scratch:
        np.savez_compressed(RECORD, machine=np.array(machine()), **study(Path(scratch)))
