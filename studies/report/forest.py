"""The marks beside verdicts: each method's difference to lower, its interval and its twins, on one scale a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lupi.evidence import verdict as judgement
from studies.report.figures.effects import twins_to_lower
from studies.report.figures.style import GREY, TWINS
from studies.report.marks import number, outline, ticks
from studies.report.parts import Verdicts

#: Verdict -> (class of its style, sign).
LOOKS = {
    judgement.HELPS: ("helps", "✓"),
    judgement.NOT_THROUGH: ("through", "≈"),
    judgement.UNKNOWN: ("unknown", "?"),
    judgement.NO_EVIDENCE: ("nothing", "–"),
    judgement.HURTS: ("hurts", "✗"),
}


def look(verdict: str) -> tuple[str, str]:
    """(class of the style, sign) of a verdict; of "", no verdict, none."""
    return LOOKS.get(verdict, ("nothing", "")) if verdict else ("", "")


@dataclass(frozen=True)
class Twin:
    """The mark of a twin: its colour, its path, its place (see `Scale.at`)."""

    name: str
    colour: str
    path: str
    place: float = 0.0


@dataclass(frozen=True)
class Line:
    """A verdict as a page shows it; places in % of the scale. bar : (place, width); None where there is no interval."""

    method: str
    verdict: str
    style: str
    sign: str
    mean: str
    interval: str
    sentence: str
    bar: tuple[float, float] | None
    dot: float | None
    twins: tuple[Twin, ...]


@dataclass(frozen=True)
class Scale:
    """The scale that all intervals of a data set share."""

    low: float
    high: float

    @classmethod
    def of(cls, frame: pd.DataFrame, twins: pd.DataFrame) -> Scale:
        """All there is to show, and 0."""
        values = [frame[name].to_numpy(np.float64) for name in ("difference", "low", "high")]
        known = np.concatenate([[0.0], *values, twins["mean"].to_numpy(np.float64)])
        known = known[np.isfinite(known)]
        margin = 0.04 * float(np.ptp(known)) or 1.0
        return cls(float(known.min()) - margin, float(known.max()) + margin)

    def at(self, value: float) -> float:
        """A place as a share of the scale's length in %: it fits any width."""
        return round(100 * (value - self.low) / (self.high - self.low), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(place, number) of the rule below the marks."""
        values = [tick for tick in ticks(self.low, self.high) if 4 < self.at(tick) < 96]
        return [(self.at(value), number(float(f"{value:.6g}"))) for value in values]


def lines(part: Verdicts) -> tuple[Scale, list[Line]]:
    """The scale, and what is to be shown of every verdict."""
    twins = pd.DataFrame(columns=["method", "control", "mean"])
    if part.comparisons is not None:
        twins = twins_to_lower(part.comparisons)
        twins = twins[np.isfinite(twins["mean"].astype(float)) & twins["method"].isin(part.frame["method"])]
    scale = Scale.of(part.frame, twins)
    return scale, [
        _line(row, difference, twins[twins["method"] == row["method"]], scale)
        for (_, row), difference in zip(part.frame.iterrows(), part.differences, strict=True)
    ]


def _line(row: pd.Series, difference: str, twins: pd.DataFrame, scale: Scale) -> Line:
    mean, _, interval = difference.partition(" ")
    has_width = math.isfinite(row["low"]) and math.isfinite(row["high"]) and row["low"] < row["high"]
    bar = (scale.at(row["low"]), round(scale.at(row["high"]) - scale.at(row["low"]), 1)) if has_width else None
    dot = scale.at(row["difference"]) if math.isfinite(row["difference"]) else None
    marks = [twin(name, scale.at(value)) for name, value in zip(twins["control"], twins["mean"], strict=True)]
    style, sign = look(row["verdict"])
    return Line(row["method"], row["verdict"], style, sign, mean, interval, row["sentence"], bar, dot, tuple(marks))


def twin(name: str, place: float = 0.0) -> Twin:
    colour, marker = TWINS.get(name, (GREY, "o"))
    return Twin(name, colour, outline(marker), place)
