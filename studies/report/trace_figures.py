"""Figures of balanced training: the weights of the tasks over epochs, and the conflicts between their gradients.

Sizes, colours and fonts are those of `figures`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from lupi.methods.table import named
from studies.report.figures import (
    _BLACK,
    _BLUE,
    _DASHED,
    _GREEN,
    _GREY,
    _ORANGE,
    _PURPLE,
    _RED,
    _SKY,
    PAGE,
    _laid_out,
    _shortened,
    _spans,
    _style,
)
from studies.views.traces import Course, Weighed

#: Looks of the target, of distillation, and of privileged columns in their order.
_TARGET, _DISTILLATION = (_BLACK, "o"), (_ORANGE, "s")
_COLUMNS = [(_BLUE, "^"), (_RED, "v"), (_GREEN, "D"), (_PURPLE, "P"), (_SKY, "X")]

#: Conflict is red, agreement blue, and 0 white.
_DIVERGING = LinearSegmentedColormap.from_list("conflict", ["#8c3a00", _RED, "#ffffff", _BLUE, "#003f66"])

_PANELS = 12  # of one figure

#: A column may be called "$a$": text is no formula.
_NO_FORMULAS = partial(matplotlib.rc_context, {"text.parse_math": False})


def pages(found: Sequence[Weighed]) -> list[tuple[str, str, list[Weighed]]]:
    """(data set, base method, the methods of a figure): all of a data set ("") where one figure can show them, else
    those of a base method."""
    grouped: dict[tuple[str, str], list[Weighed]] = {}
    for each in found:
        many = sum(other.dataset == each.dataset for other in found) > _PANELS
        grouped.setdefault((each.dataset, named(each.method).base if many else ""), []).append(each)
    return [(*key, group) for key, group in grouped.items()]


def _inches(text: str, size: float, weight: str = "normal") -> float:
    """How wide a text is."""
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    return float(TextPath((0, 0), text.replace("$", "S"), prop=font).get_extents().x1) / 72  # "$" begins a formula


# ---------------------------------------------------------------------- weights


def weights(found: Sequence[Weighed], *, width: float = PAGE, title: str = "") -> Figure:
    """Shares of the tasks' weights over epochs, a panel for every method: median over splits with a band from the
    10 % to the 90 % quantile; the median of the shuffled twin dashed.

    A curve ends where fewer than half of the splits still train. The y axis, which all panels share, is logarithmic
    where medians span more than a factor of 50.
    """
    if not found:
        raise ValueError("no method has traces; nothing to draw.")
    looks = _looks(found)
    twins = any(each.twin is not None for each in found)
    columns = min(len(found), max(1, int(width // 1.7)))
    rows = -(-len(found) // columns)
    handles: list[Any] = [Line2D([], [], ms=3.2, label=_shortened(task, 30), **look) for task, look in looks.items()]
    handles.append(Patch(color=_GREY, alpha=0.25, lw=0, label="10–90 % of the splits"))
    if twins:
        handles.append(Line2D([], [], color=_GREY, lw=0.7, ls=_DASHED, label="shuffled twin"))
    across = max(1, int(width // 1.7))
    titles = {each.method: _title(each.method, (width - 0.5) / columns - 0.2) for each in found}
    with _style(), _NO_FORMULAS():
        height = (2.3 if columns == 1 else 1.6) + 0.12 * any("\n" in title for title in titles.values())  # of a panel
        key = 0.15 * -(-len(handles) // across)
        figure = Figure(figsize=(width, height * rows + 0.35 + key + 0.2 * bool(title)), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, each in zip(grid.flat, found, strict=False):
            _weights_panel(axes, each, looks, titles[each.method])
        first: Axes = grid[0, 0]
        medians = np.concatenate([each.own.middle.ravel() for each in found])
        if _spans(medians, 50):
            first.set_yscale("log")
            first.set_ylim(bottom=max(0.3 * float(np.nanmin(medians)), 1e-6))  # a band may reach down to 0
            first.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
            first.yaxis.set_minor_formatter(NullFormatter())
        else:
            first.yaxis.set_major_locator(MaxNLocator(5))
            first.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}"))
        first.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        for axes in grid.flat[len(found) :]:
            axes.set_visible(False)
            above = grid[rows - 2, list(grid[-1]).index(axes)]
            above.tick_params(labelbottom=True)
        figure.supxlabel("epoch", fontsize=7.5)
        figure.supylabel("share of the weights, %", fontsize=7.5)
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=across, title=title or None,
                               alignment="left", columnspacing=1.2)  # fmt: skip
        legend.get_title().set(fontsize=8.5, fontweight="bold")
    return _laid_out(figure)


def _looks(found: Sequence[Weighed]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of every task; columns beyond the fifth have a colour again, with other dashes."""
    looks: dict[str, dict[str, Any]] = {}
    columns = 0
    for task in dict.fromkeys(task for each in found for task in each.tasks):
        if task == "target":
            colour, marker = _TARGET
        elif task == "distillation":
            colour, marker = _DISTILLATION
        else:
            colour, marker = _COLUMNS[columns % len(_COLUMNS)]
            columns += 1
        looks[task] = {"color": colour, "marker": marker, "ls": "-" if columns <= len(_COLUMNS) else (0, (1, 1))}
    order = [task for task in ("target", "distillation") if task in looks]
    return {task: looks[task] for task in [*order, *(task for task in looks if task not in order)]}


