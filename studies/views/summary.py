"""Tables of a study: views of its store, rebuilt at any time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.inference import corrected_standard_error
from lupi.evidence.metrics import lupi_gain, mean_and_std
from lupi.files import write_atomically
from lupi.methods.table import place
from lupi.methods.twins import CONTROLS

#: Metrics that a table shows: column of the store -> (heading, decimals, whether the spread is shown).
_SHOWN = {
    "error": ("error", 3, True),
    "gain": ("LUPI gain %", 1, False),
    "auc": ("AUC", 3, True),
    "balanced_log_loss": ("balanced log loss", 3, True),
    "mae": ("MAE", 3, True),
    "r2": ("R²", 3, True),
    "z_mae": ("ẑ MAE (sd)", 3, True),
    "z_error": ("ẑ error", 3, True),
    "epochs": ("epochs", 0, False),
    "seconds": ("s / split", 3, False),
}


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the splits of every metric, for every data set, setting, method and twin, at
    full precision.

    The LUPI gain is made from the means: 100 (lower - method) / (lower - upper), NaN where upper is not clearly below
    lower.
    """
    twins = ["none", *CONTROLS]
    rows: list[dict[str, Any]] = []
    for (dataset, setting), of_set in results.groupby(["dataset", "setting"], sort=False):
        errors = _errors(of_set)
        clear = _upper_is_better(of_set, errors)
        names = of_set[["method", "control"]].drop_duplicates().itertuples(index=False, name=None)
        for method, control in sorted(names, key=lambda arm: (place(arm[0]), twins.index(arm[1]))):
            arm = of_set[(of_set["method"] == method) & (of_set["control"] == control)]
            row = {"dataset": dataset, "setting": setting, "method": method, "control": control, "splits": len(arm)}
            for name in _SHOWN:
                if name != "gain":
                    row[name], row[f"{name}_std"] = mean_and_std(arm[name].to_numpy(dtype=np.float64))
            gains = clear and method not in ("lower", "upper") and control == "none"
            row["gain"] = _gain(errors, method) if gains else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """What a reader sees of `summary`: for every data set the headings and text cells of its methods, at the study's
    own setting and without their twins, which have a table of their own."""
    plain = table[(table["setting"] == "") & (table["control"] == "none")]
    for dataset, of_set in plain.groupby("dataset", sort=False):
        yield str(dataset), *_cells(of_set)


def twins(table: pd.DataFrame, dataset: str) -> list[list[str]]:
    """The mean error of every method and of its twins, headings first; no rows where no twin was trained."""
    plain = table[(table["setting"] == "") & (table["dataset"] == dataset)]
    errors = plain.pivot_table(index="method", columns="control", values="error", sort=False)
    names = [name for name in CONTROLS if name in errors]
    errors = errors[errors.reindex(columns=names).notna().any(axis=1)] if names else errors.iloc[:0]
    rows = [
        [str(method), *("–" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in ("none", *names))]
        for method, row in errors.iterrows()
    ]
    return [["error", "true Z", *names], *rows] if rows else []


def _errors(of_set: pd.DataFrame) -> pd.DataFrame:
    """Errors of one data set: a row for every split, a column for every method."""
    return of_set[of_set["control"] == "none"].pivot_table(index=["repeat", "fold"], columns="method", values="error")


def _gain(errors: pd.DataFrame, method: str) -> float:
    """The LUPI gain of the mean errors over the splits in which all three have one."""
    means = errors.reindex(columns=[method, "lower", "upper"]).dropna().mean()
    return lupi_gain(*map(float, means))


def _upper_is_better(of_set: pd.DataFrame, errors: pd.DataFrame) -> bool:
    """Whether the upper bound errs less than the lower by more than twice the corrected standard error.

    Otherwise a LUPI gain would be a quotient by noise.
    """
    if not {"lower", "upper"} <= set(errors.columns):
        return False
    differences = (errors["lower"] - errors["upper"]).dropna()
    if len(differences) < 2:
        return False
    share = float((of_set["n_test"] / of_set["n_train"]).mean())
    return bool(differences.mean() > 2.0 * corrected_standard_error(differences, share))


