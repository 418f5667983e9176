"""A table of the user's own: --csv, --target, --privileged-file and what goes with them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lupi.cli import tables
from lupi.data.privileged_data import PrivilegedData
from studies.folders import file_name

log = logging.getLogger("lupi")

#: What is said first, and under every table, where the user names no privileged column.
CHOSEN = (
    "No privileged columns are named: {where} the number most correlated with the target plays this part. Name yours "
    "with --privileged."
)


def load(values: dict[str, Any]) -> PrivilegedData:
    """The data set that --csv and the options beside it describe; ValueError says what is wrong with them."""
    path = Path(values["csv"])
    table = tables.read(path, "--csv", values)
    notes = list(table.notes)
    if not table.privileged:
        where = "in every training fold" if values["protocol"] == "strict" else "over all rows"
        notes = [CHOSEN.format(where=where), *notes]
    data = PrivilegedData.from_frame(
        table.frame,
        values["target"],
        name=file_name(values["name"] or path.stem),
        privileged=table.privileged,
        categorical=[*values["categorical"], *table.texts],
        drop=table.drop,
        notes=notes,
    )
    for note in notes:
        log.warning("%s", note)
    if table.texts:
        log.info("%s: text columns, read as categories: %s", data.name, ", ".join(table.texts))
    return data
