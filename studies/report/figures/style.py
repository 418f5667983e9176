"""What all figures share: sizes, colours, fonts, and how a figure becomes a file, without the state that pyplot keeps.

Sizes are in inches, as printed: 7.2 is the width of a page, 3.5 that of a column; no text is smaller than 7 points at
that size. Colours are Okabe and Ito's, which colour-blind readers can tell apart; what a colour says, a marker's shape
or a text says too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from lupi.files import write_atomically

Floats = npt.NDArray[np.float64]

PAGE, COLUMN = 7.2, 3.5

BLACK, GREY, PALE = "#000000", "#6b6b6b", "#f3f3f3"
BLUE, SKY, GREEN, ORANGE, RED, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"

#: Agreement of student, teacher and truth: name -> (colour, marker). Blue: the student is right.
AGREEMENT = {
    "all agree": (SKY, "o"),
    "student errs alone": (RED, "^"),
    "both err": (BLACK, "s"),
    "student right, teacher wrong": (BLUE, "D"),
}

#: Verdict -> colour.
VERDICTS = {
    "helps": GREEN,
    "helps, but not through the information": ORANGE,
    "better, cause unknown": SKY,
    "no evidence": GREY,
    "hurts": RED,
}

#: Twin -> (colour, marker).
TWINS = {
    "shuffled": (ORANGE, "s"),
    "noise": (SKY, "^"),
    "absent": (PURPLE, "D"),
    "unit-weights": (GREY, "v"),
    "shuffled-weights": (GREY, "P"),
}

#: Dashes of a twin's curves.
DASHED = (0, (4, 1.5))

_STYLE: dict[Any, Any] = {
    "figure.dpi": 200,
    "text.hinting": "none",  # text is as wide in every file
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "path",  # no font is needed to read the figure
    "svg.hashsalt": "lupi",  # the same figure is the same file
}


@contextmanager
def drawing() -> Iterator[None]:
    """The fonts, lines and sizes of every figure, within the block."""
    with matplotlib.rc_context(_STYLE):
        yield


def laid_out(figure: Figure) -> Figure:
    """Places all parts once; otherwise every file of the figure would do so again, which takes longest."""
    with drawing():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def spans(values: Floats, factor: float) -> bool:
    """Whether finite values are all positive and the largest is more than `factor` times the least."""
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() > 0 and known.max() > factor * known.min())


def shortened(text: str, most: int) -> str:
    """The text, or its first letters and an ellipsis where it has more than `most`."""
    return text if len(text) <= most else text[: most - 1] + "…"


#: A column may be called "$a$": text is no formula.
NO_FORMULAS = partial(matplotlib.rc_context, {"text.parse_math": False})


def inches(text: str, size: float, weight: str = "normal") -> float:
    """How wide a text is in DejaVu Sans of `size` points."""
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    return float(TextPath((0, 0), text.replace("$", "S"), prop=font).get_extents().x1) / 72  # "$" begins a formula


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.png (200 dpi) and `name`.pdf into `folder` (made where it is missing), each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in ("png", "pdf"):
        path = folder / f"{name}.{kind}"
        write_atomically(path, _rendered(figure, kind))
        paths.append(path)
    return paths


def svg(figure: Figure) -> str:
    """The figure as SVG; text as outlines, so that it needs no font. The same figure gives the same text."""
    return _rendered(figure, "svg").decode("utf-8")


def _rendered(figure: Figure, kind: str) -> bytes:
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with drawing(), io.BytesIO() as buffer:
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
        return buffer.getvalue()
