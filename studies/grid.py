"""A table of texts, and its forms: for a terminal, as Markdown, as LaTeX and as HTML. Every table that a person sees is
one of these."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from markupsafe import Markup

#: What a column of numbers consists of: numbers with a spread, an interval or a dash.
_NUMERIC = re.compile(r"(< )?[+−–]?[\d.]*[^a-zA-Z]*(e[+-]?\d+)?( to [^a-zA-Z]*)?")
#: Letters of a heading in a terminal; longer ones break into lines.
_HEADING = 18
#: Letters from which on a column of text may break in HTML.
_LONG = 16


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    headings, rows : the cells; every row has as many as there are headings.
    title : what the table shows; "" for none.
    notes : sentences below it. alerts : sentences to be read before it.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(f"a row of a table needs {len(self.headings)} cells, one a heading; found {len(row)}.")

    @classmethod
    def of(
        cls,
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        title: str = "",
        notes: Sequence[str] = (),
        alerts: Sequence[str] = (),
    ) -> Grid:
        return cls(tuple(headings), tuple(map(tuple, rows)), title, tuple(notes), tuple(alerts))

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, title: str = "", *, decimals: int = 3, notes: Sequence[str] = ()) -> Grid:
        """Floating-point numbers with `decimals`, missing ones as a dash, all else as it is."""

        def cell(value: object) -> str:
            if isinstance(value, (float, np.floating)):
                return f"{value:.{decimals}f}" if math.isfinite(value) else "–"
            return "–" if value is None or value is pd.NA else str(value)

        rows = [tuple(map(cell, row)) for row in frame.itertuples(index=False, name=None)]
        return cls.of(list(map(str, frame.columns)), rows, title, notes)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether a column holds numbers, which stand to the right. The first one names the rows."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headings)
        return tuple(i > 0 and all(map(_NUMERIC.fullmatch, column)) for i, column in enumerate(columns))

    # ------------------------------------------------------------------ forms

    def console(self) -> str:
        """For a terminal: title, alerts, aligned cells with a rule under the headings, notes."""
        heads = [textwrap.wrap(heading, _HEADING) or [""] for heading in self.headings]
        deep = max(map(len, heads))
        lines = [*zip(*([""] * (deep - len(head)) + head for head in heads), strict=True), *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        cells = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, self.numeric, strict=True)
            )
            for line in lines
        ]
        cells.insert(deep, "─" * len(cells[0]))
        before = [*([self.title] if self.title else []), *(f"  {alert}" for alert in self.alerts)]
        return "\n".join([*before, *cells, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """A heading of the second level, then blocks with empty lines between them."""
        rule = ["---:" if right else "---" for right in self.numeric]
        rows = [[cell.replace("|", r"\|") for cell in row] for row in (self.headings, *self.rows)]
        table = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
        alerts, notes = ([f"- {text}" for text in texts] for texts in (self.alerts, self.notes))
        blocks = [[f"## {self.title}"] if self.title else [], alerts, table, notes]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def latex(self) -> str:
        r"""A float with booktabs' rules (needs \usepackage{booktabs})."""
        columns = "".join("r" if right else "l" for right in self.numeric)
        headings, *body = [" & ".join(map(tex, row)) + r" \\" for row in (self.headings, *self.rows)]
        return "\n".join([
            r"\begin{table}", r"\centering", *([rf"\caption{{{tex(self.title)}}}"] if self.title else []),
            *(rf"{tex(alert)}\par" for alert in self.alerts),
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule", headings, r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}", r"\par\medskip\raggedright\footnotesize",
            *(rf"{tex(note)}\par" for note in self.notes), r"\end{table}",
        ])  # fmt: skip

    def html(self) -> Markup:
        """Markup in which every cell is escaped."""
        from markupsafe import Markup  # with jinja2: what prints to a terminal needs neither

        from studies import templates

        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headings)
        long = [i > 0 and max(map(len, column), default=0) > _LONG for i, column in enumerate(columns)]
        styles = [
            Markup(' class="n"') if right else Markup(' class="t"') if breaks else ""
            for right, breaks in zip(self.numeric, long, strict=True)
        ]
        return templates.render("grid.html.j2", grid=self, styles=styles)


def console(grids: Iterable[Grid]) -> str:
    return "\n\n".join(grid.console() for grid in grids)


def markdown(grids: Iterable[Grid]) -> str:
    return "\n\n".join(grid.markdown() for grid in grids) + "\n"


def latex(grids: Iterable[Grid]) -> str:
    return "\n\n".join(grid.latex() for grid in grids) + "\n"


_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "²": r"$^2$",
        "ẑ": r"$\hat{z}$", "–": r"\textendash{}", "×": r"$\times$",
        "σ": r"$\sigma$", "ε": r"$\varepsilon$", "λ": r"$\lambda$", "β": r"$\beta$"}  # fmt: skip


def tex(text: str) -> str:
    """The text as LaTeX shows it."""
    # An empty group between two hyphens: LaTeX would join them to a dash.
    return re.sub("-(?=-)", "-{}", "".join(_TEX.get(character, character) for character in text))
