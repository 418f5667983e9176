"""One self-contained HTML page from parts: verdicts, notes, tables, figures and scatters with points that answer.

Nothing is fetched: styles and figures are inside the page, and its own policy forbids the network and foreign scripts.
All text is escaped: names of columns and classes come from users' files.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lupi.files import write_atomically
from studies.report import figures, scatter

_STYLE, _SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))

# ---------------------------------------------------------------------- parts of a page


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


@dataclass(frozen=True)
class Key:
    """What the marks beside verdicts mean: differences of `metric`, and the twins by name."""

    metric: str
    twins: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Overview:
    """Verdicts of several data sets in one grid: data sets down, methods across."""

    frame: pd.DataFrame


@dataclass(frozen=True)
class Table:
    """Cells as text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure as wide as a page and, for a phone, one as wide as a column; `text` says what is to be seen."""

    title: str
    wide: Figure
    narrow: Figure | None
    text: str


@dataclass(frozen=True, eq=False)
class Scatter:
    """DC against DR of one method and column: rows of `cause_tables.points`, of which at most `most` are drawn."""

    title: str
    points: pd.DataFrame
    most: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Text:
    """A paragraph; an alert has to be read first."""

    text: str
    alert: bool = False


Part = Verdicts | Key | Overview | Table | Picture | Scatter | Text


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in order."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Report:
    """A page: title, a sentence or two below it, sections, and the facts at its end (name, value)."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()


def table_of(frame: pd.DataFrame, title: str, *, decimals: int = 3, notes: Sequence[str] = ()) -> Table:
    """A frame as a table: floating-point numbers with `decimals`, missing ones as a dash, all else as it is."""

    def cell(value: object) -> str:
        if isinstance(value, (float, np.floating)):
            return number(float(value), decimals)
        return "–" if value is None or value is pd.NA else str(value)

    rows = tuple(tuple(map(cell, row)) for row in frame.itertuples(index=False, name=None))
    return Table(title, tuple(map(str, frame.columns)), rows, tuple(notes))


