"""Calibration of the verdicts: how often `helps` is said where there is nothing to gain, and where there is something.

    python benchmarks/calibration.py                          # 500 null studies, and 20 of each size for the power
    python benchmarks/calibration.py --null 50 --power 0      # a first look; with more it goes on from there

A study is that of the strict protocol with all methods (but `upper`, which no verdict needs) and all their twins, on
simulated truth (generators.py) of seed 0, 1, 2 and so on. Studies that are finished are kept in
results/calibration/studies.jsonl and not run again; the tables go to results/benchmarks/calibration.md.

The learning rate is 0.01: so few rows are one or two steps an epoch, and with the default of 0.001 a network takes some
180 epochs to end no better. "As published" are the networks of Lopez-Paz et al. (ICLR 2016): logistic regressions that
learn from their teacher alone (λ = 1).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lupi.data.privileged_data import PrivilegedData  # noqa: E402
from lupi.data.splits import Split, outer_splits  # noqa: E402
from lupi.evidence.differences import ALPHA  # noqa: E402
from lupi.evidence.verdict import HELPS, VERDICTS  # noqa: E402
from lupi.methods.design import models_of  # noqa: E402
from lupi.methods.options import StudyOptions  # noqa: E402
from lupi.methods.table import METHODS, STANDARD_METHODS  # noqa: E402
from lupi.methods.twins import SHUFFLED  # noqa: E402
from studies.grid import Grid  # noqa: E402

JUDGED = tuple(name for name in STANDARD_METHODS if name not in ("lower", "upper"))
FAMILIES = {"none": "distillation", "before": "KT family", "joint": "MT family", "shared": "auxiliary heads"}
"""Families of methods, by when Z is predicted."""
GROUPS = {
    **{name: (name,) for name in JUDGED},
    **{
        f"**{family}**": tuple(name for name in JUDGED if METHODS[name].privileged_task == task)
        for task, family in FAMILIES.items()
    },
    "**any method**": JUDGED,
}
"""The methods that a share is given for together: each alone, each family, and all of a study."""
METRICS = ("error", "log_loss", "brier")
MODELS_AT_ONCE = 10_000

Found = dict[str, dict[str, dict[str, Any]]]
"""What came of a study: [number of repeats][metric] -> {"verdicts": {method: verdict}, "alone": methods that would be
said to help if each were the only one in the study, "unlike": those that differ from their shuffled twin (p ≤ 5 %)}."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Studies that differ in the seed of their data alone.

    data : a generator and its parameters, as `datasets.load` reads them, without the seed.
    studies : how many: seeds 0, 1 and so on.
    repeats : verdicts are given after so many repeats of the cross-validation; the largest number is run.
    """

    data: str
    studies: int
    repeats: tuple[int, ...]
    options: StudyOptions

    def study(self, seed: int) -> str:
        return f"{self.data}{',' if ':' in self.data else ':'}seed={seed}"

    def key(self, seed: int) -> str:
        """What has to be equal for a study to be the same: data, options and versions."""
        from studies import store

        identity = json.dumps([self.study(seed), dataclasses.asdict(self.options), store.versions()], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


# ---------------------------------------------------------------------- running the studies


def judge(cell: Cell, seeds: Sequence[int]) -> dict[int, Found]:
    """Run the studies of some seeds and judge each after each number of repeats.

    They are trained in one call, as if they were one table: every split has its rows in those of one study. A network
    does not know its neighbours, so each study finds what it would find alone; but many small ones fill the engine.
    Repeats are numbered through, so that no two studies share initial weights or folds.
    """
    import pandas as pd

    from lupi.study.run import run
    from studies.views import comparisons, verdicts

    table, splits = together(cell, seeds)
    results = pd.DataFrame(run(table, cell.options, splits).records)
    most = max(cell.repeats)
    results = results.assign(dataset=results["repeat"] // most, repeat=results["repeat"] % most)
    judgements: dict[int, Found] = {seed: {str(count): {} for count in cell.repeats} for seed in seeds}
    for count in cell.repeats:
        first = results[results["repeat"] < count]
        for metric in METRICS:
            judged = verdicts.verdicts(first, metric)
            compared = comparisons.comparisons(first, metric)
            for seed in seeds:
                of_study = judged[judged["dataset"] == str(seed)]
                pairs = compared[compared["dataset"] == str(seed)]
                unlike = pairs[(pairs["against"] == SHUFFLED) & (pairs["p"] <= ALPHA)]
                judgements[seed][str(count)][metric] = {
                    "verdicts": dict(zip(of_study["method"], of_study["verdict"], strict=True)),
                    "alone": helping_alone(pairs),
                    "unlike": list(unlike["method"]),
                }
    return judgements


def helping_alone(compared: Any) -> list[str]:
    """The methods that are better than lower and than all twins that decide, without a correction for their number."""
    from studies.views.comparisons import deciding_twins

    helping = []
    for method, rows in compared.groupby("method", sort=False):
        decides = rows[rows["against"].isin(["lower", *deciding_twins(str(method))])]
        if ((decides["mean"] > 0) & (decides["p"] <= ALPHA)).all() and len(decides) > 1:
            helping.append(str(method))
    return helping


def together(cell: Cell, seeds: Sequence[int]) -> tuple[PrivilegedData, list[Split]]:
    """The data of the studies of some seeds, one below the other, and the splits of each among its own rows."""
    import pandas as pd

    import datasets

    options = cell.options
    parts = [datasets.load(cell.study(seed)) for seed in seeds]
    splits: list[Split] = []
    first, most = 0, max(cell.repeats)
    for seed, part in zip(seeds, parts, strict=True):
        for repeat in range(seed * most, (seed + 1) * most):
            for split in outer_splits(part, options.folds, options.inner, repeat, options.seed):
                train, test, inner = (
                    split.train + first,
                    split.test + first,
                    tuple(rows + first for rows in split.inner),
                )
                splits.append(dataclasses.replace(split, train=train, test=test, inner=inner))
        first += len(part.y)
    x, z = (pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("X", "Z"))
    y = np.concatenate([part.y for part in parts])
    return dataclasses.replace(parts[0], X=x, Z=z, y=y), splits


def measure(cells: Sequence[Cell], kept: Path, processes: int) -> list[list[Found]]:
    """What came of the studies of `cells`: for each cell a list by seed.

    Parameters
    ----------
    kept : file of finished studies, one line of JSON each; what is in it is read, all else is run and added.
    processes : that run studies side by side, one thread each; 0: none but this one.
    """
    from studies import progress

    judged: dict[str, Found] = {}
    for line in _lines(kept):
        judged.setdefault(line["key"], {}).update(line["found"])
    missing: list[tuple[Cell, list[int]]] = []
    for cell in cells:
        wanted = {str(count) for count in cell.repeats}
        seeds = [seed for seed in range(cell.studies) if not wanted <= judged.get(cell.key(seed), {}).keys()]
        size = max(MODELS_AT_ONCE // (models_of(cell.options) * max(cell.repeats)), 1)
        missing += [(cell, seeds[first : first + size]) for first in range(0, len(seeds), size)]
    total = sum(cell.studies for cell in cells)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with progress.progress_bar(total, total - sum(len(seeds) for _, seeds in missing), " studies") as bar:
        for cell, finished in _run(missing, processes):
            with kept.open("a", encoding="utf-8") as file:
                for seed, of_study in finished.items():
                    line_of_study = {"key": cell.key(seed), "study": cell.study(seed), "found": of_study}
                    file.write(json.dumps(line_of_study) + "\n")
                    judged.setdefault(cell.key(seed), {}).update(of_study)
            bar.update(len(finished))
    return [[judged[cell.key(seed)] for seed in range(cell.studies)] for cell in cells]


def _took(minutes: float) -> str:
    return f"This run: {minutes:.1f} minutes." if minutes >= 0.1 else "All of them were kept from earlier runs."


def _run(missing: Sequence[tuple[Cell, list[int]]], processes: int) -> Iterator[tuple[Cell, dict[int, Found]]]:
    """Cells and what came of some of their studies, as they are finished."""
    if not processes:
        for cell, seeds in missing:
            yield cell, judge(cell, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context, _one_thread) as pool:
        running = {pool.submit(judge, cell, seeds): cell for cell, seeds in missing}
        try:
            for done in concurrent.futures.as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that may have been cut off while it was written."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


# ---------------------------------------------------------------------- tables


def interval(count: int, of: int) -> tuple[float, float]:
    """The exact binomial (Clopper-Pearson) 95 % interval of a share."""
    from scipy.stats import binomtest

    bounds = binomtest(count, of).proportion_ci(0.95, method="exact")
    return float(bounds.low), float(bounds.high)


def null_table(studies: Sequence[dict[str, Any]]) -> tuple[list[list[str]], bool]:
    """False `helps` of null studies by one metric, a row for each of `GROUPS`; and whether no share is above 5 %.

    A share is above 5 % where its whole interval is.
    """
    others = [verdict for verdict in VERDICTS if verdict != HELPS]
    rows = [["", "helps", "share", "95 % interval", "at most 5 %", "alone", "unlike shuffled", *others]]
    fine = True
    for label, names in GROUPS.items():
        said = [{study["verdicts"][name] for name in names} for study in studies]
        count = sum(HELPS in verdicts for verdicts in said)
        alone, unlike = (
            sum(name in study[key] for study in studies for name in names) / (len(names) * len(studies))
            for key in ("alone", "unlike")
        )
        low, high = interval(count, len(studies))
        fine &= low <= ALPHA
        rows.append([
            label, str(count), percent(count / len(studies)), f"{percent(low)} to {percent(high)}",
            "yes" if low <= ALPHA else "no", percent(alone), percent(unlike),
            *(percent(sum(other in verdicts for verdicts in said) / len(studies)) for other in others),
        ])  # fmt: skip
    return rows, fine


def power_table(cells: Sequence[Cell], judged: Sequence[Sequence[Found]], metric: str) -> list[list[str]]:
    """Share of `helps` where there is something to gain: a row for each cell and number of repeats."""
    rows = [["data", "repeats", "studies", "any method", "95 % interval", *JUDGED]]
    for cell, of_cell in zip(cells, judged, strict=True):
        for repeats in cell.repeats:
            studies = [study[str(repeats)][metric] for study in of_cell]
            count = sum(HELPS in study["verdicts"].values() for study in studies)
            low, high = interval(count, len(studies))
            row = [cell.data, str(repeats), str(len(studies)), percent(count / len(studies))]
            row.append(f"{percent(low)} to {percent(high)}")
            for name in JUDGED:
                beside = np.mean([study["verdicts"][name] == HELPS for study in studies])
                alone = np.mean([name in study["alone"] for study in studies])
                row.append(f"{100 * beside:.0f} ({100 * alone:.0f})")
            rows.append(row)
    return rows


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# ---------------------------------------------------------------------- command line


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null", type=int, default=500, help="null studies (default: 500)")
    parser.add_argument("--null-data", default="null:n=100", help="their generator (default: null:n=100)")
    parser.add_argument("--null-repeats", type=int, default=2, help="their repeats of 5 folds (default: 2)")
    parser.add_argument("--power", type=int, default=20, help="studies of each size for the power (default: 20)")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 200, 400], help="their rows")
    parser.add_argument("--repeats", type=int, nargs="+", default=[2, 5, 10], help="their repeats")
    parser.add_argument("--power-data", nargs="+", default=["clean-labels"], help="their generators")
    parser.add_argument("--published-sizes", type=int, nargs="*", default=[200], help="their rows, as published")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="studies side by side")
    parser.add_argument("--out", type=Path, default=ROOT / "results", help="folder of the results (default: results)")
    given = parser.parse_args(argv)
    kept = given.out / "calibration" / "studies.jsonl"
    plain = StudyOptions(methods=("lower", *JUDGED), lr=0.01)
    published = dataclasses.replace(plain, regressor_layers=(), classifier_layers=(), imitation=1.0)
    parts, fine = [], True
    if given.null:
        start = time.perf_counter()
        (judged,) = measure([Cell(given.null_data, given.null, (given.null_repeats,), plain)], kept, given.processes)
        minutes = (time.perf_counter() - start) / 60
        parts.append(
            f"## Nothing to gain\n\n{given.null} studies of `{given.null_data}`, {given.null_repeats} × 5 folds: share "
            "of those in which the verdict on a method (on some method of a family) is `helps`, with its exact "
            "binomial interval. Beside it how often a method would have been said to help if it had been the only one, "
            "and how often it differs from its shuffled twin with p ≤ 5 % (means over the family); and the other "
            f"verdicts. {_took(minutes)}"
        )
        for metric in METRICS:
            rows, holds = null_table([study[str(given.null_repeats)][metric] for study in judged])
            fine &= holds
            table = Grid.of(rows[0], rows[1:])
            parts.append(f"### By {metric}\n\n{table.markdown()}")
            print(f"null, by {metric}", table.console(), sep="\n", end="\n\n")
    for what, sizes, options in (("", given.sizes, plain), (", as published", given.published_sizes, published)):
        if not given.power or not sizes:
            continue
        start = time.perf_counter()
        cells = [
            Cell(f"{name}:n={n}", given.power, tuple(given.repeats), options)
            for name in given.power_data
            for n in sizes
        ]
        of_cells = measure(cells, kept, given.processes)
        minutes = (time.perf_counter() - start) / 60
        parts.append(
            f"## Something to gain{what}\n\nShare of studies in which the verdict is `helps`; of each method in %, and "
            f"in brackets if it had been the only one. {_took(minutes)}"
        )
        for metric in METRICS:
            rows = power_table(cells, of_cells, metric)
            table = Grid.of(rows[0], rows[1:])
            parts.append(f"### By {metric}\n\n{table.markdown()}")
            print(f"power{what}, by {metric}", table.console(), sep="\n", end="\n\n")
    command = "python benchmarks/calibration.py " + " ".join(sys.argv[1:] if argv is None else argv)
    machine = f"{platform.machine()}, {given.processes} processes"
    text = "\n\n".join([f"# Calibration of the verdicts\n\n`{command.strip()}` on {machine}.", *parts])
    target = given.out / "benchmarks" / "calibration.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n", encoding="utf-8")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
