"""Kaggle's "ICR - Identifying Age-Related Conditions": read train.csv and greeks.csv, make the data set.

The greeks (Alpha, Beta, Gamma, Delta, Epsilon) are known for the training rows only: the privileged features.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lupi.data.dates import days
from lupi.data.privileged_data import PrivilegedData

GREEKS = ("Alpha", "Beta", "Gamma", "Delta", "Epsilon")


@functools.cache
def schema() -> dict[str, Any]:
    """The aggregate facts of the real files; the entry "about" of `icr_schema.json` says what each number is."""
    facts: dict[str, Any] = json.loads(Path(__file__).with_name("icr_schema.json").read_text(encoding="utf-8"))
    return facts


def read(train: Path, greeks: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the two files as Kaggle writes them: Ids as text (some look like numbers), column names kept exactly.

    Raises ValueError if columns are missing or strange; four names end in a blank, which some tools cut off.
    """
    tables = []
    for path, columns in ((train, ("Id", *schema()["features"], "Class")), (greeks, ("Id", *GREEKS))):
        table = pd.read_csv(path, dtype={"Id": str})
        missing = [column for column in columns if column not in table.columns]
        strange = [column for column in table.columns if column not in columns]
        if missing or strange:
            raise ValueError(
                f"{path.name} must have the columns of Kaggle's file, of which four end in a blank; "
                f"missing: {missing[:8]}; not expected: {strange[:8]}."
            )
        tables.append(table[list(columns)])
    return tables[0], tables[1]


def to_privileged(train: pd.DataFrame, greeks: pd.DataFrame, *, name: str, notes: Sequence[str] = ()) -> PrivilegedData:
    """The data set with all five greeks privileged, from the two tables of `read`; rows are matched by Id.

    Alpha, Beta, Gamma and Delta are categorical, Epsilon is days since the first date in the table (float, missing
    where it is Unknown). EJ is categorical.

    Raises ValueError for Ids that are not unique or differ between the tables, unknown levels and malformed dates.
    """
    for what, table in (("train.csv", train), ("greeks.csv", greeks)):
        if table["Id"].duplicated().any():
            raise ValueError(f"{what} must have one row for each Id; {table['Id'].duplicated().sum()} are repeated.")
    strange = set(train["Id"]) ^ set(greeks["Id"])
    if strange:
        raise ValueError(
            f"train.csv and greeks.csv must have the same Ids; {len(strange)} are in only one of them, "
            f"for example {min(map(str, strange))!r}."
        )
    table = train.merge(greeks, on="Id", validate="one_to_one")
    levels = {greek: list(counts) for greek, counts in schema()["greeks"].items()}
    levels["EJ"] = list(schema()["features"]["EJ"])
    for column, known in levels.items():
        unknown = sorted(set(map(str, table[column])) - set(known))
        if unknown:
            raise ValueError(f"column {column!r} must have the levels {', '.join(known)}; found {unknown[:5]}.")
    table["Epsilon"], _ = days(table["Epsilon"], "month/day/year")
    return PrivilegedData.from_frame(
        table, "Class", name=name, privileged=GREEKS, categorical=list(levels), drop=["Id"], notes=notes
    )
