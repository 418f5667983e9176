"""What several files of tests share: a small table, and the study command run in this process."""

import dataclasses
import logging
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest

import MT_main

hypothesis.settings.register_profile("no deadline", deadline=None)  # how long an example takes says nothing
hypothesis.settings.load_profile("no deadline")

ROWS = 60


def small_table() -> pd.DataFrame:
    """Two features a and b, a privileged column z behind them, and two classes y that follow z."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=ROWS)
    a, b = z + draw.normal(size=(2, ROWS))
    return pd.DataFrame({"a": a, "b": b, "z": z, "y": (z + 0.5 * draw.normal(size=ROWS) > 0).astype(int)})


@pytest.fixture
def table() -> pd.DataFrame:
    return small_table()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str


Command = Callable[[str], Outcome]


def runner(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> Command:
    """A command with a line of arguments, run in this process."""

    def run(line: str) -> Outcome:
        capsys.readouterr()
        try:
            status = main(shlex.split(line))
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """MT_main.py in an empty folder."""
    monkeypatch.chdir(tmp_path)
    yield runner(MT_main.main, capsys)
    logging.captureWarnings(False)
