"""How balanced methods weighed their tasks, from the traces of the store: courses over epochs, conflicts, a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.methods.table import place
from lupi.methods.twins import NONE, SHUFFLED
from studies.grid import Grid
from studies.store import Store
from studies.views import settings

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Course:
    """The training of an arm, over its splits. A share is a weight over the sum of the absolute weights.

    left : [E] how many splits still trained in an epoch; E is the last one in which half of them did.
    middle, low, high : [E, K] median and 10 % and 90 % quantile of the shares over the splits that still trained.
    first, last : [K] mean over splits of the shares in the first epoch and in each split's own last one.
    cosines : [K, K] between the tasks' gradients, the median over the epochs of each split, of these the median.
    conflicts : [K] share of the epochs in which the mean cosine with the target's gradient is below 0; the mean over
        splits.
    """

    splits: int
    left: npt.NDArray[np.int64]
    middle: Floats
    low: Floats
    high: Floats
    first: Floats
    last: Floats
    cosines: Floats
    conflicts: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Weighed:
    """How a method weighed its tasks [K], and how its shuffled twin did (None: there is none)."""

    dataset: str
    method: str
    tasks: tuple[str, ...]
    own: Course
    twin: Course | None


def views(store: Store) -> list[Weighed]:
    """Every balanced method whose traces a store has, under the study's own options; none where none were kept."""
    order = list(store.config["data"])
    keys = sorted(store.traced(), key=lambda key: (order.index(key[0]), place(key[1])))
    weighings = [weighed(store.traces(*key)) for key in keys]
    return [weighing for weighing in weighings if weighing is not None]


def weighed(traces: pd.DataFrame) -> Weighed | None:
    """What the traces of one method and its twins say; None where it has none under the study's own options, or
    only one task whose weight is not 0."""
    arms = dict(iter(traces[settings.at(traces)].groupby("control")))
    if NONE not in arms:
        return None
    own = arms[NONE]
    # A task that a method lacks is there, but empty, where a method that has it was trained beside.
    known = np.any([~np.isnan(weights).all(0) for weights in own["weights"]], 0)
    if known.sum() < 2:
        return None
    twin = course(arms[SHUFFLED], known) if SHUFFLED in arms else None
    tasks = tuple(task for task, there in zip(_labels(own["tasks"].tolist()), known, strict=True) if there)
    return Weighed(own["dataset"].iloc[0], own["method"].iloc[0], tasks, course(own, known), twin)


def _labels(tasks: Sequence[Sequence[str]]) -> list[str]:
    """Names of the tasks; one name for a column that is another in other splits."""
    labels: list[str] = []
    for names in zip(*tasks, strict=True):
        label = names[0] if len(set(names)) == 1 else "the chosen column"
        labels.append(f"{label} (Z)" if label in labels else label)
    return labels


def course(of_arm: pd.DataFrame, known: npt.NDArray[np.bool_]) -> Course:
    """The course of an arm from its traces, for those of its tasks [K] that are known."""
    shares = [_shares(weights[:, known].astype(np.float64)) for weights in of_arm["weights"]]
    cosines = [of_split[:, known][:, :, known].astype(np.float64) for of_split in of_arm["cosines"]]
    lengths = np.array([len(of_split) for of_split in shares])
    left = (lengths[:, None] > np.arange(lengths.max())).sum(0)
    end = int((2 * left >= len(shares)).sum())
    low, middle, high = _quantiles(shares, end)
    with_target = [of_split[:, 0] for of_split in cosines]
    return Course(
        splits=len(shares),
        left=left[:end],
        middle=middle,
        low=low,
        high=high,
        first=_mean([of_split[0] for of_split in shares]),
        last=_mean([of_split[-1] for of_split in shares]),
        cosines=_median([_median(of_split) for of_split in cosines]),
        conflicts=_mean([_conflicts(of_split) for of_split in with_target]),
    )


def _conflicts(cosines: Floats) -> Floats:
    """Share of the epochs in which a task's cosine with the target, of [E, K], is below 0; NaN where none is known."""
    return np.where(np.isnan(_mean(cosines)), np.nan, (cosines < 0).mean(0))


def _shares(weights: Floats) -> Floats:
    """Weights [E, K] over the sum of their absolute values; NaN where that is 0 or not finite."""
    total = np.nansum(np.abs(weights), 1, keepdims=True)
    shares: Floats = np.divide(
        weights, total, out=np.full(weights.shape, np.nan), where=(total > 0) & np.isfinite(total)
    )
    return shares


def _quantiles(shares: Sequence[Floats], end: int) -> tuple[Floats, Floats, Floats]:
    """10 %, 50 % and 90 % quantiles over splits [end, K], in every epoch of those that trained in it."""
    every = np.full((len(shares), end, shares[0].shape[1]), np.nan)
    for all_of, of_split in zip(every, shares, strict=True):
        all_of[: len(of_split)] = of_split[:end]
    flat = pd.DataFrame(every.reshape(len(shares), -1))
    low, middle, high = (flat.quantile(q).to_numpy().reshape(every.shape[1:]) for q in (0.1, 0.5, 0.9))
    return low, middle, high


def _median(values: Sequence[Floats] | Floats) -> Floats:
    """The median over the first axis; NaN only where nothing is known."""
    array = np.asarray(values)
    median: Floats = pd.DataFrame(array.reshape(len(array), -1)).median().to_numpy().reshape(array.shape[1:])
    return median


def _mean(values: Sequence[Floats] | Floats) -> Floats:
    array = np.asarray(values)
    mean: Floats = pd.DataFrame(array.reshape(len(array), -1)).mean().to_numpy().reshape(array.shape[1:])
    return mean


# ---------------------------------------------------------------------- tables

HEADINGS = ("method", "task", "first epoch %", "last epoch %", "twin: last %", "cosine", "twin: cosine", "conflict %")

NOTES = (
    "First and last epoch: a task's share of the weights (a weight over the sum of all, sign aside), mean over splits. "
    "Cosine: between the task's gradient and the target's over the parameters that the tasks share, median over "
    "epochs, then over splits. Conflict: share of the epochs in which it is below 0. Twin: the shuffled one.",
)


def grid(weighed: Sequence[Weighed], title: str = "") -> Grid:
    """Every task of every method of a data set."""
    rows = []
    for view in weighed:
        own, twin = view.own, view.twin
        for k, task in enumerate(view.tasks):
            rows.append([
                view.method, task, _percent(own.first[k]), _percent(own.last[k]),
                "–" if twin is None else _percent(twin.last[k]), _cosine(own, k),
                "–" if twin is None else _cosine(twin, k), "–" if k == 0 else _percent(own.conflicts[k]),
            ])  # fmt: skip
    return Grid.of(HEADINGS, rows, title, NOTES)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if np.isfinite(share) else "–"


def _cosine(of: Course, k: int) -> str:
    return f"{round(of.cosines[0, k], 2) + 0.0:.2f}" if k and np.isfinite(of.cosines[0, k]) else "–"


def lines(weighings: Sequence[Weighed]) -> list[str]:
    """A line for every method: the shares of its tasks in the last epoch."""
    texts = []
    for weighing in weighings:
        shares = ", ".join(
            f"{task} {_percent(share)} %" for task, share in zip(weighing.tasks, weighing.own.last, strict=True)
        )
        texts.append(f"{weighing.dataset}, {weighing.method}: weights in the last epoch: {shares}")
        if weighing.twin is not None:
            texts[-1] += f" (shuffled twin: {', '.join(f'{_percent(share)} %' for share in weighing.twin.last)})"
    return texts
