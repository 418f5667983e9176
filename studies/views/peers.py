"""Peers beside the methods of a study: their rows of the tables, their differences, and whether a student beats them.

A peer is a reference on X alone (`lupi.study.peers`). It has no twins and no verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.differences import ALPHA, Paired, holm
from lupi.evidence.metric_table import METRICS, Metric
from lupi.evidence.verdict import amount, detectable_difference, number
from lupi.methods.twins import NONE
from lupi.settings import PLAIN
from lupi.study.peers import PEERS
from studies.grid import Grid
from studies.views import settings
from studies.views.comparisons import Losses, statistics
from studies.views.verdicts import difference

#: What the rows of a table of peers are.
LEGEND = (
    "Peers: models of other makers on X alone, with their makers' default parameters, on the same splits. Difference: "
    "{metric} of {first} − {metric} of {second}; positive means the best student is better. Best: of the smallest mean "
    "loss on these splits, lower counted among the students. Intervals and p as for methods: corrected resampled t, "
    "Holm's correction over the peers. Seconds: of a fit, one after another, on the wall's clock; those of the best "
    "student are shared by the batch."
)


def as_results(results: pd.DataFrame, peers: pd.DataFrame) -> pd.DataFrame:
    """Results of the study's own options without those of twins, and below them the peers as if they were methods."""
    own = results[settings.at(results) & (results["control"] == NONE)]
    columns = [name for name in peers.columns if name in own.columns or name == "peer"]
    rows = peers[columns].rename(columns={"peer": "method"}).assign(control=NONE, swept=PLAIN.swept, value=np.nan)
    order = {name: place for place, name in enumerate(PEERS)}
    rows = rows.sort_values("method", key=lambda names: names.map(lambda name: order.get(name, len(order))),
                            kind="stable")  # fmt: skip
    return pd.DataFrame([*own.to_dict("records"), *rows.to_dict("records")], columns=own.columns)


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where the peers of one data set stand.

    losses : of methods and peers.
    student : the method or lower of least mean loss over the splits in which all have a number.
    peers : names, the best first, likewise.
    differences : of every peer to the best student; positive where the student is better.
    p : of them, by Holm's procedure; NaN where there is no test.
    """

    dataset: str
    losses: Losses
    student: str
    peers: tuple[str, ...]
    differences: Mapping[str, Paired]
    p: Mapping[str, float]

    @property
    def sentence(self) -> str:
        """Whether the best student beats the best peer."""
        peer, metric = self.peers[0], self.losses.metric
        paired, p = self.differences[peer], self.p[peer]
        better = paired.mean > 0
        if not abs(paired.mean) > 0:
            return f"{self.student}, the best student, is as good as {peer}, the best peer."
        test = f", p = {p:.2g}" if np.isfinite(p) else ""
        if better:
            said = f"{self.student} {metric.better} every peer, the best of which is {peer}: {_by(paired)}{test}."
        else:
            said = (
                f"{peer} {metric.better} lower and every student, the best of which is {self.student}: "
                f"{_by(paired)}{test}."
            )
        if not p <= ALPHA:
            return f"{said} The difference is not significant: neither is shown to be better."
        return said if better else f"{said} If all that counts is the prediction, deploy {peer}."


def _by(paired: Paired) -> str:
    """How far the two are apart, whichever is better."""
    sign = 1.0 if paired.mean > 0 else -1.0
    return f"by {number(abs(paired.mean), 3) if paired.test is None else amount(paired.test, sign)}"


def standings(results: pd.DataFrame, peers: pd.DataFrame, metric: str = "error") -> list[Standing]:
    """Where the peers stand in every data set that has some.

    Parameters
    ----------
    results, peers : `Store.results()`, `Store.peers()`.
    metric : one of `metric_table.COMPARED`.
    """
    found = []
    for dataset, of_set in peers.groupby("dataset", sort=False):
        losses = Losses(as_results(results[results["dataset"] == dataset], of_set), metric)
        names = set(of_set["peer"])
        arms = {name: losses.of(PLAIN, name) for name in ("lower", *losses.methods(PLAIN))}
        there = {name: arm for name, arm in arms.items() if arm is not None and np.isfinite(arm).any()}
        whole = np.isfinite(list(there.values())).all(0)
        means = {name: float(arm[whole].mean() if whole.any() else np.nanmean(arm)) for name, arm in there.items()}
        ranked = sorted(means, key=lambda name: means[name])
        students, ordered = ([name for name in ranked if (name in names) is peer] for peer in (False, True))
        if students and ordered:
            found.append(_standing(str(dataset), losses, students[0], tuple(ordered)))
    return found


def _standing(dataset: str, losses: Losses, student: str, ordered: tuple[str, ...]) -> Standing:
    differences = {}
    for name in ordered:
        paired = losses.compare(PLAIN, student, (name, NONE))
        assert paired is not None
        differences[name] = paired
    p = holm([np.nan if paired.test is None else paired.test.p for paired in differences.values()])
    return Standing(dataset, losses, student, ordered, differences, dict(zip(ordered, map(float, p), strict=True)))


def comparisons(standings: Sequence[Standing]) -> pd.DataFrame:
    """Every peer against lower, with the columns of `comparisons.comparisons`; none where lower was not trained."""
    rows = []
    for standing in standings:
        for name in standing.peers:
            paired = standing.losses.compare(PLAIN, name, ("lower", NONE))
            if paired is not None:
                rows.append({
                    "dataset": standing.dataset, "swept": PLAIN.swept, "value": np.nan, "method": name,
                    "against": "lower", "mean": paired.mean, **statistics(paired.test),
                    "detectable": detectable_difference(paired, ALPHA), "splits": paired.splits,
                })  # fmt: skip
    columns = ["dataset", "swept", "value", "method", "against", "mean", "low", "high", "p", "detectable", "splits"]
    return pd.DataFrame(rows, columns=columns).astype({"value": np.float64})


def notes(peers: pd.DataFrame) -> dict[str, list[str]]:
    """What stands under the table of each data set that has peers: what they are, and whose."""
    said = {}
    for dataset, of_set in peers.groupby("dataset", sort=False):
        versions: dict[str, list[str]] = {}
        for name, version in sorted(set(zip(of_set["peer"], of_set["version"], strict=True))):
            versions.setdefault(name, []).append(version)
        parts = [
            f"{name} is {peer.what} ({peer.package} {', '.join(versions[name])})"
            for name, peer in PEERS.items()
            if name in versions
        ]
        said[str(dataset)] = [f"Peers, references that see X alone: {'; '.join(parts)}."]
    return said


def grids(standings: Sequence[Standing], table: pd.DataFrame) -> list[Grid]:
    """For every data set its peers against its best student, and a sentence.

    table : frame of `summary.summary` with the peers' rows.
    """
    shown = []
    for standing in standings:
        metric = standing.losses.metric
        of_set = table[(table["dataset"] == standing.dataset) & settings.at(table) & (table["control"] == NONE)]
        means = of_set.set_index("method")
        title = metric.title_for("number" if of_set["r2"].notna().any() else "classes")
        heads = ["peer", title, "seconds a split", "difference to the best student (95 %)", "p"]
        rows = [[name, *_means(means.loc[name], metric), *_compared(standing, name)] for name in standing.peers]
        best = _means(means.loc[standing.student], metric)
        rows.append([f"best student: {standing.student}", *best, "–", "–"])
        shown.append(Grid.of(heads, rows, f"{standing.dataset}: the peers", [standing.sentence]))
    return shown


def legend(metric: str) -> str:
    """What the columns of the tables are."""
    sides = ["the peer", "the best student"]
    first, second = reversed(sides) if METRICS[metric].larger_is_better else sides
    return LEGEND.format(metric=METRICS[metric].title, first=first, second=second)


def _means(row: Any, metric: Metric) -> list[str]:
    """The cells of the metric and the seconds."""
    return [f"{float(row[metric.name]):.{metric.decimals}f}", f"{float(row['seconds']):.2g}"]


def _compared(standing: Standing, name: str) -> list[str]:
    paired, p = standing.differences[name], standing.p[name]
    ends = statistics(paired.test)
    said = "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
    return [difference(paired.mean, ends["low"], ends["high"]), said]
