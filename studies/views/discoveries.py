"""The candidates of --discover as a table and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd

from studies.grid import Grid

#: What MT with the discovered candidates is compared with.
AGAINST = ("offered", "lower")

#: So many candidates are shown, the most useful first; the file has all.
SHOWN = 20

LEGEND = (
    "Usefulness of a candidate: Σ |weight of the target network on ẑ| times the spread of ẑ over the training rows, "
    "mean over the splits in which it was tried. Null: 95 % of what is made of the same candidates shuffled over the "
    "training rows lies below. Kept: in so many splits it was among the K in the end. A projection is tanh of the "
    "weighted sum of the standardised privileged columns that stands beside it; discovery.csv has all its weights. "
    "Candidates are chosen on the training rows of each split; the errors are those of its test rows."
)


def weighted_sum(weights: object, shown: int = 2) -> str:
    """The largest coefficients of a projection, given as JSON: "0.62·Glucose − 0.41·BMI + 6 more"; "" for no JSON."""
    if not isinstance(weights, str):
        return ""
    terms = sorted(json.loads(weights).items(), key=lambda term: -abs(term[1]))
    (name, largest), *others = terms[:shown]
    text = f"{'−' if largest < 0 else ''}{abs(largest):.2f}·{name}"
    text += "".join(f" {'−' if weight < 0 else '+'} {abs(weight):.2f}·{name}" for name, weight in others)
    return text + (f" + {len(terms) - shown} more" if len(terms) > shown else "")


def sentences(of_set: pd.DataFrame) -> Iterator[str]:
    """What the discovery of one data set comes to."""
    first = of_set.iloc[0]
    above = int(of_set["above_null"].sum())
    yield (
        f"{first['k']} candidates in play, {len(of_set)} tried: {above} above the null. MT errs "
        f"{first['error_discovered']:.3f} with those kept, {first['error_offered']:.3f} with the columns offered; "
        f"lower errs {first['error_lower']:.3f}."
    )
    for against, name in zip(AGAINST, ("MT with the columns offered", "lower"), strict=True):
        mean, low, high = (first[f"{part}_{against}"] for part in ("difference", "low", "high"))
        if np.isfinite(low):
            differs = "errs less" if low > 0 else "errs more" if high < 0 else "is not shown to err less or more"
            yield (
                f"With those kept, MT {differs} than {name} (error of {against} − its own: {mean:.3f}, 95 % interval "
                f"{low:.3f} to {high:.3f})."
            )


def grid(dataset: str, of_set: pd.DataFrame, shown: int | None = SHOWN) -> Grid:
    """The candidates of one data set, the most useful first; `shown` of them (None: all)."""
    rows = [
        [str(row["candidate"]), str(row["kind"]), weighted_sum(row["weights"]), str(row["splits"]), str(row["kept"]),
         f"{row['usefulness']:.2f}", "–" if pd.isna(row["usefulness_sd"]) else f"{row['usefulness_sd']:.2f}",
         f"{row['null']:.2f}", "above null" if row["above_null"] else ""]
        for _, row in of_set.head(len(of_set) if shown is None else shown).iterrows()
    ]  # fmt: skip
    headings = ["candidate", "kind", "weights", "splits", "kept", "usefulness", "sd", "null 95 %", "above null?"]
    return Grid.of(headings, rows, f"{dataset}: useful privileged columns", tuple(sentences(of_set)))


def grids(discovered: pd.DataFrame) -> list[Grid]:
    """For a terminal: the most useful candidates of every data set, and what MT errs with those kept."""
    return [grid(str(dataset), of_set) for dataset, of_set in discovered.groupby("dataset", sort=False)]
