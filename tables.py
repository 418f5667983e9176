"""Tables of a study: views of its store, rebuilt at any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence import corrected_standard_error
from lupi.methods import METHODS
from lupi.metrics import lupi_gain, mean_and_std
from store import write_atomically

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
    """Mean and standard deviation over the splits of every metric, for every data set and method, at full precision.

    The LUPI gain is made from the means: 100 (lower - method) / (lower - upper), NaN where upper is not clearly below
    lower.
    """
    order = list(METHODS)
    rows: list[dict[str, Any]] = []
    for dataset, of_set in results.groupby("dataset", sort=False):
        errors = _errors(of_set)
        clear = _upper_is_better(of_set, errors)
        for method in sorted(of_set["method"].unique(), key=order.index):
            arm = of_set[of_set["method"] == method]
            row: dict[str, Any] = {"dataset": dataset, "method": method, "splits": len(arm)}
            for name in _SHOWN:
                if name != "gain":
                    row[name], row[f"{name}_std"] = mean_and_std(arm[name].to_numpy(dtype=np.float64))
            row["gain"] = _gain(errors, method) if method not in ("lower", "upper") and clear else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _errors(of_set: pd.DataFrame) -> pd.DataFrame:
    """Errors of one data set: a row for every split, a column for every method."""
    return of_set.pivot_table(index=["repeat", "fold"], columns="method", values="error")


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
        of_set = results[results["dataset"] == dataset]
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
    for dataset, of_set in table.groupby("dataset", sort=False):
        headings, rows = _cells(of_set)
        grid = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
        lines = ["| " + " | ".join(row) + " |" for row in grid]
        parts.append("\n".join([f"## {dataset}", "", *lines, "", *(f"- {note}" for note in notes[str(dataset)])]))
    return "\n\n".join(parts) + "\n"


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
    for dataset, of_set in table.groupby("dataset", sort=False):
        headings, rows = _cells(of_set)
        body = [" & ".join(map(_tex, row)) + r" \\" for row in (headings, *rows)]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(str(dataset))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\medskip\raggedright\footnotesize",
            *(rf"{_tex(note)}\par" for note in notes[str(dataset)]),
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def console(table: pd.DataFrame, notes: dict[str, list[str]]) -> str:
    """The tables of all data sets for a terminal."""
    parts = []
    for dataset, of_set in table.groupby("dataset", sort=False):
        headings, rows = _cells(of_set)
        parts.append(
            "\n".join([str(dataset), *aligned([headings, *rows]), *(f"  {note}" for note in notes[str(dataset)])])
        )
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


def write(folder: Path, table: pd.DataFrame, notes: dict[str, list[str]]) -> None:
    """table.csv (full precision), table.md and table.tex."""
    write_atomically(folder / "table.csv", table.to_csv(index=False))
    write_atomically(folder / "table.md", markdown(table, notes))
    write_atomically(folder / "table.tex", latex(table, notes))
