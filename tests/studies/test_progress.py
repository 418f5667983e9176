"""Progress without a terminal."""

import logging
import threading

import pytest

from studies import progress
from studies.progress import ProgressLines


class Lines(logging.Handler):
    """Keeps what is logged, and tells when enough lines are there."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._enough, self.there = enough, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        if len(self.texts) >= self._enough:
            self.there.set()


def test_progress__no_terminal__tells_where_it_is_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    lines, log = Lines(enough=2), logging.getLogger("lupi")
    before = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        with progress.progress_bar(100, 20, " models") as bar:  # the tests have no terminal
            bar.set_description("icr")
            bar.update(10)
            assert lines.there.wait(60)
    finally:
        log.removeHandler(lines)
        log.setLevel(before)
    assert lines.texts[-1].startswith("icr: 30 of 100 models after ")
    told = len(lines.texts)
    assert not lines.there.clear()
    assert not lines.there.wait(0.1)  # nothing after the end
    assert len(lines.texts) == told


def test_line__tells_what_is_left_by_what_was_done_here() -> None:
    lines = ProgressLines(100, 20, " models", every=60.0)
    assert lines.line(60.0) == "20 of 100 models after 1.0 minutes"
    lines.update(40)
    assert lines.line(120.0) == "60 of 100 models after 2.0 minutes, about 2.0 minutes left"


def test_progress_bar__waits_a_minute_between_lines() -> None:
    assert progress.EVERY == 60.0
