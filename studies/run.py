"""Running a study: checked first, trained chunk by chunk, written as chunks finish. What the three commands share."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import check_folds
from lupi.evidence.leaks import leaks_of_columns
from lupi.methods.design import chunks_of, models_of
from lupi.methods.misfits import check_methods
from lupi.methods.options import StudyOptions
from lupi.study import run as studying
from studies import progress, store
from studies.study import Study, read

log = logging.getLogger("lupi")


def check(data: Sequence[PrivilegedData], options: StudyOptions) -> None:
    """Raise ValueError for input that a study cannot use, before anything is written."""
    for data_set in data:
        check_folds(data_set, options.folds, options.inner)
        encode(data_set)  # which needs a column that can be privileged
        check_methods(data_set, options)
        if options.train_sizes:
            studying.splits_of(data_set, options, [0])


def open_store(
    folder: Path, data: Sequence[PrivilegedData], options: StudyOptions, command: str, *, force: bool
) -> store.Store:
    decided = dataclasses.asdict(options)
    device = decided.pop("device")
    config = {
        "command": command, "options": decided, "device": device, "versions": store.versions(),
        "data": {
            data_set.name: {
                **data_set.fingerprint(), "notes": list(data_set.notes),
                "leaks": [dataclasses.asdict(leak) for leak in leaks_of_columns(data_set.determining_columns())],
            }
            for data_set in data
        },
    }  # fmt: skip
    return store.Store(folder, config, force=force)


def complete(results: store.Store, data: Sequence[PrivilegedData], options: StudyOptions) -> Study:
    """Train the chunks that are missing, each written as it is finished, and read the study back."""
    if not results.finished:
        with progress.defects_show():
            _train(results, data, options)
    return read(results)


def _train(results: store.Store, data: Sequence[PrivilegedData], options: StudyOptions) -> None:
    done, size = results.repeats(), models_of(options)
    total, kept = size * options.repeats * len(data), size * len(done)
    if kept:
        log.info("going on: %d of %d models are there", kept, total)
    with progress.progress_bar(total, kept, " models") as bar:
        for data_set in data:
            for chunk in chunks_of(options, len(data_set.y)):
                repeats = [repeat for repeat in chunk if (data_set.name, repeat) not in done]
                if not repeats:
                    continue
                bar.set_description(data_set.name)
                start = time.perf_counter()
                study = studying.run(data_set, options, studying.splits_of(data_set, options, repeats), bar.update)
                seconds = time.perf_counter() - start
                results.add(data_set.name, repeats, size * len(repeats), seconds, study.records, study.splits)
                kept += size * len(repeats)
                if bar.disable:  # no terminal to draw on
                    log.info("%s: %d of %d models, %.0f s", data_set.name, kept, total, seconds)
