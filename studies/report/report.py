"""What the report of a study says: verdicts first, then tables, figures, the points of DC and DR, how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.metric_table import METRICS
from lupi.evidence.verdict import VERDICTS
from studies.report import figures, trace_figures
from studies.report.page import (
    Key,
    Overview,
    Part,
    Picture,
    Report,
    Scatter,
    Section,
    Table,
    Text,
    Verdicts,
    table_of,
    write,
)
from studies.views import summary, traces
from studies.views import verdicts as judging
from studies.views.causes import POINTS, points

__all__ = ["POINTS", "points", "study_report", "table_of", "write"]

#: Points that all scatters of a page draw together: a phone opens it, too.
_POINTS = 12_000


# ---------------------------------------------------------------------- the report of a study


def study_report(
    results: pd.DataFrame,
    splits: pd.DataFrame,
    config: Mapping[str, Any],
    table: pd.DataFrame,
    notes: Mapping[str, Sequence[str]],
    comparisons: pd.DataFrame,
    verdicts: pd.DataFrame,
    *,
    metric: str = "error",
    leaks: Mapping[str, Sequence[str]] | None = None,
    causes_tables: Sequence[Table] = (),
    curves: Sequence[tuple[str, str, pd.DataFrame]] = (),
    ranks: judging.Ranks | None = None,
    weighed: Sequence[traces.Weighed] = (),
    drawn: pd.DataFrame | None = None,
    discovered: Sequence[Part] = (),
) -> Report:
    """The report of a study from what its store and the other views give.

    Parameters
    ----------
    results, splits, config : of the store.
    table, notes : of `summary.summary` and `summary.footnotes`, by `metric`.
    comparisons, verdicts : of the module `verdicts`, by `metric`; empty frames where nothing can be compared.
    leaks : of `outputs.leaks_of`, as sentences: what to know before any verdict is read.
    causes_tables : agreement and causes, as they are to be shown.
    curves : (title, what is swept, frame of `figures.sweep`) of every sweep.
    ranks : of `verdicts.ranks`, for a study of several data sets.
    discovered : what --discover found, of `discoveries.parts`.
    weighed : of `trace_tables.views`: how balanced methods weighed their tasks, where that was traced.
    drawn : points to draw instead of those of the first repeat under the study's own options.
    """
    datasets = list(config["data"])
    named = ", ".join(datasets) if len(datasets) <= 3 else f"{len(datasets)} data sets"
    found = _own_setting(points(results, splits, config)) if drawn is None else drawn
    sections: list[tuple[str, Sequence[Part]]] = [
        ("Verdicts", _verdict_parts(datasets, comparisons, verdicts, metric, leaks or {})),
        ("Tables", _table_parts(table, notes, verdicts)),
        ("Figures", _figure_parts(curves, ranks)),
        ("How the tasks were weighed", weighing_parts(weighed)),
        ("Distance to change, distance to real", scatter_parts(found)),
        ("Agreement and causes", causes_tables),
        ("Useful privileged columns", discovered),
    ]
    return Report(
        title=f"{named}: does the privileged information help?",
        lead=_lead(datasets, verdicts),
        sections=tuple(Section(title, tuple(parts)) for title, parts in sections if parts),
        facts=facts(config, metric),
    )


def _own_setting(found: pd.DataFrame) -> pd.DataFrame:
    """Points of the study's own options alone, where it has any: those of a sweep would be pages of scatters."""
    own = found[found["setting"] == ""]
    return found if own.empty else own


def _lead(datasets: Sequence[str], verdicts: pd.DataFrame) -> str:
    of = f"Data sets: {', '.join(datasets)}. " if len(datasets) > 3 else ""
    if verdicts.empty:
        return f"{of}Nothing was compared, so there is no verdict."
    counts = verdicts["verdict"].value_counts()
    told = "; ".join(f"{counts[name]} × {name}" for name in VERDICTS if name in counts)
    return f"{of}{len(verdicts)} verdict{'s' if len(verdicts) > 1 else ''}: {told}."


def _verdict_parts(
    datasets: Sequence[str],
    comparisons: pd.DataFrame,
    verdicts: pd.DataFrame,
    metric: str,
    leaks: Mapping[str, Sequence[str]],
) -> list[Part]:
    groups = list(verdicts.groupby(["dataset", "setting"], sort=False))
    parts: list[Part] = []
    if len(groups) > 1:
        rows = verdicts.assign(
            dataset=verdicts["dataset"].str.cat(verdicts["setting"], sep=", ").str.removesuffix(", ")
        )
        parts.append(Overview(rows))
    if groups:
        present = set(comparisons["against"])
        twins = tuple(name for name in figures.TWINS if name in present)
        parts.append(Key(METRICS[metric].title, twins))
    for ((dataset, setting), of_set), (title, alerts, cells, _) in zip(
        groups, judging.parts(verdicts, leaks), strict=True
    ):
        here = (comparisons["dataset"] == dataset) & (comparisons["setting"] == setting)
        differences = tuple(row[judging.HEADINGS.index("difference (95 %)")] for row in cells)
        parts.append(Verdicts(title, of_set, differences, comparisons[here], tuple(alerts)))
    told = set(verdicts["dataset"])
    parts += [
        Text(f"{name}: {note}", alert=True) for name in datasets if name not in told for note in leaks.get(name, ())
    ]
    return parts


