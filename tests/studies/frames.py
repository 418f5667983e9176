"""Frames as a study's store and verdicts give them, made up: for the tests of figures and of the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.verdict import VERDICTS
from lupi.methods.table import METHODS, PAPER_METHODS
from lupi.settings import PLAIN, Setting
from studies.views.comparisons import deciding_twins
from studies.views.traces import Weighed
from studies.views.traces import weighed as weighed_of

#: What a name in a user's file may be.
NASTY = "<script>alert(1)</script>"
CLASSES = ('"><img src=x onerror=alert(2)>', "it's & co")


def compared(dataset: str = "one", setting: Setting = PLAIN, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Comparisons and verdicts of all methods of one data set; every verdict occurs."""
    draw = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for i, method in enumerate(m for m in METHODS if m not in ("lower", "upper")):
        mean, half = float(draw.normal(0.008, 0.01)), float(draw.uniform(0.004, 0.012))
        value = np.nan if setting.value is None else setting.value
        key = {"dataset": dataset, "swept": setting.swept, "value": value, "method": method}
        common = {"detectable": 0.0123, "splits": 50}
        rows.append(
            {**key, "against": "lower", "mean": mean, "low": mean - half, "high": mean + half, "p": 0.03, **common}
        )
        for twin in deciding_twins(method):
            to_twin = float(draw.normal(0.004, 0.006))
            rows.append({**key, "against": twin, "mean": to_twin, "low": to_twin - half, "high": to_twin + half,
                         "p": 0.2, **common})  # fmt: skip
        said.append({
            **key, "verdict": VERDICTS[i % len(VERDICTS)], "sentence": f"{method} against lower: <b>{mean:.4f}</b>.",
            "p": 0.0432, "p_all": 0.05, "difference": mean, "low": mean - half, "high": mean + half, "gain": 12.0,
            "metric": "error", "gain_low": -3.0, "gain_high": 31.0, "worst_twin": "shuffled", "twin_difference": 0.0015,
            "twin_low": -0.0045, "twin_high": 0.0065, **common,
        })  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(said)


def points(
    n: int = 300, dataset: str = "one", method: str = "MT-TPD", column: str = "Glucose", seed: int = 0
) -> pd.DataFrame:
    """Rows with DC and DR; an eighth of them without DC, and three far away."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=n)
    z_hat = 0.5 * z + draw.normal(0.0, 0.5, n)
    z_hat[:3] += 40.0
    dc = -z + draw.normal(0.0, 0.3, n)
    dc[n - n // 8 :] = np.nan
    truth, teacher, student = z + draw.normal(0.0, 0.7, n) > 0, z > 0, z_hat > 0
    right = np.where(teacher == truth, "all agree", "student right, teacher wrong")
    wrong = np.where(teacher == truth, "student errs alone", "both err")
    names = np.array(CLASSES, dtype=object)
    return pd.DataFrame({
        "dataset": dataset, "swept": "", "value": np.nan, "method": method, "column": column,
        "repeat": 0, "fold": np.arange(n) % 5,
        "row": draw.permutation(n), "z": z, "z_hat": z_hat, "z_raw": 120 + 30 * z, "z_hat_raw": 120 + 30 * z_hat,
        "dc": dc, "dr": z_hat - z, "teacher": names[teacher.astype(int)], "student": names[student.astype(int)],
        "truth": names[truth.astype(int)], "agreement": np.where(student == truth, right, wrong),
    })  # fmt: skip


def curves(values: tuple[float, ...] = (0.0, 0.01, 0.1, 1.0, 10.0)) -> pd.DataFrame:
    """Curves of a sweep with those of the shuffled twin."""
    draw, rows = np.random.default_rng(0), []
    shares = ("all agree", "student errs alone", "both err", "student right, teacher wrong")
    for quantity in ("error", "learned σ", "effective weight ε/(2σ²)", *(f"agreement: {share}" for share in shares)):
        for line in ("MT", "MT, shuffled"):
            for value in values:
                mean = (value + 0.02 if "weight" in quantity else 0.25) * float(draw.uniform(0.9, 1.1))
                rows.append({"quantity": quantity, "line": line, "value": value, "mean": mean, "low": 0.9 * mean,
                             "high": 1.1 * mean})  # fmt: skip
    return pd.DataFrame(rows)


def ranks() -> tuple[pd.Series, pd.DataFrame]:
    """Mean ranks of the paper's methods and p values of pairs."""
    mean = pd.Series(np.linspace(2.1, 8.7, len(PAPER_METHODS)), index=list(PAPER_METHODS))
    apart = np.abs(mean.to_numpy()[:, None] - mean.to_numpy())
    return mean, pd.DataFrame(np.clip(1.0 - apart / 3.0, 0.0, 1.0), index=mean.index, columns=mean.index)


