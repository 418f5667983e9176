"""Rows of the frames of a study by their setting: what is swept there, and its value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pandas as pd

from lupi.settings import PLAIN, Setting


def at(frame: pd.DataFrame, setting: Setting = PLAIN) -> pd.Series:
    """Which rows are of this setting."""
    of_name = frame["swept"] == setting.swept
    return of_name if setting.value is None else of_name & (frame["value"] == setting.value)


def settings_of(frame: pd.DataFrame) -> list[Setting]:
    """The setting of every row."""
    pairs = zip(frame["swept"], frame["value"], strict=True)
    return [Setting.of(swept, value) for swept, value in pairs]


def groups(frame: pd.DataFrame, *beside: str) -> Iterator[tuple[Setting, tuple[Any, ...], pd.DataFrame]]:
    """(setting, values of the columns `beside`, rows) of the frame, in the order of their appearance."""
    if frame.empty:
        return
    names = ["swept", "value", *beside]
    for key, of_group in frame.groupby(names, sort=False, dropna=False):
        swept, value, *others = cast("tuple[Any, ...]", key)
        yield Setting.of(swept, value), tuple(others), of_group


def title(dataset: str, setting: Setting) -> str:
    """Of what shows one data set at one setting."""
    return ", ".join(filter(None, (dataset, setting.text)))
