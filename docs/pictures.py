#!/usr/bin/env python3
"""The pictures of the README and the documentation: `python docs/pictures.py` writes verdict.png and dc-dr.png here.

verdict.png is the effects figure of a small study in which the privileged information helps one method (GD) and does
not help two others; dc-dr.png is the figure of docs/examples/explaining_errors.py. Both take less than two minutes of
one core.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import MT_main  # noqa: E402

STUDY = [
    "--dataset",
    "clean-labels:n=400,d=50",
    "--methods",
    "lower",
    "upper",
    "GD",
    "MT",
    "AUX",
    "--repeats",
    "2",
    "--metric",
    "log_loss",
    "--device",
    "cpu",
]


def verdict(scratch: Path) -> Path:
    """The effects figure of the study."""
    MT_main.main([*STUDY, "--out", str(scratch / "study")])
    (figure,) = (scratch / "study" / "figures").glob("*-effects.png")
    return figure


def distances(scratch: Path) -> Path:
    """The figure that the example writes into the folder in which it runs."""
    before = Path.cwd()
    os.chdir(scratch)
    try:
        runpy.run_path(str(DOCS / "examples" / "explaining_errors.py"))
    finally:
        os.chdir(before)
    return scratch / "dc-dr.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, draw in (("verdict.png", verdict), ("dc-dr.png", distances)):
            shutil.copyfile(draw(scratch), DOCS / name)


if __name__ == "__main__":
    main()