def summary(*datasets: str) -> pd.DataFrame:
    """What `summary.summary` gives, with the twins of MT."""
    rows = []
    arms = [*((method, "none") for method in METHODS), *(("MT", twin) for twin in deciding_twins("MT"))]
    for dataset in datasets:
        for i, (method, control) in enumerate(arms):
            row: dict[str, Any] = {
                "dataset": dataset,
                "swept": "",
                "value": np.nan,
                "method": method,
                "control": control,
                "splits": 50,
            }
            for name, value in {
                "error": 0.25,
                "auc": 0.8,
                "balanced_log_loss": 0.55,
                "epochs": 60.0,
                "seconds": 0.01,
            }.items():
                row |= {name: value + 0.00137 * i, f"{name}_std": 0.02 + 0.001 * i}
            absent = dict.fromkeys(
                ("mae", "mae_std", "r2", "r2_std", "z_error", "z_error_std", "z_mae", "z_mae_std"), np.nan
            )
            row |= {**absent, "gain": 3.21 * i if i > 1 and control == "none" else np.nan, "metric": "error"}
            rows.append(row)
    return pd.DataFrame(rows)


def config(*datasets: str) -> dict[str, Any]:
    """What a store's config holds."""
    options = {
        "methods": ["all"],
        "protocol": "strict",
        "folds": 5,
        "repeats": 10,
        "members": 1,
        "seed": 17,
        "dtype": "float32",
    }
    facts = {
        "rows": 300,
        "regular": ["a"],
        "privileged": ["Glucose"],
        "classes": dict.fromkeys(CLASSES, 150),
        "notes": [],
        "leaks": [],
    }
    return {
        "command": f"python MT_main.py --dataset {' '.join(datasets)} --out 'a<b>&c'",
        "options": options,
        "device": "cpu",
        "versions": {"lupi": "1.2", "torch": "2.13"},
        "data": {name: {**facts, "sha256": "0123456789abcdef" * 4} for name in datasets},
    }  # fmt: skip


def traces(
    method: str = "MT+dwa",
    dataset: str = "one",
    tasks: tuple[str, ...] = ("target", "Glucose"),
    splits: int = 8,
    controls: tuple[str, ...] = ("none", "shuffled", "absent"),
    seed: int = 0,
) -> pd.DataFrame:
    """What `Store.traces` gives, splits ending one after the other; the absent twin has the first task alone."""
    draw, k, rows = np.random.default_rng(seed), len(tasks), []
    for control in controls:
        for split in range(splits):
            epochs = 4 + split
            weights = draw.uniform(0.01, 1.0, (epochs, k)) * 4.0 ** -np.arange(k)
            gradients = draw.normal(size=(epochs, k, 5)) + 0.4
            norms = np.linalg.norm(gradients, axis=2)
            cosines = gradients @ gradients.transpose(0, 2, 1) / norms[:, :, None] / norms[:, None, :]
            if control == "absent":
                weights[:, 1:] = norms[:, 1:] = cosines[:, 1:] = cosines[:, :, 1:] = np.nan
            arrays = {"weights": weights, "norms": norms, "cosines": cosines}
            rows.append({
                "dataset": dataset, "method": method, "control": control, "swept": "", "value": np.nan,
                "repeat": split // 4, "fold": split % 4, "tasks": list(tasks),
                **{n: a.astype(np.float32) for n, a in arrays.items()},
            })  # fmt: skip
    return pd.DataFrame(rows)


def weighed(*methods: str, dataset: str = "one", tasks: tuple[str, ...] = ("target", "Glucose")) -> list[Weighed]:
    """What `trace_tables.views` gives."""
    found = [weighed_of(traces(method, dataset, tasks, seed=i)) for i, method in enumerate(methods)]
    return [each for each in found if each is not None]
