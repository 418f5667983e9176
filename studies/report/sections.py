"""Sections of the report of a study: the answer first, then verdicts, tables, figures, the points of DC and DR, and how
to repeat it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lupi.evidence import verdict as judgement
from lupi.evidence.metric_table import METRICS
from studies.grid import Grid
from studies.report.figures import candidates, conflicts, ranks, style, sweeps, weights
from studies.report.findings import Findings
from studies.report.parts import Key, Overview, Part, Picture, Report, Scatter, Section, Text, Verdicts
from studies.views import curves, discoveries, peers, settings, summary, traces
from studies.views import verdicts as judging
from studies.views.causes import points as points_of

#: Points that all scatters of a page draw together: a phone opens it, too.
_POINTS = 12_000


def study_report(findings: Findings, points: pd.DataFrame | None = None) -> Report:
    """The report of a study.

    points : to draw instead of those of the first repeat under the study's own options (a frame of `causes.points`).
    """
    study, datasets = findings.study, list(findings.study.config["data"])
    if points is None:
        points = _own_setting(points_of(study.results, study.splits, study.config))
    named = _listed(datasets) if len(datasets) <= 3 else f"{len(datasets)} data sets"
    sections: list[tuple[str, Sequence[Part]]] = [
        ("Verdicts", _verdict_parts(findings)),
        ("Peers", _peer_parts(findings)),
        ("Tables", _table_parts(findings)),
        ("Figures", _figure_parts(findings)),
        ("How the tasks were weighed", weighing_parts(study.weighed)),
        ("Distance to change, distance to real", scatter_parts(points)),
        ("Agreement and causes", findings.causes),
        ("Useful privileged columns", discovery_parts(findings.discovered)),
    ]
    return Report(
        title=f"Does the privileged information help on {named}?",
        lead=lead(findings),
        sections=tuple(Section(title, tuple(parts)) for title, parts in sections if parts),
        facts=facts(study.config, findings.metric),
        words=summary.WORDS,
    )


def _own_setting(points: pd.DataFrame) -> pd.DataFrame:
    """Points of the study's own options alone, where it has any: those of a sweep would be pages of scatters."""
    own = points[settings.at(points)]
    return points if own.empty else own


# ---------------------------------------------------------------------- the answer


def lead(findings: Findings) -> str:
    """The answer to the question of the title, and how many verdicts of which kind it rests on."""
    datasets, verdicts = list(findings.study.config["data"]), findings.verdicts
    listed = f" Data sets: {', '.join(datasets)}." if len(datasets) > 3 else ""
    if verdicts.empty:
        return f"Nothing was compared, so there is no verdict.{listed}"
    own = verdicts[settings.at(verdicts)]
    of_sets = {str(name): of_set for name, of_set in (verdicts if own.empty else own).groupby("dataset", sort=False)}
    if len(of_sets) > 3:
        helped = [name for name, of_set in of_sets.items() if judgement.HELPS in set(of_set["verdict"])]
        answer = f"On {len(helped)} of {len(of_sets)} data sets it does{f': {_listed(helped)}' if helped else ''}."
    elif len(of_sets) > 1:
        answers = {name: _answer(of_set) for name, of_set in of_sets.items()}
        answer = " ".join(f"{name}: {text[0].lower()}{text[1:]}" for name, text in answers.items())
    else:
        answer = _answer(next(iter(of_sets.values())))
    counts = verdicts["verdict"].value_counts()
    kinds = "; ".join(f"{counts[name]} × {name}" for name in judgement.VERDICTS if name in counts)
    warned = [name for name in of_sets if findings.alerts.get(name)]
    peers_say = _of_peers(findings)
    warning = f" First read what stands above the verdicts of {_listed(warned)}." if warned else ""
    return f"{answer} {len(verdicts)} verdict{'s' if len(verdicts) > 1 else ''}: {kinds}.{peers_say}{warning}{listed}"


def _answer(of_set: pd.DataFrame) -> str:
    """Whether the privileged information helps on one data set, in a sentence."""
    methods = {kind: list(group["method"]) for kind, group in of_set.groupby("verdict", sort=False)}
    for kind, sentence in _ANSWERS.items():
        if kind in methods:
            names, many = methods[kind], len(methods[kind]) > 1
            who = _listed(names) if len(names) <= 4 else f"{len(names)} of {len(of_set)} methods"
            return sentence.format(who=who, are="are" if many else "is", do="do" if many else "does",
                                   their="their" if many else "its")  # fmt: skip
    return f"No evidence that it does. None of {len(of_set)} methods is shown to differ from lower."


#: Verdict -> the answer where it is the best one that a method has.
_ANSWERS = {
    judgement.HELPS: "Yes. {who} {are} better than lower and than each of {their} twins, which lack the information.",
    judgement.UNKNOWN: "Perhaps. {who} {are} better than lower, but whether through the information is open.",
    judgement.NOT_THROUGH: "No evidence that it does. {who} {are} better than lower, but {are} not shown to be better "
    "than {their} twins, which lack the information.",
    judgement.NO_EVIDENCE: "No evidence that it does. No method is shown to be better than lower.",
    judgement.HURTS: "No. {who} {are} worse than lower.",
}