def _title(method: str, width: float) -> str:
    """The name of a method, its knobs below it where a line of so many inches cannot hold both."""
    if _inches(method, 8, "bold") <= width:
        return method
    lines = method.replace(":", ":\n", 1).split("\n")
    letters = [int(len(line) * width / max(_inches(line, 8, "bold"), width)) for line in lines]
    return "\n".join(_shortened(line, most) for line, most in zip(lines, letters, strict=True))


def _weights_panel(axes: Axes, each: Weighed, looks: dict[str, dict[str, Any]], title: str) -> None:
    own, twin = each.own, each.twin
    epochs = np.arange(1, len(own.left) + 1)
    step = max(len(epochs) // 4, 1)
    for k, task in enumerate(each.tasks):
        look = looks[task]
        axes.fill_between(epochs, own.low[:, k], own.high[:, k], color=look["color"], alpha=0.16, lw=0, zorder=1)
        start = (2 * k + 1) * step // (2 * len(each.tasks))
        axes.plot(epochs, own.middle[:, k], ms=3.2, markevery=(min(start, len(epochs) - 1), step), zorder=4, **look)
        if twin is not None:
            at = np.arange(1, len(twin.left) + 1)
            axes.plot(at, twin.middle[:, k], color=look["color"], lw=0.7, ls=_DASHED, zorder=3)
    axes.set_title(title, loc="left", pad=12)
    told = f"to epoch {len(epochs)}: {own.left[-1]} of {own.splits} splits left"
    axes.annotate(told, (0, 1), (0, 2.5), "axes fraction", "offset points", fontsize=6, color=_GREY)
    axes.grid(axis="y", color="#e4e4e4", lw=0.5)
    axes.set_axisbelow(True)


# ---------------------------------------------------------------------- conflicts

#: Inches: the most a cell is wide, and the least where its number is to be read; its height; what stands above a block,
#: above a map, between two maps and behind a block.
_CELL, _NARROW, _ROW = 0.42, 0.27, 0.27
_TITLE, _HEAD, _GAP, _AFTER = 0.19, 0.14, 0.12, 0.22
_LETTERS = 14  # of a task's name


def conflicts(found: Sequence[Weighed], *, width: float = PAGE, title: str = "") -> Figure:
    """Cosines between the tasks' gradients, a map for every method and beside it that of its shuffled twin.

    All maps share their colours: red is conflict, blue agreement, white 0. A pair that no split had is a dash.
    """
    if not found:
        raise ValueError("no method has traces; nothing to draw.")
    values = np.concatenate([of.cosines[np.tril_indices(len(of.cosines), -1)] for e in found for of in _courses(e)])
    largest = float(np.max(np.abs(values), initial=0.1, where=np.isfinite(values)))
    colours = Normalize(-np.ceil(10 * largest) / 10, np.ceil(10 * largest) / 10)
    two = width >= 5 and len(found) > 1  # side by side, where the cells are not too narrow then
    blocks = _placed([_Block.of(each, width / 2 if two and len(each.tasks) <= 5 else width) for each in found], width)
    top = 0.3 if title else 0.08
    height = top + max(y + block.height for block, _, y in blocks) + 0.5
    with _style(), _NO_FORMULAS():
        figure = Figure(figsize=(width, height))
        if title:
            figure.text(0.05 / width, 1 - 0.06 / height, _shortened(title, int(width * 11)), va="top", fontsize=8.5,
                        fontweight="bold")  # fmt: skip
        for block, x, y in blocks:
            _draw(figure, block, x, top + y, colours)
        wide = min(3.0, width - 0.6)
        place = ((width - wide) / 2 / width, 0.37 / height, wide / width, 0.09 / height)
        bar = figure.colorbar(ScalarMappable(colours, _DIVERGING), cax=figure.add_axes(place), location="bottom",
                              ticks=[colours.vmin, 0, colours.vmax])  # fmt: skip
        bar.set_label("cosine (left: conflict, right: agreement)", labelpad=1)
        bar.ax.spines[:].set_linewidth(0.4)
    return _laid_out(figure)


def _courses(each: Weighed) -> list[Course]:
    return [each.own] if each.twin is None else [each.own, each.twin]


@dataclasses.dataclass(frozen=True)
class _Block:
    """The maps of a method, their measures in inches.

    beside : the twin's map stands beside the method's own, else below it.
    cell : width of a cell; left, below : room for names of tasks.
    """

    each: Weighed
    names: list[str]
    beside: bool
    cell: float
    left: float
    below: float

    @classmethod
    def of(cls, each: Weighed, width: float) -> _Block:
        names, k = [_shortened(task, _LETTERS) for task in each.tasks], len(each.tasks) - 1
        left = 0.1 + max(_inches(name, 6.5) for name in names[1:])
        below = 0.06 + (max(_inches(name, 6.5) for name in names[:-1]) if k > 1 else 0.1)
        room = width - left - _AFTER
        beside = each.twin is not None and (room - _GAP) / (2 * k) >= _NARROW
        cell = min(_CELL, (room - _GAP) / (2 * k) if beside else room / k)
        return cls(each, names, beside, cell, left, below)

    @property
    def maps(self) -> list[tuple[Course, float, float]]:
        """Each map with its place in the block."""
        k = len(self.names) - 1
        along = self.cell * k + _GAP, _HEAD + _ROW * k + self.below
        places = [(i * along[0], 0.0) if self.beside else (0.0, i * along[1]) for i in range(2)]
        return [
            (of, self.left + x, _TITLE + _HEAD + y) for of, (x, y) in zip(_courses(self.each), places, strict=False)
        ]

    @property
    def width(self) -> float:
        right = max(x for _, x, _ in self.maps) + self.cell * (len(self.names) - 1)
        return max(right, 0.08 + _inches(self.each.method, 8, "bold")) + _AFTER

    @property
    def height(self) -> float:
        return max(y for _, _, y in self.maps) + _ROW * (len(self.names) - 1) + self.below + 0.08


def _placed(blocks: Sequence[_Block], width: float) -> list[tuple[_Block, float, float]]:
    """The blocks with the places of their corners, row by row like words of a text."""
    found: list[tuple[_Block, float, float]] = []
    x = y = deep = 0.0
    for block in blocks:
        if x > 0 and x + block.width > width + _AFTER:
            x, y, deep = 0.0, y + deep, 0.0
        found.append((block, x, y))
        x, deep = x + block.width, max(deep, block.height)
    return found


def _draw(figure: Figure, block: _Block, x: float, y: float, colours: Normalize) -> None:
    """A block whose upper left corner is x inches from the left and y from the top."""
    width, height = figure.get_size_inches()
    k = len(block.names) - 1
    figure.text((x + 0.05) / width, 1 - y / height, _shortened(block.each.method, int(width * 12)), va="top",
                fontsize=8, fontweight="bold")  # fmt: skip
    for i, (of, across, down) in enumerate(block.maps):
        wide, high = block.cell * k, _ROW * k
        place = ((x + across) / width, 1 - (y + down + high) / height, wide / width, high / height)
        axes = figure.add_axes(place)
        _map(axes, of, colours, fontsize=6.0 if block.cell > 0.32 else 5.2)
        axes.text(0, 1 + 0.03 / high, ("method", "shuffled")[i], transform=axes.transAxes, fontsize=6, color=_GREY,
                  va="bottom")  # fmt: skip
        axes.set_xticks(np.arange(k) + 0.5, block.names[:-1], rotation=90 if k > 1 else 0, fontsize=6.5)
        names = [""] * k if i and block.beside else block.names[1:]
        axes.set_yticks(np.arange(k) + 0.5, names, fontsize=6.5)


def _map(axes: Axes, of: Course, colours: Normalize, *, fontsize: float) -> None:
    """The cosines below the diagonal: of the second to the last task (down) with the first to the last but one."""
    k = len(of.cosines)
    below = np.where(np.tri(k, k=-1, dtype=bool), of.cosines, np.nan)[1:, :-1]
    axes.pcolormesh(np.ma.masked_invalid(below), cmap=_DIVERGING, norm=colours, edgecolors="white", lw=0.8)
    for row, column in zip(*np.tril_indices(k - 1), strict=True):
        value = below[row, column]
        deep = abs(value) > 0.45 * float(colours.vmax or 1.0)
        text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−") if np.isfinite(value) else "–"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=fontsize,
                  color="white" if deep else _BLACK)  # fmt: skip
    axes.tick_params(length=0, pad=2)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.invert_yaxis()
