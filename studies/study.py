"""`Study`: the frames of a stored study, from which views, figures and the report are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from studies.store import Store
from studies.views import traces


@dataclasses.dataclass(frozen=True)
class Study:
    """A study as its store has it: `results`, `splits` and `peers` as in `store.Store`, its config, how long it took,
    and how its balanced methods weighed their tasks, where that was traced."""

    folder: Path
    results: pd.DataFrame
    splits: pd.DataFrame
    config: dict[str, Any]
    seconds: float
    weighed: Sequence[traces.Weighed] = ()
    peers: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)


def read(store: Store) -> Study:
    """The study that a store holds."""
    stored = store.results(), store.splits(), store.config, store.seconds()
    return Study(store.folder, *stored, traces.views(store), store.peers())