def _of_peers(findings: Findings) -> str:
    """Whether the students beat the peers, where there are some."""
    standings = findings.standings
    if len(standings) <= 3:
        many = len(standings) > 1
        return "".join(f" {f'{one.dataset}: ' if many else ''}{one.sentence}" for one in standings)
    beaten = [one.dataset for one in standings if one.differences[one.peers[0]].mean < 0]
    return f" A peer is better than the best student, by its mean, on {len(beaten)} of {len(standings)} data sets."


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


# ---------------------------------------------------------------------- verdicts and tables


def _verdict_parts(findings: Findings) -> list[Part]:
    verdicts, compared = findings.verdicts, findings.comparisons
    groups = list(settings.groups(verdicts, "dataset"))
    parts: list[Part] = []
    if len(groups) > 1:
        pairs = zip(verdicts["dataset"], settings.settings_of(verdicts), strict=True)
        parts.append(Overview(verdicts.assign(dataset=[settings.title(*pair) for pair in pairs])))
    if groups:
        present = set(compared["against"])
        parts.append(Key(METRICS[findings.metric].title, tuple(name for name in style.TWINS if name in present)))
    grids = judging.grids(verdicts, findings.alerts)
    for (setting, (dataset,), of_set), grid in zip(groups, grids, strict=True):
        here = (compared["dataset"] == dataset) & settings.at(compared, setting)
        differences = tuple(row[judging.HEADINGS.index("difference (95 %)")] for row in grid.rows)
        parts.append(Verdicts(grid.title, of_set, differences, compared[here], grid.alerts))
    judged = set(verdicts["dataset"])
    for name, notes in findings.alerts.items():
        parts += [Text(f"{name}: {note}", alert=True) for note in notes if name not in judged]
    return parts


def _peer_parts(findings: Findings) -> list[Part]:
    """The peers against the best student of every data set, each with its difference to lower on one scale."""
    parts: list[Part] = []
    compared = peers.comparisons(findings.standings)
    tables = peers.grids(findings.standings, findings.table)
    for standing, table in zip(findings.standings, tables, strict=True):
        parts += [Text(f"{standing.dataset}: {standing.sentence}"), dataclasses.replace(table, notes=())]
        to_lower = compared[compared["dataset"] == standing.dataset]
        if len(to_lower):
            frame = to_lower.assign(difference=to_lower["mean"], verdict="", sentence="")
            texts = tuple(judging.difference(*row) for row in zip(*(to_lower[c] for c in _INTERVAL), strict=True))
            parts.append(Verdicts(f"{standing.dataset}: the peers' differences to lower", frame, texts))
    return [*parts, Text(peers.legend(findings.metric))] if parts else []


_INTERVAL = ("mean", "low", "high")


def _table_parts(findings: Findings) -> list[Part]:
    """The tables of table.md, and those of the verdicts, whose sentences and alerts stand above."""
    legend = judging.legend(findings.verdicts)
    comparisons = [
        dataclasses.replace(grid, title=f"{grid.title}: comparisons", notes=(legend,), alerts=())
        for grid in judging.grids(findings.verdicts)
    ]
    return [*summary.grids(findings.table, findings.notes), *comparisons]


# ---------------------------------------------------------------------- figures


def _picture(draw: Callable[[float], Figure], title: str, text: str) -> Picture:
    """A figure in both widths."""
    return Picture(title, draw(style.PAGE), draw(style.COLUMN), text)


def drawings(
    of_sweeps: Sequence[tuple[str, str, pd.DataFrame]],
) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """(data set, what is swept, method or "", the curves of one figure) of every sweep."""
    for dataset, name, frame in of_sweeps:
        for method, part in curves.drawings(frame):
            yield dataset, name, method, part


def _figure_parts(findings: Findings) -> list[Part]:
    parts: list[Part] = []
    for dataset, name, method, frame in drawings(findings.curves):
        swept = curves.titles()[name]
        title = ": ".join(filter(None, (dataset, method, swept)))
        text = f"{title}: {', '.join(dict.fromkeys(frame['quantity']))} over {swept}"
        parts.append(_picture(
            lambda width, frame=frame, swept=swept: sweeps.sweep(frame, swept, width=width),  # type: ignore[misc]
            f"{title}: means over the splits with 95 % intervals.", text,
        ))  # fmt: skip
    return [*parts, *([] if findings.ranks is None else [_ranks_part(findings.ranks)])]


