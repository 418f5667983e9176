"""One self-contained HTML page from parts. Nothing is fetched: styles and figures are inside the page, and its own
policy forbids the network and foreign scripts. The templates `page.html.j2` and `parts.html.j2` say how it looks, and
escape all text."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from lupi.files import write_atomically
from studies import templates
from studies.report import forest, scatter
from studies.report.figures import style
from studies.report.parts import Overview, Part, Report, Scatter


def write(folder: Path, report: Report) -> Path:
    """Write `folder`/report.html, whole or not at all."""
    path = folder / "report.html"
    write_atomically(path, page(report))
    return path


def page(report: Report) -> str:
    """The page as HTML. The same report gives the same text."""
    # The only texts that are not escaped: our own style and script, in which no foreign text stands.
    css, script = (
        Markup(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in ("page.css", "page.js")
    )
    return templates.render(
        "report/page.html.j2", report=report, css=css, script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        groups=_groups, macro=_macro, verdict_lines=forest.lines, looks=forest.LOOKS, twin=forest.twin,
        signs=_signs, image=_image, draw=scatter.draw, frame=scatter,
    )  # fmt: skip


def _macro(part: Part) -> str:
    """The name of the template's macro that shows a part."""
    return type(part).__name__.lower()


def _groups(parts: Iterable[Part]) -> list[tuple[bool, list[Part]]]:
    """(whether they are scatters, which stand side by side; the parts) of parts that follow each other."""
    return [(both, list(group)) for both, group in itertools.groupby(parts, lambda part: isinstance(part, Scatter))]


def _signs(part: Overview) -> tuple[list[str], list[tuple[str, list[tuple[str, str, str]]]]]:
    """The methods, and of every data set (verdict, class of its style, sign) for each of them."""
    methods = list(dict.fromkeys(part.frame["method"]))
    rows = []
    for dataset, of_set in part.frame.groupby("dataset", sort=False):
        verdicts: dict[Any, str] = dict(zip(of_set["method"], of_set["verdict"], strict=True))
        rows.append((str(dataset), [(v, *forest.look(v)) for v in (verdicts.get(method, "") for method in methods)]))
    return methods, rows


def _image(figure: Figure) -> str:
    """The figure as an address that holds it: a browser runs no script of an image, whatever its text says."""
    return "data:image/svg+xml;base64," + base64.b64encode(style.svg(figure).encode()).decode()
