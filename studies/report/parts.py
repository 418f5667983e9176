"""The parts of a page (texts, pictures, scatters). Tables are `studies.grid.Grid`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from studies.grid import Grid


@dataclass(frozen=True)
class Text:
    """A paragraph; an alert has to be read first."""

    text: str
    alert: bool = False


@dataclass(frozen=True)
class Key:
    """What the marks beside verdicts mean: differences of `metric`, and the twins by name."""

    metric: str
    twins: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Verdicts of one data set, a row for each method: colour, text, sentence, difference to lower with its interval.

    frame, comparisons : of `verdicts.verdicts` and `comparisons.comparisons`, those of this data set.
    differences : of every row of `frame`, as text: a number, perhaps an interval behind a space.
    alerts : what has to be known first, such as a privileged column that determines the target.
    """

    title: str
    frame: pd.DataFrame
    differences: tuple[str, ...]
    comparisons: pd.DataFrame | None = None
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Overview:
    """Verdicts of several data sets in one table of signs: data sets down, methods across."""

    frame: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure as wide as a page and, for a phone, one as wide as a column; `text` says what is to be seen."""

    title: str
    wide: Figure
    narrow: Figure | None
    text: str


@dataclass(frozen=True, eq=False)
class Scatter:
    """DC against DR of one method and column: rows of `causes.points`, of which at most `most` are drawn."""

    title: str
    points: pd.DataFrame
    most: int = 2000
    seed: int = 0


Part = Text | Key | Verdicts | Overview | Grid | Picture | Scatter


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in order."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Report:
    """A page: a question as its title, the answer as its lead, words to know before the first table, sections, and what
    is needed to repeat it (name, value)."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()
    words: str = ""