def _typeset(text: str) -> str:
    """The text with true minus signs before numbers."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", text)


def number(value: float, decimals: int = 3) -> str:
    """A number with a true minus sign, a dash where it is missing."""
    return _typeset(f"{value:.{decimals}f}") if math.isfinite(value) else "–"


# ---------------------------------------------------------------------- page


def write(folder: Path, report: Report) -> Path:
    """Write `folder`/report.html, whole or not at all."""
    path = folder / "report.html"
    write_atomically(path, page(report))
    return path


def page(report: Report) -> str:
    """The page as HTML. The same report gives the same text."""
    script_hash = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{script_hash}'"
    names = [f"s{i}" for i in range(len(report.sections))]
    links = [(name, section.title) for name, section in zip(names, report.sections, strict=True)]
    if report.facts:
        links.append(("facts", _FACTS))
    return "\n".join([
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_e(report.title)}</title>",
        '<link rel="icon" href="data:,">',
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{_e(report.title)}</h1>",
        f'<p class="lead">{_e(report.lead)}</p>',
        "<nav>" + " ".join(f'<a href="#{name}">{_e(title)}</a>' for name, title in links) + "</nav>",
        "</header>",
        "<main>",
        *(
            f'<section id="{name}"><h2>{_e(section.title)}</h2>\n' + _parts(section.parts) + "\n</section>"
            for name, section in zip(names, report.sections, strict=True)
        ),
        "</main>",
        _facts(report.facts),
        '<div id="tip" role="status" hidden></div>',
        f"<script>{_SCRIPT}</script>",
        "</body>",
        "</html>\n",
    ])  # fmt: skip


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)


def _parts(parts: Sequence[Part]) -> str:
    found: list[str] = []
    for scatters, group in itertools.groupby(parts, lambda part: isinstance(part, Scatter)):
        if scatters:
            found.append('<div class="plots">' + "\n".join(map(_part, group)) + "</div>")
        else:
            found += map(_part, group)
    return "\n".join(found)


def _part(part: Part) -> str:
    match part:
        case Verdicts():
            return _verdicts(part)
        case Key():
            return _key(part)
        case Overview():
            return _overview(part)
        case Table():
            return _table(part)
        case Picture():
            return _picture(part)
        case Scatter():
            return _scatter(part)
        case Text():
            style = ' class="alert"' if part.alert else ""
            return f"<p{style}>{_e(_typeset(part.text))}</p>"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    rows = "".join(f"<dt>{_e(name)}</dt><dd>{_e(value)}</dd>" for name, value in facts)
    return f'<footer id="facts"><h2>{_FACTS}</h2><dl class="facts">{rows}</dl></footer>'


_FACTS = "How to repeat it"

# ---------------------------------------------------------------------- verdicts

#: Verdict -> (class of its style, sign).
_LOOKS = {
    "helps": ("helps", "✓"),
    "helps, but not through the information": ("through", "≈"),
    "better, cause unknown": ("unknown", "?"),
    "no evidence": ("nothing", "–"),
    "hurts": ("hurts", "✗"),
}


def _look(verdict: str) -> tuple[str, str]:
    return _LOOKS.get(verdict, ("nothing", ""))


def _verdicts(part: Verdicts) -> str:
    twins = pd.DataFrame(columns=["method", "control", "mean"])
    if part.comparisons is not None:
        twins = figures.twins_to_lower(part.comparisons)
        twins = twins[np.isfinite(twins["mean"]) & twins["method"].isin(part.frame["method"])]
    scale = _scale(part.frame, twins)
    rows = []
    for (_, row), difference in zip(part.frame.iterrows(), part.differences, strict=True):
        style, sign = _look(row["verdict"])
        rows.append(
            f'<li class="line {style}"><b class="method">{_e(row["method"])}</b>'
            f'<span class="chip"><i aria-hidden="true">{sign}</i> {_e(row["verdict"])}</span>'
            + _forest(row, twins[twins["method"] == row["method"]], scale)
            + f'<span class="difference">{_difference(difference)}</span>'
            f'<p class="sentence">{_e(_typeset(row["sentence"]))}</p></li>'
        )
    alerts = "".join(f'<p class="alert"><b>First:</b> {_e(_typeset(text))}</p>' for text in part.alerts)
    return f'<h3>{_e(part.title)}</h3>\n{alerts}\n<ul class="verdicts">\n' + "\n".join(rows) + f"\n</ul>{_rule(scale)}"


def _key(part: Key) -> str:
    marks = ", ".join(f'<span class="nowrap">{_twin(name)}&nbsp;{_e(name)}</span>' for name in part.twins)
    twins = f" Hollow: its twins, with the information or the weights of TPD taken out: {marks}." if part.twins else ""
    return (
        f'<p class="legend">Dot and bar: difference of {_e(part.metric)} to lower with its 95 % interval; right of the '
        f"line the method is better than lower.{twins}</p>"
    )


def _difference(text: str) -> str:
    mean, _, interval = _typeset(text).partition(" ")
    return f"{_e(mean)} <small>{_e(interval)}</small>"


def _scale(frame: pd.DataFrame, twins: pd.DataFrame) -> tuple[float, float]:
    """Ends of the scale that all intervals of a data set share: all there is to show, and 0."""
    values = [frame[name].to_numpy(np.float64) for name in ("difference", "low", "high")]
    known = np.concatenate([[0.0], *values, twins["mean"].to_numpy(np.float64)])
    known = known[np.isfinite(known)]
    margin = 0.04 * float(np.ptp(known)) or 1.0
    return float(known.min()) - margin, float(known.max()) + margin


def _at(value: float, scale: tuple[float, float]) -> str:
    """A place on the scale as a share of its length: it fits any width."""
    return f"{100 * (value - scale[0]) / (scale[1] - scale[0]):.1f}%"


def _forest(row: pd.Series, twins: pd.DataFrame, scale: tuple[float, float]) -> str:
    """The interval of a method, and its twins."""
    marks = [f'<i class="zero" style="left:{_at(0.0, scale)}"></i>']
    if math.isfinite(row["low"]) and math.isfinite(row["high"]):
        width = _at(scale[0] + row["high"] - row["low"], scale)
        marks.append(f'<i class="bar" style="left:{_at(row["low"], scale)};width:{width}"></i>')
    if math.isfinite(row["difference"]):
        marks.append(f'<i class="dot" style="left:{_at(row["difference"], scale)}"></i>')
    marks += [
        _twin(name, f' style="left:{_at(value, scale)}"')
        for name, value in zip(twins["control"], twins["mean"], strict=True)
    ]
    return f'<span class="forest" aria-hidden="true">{"".join(marks)}</span>'


def _twin(name: str, place: str = "") -> str:
    colour, marker = figures.TWINS.get(name, ("#6b6b6b", "o"))
    outline = scatter.outline(marker, 0.0, 0.0, 1.0)
    return f'<svg class="twin" viewBox="-5 -5 10 10"{place}><path stroke="{colour}" d="{outline}"/></svg>'


def _rule(scale: tuple[float, float]) -> str:
    """Numbers below the intervals."""
    ticks = [tick for tick in scatter.ticks(*scale) if tick - scale[0] > 0.04 * (scale[1] - scale[0])]
    marks = "".join(f'<i style="left:{_at(tick, scale)}">{scatter.tick(tick)}</i>' for tick in ticks)
    return f'<div class="line rule"><span></span><span></span><span class="forest">{marks}</span></div>'


def _overview(part: Overview) -> str:
    methods = list(dict.fromkeys(part.frame["method"]))
    head = "".join(f'<th scope="col">{_e(method)}</th>' for method in methods)
    rows = []
    for dataset, of_set in part.frame.groupby("dataset", sort=False):
        said = dict(zip(of_set["method"], of_set["verdict"], strict=True))
        cells = ""
        for method in methods:
            verdict = said.get(method, "")
            style, sign = _look(verdict) if verdict else ("", "")
            cells += (
                f'<td class="cell {style}" title="{_e(verdict)}"><i aria-hidden="true">{sign}</i>'
                f'<span class="unseen">{_e(verdict)}</span></td>'
            )
        rows.append(f'<tr><th scope="row">{_e(dataset)}</th>{cells}</tr>')
    key = " ".join(
        f'<li class="{style}"><span class="chip"><i aria-hidden="true">{sign}</i> {_e(verdict)}</span></li>'
        for verdict, (style, sign) in _LOOKS.items()
    )
    return (
        _scrolled("verdicts of all data sets", f'<table class="overview"><thead><tr><th></th>{head}</tr></thead><tbody>'
                  + "".join(rows) + "</tbody></table>")
        + f'<ul class="key">{key}</ul>'
    )  # fmt: skip


# ---------------------------------------------------------------------- tables and figures

_NUMERIC = re.compile(r"(< )?[+−–]?[\d.]*[^a-zA-Z]*(e[+-]?\d+)?( to [^a-zA-Z]*)?")


def _scrolled(name: str, table: str) -> str:
    """A table in a box of its own, which scrolls where the screen is narrow."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{_e(name)}">{table}</div>'


