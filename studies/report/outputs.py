"""What a study leaves in its folder beside its store: tables, verdicts, figures and report.html. All of it are views,
made anew whenever the command is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lupi.evidence.leaks import Leak
from lupi.evidence.metric_table import METRICS
from lupi.files import write_atomically
from studies.report import figures, report, trace_figures
from studies.run import Study
from studies.views import causes as cause_tables
from studies.views import comparisons, curves, discoveries, summary, traces
from studies.views import verdicts as judging


@dataclasses.dataclass(frozen=True)
class Findings:
    """The views of a study that tables, figures and the report are made of.

    curves : (data set, what is swept, frame of `curves.curves`) of every sweep.
    leaks : of every data set what to know before any verdict is read (`outputs.leaks_of`).
    ranks : over data sets; None where there are too few.
    causes : (data set, *`cause_tables.Told`) of every method whose errors can be explained.
    discovered : frame of `discoveries.discovered`, where anything was discovered.
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
    causes: Sequence[tuple[str, str, cause_tables.Grid, list[str]]]
    discovered: pd.DataFrame | None = None

    @property
    def alerts(self) -> dict[str, list[str]]:
        """The leaks as sentences."""
        return {dataset: list(map(str, leaks)) for dataset, leaks in self.leaks.items()}


def findings(study: Study, metric: str = "error", discovered: pd.DataFrame | None = None) -> Findings:
    results, splits, config = study.results, study.splits, study.config
    return Findings(
        study,
        metric,
        summary.summary(results, metric),
        summary.footnotes(results, config, study.seconds, metric),
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
            (dataset, *told)
            for dataset in config["data"]
            for method in cause_tables.explicable(results, splits, config, dataset)
            for told in cause_tables.grids(results, splits, dataset, method)
        ],
        discovered,
    )


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


def write(found: Findings) -> None:
    """Write the tables, the figures and the report."""
    study = found.study
    folder, results, config = study.folder, study.results, study.config
    weighed = "".join(f"- {line}\n" for line in traces.lines(study.weighed))
    beside = "\n".join(filter(None, [judging.markdown(found.verdicts, found.alerts), weighed]))
    summary.write(folder, found.table, found.notes, beside)
    write_atomically(folder / "verdicts.csv", found.verdicts.to_csv(index=False))
    for dataset in found.comparisons.loc[found.comparisons["setting"] == "", "dataset"].unique():
        figure = figures.effects(found.comparisons, found.verdicts, dataset, metric=METRICS[found.metric].title)
        figures.save(figure, folder / "figures", f"{dataset}-effects")
    drawings = [
        (dataset, name, method, part)
        for dataset, name, frame in found.curves
        for method, part in curves.drawings(frame)
    ]
    for dataset, name, method, part in drawings:
        file = "-".join(filter(None, (dataset, name, method)))
        figures.save(figures.sweep(part, curves.SWEPT[name]), folder / "figures", file)
    if found.ranks is not None:
        figure = figures.critical_difference(found.ranks.mean, found.ranks.pairwise)
        figures.save(figure, folder / "figures", "ranks")
    if found.discovered is not None:
        discoveries.save(found.discovered, folder)
    for dataset, base, views in trace_figures.pages(study.weighed):
        title = ", ".join(filter(None, (dataset, base)))
        for name, draw in (("weights", trace_figures.weights), ("conflicts", trace_figures.conflicts)):
            file = "-".join(filter(None, (dataset, name, base)))
            figures.save(draw(views, title=title), folder / "figures", file)
    causes = [
        report.Table(f"{dataset}: {title}", tuple(grid[0]), tuple(map(tuple, grid[1:])), tuple(notes))
        for dataset, title, grid, notes in found.causes
    ]
    page = report.study_report(
        results, study.splits, config, found.table, found.notes, found.comparisons, found.verdicts,
        metric=found.metric, leaks=found.alerts, causes_tables=causes, ranks=found.ranks,
        discovered=discoveries.parts(found.discovered), weighed=study.weighed,
        curves=[
            (": ".join(filter(None, (dataset, method, curves.SWEPT[name]))), curves.SWEPT[name], part)
            for dataset, name, method, part in drawings
        ],
    )  # fmt: skip
    report.write(folder, page)


def console(found: Findings) -> str:
    """Tables and verdicts for a terminal, and where the rest lies."""
    return "\n\n".join([
        summary.console(found.table, found.notes),
        judging.console(found.verdicts, found.alerts),
        *([] if found.discovered is None else [discoveries.console(found.discovered)]),
        *(["\n".join(traces.lines(found.study.weighed))] if found.study.weighed else []),
        f"Results: {found.study.folder}/ (report.html first; table.csv, table.md, table.tex, verdicts.csv, figures/)",
    ])  # fmt: skip
