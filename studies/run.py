"""Running a study: checked first, trained chunk by chunk, written as chunks finish. What the three commands share."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import check_folds
from lupi.evidence.leaks import leaks_of_columns
from lupi.methods.design import chunks_of, models_of
from lupi.methods.options import StudyOptions
from lupi.study import run as studying
from studies import progress, store
from studies.views import traces

log = logging.getLogger("lupi")


@dataclasses.dataclass(frozen=True)
class Study:
    """A study as its store has it: `results` and `splits` as in `store.Store`, its config, how long it took, and how
    its balanced methods weighed their tasks, where that was traced."""

    folder: Path
    results: pd.DataFrame
    splits: pd.DataFrame
    config: dict[str, Any]
    seconds: float
    weighed: Sequence[traces.Weighed] = ()


def check(data: Sequence[PrivilegedData], options: StudyOptions) -> None:
    """Everything that can be wrong with the input is found before anything is written."""
    for each in data:
        check_folds(each, options.folds, options.inner)
        encode(each)  # which needs a column that can be privileged
        studying.check_methods(each, options)
        if options.train_sizes:
            studying.splits_of(each, options, [0])


def open_store(
    folder: Path, data: Sequence[PrivilegedData], options: StudyOptions, command: str, *, force: bool
) -> store.Store:
    decided = dataclasses.asdict(options)
    device = decided.pop("device")
    config = {
        "command": command, "options": decided, "device": device, "versions": store.versions(),
        "data": {
            each.name: {
                **each.fingerprint(), "notes": list(each.notes),
                "leaks": [dataclasses.asdict(leak) for leak in leaks_of_columns(each.determining_columns())],
            }
            for each in data
        },
    }  # fmt: skip
    return store.Store(folder, config, force=force)


def complete(results: store.Store, data: Sequence[PrivilegedData], options: StudyOptions) -> Study:
    """Train the chunks that are missing, each written as it is finished, and read the study back."""
    if not results.finished:
        with progress.defects_show():
            _train(results, data, options)
    stored = results.results(), results.splits(), results.config, results.seconds()
    return Study(results.folder, *stored, traces.views(results))


def _train(results: store.Store, data: Sequence[PrivilegedData], options: StudyOptions) -> None:
    done, size = results.repeats(), models_of(options)
    total, kept = size * options.repeats * len(data), size * len(done)
    if kept:
        log.info("going on: %d of %d models are there", kept, total)
    with progress.progress_bar(total, kept, " models") as bar:
        for each in data:
            for chunk in chunks_of(options, len(each.y)):
                repeats = [repeat for repeat in chunk if (each.name, repeat) not in done]
                if not repeats:
                    continue
                bar.set_description(each.name)
                start = time.perf_counter()
                study = studying.run(each, options, studying.splits_of(each, options, repeats), bar.update)
                seconds = time.perf_counter() - start
                results.add(each.name, repeats, size * len(repeats), seconds, study.records, study.splits)
                kept += size * len(repeats)
                if bar.disable:  # no terminal to draw on
                    log.info("%s: %d of %d models, %.0f s", each.name, kept, total, seconds)


def estimate(data: Sequence[PrivilegedData], options: StudyOptions) -> str:
    """Models and parameters of the study, and its time, extrapolated from three epochs of one repeat."""
    import models
    from studies.grid import Grid

    typical = min(options.epochs, 85)
    short = dataclasses.replace(
        options, epochs=3, repeats=1, sweeps=tuple(s for s in options.sweeps if s[0] != "epochs")
    )
    rows, total = [], 0.0
    for each in data:
        start = time.perf_counter()
        studying.run(each, short, studying.splits_of(each, short, [0]))
        minutes = (time.perf_counter() - start) / 3 * typical * options.repeats / 60
        total += minutes
        sizes = models.parameters(each, options.pair, options.weighed_methods)
        count = models_of(options) * options.repeats
        rows.append([each.name, str(len(each.y)), str(count), f"{min(sizes)}-{max(sizes)}", f"{minutes:.1f}"])
    table = Grid.of(["data set", "rows", "models", "parameters a model", "minutes, about"], rows).console()
    return f"{table}\nIn all about {total:.1f} minutes, if models stop after some {typical} epochs as usual."
