"""Conflicts between the tasks' gradients: a map of their cosines for every method, beside it that of its twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from studies.report.figures.style import (
    BLACK,
    BLUE,
    GREY,
    NO_FORMULAS,
    PAGE,
    RED,
    Floats,
    drawing,
    inches,
    laid_out,
    shortened,
)
from studies.views.traces import Course, Weighed

#: Conflict is red, agreement blue, and 0 white.
_DIVERGING = LinearSegmentedColormap.from_list("conflict", ["#8c3a00", RED, "#ffffff", BLUE, "#003f66"])

#: Inches: the most a cell is wide, and the least where its number is to be read; its height; what stands above a block,
#: above a map, between two maps and behind a block.
_CELL, _NARROW, _ROW = 0.48, 0.36, 0.3
_TITLE, _HEAD, _GAP, _AFTER = 0.21, 0.16, 0.14, 0.22
_LETTERS = 14  # of a task's name
_TEXT = 7.0  # points


def conflicts(weighed: Sequence[Weighed], *, width: float = PAGE, title: str = "") -> Figure:
    """Cosines between the tasks' gradients, a map for every method and beside it that of its shuffled twin.

    All maps share their colours: red is conflict, blue agreement, white 0. A pair that no split had is a dash. Cells
    that are too narrow for a number that can be read have none: with more than seven tasks in a column.
    """
    if not weighed:
        raise ValueError("no method has traces; nothing to draw.")
    colours = _colours([course.cosines for view in weighed for course in _courses(view)])
    two = width >= 5 and len(weighed) > 1  # side by side, where the cells are not too narrow then
    blocks = _placed([_Block.of(view, width / 2 if two and len(view.tasks) <= 4 else width) for view in weighed], width)
    top = 0.3 if title else 0.08
    height = top + max(y + block.height for block, _, y in blocks) + 0.5
    with drawing(), NO_FORMULAS():
        figure = Figure(figsize=(width, height))
        if title:
            figure.text(0.05 / width, 1 - 0.06 / height, shortened(title, int(width * 11)), va="top", fontsize=8.5,
                        fontweight="bold")  # fmt: skip
        for block, x, y in blocks:
            _draw(figure, block, x, top + y, colours)
        _colour_bar(figure, colours)
    return laid_out(figure)


def _colours(maps: Sequence[Floats]) -> Normalize:
    """The scale of all maps [K, K]: as far below 0 as above it."""
    values = np.concatenate([cosines[np.tril_indices(len(cosines), -1)] for cosines in maps])
    largest = float(np.max(np.abs(values), initial=0.1, where=np.isfinite(values)))
    return Normalize(-np.ceil(10 * largest) / 10, np.ceil(10 * largest) / 10)


def _colour_bar(figure: Figure, colours: Normalize) -> None:
    width, height = figure.get_size_inches()
    wide = min(3.0, width - 0.6)
    place = ((width - wide) / 2 / width, 0.37 / height, wide / width, 0.09 / height)
    bar = figure.colorbar(ScalarMappable(colours, _DIVERGING), cax=figure.add_axes(place), location="bottom",
                          ticks=[colours.vmin, 0, colours.vmax])  # fmt: skip
    bar.set_label("cosine (left: conflict, right: agreement)", labelpad=1)
    bar.ax.spines[:].set_linewidth(0.4)


def _courses(view: Weighed) -> list[Course]:
    return [view.own] if view.twin is None else [view.own, view.twin]


@dataclasses.dataclass(frozen=True)
class _Block:
    """The maps of a method, their measures in inches.

    beside : the twin's map stands beside the method's own, else below it.
    cell : width of a cell; left, below : room for names of tasks.
    """

    view: Weighed
    names: list[str]
    beside: bool
    cell: float
    left: float
    below: float

    @classmethod
    def of(cls, view: Weighed, width: float) -> _Block:
        names, k = [shortened(task, _LETTERS) for task in view.tasks], len(view.tasks) - 1
        left = 0.1 + max(inches(name, _TEXT) for name in names[1:])
        below = 0.06 + (max(inches(name, _TEXT) for name in names[:-1]) if k > 1 else 0.1)
        room = width - left - _AFTER
        beside = view.twin is not None and (room - _GAP) / (2 * k) >= _NARROW
        cell = min(_CELL, (room - _GAP) / (2 * k) if beside else room / k)
        return cls(view, names, beside, cell, left, below)

    @property
    def maps(self) -> list[tuple[Course, float, float]]:
        """Each map with its place in the block."""
        k = len(self.names) - 1
        along = self.cell * k + _GAP, _HEAD + _ROW * k + self.below
        places = [(i * along[0], 0.0) if self.beside else (0.0, i * along[1]) for i in range(2)]
        return [
            (course, self.left + x, _TITLE + _HEAD + y)
            for course, (x, y) in zip(_courses(self.view), places, strict=False)
        ]

    @property
    def width(self) -> float:
        right = max(x for _, x, _ in self.maps) + self.cell * (len(self.names) - 1)
        return max(right, 0.08 + inches(self.view.method, 8, "bold")) + _AFTER

    @property
    def height(self) -> float:
        return max(y for _, _, y in self.maps) + _ROW * (len(self.names) - 1) + self.below + 0.08


def _placed(blocks: Sequence[_Block], width: float) -> list[tuple[_Block, float, float]]:
    """The blocks with the places of their corners, row by row like words of a text."""
    placed: list[tuple[_Block, float, float]] = []
    x = y = deep = 0.0
    for block in blocks:
        if x > 0 and x + block.width > width + _AFTER:
            x, y, deep = 0.0, y + deep, 0.0
        placed.append((block, x, y))
        x, deep = x + block.width, max(deep, block.height)
    return placed


def _draw(figure: Figure, block: _Block, x: float, y: float, colours: Normalize) -> None:
    """A block whose upper left corner is x inches from the left and y from the top."""
    width, height = figure.get_size_inches()
    k = len(block.names) - 1
    figure.text((x + 0.05) / width, 1 - y / height, shortened(block.view.method, int(width * 12)), va="top",
                fontsize=8, fontweight="bold")  # fmt: skip
    for i, (course, across, down) in enumerate(block.maps):
        wide, high = block.cell * k, _ROW * k
        place = ((x + across) / width, 1 - (y + down + high) / height, wide / width, high / height)
        axes = figure.add_axes(place)
        _map(axes, course, colours, numbers=block.cell >= _NARROW)
        axes.text(0, 1 + 0.03 / high, ("method", "shuffled")[i], transform=axes.transAxes, fontsize=_TEXT, color=GREY,
                  va="bottom")  # fmt: skip
        axes.set_xticks(np.arange(k) + 0.5, block.names[:-1], rotation=90 if k > 1 else 0, fontsize=_TEXT)
        names = [""] * k if i and block.beside else block.names[1:]
        axes.set_yticks(np.arange(k) + 0.5, names, fontsize=_TEXT)


def _map(axes: Axes, course: Course, colours: Normalize, *, numbers: bool) -> None:
    """The cosines below the diagonal: of the second to the last task (down) with the first to the last but one."""
    k = len(course.cosines)
    below = np.where(np.tri(k, k=-1, dtype=bool), course.cosines, np.nan)[1:, :-1]
    axes.pcolormesh(np.ma.masked_invalid(below), cmap=_DIVERGING, norm=colours, edgecolors="white", lw=0.8)
    for row, column in zip(*np.tril_indices(k - 1), strict=True) if numbers else ():
        value = below[row, column]
        deep = abs(value) > 0.45 * float(colours.vmax or 1.0)
        text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−") if np.isfinite(value) else "–"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=_TEXT,
                  color="white" if deep else BLACK)  # fmt: skip
    axes.tick_params(length=0, pad=2)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.invert_yaxis()
