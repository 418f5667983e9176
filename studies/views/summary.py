"""Tables of a study: views of its store, rebuilt at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.inference import corrected_standard_error
from lupi.evidence.metrics import lupi_gain, mean_and_std
from lupi.files import write_atomically
from lupi.methods.table import place
from lupi.methods.twins import CONTROLS
from studies import grid
from studies.grid import Grid

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
    "seconds": ("seconds a split, shared by the batch", 3, False),
}

#: The words of the tables, to be read first.
WORDS = (
    "X: the regular features. Z: the privileged ones, known in training only. lower: a network on X. upper: the same "
    "network on X and the true Z, which no student has at prediction. ẑ: Z as a student predicts it from X."
)

#: What twins are, below the table in which they first appear.
TWINS = (
    "Twins are placebo controls: the same method with the privileged information, or its weights, taken out and all "
    "else kept."
)


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


def grids(table: pd.DataFrame, notes: Mapping[str, Sequence[str]]) -> list[Grid]:
    """What a reader sees of `summary`: for every data set its methods at the study's own setting with what stands below
    them (`footnotes`), and in a table of their own the twins."""
    plain = table[(table["setting"] == "") & (table["control"] == "none")]
    shown: list[Grid] = []
    for dataset, of_set in plain.groupby("dataset", sort=False):
        shown.append(Grid.of(*_cells(of_set), str(dataset), notes.get(str(dataset), ())))
        shown += _twins(table, str(dataset))
    return shown


def _twins(table: pd.DataFrame, dataset: str) -> list[Grid]:
    """The mean error of every method and of its twins; no table where no twin was trained."""
    plain = table[(table["setting"] == "") & (table["dataset"] == dataset)]
    errors = plain.pivot_table(index="method", columns="control", values="error", sort=False)
    names = [name for name in CONTROLS if name in errors]
    errors = errors[errors.reindex(columns=names).notna().any(axis=1)] if names else errors.iloc[:0]
    rows = [
        [str(method), *("–" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in ("none", *names))]
        for method, row in errors.iterrows()
    ]
    title = f"{dataset}: the methods and their twins"
    return [Grid.of(["error", "true Z", *names], rows, title, [TWINS])] if rows else []


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


def write(folder: Path, table: pd.DataFrame, notes: dict[str, list[str]], beside: str = "") -> None:
    """table.csv (full precision), table.md (with `beside`, more Markdown, behind) and table.tex."""
    write_atomically(folder / "table.csv", table.to_csv(index=False))
    tables = grids(table, notes)
    write_atomically(folder / "table.md", "\n".join(filter(None, [f"{WORDS}\n", grid.markdown(tables), beside])))
    write_atomically(folder / "table.tex", grid.latex(tables))
