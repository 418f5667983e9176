"""The progress bar of a study, and the error that marks a defect of this program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def progress_bar(total: int, done: int, unit: str) -> Any:
    """A bar with what is done, what is left, and the time left; silent where there is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit=unit, disable=None, dynamic_ncols=True, smoothing=0.05)


@contextmanager
def defects_show() -> Iterator[None]:
    """For what runs after all input was checked: a ValueError from here is a defect, and shows where it arose."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError("a defect of this program, not of its input; please report all of this") from error
