#!/usr/bin/env python3
"""One study: every method on the chosen data sets, cross-validated. Results go to results/<study>/."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import utils

if TYPE_CHECKING:
    from lupi.data import PrivilegedData
    from lupi.options import StudyOptions

EPILOG = """examples:
  python MT_main.py --dataset icr
  python MT_main.py --dataset all --repeats 10
  python MT_main.py --dataset diabetes --protocol paper --methods paper --repeats 20
  python MT_main.py --csv train.csv --target Class --privileged-file greeks.csv --on Id --categorical EJ Beta
"""


def main(argv: Sequence[str] | None = None) -> int:
    with utils.errors_to_exit("MT_main.py"):
        values = utils.parse(__doc__ or "", argv, utils.GROUPS, EPILOG)
        data = utils.load_data(values)
        options = utils.fitted_to(utils.study_options(values), data)
        check(data, options)
        if values["dry_run"]:
            print(estimate(data, options))
            print(f"Results would lie in {utils.results_folder(values, data, options)}/.")
            return 0
        study(values, data, options, shlex.join(["python", "MT_main.py", *(sys.argv[1:] if argv is None else argv)]))
    return 0


def check(data: Sequence[PrivilegedData], options: StudyOptions) -> None:
    """Everything that can be wrong with the input is found before anything is written."""
    from lupi.data import encode
    from lupi.splits import check_folds
    from lupi.study import check_methods

    for each in data:
        check_folds(each, options.folds, options.inner)
        encode(each)  # which needs a column that can be privileged
        check_methods(each, options)


def study(values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions, command: str) -> None:
    """Train what is not in the store yet, then write and print the tables."""
    import dataclasses

    import store
    import tables

    told = dataclasses.asdict(options)
    device = told.pop("device")
    config = {
        "command": command, "options": told, "device": device, "versions": store.versions(),
        "data": {each.name: {**each.fingerprint(), "notes": list(each.notes)} for each in data},
    }  # fmt: skip
    folder = utils.results_folder(values, data, options)
    with store.Store(folder, config, force=values["force"]) as results:
        if not results.finished:
            with utils.defects_show():
                train(results, data, options)
        records, seconds = results.results(), results.seconds()
        table = tables.summary(records)
        notes = tables.footnotes(records, results.config, seconds)
        tables.write(folder, table, notes)
        results.finish()
    print(tables.console(table, notes))
    print(f"\nResults: {folder}/ (table.csv, table.md, table.tex, study.sqlite, config.json)")


def train(results: Any, data: Sequence[PrivilegedData], options: StudyOptions) -> None:
    """Train the chunks that are missing, each written as it is finished."""
    import itertools
    import time

    from lupi.design import design
    from lupi.options import chunks_of
    from lupi.splits import outer_splits
    from lupi.study import run

    done = results.repeats()
    size = len(design(options, options.folds))  # models of a repeat
    total, kept = size * options.repeats * len(data), size * len(done)
    if kept:
        utils.log.info("going on: %d of %d models are there", kept, total)
    with utils.progress_bar(total, kept, " models") as bar:
        for each, chunk in itertools.product(data, chunks_of(options)):
            repeats = [repeat for repeat in chunk if (each.name, repeat) not in done]
            if not repeats:
                continue
            bar.set_description(each.name)
            start = time.perf_counter()
            splits = [
                split
                for repeat in repeats
                for split in outer_splits(each, options.folds, options.inner, repeat, options.seed)
            ]
            records = run(each, options, splits, bar.update)
            seconds = time.perf_counter() - start
            results.add(each.name, repeats, size * len(repeats), seconds, records)
            kept += size * len(repeats)
            if bar.disable:  # no terminal to draw on
                utils.log.info("%s: %d of %d models, %.0f s", each.name, kept, total, seconds)


def estimate(data: Sequence[PrivilegedData], options: StudyOptions) -> str:
    """Models and parameters of the study, and its time, extrapolated from three epochs of one repeat."""
    import dataclasses
    import time

    import models
    import tables
    from lupi.design import design
    from lupi.splits import outer_splits
    from lupi.study import run

    typical = min(options.epochs, 85)
    short = dataclasses.replace(options, epochs=3, repeats=1)
    rows, total = [["data set", "rows", "models", "parameters a model", "minutes, about"]], 0.0
    for each in data:
        splits = outer_splits(each, options.folds, options.inner, 0, options.seed)
        start = time.perf_counter()
        run(each, short, splits)
        minutes = (time.perf_counter() - start) / 3 * typical * options.repeats / 60
        total += minutes
        sizes = models.parameters(each, options.pair, options.arms)
        count = len(design(options, options.folds * options.repeats))
        rows.append([each.name, str(len(each.y)), str(count), f"{min(sizes)}-{max(sizes)}", f"{minutes:.1f}"])
    lines = tables.aligned(rows)
    return "\n".join(
        [*lines, f"In all about {total:.1f} minutes, if models stop after some {typical} epochs as usual."]
    )


if __name__ == "__main__":
    sys.exit(main())
