"""The option --discover K: runs the search for useful privileged columns and keeps its table in the study's folder."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lupi.data.privileged_data import PrivilegedData
from lupi.files import write_atomically
from lupi.methods.options import StudyOptions
from lupi.study import discovery
from lupi.study.discovery import Discovery
from lupi.study.run import run, splits_of
from studies import progress
from studies.estimate import Work, duration, prices
from studies.views.discoveries import AGAINST

FILE = "discovery.csv"

#: Columns of the file: those of a candidate, then those that all candidates of a data set share.
COLUMNS = (
    "dataset", "candidate", "kind", "weights", "splits", "kept", "usefulness", "usefulness_sd", "null", "above_null",
    "k", "error_discovered", "error_offered", "error_lower",
    *(f"{name}_{against}" for against in AGAINST for name in ("difference", "low", "high")),
)  # fmt: skip

log = logging.getLogger("lupi")


def check(data: Sequence[PrivilegedData], k: int | None) -> None:
    """Raise ValueError where K candidates cannot be in play."""
    for of_set in data if k is not None else ():
        discovery.check(of_set, k or 0)


def models_of(data: Sequence[PrivilegedData], options: StudyOptions, k: int) -> int:
    return sum(discovery.models_of(of_set, options.folds * options.repeats, k) for of_set in data)


def estimate(data: Sequence[PrivilegedData], options: StudyOptions, k: int) -> str:
    """How many models a discovery trains, and its time, measured."""
    seconds = sum(_seconds(of_set, options, k) for of_set in data)
    return f"--discover {k} trains {models_of(data, options, k)} models more: about {duration(seconds)}."


def _seconds(data: PrivilegedData, options: StudyOptions, k: int) -> float:
    """Seconds of a discovery, whose students train for as many epochs as MT does."""
    size = discovery.models_of(data, 1, k)
    one = dataclasses.replace(discovery.of_one_network(options), methods=("MT",))
    splits = splits_of(data, one, [0])
    mean = run(data, one, splits).model_epochs / len(splits)

    def measure(count: int, epochs: int) -> Work:
        short = dataclasses.replace(options, epochs=epochs)
        some = splits_of(data, one, range(-(-count // options.folds)))[:count]
        start = time.perf_counter()
        discovery.discover(data, short, some, k)
        return Work(time.perf_counter() - start, count * size * min(epochs, mean), 1.0)

    return prices(measure, size, options.folds * options.repeats, len(data.y), options.epochs).seconds


def discovered(
    folder: Path, data: Sequence[PrivilegedData], options: StudyOptions, k: int | None
) -> pd.DataFrame | None:
    """The discovery that the folder of a study holds; with K that of K candidates, made where it is not there.

    All else that decides it is what the folder is checked for when it is opened.
    """
    there = _read(folder / FILE)
    if k is None or (there is not None and set(there["k"]) == {k}):
        return there
    with progress.defects_show(), progress.progress_bar(models_of(data, options, k), 0, " models") as bar:
        tables = []
        for of_set in data:
            bar.set_description(f"{of_set.name}, discovery")
            start = time.perf_counter()
            splits = splits_of(of_set, options, range(options.repeats))[: options.folds * options.repeats]
            tables.append(table(of_set.name, discovery.discover(of_set, options, splits, k, bar.update)))
            if bar.disable:
                log.info("%s: discovery, %.0f s", of_set.name, time.perf_counter() - start)
    made = pd.concat(tables, ignore_index=True)
    write_atomically(folder / FILE, made.to_csv(index=False))
    return _read(folder / FILE)


def _read(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    there = pd.read_csv(path)
    return there if tuple(there.columns) == COLUMNS else None


def table(dataset: str, of_set: Discovery) -> pd.DataFrame:
    """A discovery as rows of the file."""
    shared: dict[str, float] = {"k": of_set.k}
    shared |= {f"error_{name}": of_set.errors[name].mean() for name in ("discovered", *AGAINST)}
    for against in AGAINST:
        compared = of_set.compared(against)
        for name, attribute in (("difference", "mean"), ("low", "low"), ("high", "high")):
            shared[f"{name}_{against}"] = float("nan") if compared is None else getattr(compared, attribute)
    weights = of_set.candidates["weights"].map(lambda w: None if w is None else json.dumps(w, ensure_ascii=False))
    return of_set.candidates.assign(dataset=dataset, weights=weights, **shared)[list(COLUMNS)]
