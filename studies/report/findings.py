"""What a study found: the views of its store that tables, figures and the page are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from studies.grid import Grid
from studies.options import LEAK
from studies.run import Study
from studies.views import causes, comparisons, curves, summary
from studies.views import verdicts as judging


@dataclasses.dataclass(frozen=True)
class Findings:
    """The views of a study.

    metric : what methods are compared by. table, notes : of `summary`. comparisons, verdicts, leaks : by the metric.
    curves : (data set, what is swept, frame of `curves.curves`) of every sweep.
    ranks : over data sets; None where there are too few.
    causes : the tables of every method whose errors can be explained.
    discovered : frame of `discoveries.found`, where anything was discovered.
    """

    study: Study
    metric: str
    table: pd.DataFrame
    notes: dict[str, list[str]]
    comparisons: pd.DataFrame
    verdicts: pd.DataFrame
    leaks: dict[str, list[str]]
    curves: Sequence[tuple[str, str, pd.DataFrame]]
    ranks: judging.Ranks | None
    causes: Sequence[Grid]
    discovered: pd.DataFrame | None = None


def findings(study: Study, metric: str = "error", discovered: pd.DataFrame | None = None) -> Findings:
    results, splits, config = study.results, study.splits, study.config
    return Findings(
        study,
        metric,
        summary.summary(results),
        summary.footnotes(results, config, study.seconds),
        comparisons.comparisons(results, metric),
        judging.verdicts(results, metric),
        _leaks(results, config),
        [
            (dataset, name, curves.curves(results, splits, config, dataset, name))
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
    )


def _leaks(results: pd.DataFrame, config: dict[str, Any]) -> dict[str, list[str]]:
    """What to know before any verdict is read: columns that determine the target, then what the bounds tell."""
    found = judging.leak_check(results, config)
    return {
        name: [*(note for note in facts["notes"] if LEAK in note), *found.get(name, [])]
        for name, facts in config["data"].items()
    }


def _ranks(results: pd.DataFrame, metric: str) -> judging.Ranks | None:
    try:
        return judging.ranks(results, metric)
    except ValueError:  # too few data sets, or methods that all of them have
        return None
