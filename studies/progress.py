"""The progress of a study, as a bar on a terminal or as lines elsewhere, and the error that marks a defect of this
program."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

log = logging.getLogger("lupi")

EVERY = 60.0  # seconds between two lines where there is no terminal


class ProgressLines:
    """What is done, as a line of the log every so many seconds: a progress bar for where there is no terminal.

    It is used as the bar of tqdm is: as a context, with `update` and `set_description`.
    """

    disable = True  # there is no bar

    def __init__(self, total: int, done: int, unit: str, every: float) -> None:
        self._total, self._done, self._first, self._unit, self._every = total, done, done, unit, every
        self._what = ""
        self._start = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def update(self, finished: int) -> None:
        self._done += finished

    def set_description(self, what: str) -> None:
        self._what = what

    def _report(self) -> None:
        while not self._over.wait(self._every):
            log.info("%s", self.line(time.monotonic() - self._start))

    def line(self, seconds: float) -> str:
        """What there is to say after so many seconds."""
        left = ""
        if new := self._done - self._first:
            left = f", about {seconds / new * (self._total - self._done) / 60:.1f} minutes left"
        name = f"{self._what}: " if self._what else ""
        return f"{name}{self._done} of {self._total}{self._unit} after {seconds / 60:.1f} minutes{left}"


def progress_bar(total: int, done: int, unit: str) -> Any:
    """A bar with what is done, what is left, and the time left; a line a minute where there is no terminal."""
    from tqdm import tqdm

    bar = tqdm(total=total, initial=done, unit=unit, disable=None, dynamic_ncols=True, smoothing=0.05)
    return ProgressLines(total, done, unit, EVERY) if bar.disable else bar


@contextmanager
def defects_show() -> Iterator[None]:
    """For what runs after all input was checked: a ValueError from here is a defect, and shows where it arose."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError("a defect of this program, not of its input; please report all of this") from error
