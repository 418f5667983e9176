"""Tables of a study: views of its store, rebuilt at any time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.gain import Gain, upper_is_better
from lupi.evidence.metric_table import METRICS, Metric, Target
from lupi.evidence.metrics import mean_and_std
from lupi.evidence.verdict import nothing_to_gain
from lupi.files import write_atomically
from lupi.methods.table import place
from lupi.methods.twins import NONE, TWINS
from lupi.settings import PLAIN
from lupi.study.peers import PEERS
from studies import grid
from studies.grid import Grid
from studies.views import settings
from studies.views.comparisons import Losses

#: The words of the tables, to be read first.
WORDS = (
    "X: the regular features. Z: the privileged ones, known in training only. lower: a network on X. upper: the same "
    "network on X and the true Z, which no student has at prediction. ẑ: Z as a student predicts it from X."
)

#: What twins are, below the table in which they first appear.
_ABOUT_TWINS = (
    "Twins are placebo controls: the same method with the privileged information, or its weights, taken out and all "
    "else kept."
)


def summary(results: pd.DataFrame, metric: str = "error", peers: pd.DataFrame | None = None) -> pd.DataFrame:
    """Mean and standard deviation over the splits of every metric, for every data set, setting (swept, value), method
    and twin, at full precision; below its methods the peers of a data set (`Store.peers`).

    The column group is "methods" or "peers".
    The column metric has the one that methods are compared by; gain is the LUPI gain by it (`lupi_gain`), NaN where
    that is not shown, and for the bounds and the twins.
    """
    twins = [NONE, *TWINS]
    rows: list[dict[str, Any]] = []
    for dataset, of_set in results.groupby("dataset", sort=False):
        losses = Losses(of_set, metric)
        for setting, _, of_setting in settings.groups(of_set):
            names = of_setting[["method", "control"]].drop_duplicates().itertuples(index=False, name=None)
            for method, control in sorted(names, key=lambda arm: (place(arm[0]), twins.index(arm[1]))):
                arm = of_setting[(of_setting["method"] == method) & (of_setting["control"] == control)]
                row = {"dataset": dataset, "swept": setting.swept, "value": setting.value, "method": method,
                       "control": control, "splits": len(arm)}  # fmt: skip
                for name in _columns(metric):
                    row[name], row[f"{name}_std"] = mean_and_std(arm[name].to_numpy(dtype=np.float64))
                judged = method not in ("lower", "upper") and control == NONE
                row["gain"] = (losses.gain(setting, method) if judged else Gain()).point
                rows.append(row | {"metric": metric, "group": "methods"})
        if peers is not None and len(peers):
            rows += _peers(peers[peers["dataset"] == dataset], metric)
    return pd.DataFrame(rows).astype({"value": np.float64})


def _peers(of_set: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """The rows of the peers of a data set, in the order of their table."""
    rows = []
    for name in [name for name in PEERS if name in set(of_set["peer"])]:
        arm = of_set[of_set["peer"] == name]
        row: dict[str, Any] = {"dataset": arm["dataset"].iloc[0], "swept": PLAIN.swept, "value": PLAIN.value,
                               "method": name, "control": NONE, "splits": len(arm)}  # fmt: skip
        for column in _columns(metric):
            values = arm[column].to_numpy(dtype=np.float64) if column in arm else np.full(len(arm), np.nan)
            row[column], row[f"{column}_std"] = mean_and_std(values)
        rows.append(row | {"gain": np.nan, "metric": metric, "group": "peers"})
    return rows


def _columns(metric: str) -> list[str]:
    """Metrics that a table shows, the one that methods are compared by first."""
    return list(dict.fromkeys([metric, *(row.name for row in METRICS.values() if row.listed)]))


def grids(table: pd.DataFrame, notes: Mapping[str, Sequence[str]]) -> list[Grid]:
    """What a reader sees of `summary`: for every data set its methods at the study's own setting with what stands below
    them (`footnotes`), and in a table of their own the twins."""
    plain = table[settings.at(table) & (table["control"] == NONE)]
    shown: list[Grid] = []
    for dataset, of_set in plain.groupby("dataset", sort=False):
        shown.append(Grid.of(*_cells(of_set), str(dataset), notes.get(str(dataset), ())))
        shown += _twins(table, str(dataset))
    return shown


def _twins(table: pd.DataFrame, dataset: str) -> list[Grid]:
    """The mean of the compared metric of every method and of its twins; no table where no twin was trained."""
    plain = table[settings.at(table) & (table["dataset"] == dataset)]
    metric = METRICS[plain["metric"].iloc[0]]
    means = plain.pivot_table(index="method", columns="control", values=metric.name, sort=False)
    names = [name for name in TWINS if name in means]
    means = means[means.reindex(columns=names).notna().any(axis=1)] if names else means.iloc[:0]
    rows = [
        [str(method), *("–" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in (NONE, *names))]
        for method, row in means.iterrows()
    ]
    title = f"{dataset}: the methods and their twins"
    headings = [metric.title_for(_target(plain)), "true Z", *names]
    return [Grid.of(headings, rows, title, [_ABOUT_TWINS])] if rows else []


def _target(of_set: pd.DataFrame) -> Target:
    return "number" if of_set["r2"].notna().any() else "classes"


def _cells(of_set: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and text cells of one data set's table; columns that are empty throughout are left out.

    The LUPI gain stands behind the metric that it is of.
    """
    compared = str(of_set["metric"].iloc[0])
    names = [name for name in _columns(compared) if of_set[name].notna().any()]
    with_gain = of_set["gain"].notna().any()
    labels = [f"peer: {name}" if group == "peers" else str(name)
              for name, group in zip(of_set["method"], of_set["group"], strict=True)]  # fmt: skip
    headings, rows = ["method"], [[label] for label in labels]
    for name in names:
        metric = METRICS[name]
        headings.append(metric.title_for(_target(of_set)))
        stds = of_set[f"{name}_std"] if metric.spread else [np.nan] * len(of_set)
        for row, mean, std in zip(rows, of_set[name], stds, strict=True):
            spread = "" if pd.isna(mean) or pd.isna(std) else f" ± {std:.{metric.decimals}f}"
            row.append("–" if pd.isna(mean) else f"{mean:.{metric.decimals}f}{spread}")
        if name == compared and with_gain:
            headings.append("LUPI gain %")
            for row, gain in zip(rows, of_set["gain"], strict=True):
                row.append("–" if pd.isna(gain) else f"{gain:.1f}")
    return headings, rows