def _ranks_part(over_sets: judging.Ranks) -> Picture:
    left_out = f" Left out: {', '.join(over_sets.left_out)}." if over_sets.left_out else ""
    title = (
        f"Mean ranks over {len(over_sets.datasets)} data sets (Friedman: χ² {over_sets.statistic:.2f}, "
        f"p {over_sets.p:.2g}); bars join methods that Nemenyi's test does not tell apart.{left_out}"
    )
    return _picture(
        lambda width: ranks.critical_difference(over_sets.mean, over_sets.pairwise, width=width),
        title, "critical-difference diagram",
    )  # fmt: skip


def weighing_parts(weighed: Sequence[traces.Weighed]) -> list[Part]:
    """Weights and conflicts of the tasks of every balanced method, in figures and a table of each data set."""
    parts: list[Part] = [Text(_WEIGHED)] if weighed else []
    for dataset, base, views in weights.pages(weighed):
        title = ", ".join(filter(None, (dataset, base)))
        tasks = ", ".join(dict.fromkeys(task for view in views for task in view.tasks))
        methods = ", ".join(view.method for view in views)
        for draw, caption, text in (
            (weights.weights, "shares of the weights", f"shares of the weights of {tasks} over epochs, for {methods}"),
            (
                conflicts.conflicts,
                "conflicts between the gradients",
                f"cosines between the gradients of {tasks}, for {methods}",
            ),
        ):
            parts.append(_picture(
                lambda width, draw=draw, views=views: draw(views, width=width),  # type: ignore[misc]
                f"{title}: {caption}.", f"{title}: {text}",
            ))  # fmt: skip
    for dataset in dict.fromkeys(view.dataset for view in weighed):
        of_set = [view for view in weighed if view.dataset == dataset]
        parts.append(traces.grid(of_set, f"{dataset}: weights and conflicts"))
    return parts


_WEIGHED = (
    "Shares of the weights: a task's weight over the sum of all, sign aside; the median over splits with the band from "
    "the 10 % to the 90 % quantile. A curve ends where fewer than half of the splits still train. Conflicts: cosines "
    "between the tasks' gradients over the parameters that they share, the median over epochs, then over splits; "
    "below 0 a step for one task is a step against the other. Twin: the placebo control whose Z was shuffled."
)


def scatter_parts(points: pd.DataFrame) -> list[Part]:
    """A scatter for every data set, setting, method and column of a frame of points, with what has to be known."""
    if points.empty:
        return []
    repeats = "of the first repeat" if (points["repeat"] == points["repeat"].min()).all() else "of all repeats"
    groups = list(settings.groups(points, "dataset", "method", "column"))
    most = int(np.clip(_POINTS // len(groups), 200, 2000))
    scatters = [
        Scatter(", ".join([settings.title(dataset, setting), method, column]), of_arm, most)
        for setting, (dataset, method, column), of_arm in groups
    ]
    return [Text(_SCATTERS.format(repeats=repeats)), *scatters]


_SCATTERS = (
    "Test rows {repeats}, in standard deviations of z. DC: the smallest shift of z that changes the teacher's class. "
    "DR: how far the student's ẑ lies from z. Shaded: ẑ lies beyond the change, so that the teacher itself, given ẑ, "
    "would change its class. Points answer to pointing, tapping and the arrow keys."
)


def discovery_parts(discovered: pd.DataFrame | None) -> list[Part]:
    """The candidates of --discover; empty where no search was asked for."""
    if discovered is None:
        return []
    parts: list[Part] = [Text(discoveries.LEGEND)]
    for dataset, of_set in discovered.groupby("dataset", sort=False):
        table: Grid = discoveries.grid(str(dataset), of_set, shown=None)
        most = min(len(of_set), discoveries.SHOWN)
        parts.append(_picture(
            lambda width, of_set=of_set, name=str(dataset): candidates.usefulness(of_set, name, width=width),  # type: ignore[misc]
            f"{dataset}: {' '.join(table.notes)}", f"usefulness of the {most} most useful candidates of {dataset}",
        ))  # fmt: skip
        parts.append(dataclasses.replace(table, title=f"{dataset}: all candidates that were tried", notes=()))
    return parts


# ---------------------------------------------------------------------- how to repeat it


def facts(config: Mapping[str, Any], metric: str = "error") -> tuple[tuple[str, str], ...]:
    """What is needed to repeat a study: command, metric, seed, options, versions, fingerprints of the data."""
    options = dict(config["options"])
    lines = [("command", summary.command_by(config, metric)), ("metric", METRICS[metric].title)]
    lines.append(("seed", str(options.pop("seed", ""))))
    lines.append(("options", "\n".join(f"{name} = {_as_text(value)}" for name, value in options.items())))
    lines.append(("versions", ", ".join(f"{name} {version}" for name, version in config["versions"].items())))
    lines.append(("device", str(config.get("device", ""))))
    for name, of_set in config["data"].items():
        lines.append((f"data: {name}", f"{of_set['rows']} rows, sha256 {of_set['sha256']}"))
    return tuple(lines)


def _as_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_as_text, value)) or "–"
    return "–" if value is None else str(value)
