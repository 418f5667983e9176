"""Frames as a study's store and views give them, with made-up numbers where a test needs known ones.

Columns come from a tiny study that is really trained, once in every process (`tiny`): a column that the store or a view
renames, drops or adds shows in every test that is given its frame.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd

import MT_weightP
from lupi.evidence.verdict import VERDICTS
from lupi.methods.table import METHODS, PAPER_METHODS
from lupi.settings import PLAIN, Setting
from studies import run
from studies.store import Store
from studies.views import causes, verdicts
from studies.views import comparisons as comparisons_view
from studies.views import curves as curves_view
from studies.views import summary as summary_view
from studies.views.comparisons import deciding_twins
from studies.views.traces import Weighed
from studies.views.traces import weighed as weighed_of
from tests.conftest import small_table

#: What a name in a user's file may be.
NASTY = "<script>alert(1)</script>"
CLASSES = ('"><img src=x onerror=alert(2)>', "it's & co")

#: Own and balanced weights, twins, a sweep and traces: what the store and its views can hold.
TINY = """--target y --privileged z --folds 2 --repeats 1 --inner-folds 2 --epochs 3 --regressor-layers 2
    --classifier-layers 2 --methods MT --balance own dwa --trace --epsilons 0.5 5 --fixed-epsilons --imitations
    --repulsions --temperatures"""


class Tiny(NamedTuple):
    """A study's store, and the frames that its views make of it."""

    config: dict[str, Any]
    results: pd.DataFrame
    splits: pd.DataFrame
    traces: pd.DataFrame
    comparisons: pd.DataFrame
    verdicts: pd.DataFrame
    summary: pd.DataFrame
    curves: pd.DataFrame
    points: pd.DataFrame


class _Trained(Exception):
    """The study is there, and needs no report."""


@functools.cache
def tiny() -> Tiny:
    """A study of 60 rows, trained for three epochs by the command itself, which is left before it writes its report."""
    complete, kept = run.complete, []

    def stopped(store: Store, *arguments: Any) -> None:
        kept.append((complete(store, *arguments), store.traces(*store.traced()[0])))
        raise _Trained

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(run, "complete", stopped):
        csv = Path(folder) / "one.csv"
        small_table().to_csv(csv, index=False)
        with contextlib.suppress(_Trained):
            MT_weightP.main(["--csv", str(csv), *TINY.split(), "--out", str(Path(folder) / "out")])
        logging.captureWarnings(False)
    ((study, traces),) = kept
    frames = study.results, study.splits, study.config
    return Tiny(
        study.config,
        study.results,
        study.splits,
        traces,
        comparisons_view.comparisons(study.results),
        verdicts.verdicts(study.results),
        summary_view.summary(study.results),
        curves_view.curves(*frames, "one", "epsilon"),
        causes.points(*frames),
    )


def like(real: pd.DataFrame, made_up: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Made-up rows with the columns of a real frame.

    A column that is not made up has the name or the count of the real frame's first row (which belongs to the study's
    own options and to the method itself, not to a twin), and is empty where it holds another kind of value.
    """
    made_up = made_up if isinstance(made_up, pd.DataFrame) else pd.DataFrame(list(made_up))
    unknown = [name for name in made_up.columns if name not in real.columns]
    assert not unknown, f"made up {unknown}; the real frame has {list(real.columns)}"
    rest = {name: _left_as_is(real[name].iloc[0]) for name in real.columns if name not in made_up.columns}
    return made_up.assign(**rest)[list(real.columns)]


def _left_as_is(value: Any) -> Any:
    """What a column of such values holds that nobody made up."""
    if isinstance(value, float):
        return float("nan")
    return value if isinstance(value, str | int | np.integer) else None


def results(made_up: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What `Store.results` gives."""
    return like(tiny().results, made_up)


def splits(made_up: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What `Store.splits` gives."""
    return like(tiny().splits, made_up)


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
    return like(tiny().comparisons, rows), like(tiny().verdicts, said)


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
    return like(tiny().points, pd.DataFrame({
        "dataset": dataset, "method": method, "column": column, "repeat": 0, "fold": np.arange(n) % 5,
        "row": draw.permutation(n), "z": z, "z_hat": z_hat, "z_raw": 120 + 30 * z, "z_hat_raw": 120 + 30 * z_hat,
        "dc": dc, "dr": z_hat - z, "teacher": names[teacher.astype(int)], "student": names[student.astype(int)],
        "truth": names[truth.astype(int)], "agreement": np.where(student == truth, right, wrong),
    }))  # fmt: skip


def curves(values: tuple[float, ...] = (0.0, 0.01, 0.1, 1.0, 10.0)) -> pd.DataFrame:
    """Curves of a sweep with those of the shuffled twin."""
    draw, rows = np.random.default_rng(0), []
    shares = ("all agree", "student errs alone", "both err", "student right, teacher wrong")
    for quantity in ("error", "learned σ", "effective weight ε/(2σ²)", *(f"agreement: {share}" for share in shares)):
        for line, control in (("MT", "none"), ("MT, shuffled", "shuffled")):
            for value in values:
                mean = (value + 0.02 if "weight" in quantity else 0.25) * float(draw.uniform(0.9, 1.1))
                rows.append({"quantity": quantity, "line": line, "method": "MT", "control": control, "value": value,
                             "mean": mean, "low": 0.9 * mean, "high": 1.1 * mean})  # fmt: skip
    return like(tiny().curves, rows)


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
            row: dict[str, Any] = {"dataset": dataset, "method": method, "control": control, "splits": 50}
            means = {"error": 0.25, "auc": 0.8, "balanced_log_loss": 0.55, "epochs": 60.0, "seconds": 0.01}
            for name, value in means.items():
                row |= {name: value + 0.00137 * i, f"{name}_std": 0.02 + 0.001 * i}
            row |= {"gain": 3.21 * i if i > 1 and control == "none" else np.nan, "metric": "error"}
            rows.append(row)
    return like(tiny().summary, rows)


def config(*datasets: str) -> dict[str, Any]:
    """What a store's config holds."""
    real = tiny().config
    (of_one,) = real["data"].values()
    classes = dict.fromkeys(CLASSES, 150)
    facts = {
        "rows": 300,
        "regular": ["a"],
        "privileged": ["Glucose"],
        "classes": classes,
        "leaks": [],
        "sha256": "0123456789abcdef" * 4,
    }
    asked = {"methods": ["all"], "folds": 5, "repeats": 10, "seed": 17}
    assert asked.keys() <= real["options"].keys()
    assert facts.keys() <= of_one.keys()
    return {
        **real,
        "command": f"python MT_main.py --dataset {' '.join(datasets)} --out 'a<b>&c'",
        "options": {**real["options"], **asked},
        "versions": {"lupi": "1.2", "torch": "2.13"},
        "data": {name: {**of_one, **facts} for name in datasets},
    }


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
                "dataset": dataset, "method": method, "control": control, "repeat": split // 4,
                "fold": split % 4, "tasks": list(tasks), **{n: a.astype(np.float32) for n, a in arrays.items()},
            })  # fmt: skip
    return like(tiny().traces, rows)


def weighed(*methods: str, dataset: str = "one", tasks: tuple[str, ...] = ("target", "Glucose")) -> list[Weighed]:
    """What `trace_tables.views` gives."""
    views = [weighed_of(traces(method, dataset, tasks, seed=i)) for i, method in enumerate(methods)]
    return [view for view in views if view is not None]
