#!/usr/bin/env python3
"""What the control twins cost: a study with all of them against the same study without, in turns in one process.

    python benchmarks/twins.py [--repeats 10] [--rounds 2] [--threads 1]

Seconds are processor time, on one thread by default: a wall clock would also measure other programs on the same cores.
The data set is `breast_cancer`, which needs no download; its privileged column is the one that is chosen in each fold.
Writes results/benchmarks/twins.md.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import datasets  # noqa: E402
from lupi.files import write_atomically  # noqa: E402
from lupi.methods.design import chunks_of, models_of  # noqa: E402
from lupi.methods.options import StudyOptions  # noqa: E402
from lupi.study.run import run, splits_of  # noqa: E402
from studies.grid import Grid  # noqa: E402


def study(options: StudyOptions) -> float:
    """Processor seconds of a study, all of its chunks."""
    data = datasets.load("breast_cancer")
    start = time.process_time()
    for chunk in chunks_of(options, len(data.y)):
        run(data, options, splits_of(data, options, chunk))
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    arms = {name: StudyOptions(repeats=asked.repeats, twins=twins) for name, twins in
            (("without twins", ()), ("with all twins", StudyOptions().twins))}  # fmt: skip
    rounds = [{name: study(options) for name, options in arms.items()} for _ in range(asked.rounds)]
    best = {name: min(times[name] for times in rounds) for name in arms}
    first = best["without twins"]
    rows = [
        [name, str(models_of(options) * asked.repeats), f"{best[name]:.1f}", f"{best[name] / first:.2f}"]
        for name, options in arms.items()
    ]
    headings = ["study", "models", "processor seconds", "without = 1"]
    table = Grid.of(headings, rows)
    print(table.console())
    text = table.markdown()
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    command = f"python benchmarks/twins.py {' '.join(sys.argv[1:])}".strip()
    target = ROOT / "results" / "benchmarks" / "twins.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        target, f"# Control twins\n\n`{command}` on {machine}; the best of {asked.rounds} rounds.\n\n{text}\n"
    )


if __name__ == "__main__":
    main()
