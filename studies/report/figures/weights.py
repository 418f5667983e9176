"""Balanced training over epochs: the shares of the tasks' weights, a panel for every method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from lupi.methods.table import named
from studies.report.figures.style import (
    BLACK,
    BLUE,
    DASHED,
    GREEN,
    GREY,
    NO_FORMULAS,
    ORANGE,
    PAGE,
    PURPLE,
    RED,
    SKY,
    Floats,
    drawing,
    inches,
    laid_out,
    shortened,
    spans,
)
from studies.views.traces import Weighed

#: Looks of the target, of distillation, and of privileged columns in their order.
_TARGET, _DISTILLATION = (BLACK, "o"), (ORANGE, "s")
_COLUMNS = [(BLUE, "^"), (RED, "v"), (GREEN, "D"), (PURPLE, "P"), (SKY, "X")]

#: Panels of one figure at most; inches that one is wide at least.
_PANELS, _PANEL = 12, 2.2


def pages(weighed: Sequence[Weighed]) -> list[tuple[str, str, list[Weighed]]]:
    """(data set, base method, the methods of a figure): all of a data set ("") where one figure can show them, else
    those of a base method."""
    grouped: dict[tuple[str, str], list[Weighed]] = {}
    for view in weighed:
        many = sum(other.dataset == view.dataset for other in weighed) > _PANELS
        grouped.setdefault((view.dataset, named(view.method).base if many else ""), []).append(view)
    return [(*key, group) for key, group in grouped.items()]


def weights(weighed: Sequence[Weighed], *, width: float = PAGE, title: str = "") -> Figure:
    """Shares of the tasks' weights over epochs, a panel for every method: median over splits with a band from the
    10 % to the 90 % quantile; the median of the shuffled twin dashed.

    A curve ends where fewer than half of the splits still train. The y axis, which all panels share, is logarithmic
    where medians span more than a factor of 50.
    """
    if not weighed:
        raise ValueError("no method has traces; nothing to draw.")
    looks = _looks(weighed)
    columns = min(len(weighed), max(1, int(width // _PANEL)))
    rows = -(-len(weighed) // columns)
    handles = _handles(weighed, looks)
    across = max(1, int(width // 1.7))  # entries of the legend side by side
    titles = [_title(view.method, (width - 0.5) / columns - 0.2) for view in weighed]
    with drawing(), NO_FORMULAS():
        height = (2.4 if columns == 1 else 1.9) + 0.12 * any("\n" in text for text in titles)  # of a panel
        key = 0.15 * -(-len(handles) // across)
        figure = Figure(figsize=(width, height * rows + 0.35 + key + 0.2 * bool(title)), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, view, text in zip(grid.flat, weighed, titles, strict=False):
            _weights_panel(axes, view, looks, text)
        _scales(grid[0, 0], np.concatenate([view.own.middle.ravel() for view in weighed]))
        for axes in grid.flat[len(weighed) :]:
            axes.set_visible(False)
            above = grid[rows - 2, list(grid[-1]).index(axes)]
            above.tick_params(labelbottom=True)
        figure.supxlabel("epoch", fontsize=7.5)
        figure.supylabel("share of the weights, %", fontsize=7.5)
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=across, title=title or None,
                               alignment="left", columnspacing=1.2)  # fmt: skip
        legend.get_title().set(fontsize=8.5, fontweight="bold")
    return laid_out(figure)


def _handles(weighed: Sequence[Weighed], looks: dict[str, dict[str, Any]]) -> list[Any]:
    """Entries of the legend: the tasks, the band, the twin."""
    handles: list[Any] = [Line2D([], [], ms=3.2, label=shortened(task, 30), **look) for task, look in looks.items()]
    handles.append(Patch(color=GREY, alpha=0.25, lw=0, label="10–90 % of the splits"))
    if any(view.twin is not None for view in weighed):
        handles.append(Line2D([], [], color=GREY, lw=0.7, ls=DASHED, label="shuffled twin"))
    return handles


def _scales(axes: Axes, medians: Floats) -> None:
    """The axes that all panels share."""
    if spans(medians, 50):
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(0.3 * float(np.nanmin(medians)), 1e-6))  # a band may reach down to 0
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}"))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))


def _looks(weighed: Sequence[Weighed]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of every task; columns beyond the fifth have a colour again, with other dashes."""
    looks: dict[str, dict[str, Any]] = {}
    columns = 0
    for task in dict.fromkeys(task for view in weighed for task in view.tasks):
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
    if inches(method, 8, "bold") <= width:
        return method
    lines = method.replace(":", ":\n", 1).split("\n")
    letters = [int(len(line) * width / max(inches(line, 8, "bold"), width)) for line in lines]
    return "\n".join(shortened(line, most) for line, most in zip(lines, letters, strict=True))


def _weights_panel(axes: Axes, view: Weighed, looks: dict[str, dict[str, Any]], title: str) -> None:
    own, twin = view.own, view.twin
    epochs = np.arange(1, len(own.left) + 1)
    step = max(len(epochs) // 4, 1)
    for k, task in enumerate(view.tasks):
        look = looks[task]
        axes.fill_between(epochs, own.low[:, k], own.high[:, k], color=look["color"], alpha=0.16, lw=0, zorder=1)
        start = (2 * k + 1) * step // (2 * len(view.tasks))
        axes.plot(epochs, own.middle[:, k], ms=3.2, markevery=(min(start, len(epochs) - 1), step), zorder=4, **look)
        if twin is not None:
            at = np.arange(1, len(twin.left) + 1)
            axes.plot(at, twin.middle[:, k], color=look["color"], lw=0.7, ls=DASHED, zorder=3)
    axes.set_title(title, loc="left", pad=13)
    left = f"to epoch {len(epochs)}: {own.left[-1]} of {own.splits} splits left"
    axes.annotate(left, (0, 1), (0, 2.5), "axes fraction", "offset points", fontsize=7, color=GREY)
    axes.grid(axis="y", color="#e4e4e4", lw=0.5)
    axes.set_axisbelow(True)
