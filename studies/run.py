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
from lupi.methods.options import StudyOptions
from lupi.study import run as studying
from studies import progress, store
from studies.study import Study, read

log = logging.getLogger("lupi")


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
    return read(results)


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