def _column_style(cells: Sequence[str]) -> str:
    """Numbers stand to the right; a column of long text is told, so that it is not squeezed on paper."""
    if all(map(_NUMERIC.fullmatch, cells)):
        return ' class="n"'
    return ' class="t"' if max(map(len, cells), default=0) > 16 else ""


def _table(part: Table) -> str:
    grid = [[_typeset(text) for text in row] for row in part.rows]
    columns = list(zip(*grid, strict=True)) if grid else [()] * len(part.headings)
    style = [_column_style(column) if i else "" for i, column in enumerate(columns)]
    head = "".join(f'<th scope="col"{s}>{_e(text)}</th>' for s, text in zip(style, part.headings, strict=True))
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{_e(text)}</th>' if i == 0 else f"<td{s}>{_e(text)}</td>"
            for i, (s, text) in enumerate(zip(style, row, strict=True))
        )
        + "</tr>"
        for row in grid
    )
    table = _scrolled(part.title, f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>")
    notes = "".join(f"<li>{_e(note)}</li>" for note in part.notes)
    return f"<h3>{_e(part.title)}</h3>\n{table}" + (f'<ul class="notes">{notes}</ul>' if notes else "")


def _picture(part: Picture) -> str:
    source = ""
    if part.narrow is not None:
        source = f'<source media="(max-width: 640px)" srcset="{_data_uri(part.narrow)}">'
    image = f'<img src="{_data_uri(part.wide)}" alt="{_e(part.text)}">'
    return f"<figure><picture>{source}{image}</picture><figcaption>{_e(part.title)}</figcaption></figure>"


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figures.svg(figure).encode()).decode()


def _scatter(part: Scatter) -> str:
    drawing, told = scatter.svg(part.points, part.title, part.most, part.seed)
    groups = "".join(f"<li>{marker}{_e(text)}</li>" for marker, text in scatter.legend(part.points))
    return (
        f'<figure class="dcdr"><figcaption><b>{_e(part.title)}</b><ul class="marks">{groups}</ul></figcaption>{drawing}'
        f'<p class="legend">{_e(told)}</p></figure>'
    )
