"""Writes a study's tables, verdicts, figures and report.html beside its store, and makes the text that is printed.
All files are made anew from the findings whenever the command is given."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lupi.evidence.metric_table import METRICS
from lupi.files import write_atomically
from studies import grid
from studies.report import page, sections
from studies.report.figures import candidates, conflicts, effects, ranks, style, sweeps, weights
from studies.report.findings import Findings
from studies.views import curves, discoveries, peers, settings, summary, traces
from studies.views import verdicts as judging


def write(findings: Findings) -> None:
    """Write the tables, the figures and the report."""
    folder = findings.study.folder
    _write_tables(findings, folder)
    _write_figures(findings, folder / "figures")
    page.write(folder, sections.study_report(findings))


def _write_tables(findings: Findings, folder: Path) -> None:
    verdicts = grid.markdown(judging.grids(findings.verdicts, findings.alerts))
    weighed = "".join(f"- {line}\n" for line in traces.lines(findings.study.weighed))
    of_peers = ""
    if findings.standings:
        tables = grid.markdown(peers.grids(findings.standings, findings.table))
        of_peers = f"{tables}\n{peers.legend(findings.metric)}\n"
    beside = "\n".join(filter(None, [f"{verdicts}\n{judging.legend(findings.verdicts)}\n", of_peers, weighed]))
    summary.write(folder, findings.table, findings.notes, beside)
    write_atomically(folder / "verdicts.csv", findings.verdicts.to_csv(index=False))


def _write_figures(findings: Findings, folder: Path) -> None:
    metric = METRICS[findings.metric].title
    compared = findings.comparisons
    if findings.standings:
        compared = pd.concat([compared, peers.comparisons(findings.standings)], ignore_index=True)
    with_lower = compared[settings.at(compared) & (compared["against"] == "lower")]
    for dataset in map(str, with_lower["dataset"].unique()):
        figure = effects.effects(compared, findings.verdicts, dataset, metric=metric)
        style.save(figure, folder, f"{dataset}-effects")
    for dataset, name, method, part in sections.drawings(findings.curves):
        style.save(sweeps.sweep(part, curves.titles()[name]), folder, "-".join(filter(None, (dataset, name, method))))
    if findings.ranks is not None:
        style.save(ranks.critical_difference(findings.ranks.mean, findings.ranks.pairwise), folder, "ranks")
    if findings.discovered is not None:
        for of_set_name, of_set in findings.discovered.groupby("dataset", sort=False):
            style.save(candidates.usefulness(of_set, str(of_set_name)), folder, f"{of_set_name}-discovery")
    for dataset, base, views in weights.pages(findings.study.weighed):
        title = ", ".join(filter(None, (dataset, base)))
        for name, draw in (("weights", weights.weights), ("conflicts", conflicts.conflicts)):
            style.save(draw(views, title=title), folder, "-".join(filter(None, (dataset, name, base))))


def console(findings: Findings) -> str:
    """Tables and verdicts for a terminal, and where the rest lies."""
    folder = findings.study.folder
    return "\n\n".join([
        summary.WORDS,
        grid.console(summary.grids(findings.table, findings.notes)),
        *([] if findings.verdicts.empty else [grid.console(judging.grids(findings.verdicts, findings.alerts))]),
        judging.legend(findings.verdicts),
        *([grid.console(peers.grids(findings.standings, findings.table)), peers.legend(findings.metric)]
          if findings.standings else []),
        *([] if findings.discovered is None else [grid.console(discoveries.grids(findings.discovered)),
                                                  discoveries.LEGEND]),
        *(["\n".join(traces.lines(findings.study.weighed))] if findings.study.weighed else []),
        f"Results: {folder}/ (report.html first; table.csv, table.md, table.tex, verdicts.csv, figures/)",
    ])  # fmt: skip