def _cells(of_set: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and text cells of one data set's table; columns that are empty throughout are left out."""
    shown = {name: spec for name, spec in _SHOWN.items() if of_set[name].notna().any()}
    if "r2" in shown:  # a numeric target
        shown["error"] = ("RMSE", *_SHOWN["error"][1:])
    rows = []
    for _, row in of_set.iterrows():
        cells = [str(row["method"])]
        for name, (_, decimals, spread) in shown.items():
            value, std = row[name], row.get(f"{name}_std", np.nan)
            text = "–" if pd.isna(value) else f"{value:.{decimals}f}"
            cells.append(text + (f" ± {std:.{decimals}f}" if spread and pd.notna(std) else ""))
        rows.append(cells)
    return ["method", *(heading for heading, _, _ in shown.values())], rows


def footnotes(results: pd.DataFrame, config: dict[str, Any], seconds: float) -> dict[str, list[str]]:
    """What stands under the table of each data set: its notes, protocol, seed, versions and fingerprint."""
    options, notes = config["options"], {}
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    how = "chosen on the training rows of each fold" if options["protocol"] == "strict" else "chosen on all rows"
    for dataset, facts in config["data"].items():
        of_set = results[(results["dataset"] == dataset) & (results["setting"] == "") & (results["control"] == "none")]
        chosen = of_set[of_set["method"] == of_set["method"].iloc[0]]["privileged"]
        counts = chosen.map(lambda names: ", ".join(names)).value_counts()
        given = "" if facts["privileged"] else f" ({how})"
        columns = "; ".join(
            f"{names} in {n} of {len(chosen)} splits" if given else names for names, n in counts.items()
        )
        notes[dataset] = [
            *facts["notes"],
            f"Privileged{given}: {columns}.",
            *_warnings(of_set),
            f"Mean ± standard deviation over {len(chosen)} splits ({options['folds']} folds, repeated "
            f"{_times(options['repeats'])}), which share training rows: no standard error. {facts['rows']} rows, "
            f"{len(facts['regular'])} regular features"
            + (f"; {options['members']} networks an arm, averaged." if options["members"] > 1 else "."),
            f"Protocol {options['protocol']}, seed {options['seed']}, {config['device']}, {options['dtype']}; "
            f"{versions}.",
            f"Data sha256 {facts['sha256'][:16]}; the whole study took {seconds:.1f} s. Command: {config['command']}",
        ]
    return notes


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _warnings(of_set: pd.DataFrame) -> list[str]:
    """What the figures of a data set do not tell by themselves."""
    found = []
    errors = _errors(of_set)
    lower, upper = (errors[name].mean() if name in errors else np.nan for name in ("lower", "upper"))
    if np.isfinite(lower) and np.isfinite(upper) and not _upper_is_better(of_set, errors):
        found.append(
            f"LUPI gain: not shown, as upper (which sees the true Z) does not err less than lower ({upper:.3f} and "
            f"{lower:.3f}) by twice the corrected standard error of the difference: no gain to have a share of."
        )
    failed = of_set[of_set["error"].isna()]["method"].value_counts(sort=False)
    found += [
        f"{method}: no number in {n} of {(of_set['method'] == method).sum()} splits (its networks diverged); the means "
        "are of the others."
        for method, n in failed.items()
    ]
    return found


def markdown(table: pd.DataFrame, notes: dict[str, list[str]]) -> str:
    """The tables of all data sets as Markdown."""
    parts = []
    for dataset, headings, rows in shown(table):
        beside = twins(table, dataset)
        lines = [f"## {dataset}", "", *_grid([headings, *rows]), *(["", *_grid(beside)] if beside else [])]
        parts.append("\n".join([*lines, "", *(f"- {note}" for note in notes[dataset])]))
    return "\n\n".join(parts) + "\n"


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells, headings first, as a Markdown table."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]


_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "²": r"$^2$",
        "ẑ": r"$\hat{z}$", "–": r"\textendash{}", "×": r"$\times$",
        "σ": r"$\sigma$", "ε": r"$\varepsilon$", "λ": r"$\lambda$", "β": r"$\beta$"}  # fmt: skip


def _tex(text: str) -> str:
    # An empty group between two hyphens: LaTeX would join them to a dash.
    return re.sub("-(?=-)", "-{}", "".join(_TEX.get(character, character) for character in text))


def latex(table: pd.DataFrame, notes: dict[str, list[str]]) -> str:
    r"""The tables of all data sets as LaTeX with booktabs' rules (needs \usepackage{booktabs})."""
    parts = []
    for dataset, headings, rows in shown(table):
        beside = twins(table, dataset)
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(dataset)}}}",
            *_tabular([headings, *rows]),
            *([r"\par\medskip", *_tabular(beside)] if beside else []),
            r"\par\medskip\raggedright\footnotesize",
            *(rf"{_tex(note)}\par" for note in notes[dataset]),
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _tabular(rows: Sequence[Sequence[str]]) -> list[str]:
    body = [" & ".join(map(_tex, row)) + r" \\" for row in rows]
    columns = f"l{'r' * (len(rows[0]) - 1)}"
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    return [begin, r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule", end]


def console(table: pd.DataFrame, notes: dict[str, list[str]]) -> str:
    """The tables of all data sets for a terminal."""
    parts = []
    for dataset, headings, rows in shown(table):
        beside = twins(table, dataset)
        lines = [dataset, *aligned([headings, *rows]), *(["", *aligned(beside)] if beside else [])]
        parts.append("\n".join([*lines, *(f"  {note}" for note in notes[dataset])]))
    return "\n\n".join(parts)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right, a rule under the first row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [lines[0], "─" * len(lines[0]), *lines[1:]]


def write(folder: Path, table: pd.DataFrame, notes: dict[str, list[str]], beside: str = "") -> None:
    """table.csv (full precision), table.md (with `beside`, more Markdown, behind) and table.tex."""
    write_atomically(folder / "table.csv", table.to_csv(index=False))
    write_atomically(folder / "table.md", "\n".join(filter(None, [markdown(table, notes), beside])))
    write_atomically(folder / "table.tex", latex(table, notes))
