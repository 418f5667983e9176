"""The scatter of DC and DR in a page: places, paths and texts of its drawing, which shows without a script and answers
with one. The template draws it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from studies.report.figures.distances import robust_limits, what_is_shown
from studies.report.figures.style import AGREEMENT
from studies.report.marks import number, outline, ticks
from studies.report.parts import Scatter

#: Of the drawing, in its own units: its size, and where the frame of the points lies in it.
SIZE, LEFT, RIGHT, TOP, BOTTOM = 360, 46, 352, 8, 320

#: What a point says of its row, as data attributes.
_DATA = ("row", "z", "z_hat", "z_raw", "z_hat_raw", "dc", "dr", "teacher", "student", "truth", "agreement")


@dataclass(frozen=True)
class Mark:
    """A point: colour, path, and (name, text) of what it says of its row."""

    colour: str
    path: str
    data: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Drawing:
    """A scatter, drawn.

    legend : (colour, path, text with count and share) of every group of agreement.
    beyond : corners of the two polygons in which ẑ lies beyond the change. equal : the ends of the line DR = DC.
    zero : where x = 0 and y = 0. ticks : (place, number) of both axes. says : what is shown, in a sentence or two.
    """

    legend: list[tuple[str, str, str]]
    marks: list[Mark]
    beyond: list[str]
    equal: str
    zero: tuple[float, float]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    says: str


@dataclass(frozen=True)
class _Frame:
    """Least and greatest DC (x) and DR (y) that are shown, and where they lie in the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (RIGHT - LEFT)
        down = BOTTOM - (y - self.y[0]) / (self.y[1] - self.y[0]) * (BOTTOM - TOP)
        return round(across, 1), round(down, 1)

    def corners(self, *points: tuple[float, float]) -> str:
        return " ".join("{},{}".format(*self.place(x, y)) for x, y in points)

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside: np.ndarray = (x >= self.x[0]) & (x <= self.x[1]) & (y >= self.y[0]) & (y <= self.y[1])
        return inside


def draw(part: Scatter) -> Drawing:
    """The drawing of those points that have a DC: a seeded sample where they are more than `part.most`."""
    known = part.points[part.points["dc"].notna() & part.points["dr"].notna()]
    shown = known
    if len(known) > part.most:
        chosen = np.random.default_rng(part.seed).choice(len(known), part.most, replace=False)
        shown = known.iloc[np.sort(chosen)]
    dc, dr = shown["dc"].to_numpy(np.float64), shown["dr"].to_numpy(np.float64)
    frame = _Frame(robust_limits(dc), robust_limits(dr))
    inside = frame.holds(dc, dr)
    marks = [
        _mark(row, frame)
        for name in AGREEMENT
        for row in shown[inside & (shown["agreement"] == name)].sort_values(["dc", "row"]).to_dict("records")
    ]
    low, high = min(frame.x[0], frame.y[0]), max(frame.x[1], frame.y[1])
    sample = len(shown) if len(shown) < len(known) else None
    return Drawing(
        legend=_legend(known["agreement"]),
        marks=marks,
        beyond=[frame.corners((0, 0), (end, end), (0, end)) for end in (high, low)],
        equal=frame.corners((low, low), (high, high)),
        zero=frame.place(0, 0),
        x_ticks=[(frame.place(value, 0)[0], number(float(f"{value:.6g}"))) for value in ticks(*frame.x)],
        y_ticks=[(frame.place(0, value)[1], number(float(f"{value:.6g}"))) for value in ticks(*frame.y)],
        says=what_is_shown(len(part.points), len(known), int((~inside).sum()), sample),
    )


def _mark(row: dict[Hashable, Any], frame: _Frame) -> Mark:
    colour, marker = AGREEMENT[row["agreement"]]
    data = tuple((name.replace("_", "-"), number(row[name])) for name in _DATA)
    return Mark(colour, outline(marker, *frame.place(row["dc"], row["dr"])), data)


def _legend(agreement: Sequence[str] | pd.Series) -> list[tuple[str, str, str]]:
    counts = pd.Series(agreement).value_counts()
    entries = []
    for name, (colour, marker) in AGREEMENT.items():
        count = int(counts.get(name, 0))
        share = 100 * count / max(len(agreement), 1)
        entries.append((colour, outline(marker, size=1.3), f"{name}: {count} ({share:.1f} %)"))
    return entries