def _table_parts(table: pd.DataFrame, notes: Mapping[str, Sequence[str]], verdicts: pd.DataFrame) -> list[Part]:
    """The tables of table.md, cell by cell, and those of the verdicts."""
    parts: list[Part] = []
    for dataset, headings, rows in summary.shown(table):
        parts.append(_table(dataset, [headings, *rows], *notes.get(dataset, ())))
        if twins := summary.twins(table, dataset):
            parts.append(_table(f"{dataset}: the methods and their twins", twins))
    for title, _, cells, _ in judging.parts(verdicts):
        parts.append(_table(f"{title}: comparisons", [judging.HEADINGS, *cells], judging.legend(verdicts)))
    return parts


def _table(title: str, grid: Sequence[Sequence[str]], *notes: str) -> Table:
    """A table from rows of cells, headings first."""
    headings, *rows = map(tuple, grid)
    return Table(title, headings, tuple(rows), notes)


def _figure_parts(
    curves: Sequence[tuple[str, str, pd.DataFrame]],
    ranks: judging.Ranks | None,
) -> list[Part]:
    parts: list[Part] = []
    for title, swept, frame in curves:
        wide, narrow = (figures.sweep(frame, swept, width=width) for width in (figures.PAGE, figures.COLUMN))
        panels = ", ".join(dict.fromkeys(frame["quantity"]))
        parts.append(Picture(f"{title}: means with bands.", wide, narrow, f"{title}: {panels} over {swept}"))
    if ranks is not None:
        wide, narrow = (
            figures.critical_difference(ranks.mean, ranks.pairwise, width=width)
            for width in (figures.PAGE, figures.COLUMN)
        )
        left_out = f" Left out: {', '.join(ranks.left_out)}." if ranks.left_out else ""
        text = (
            f"Mean ranks over {len(ranks.datasets)} data sets (Friedman: χ² {ranks.statistic:.2f}, p {ranks.p:.2g}); "
            f"bars join methods that Nemenyi's test does not tell apart.{left_out}"
        )
        parts.append(Picture(text, wide, narrow, "critical-difference diagram"))
    return parts


def weighing_parts(found: Sequence[traces.Weighed]) -> list[Part]:
    """Weights and conflicts of the tasks of every balanced method, in figures and a table of each data set."""
    parts: list[Part] = []
    for dataset, base, views in trace_figures.pages(found):
        title = ", ".join(filter(None, (dataset, base)))
        tasks = ", ".join(dict.fromkeys(task for each in views for task in each.tasks))
        methods = ", ".join(each.method for each in views)
        for draw, text, told in (
            (trace_figures.weights, _WEIGHTS, f"shares of the weights of {tasks} over epochs, for {methods}"),
            (trace_figures.conflicts, _CONFLICTS, f"cosines between the gradients of {tasks}, for {methods}"),
        ):
            wide, narrow = (draw(views, width=width) for width in (figures.PAGE, figures.COLUMN))
            parts.append(Picture(f"{title}: {text}", wide, narrow, f"{title}: {told}"))
    for dataset in dict.fromkeys(each.dataset for each in found):
        of_set = [each for each in found if each.dataset == dataset]
        parts.append(_table(f"{dataset}: weights and conflicts", traces.grid(of_set), *traces.NOTES))
    return parts


_WEIGHTS = (
    "shares of the weights (a weight over the sum of all, sign aside), median over splits with the band from the 10 % "
    "to the 90 % quantile. Curves end where fewer than half of the splits still train."
)
_CONFLICTS = (
    "cosines between the tasks' gradients over the parameters that they share, median over epochs, then over splits. "
    "Below 0 a step for one task is a step against the other."
)


def scatter_parts(found: pd.DataFrame) -> list[Part]:
    """A scatter for every data set, setting, method and column of a frame of points, with what has to be known."""
    if found.empty:
        return []
    repeats = "of the first repeat" if (found["repeat"] == found["repeat"].min()).all() else "of all repeats"
    groups = list(found.groupby(["dataset", "setting", "method", "column"], sort=False))
    most = int(np.clip(_POINTS // len(groups), 200, 2000))
    scatters = [Scatter(", ".join(str(name) for name in key if name), of_arm, most) for key, of_arm in groups]
    return [Text(_SCATTERS.format(repeats=repeats)), *scatters]


_SCATTERS = (
    "Test rows {repeats}, in standard deviations of z. DC: the smallest shift of z that changes the teacher's class. "
    "DR: how far the student's ẑ lies from z. Shaded: ẑ lies beyond the change, so that the teacher itself, given ẑ, "
    "would change its class. Points answer to pointing, tapping and the arrow keys."
)


def facts(config: Mapping[str, Any], metric: str = "error") -> tuple[tuple[str, str], ...]:
    """What is needed to repeat a study: command, metric, seed, options, versions, fingerprints of the data."""
    options = dict(config["options"])
    told = [("command", summary.command_by(config, metric)), ("metric", METRICS[metric].title)]
    told.append(("seed", str(options.pop("seed", ""))))
    told.append(("options", "\n".join(f"{name} = {_said(value)}" for name, value in options.items())))
    told.append(("versions", ", ".join(f"{name} {version}" for name, version in config["versions"].items())))
    told.append(("device", str(config.get("device", ""))))
    for name, of_set in config["data"].items():
        told.append((f"data: {name}", f"{of_set['rows']} rows, sha256 {of_set['sha256']}"))
    return tuple(told)


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_said, value)) or "–"
    return "–" if value is None else str(value)
