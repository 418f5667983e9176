"""`Findings`: all views of a stored study, which tables, figures and the page are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lupi.evidence.leaks import Leak
from studies.grid import Grid
from studies.study import Study
from studies.views import causes, comparisons, curves, peers, summary
from studies.views import verdicts as judging


@dataclasses.dataclass(frozen=True)
class Findings:
    """The views of a study.

    metric : what methods are compared by. table, notes : of `summary`. comparisons, verdicts : by the metric.
    leaks : of every data set what to know before any verdict is read (`leaks_of`).
    curves : (data set, what is swept, frame of `curves.curves`) of every sweep.
    ranks : over data sets; None where there are too few.
    causes : the tables of every method whose errors can be explained.
    discovered : frame of `discovery.discovered`, where anything was discovered.
    standings : where the peers of every data set stand that has some.
    """

    study: Study
    metric: str
    table: pd.DataFrame
    notes: dict[str, list[str]]
    comparisons: pd.DataFrame
    verdicts: pd.DataFrame
    leaks: dict[str, list[Leak | str]]
    curves: Sequence[tuple[str, str, pd.DataFrame]]
    ranks: judging.Ranks | None
    causes: Sequence[Grid]
    discovered: pd.DataFrame | None = None
    standings: Sequence[peers.Standing] = ()

    @property
    def alerts(self) -> dict[str, list[str]]:
        """The leaks as sentences."""
        return {dataset: list(map(str, leaks)) for dataset, leaks in self.leaks.items()}


def findings(study: Study, metric: str = "error", discovered: pd.DataFrame | None = None) -> Findings:
    results, splits, config = study.results, study.splits, study.config
    return Findings(
        study,
        metric,
        summary.summary(results, metric, study.peers),
        _notes(study, metric),
        comparisons.comparisons(results, metric),
        judging.verdicts(results, metric),
        leaks_of(results, config, metric),
        [
            (dataset, name, curves.curves(results, splits, config, dataset, name, metric))
            for dataset in config["data"]
            for name in curves.swept(results)
        ],
        _ranks(results, metric),
        [
            grid
            for dataset in config["data"]
            for method in causes.explicable(results, splits, config, dataset)
            for grid in causes.grids(results, splits, dataset, method)
        ],
        discovered,
        [] if study.peers.empty else peers.standings(results, study.peers, metric),
    )


def _notes(study: Study, metric: str) -> dict[str, list[str]]:
    """What stands below the table of each data set: that of its peers first."""
    of_peers = {} if study.peers.empty else peers.notes(study.peers)
    notes = summary.footnotes(study.results, study.config, study.seconds, metric)
    return {dataset: [*of_peers.get(dataset, []), *lines] for dataset, lines in notes.items()}


def leaks_of(results: pd.DataFrame, config: dict[str, Any], metric: str) -> dict[str, list[Leak | str]]:
    """What to know before any verdict is read: columns that determine the target, then what the bounds say."""
    of_bounds = judging.bounds_check(results, config, metric)
    return {
        name: [*(Leak(tuple(leak["columns"]), leak["why"]) for leak in facts["leaks"]), *of_bounds.get(name, [])]
        for name, facts in config["data"].items()
    }


def _ranks(results: pd.DataFrame, metric: str) -> judging.Ranks | None:
    try:
        return judging.ranks(results, metric)
    except ValueError:  # too few data sets, or methods that all of them have
        return None