def footnotes(
    results: pd.DataFrame, config: Mapping[str, Any], seconds: float, metric: str = "error"
) -> dict[str, list[str]]:
    """What stands under the table of each data set: its notes and leaks, protocol, seed, versions and fingerprint."""
    options, notes = config["options"], {}
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    how = "chosen on the training rows of each fold" if options["protocol"] == "strict" else "chosen on all rows"
    for dataset, facts in config["data"].items():
        of_set = results[(results["dataset"] == dataset) & settings.at(results) & (results["control"] == "none")]
        chosen = of_set[of_set["method"] == of_set["method"].iloc[0]]["privileged"]
        counts = chosen.map(lambda names: ", ".join(names)).value_counts()
        given = "" if facts["privileged"] else f" ({how})"
        columns = "; ".join(
            f"{names} in {n} of {len(chosen)} splits" if given else names for names, n in counts.items()
        )
        notes[dataset] = [
            *facts["notes"],
            *(leak["why"] for leak in facts["leaks"]),
            f"Privileged{given}: {columns}.",
            *_warnings(results[results["dataset"] == dataset], metric),
            f"Means over {len(chosen)} splits ({options['folds']} folds, repeated {_times(options['repeats'])}). ± is "
            "the standard deviation over splits; do not divide it by √n, as the splits share training rows. "
            f"{facts['rows']} rows, {len(facts['regular'])} regular features"
            + (f"; {options['members']} networks an arm, averaged." if options["members"] > 1 else "."),
            *_compared_by(METRICS[metric]),
            f"Protocol {options['protocol']}, seed {options['seed']}, {config['device']}, {options['dtype']}; "
            f"{versions}.",
            f"Data sha256 {facts['sha256'][:16]}; the whole study took {seconds:.1f} s. Command: "
            f"{command_by(config, metric)}",
        ]
    return notes


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _compared_by(metric: Metric) -> list[str]:
    if metric.name == "error":
        return []
    return [f"Methods are compared by their {metric.title}: LUPI gain, twins and verdicts are of it."]


def command_by(config: Mapping[str, Any], metric: str) -> str:
    """The command that began a study, with the metric that its tables are by."""
    command = str(config["command"])
    if re.search(_METRIC_GIVEN, command):
        return re.sub(_METRIC_GIVEN, rf"\g<1>{metric}", command)
    # A file of options may set another metric.
    return f"{command} --metric {metric}" if metric != "error" or "--config" in command else command


_METRIC_GIVEN = r"(--metric[ =])\S+"


def _warnings(of_set: pd.DataFrame, metric: str) -> list[str]:
    """What the figures of a data set do not tell by themselves."""
    losses, warnings = Losses(of_set, metric), []
    possible = losses.compare(PLAIN, "upper", ("lower", NONE))
    if possible is not None and possible.splits and not upper_is_better(possible):
        warnings.append(nothing_to_gain(possible, losses.metric))
    own = of_set[settings.at(of_set) & (of_set["control"] == NONE)]
    failed = own[own["error"].isna()]["method"].value_counts(sort=False)
    warnings += [
        f"{method}: no number in {n} of {(own['method'] == method).sum()} splits (its networks diverged); the means "
        "are of the others."
        for method, n in failed.items()
    ]
    return warnings


def write(folder: Path, table: pd.DataFrame, notes: dict[str, list[str]], beside: str = "") -> None:
    """table.csv (full precision), table.md (with `beside`, more Markdown, behind) and table.tex."""
    write_atomically(folder / "table.csv", table.to_csv(index=False))
    tables = grids(table, notes)
    write_atomically(folder / "table.md", "\n".join(filter(None, [f"{WORDS}\n", grid.markdown(tables), beside])))
    write_atomically(folder / "table.tex", grid.latex(tables))
