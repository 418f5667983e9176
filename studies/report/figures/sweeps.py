"""Curves of a study over a swept value, or over the number of training rows: small multiples with bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from lupi.settings import number_text
from studies.report.figures.style import (
    AGREEMENT,
    BLACK,
    BLUE,
    DASHED,
    GREEN,
    ORANGE,
    PAGE,
    PURPLE,
    RED,
    SKY,
    Floats,
    drawing,
    laid_out,
    shortened,
    spans,
)

_LINES = [(BLUE, "o"), (RED, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (SKY, "P"), (BLACK, "X")]
_SHARES = "agreement: "


def sweep(curves: pd.DataFrame, name: str, *, width: float = PAGE, title: str = "") -> Figure:
    """Small multiples of curves with bands over a swept value.

    curves : a row for every point: quantity (a panel each, in order of appearance; those called "agreement: ..." share
        a panel of each method), line (a method, or "<method>, <twin>", which has its colour and is dashed), value (the
        swept value), mean, low, high (the band; NaN: none).
    name : of what is swept, for the x axis.
    width : inches; three panels stand side by side on a page, one in a column.

    The x axis is logarithmic where the positive values span more than a factor of 5; 0 then stands left of a gap.
    """
    if curves.empty:
        raise ValueError(f"{name}: no curve to draw.")
    lines = _looks(list(dict.fromkeys(map(str, curves["line"]))))
    panels = list(_panels(curves))
    columns = min(len(panels), max(1, int(width // 2.3)))
    rows = -(-len(panels) // columns)
    values = np.unique(curves["value"].to_numpy(np.float64))
    height = 2.6 if columns == 1 and width >= 5 else 1.7  # of a panel
    with drawing():
        figure = Figure(figsize=(width, height * rows + 0.45 + 0.16 * (len(lines) > 1)), layout="constrained")
        for i, (panel, of_panel) in enumerate(panels):
            axes = figure.add_subplot(rows, columns, i + 1)
            if panel.startswith(_SHARES):
                _shares_panel(axes, of_panel, values)
            else:
                _curves_panel(axes, of_panel, values, lines)
            axes.set_title(shortened(panel, int(width / columns * 14)), loc="left")
            _swept_axis(axes, values)
            axes.grid(axis="y", color="#e4e4e4", lw=0.5)
            axes.set_axisbelow(True)
        figure.supxlabel(name, fontsize=7.5)
        handles = [Line2D([], [], ms=3.2, label=line, **look) for line, look in lines.items()]
        if len(lines) > 1:
            legend = figure.legend(handles=handles, loc="outside upper left", ncols=max(1, int(width // 1.6)),
                                   title=title or None, alignment="left")  # fmt: skip
            legend.get_title().set(fontsize=8.5, fontweight="bold")
        elif title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    return laid_out(figure)


def _panels(curves: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title, its points) of every panel."""
    of_shares = curves["quantity"].str.startswith(_SHARES)
    for quantity, of_quantity in curves[~of_shares].groupby("quantity", sort=False):
        yield str(quantity), of_quantity
    methods = curves["line"].str.partition(", ")[0]
    for method, of_method in curves[of_shares].groupby(methods[of_shares], sort=False):
        yield f"{_SHARES}{method}, % of rows", of_method


def _looks(lines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of every line: a colour for each method, hollow and dashed for its twins.

    Methods beyond the seventh have a colour again, with other dashes.
    """
    methods = list(dict.fromkeys(line.partition(", ")[0] for line in lines))
    looks = {}
    for line in lines:
        method, _, twin = line.partition(", ")
        k = methods.index(method)
        colour, marker = _LINES[k % len(_LINES)]
        dashes: Any = DASHED if twin else "-" if k < len(_LINES) else (0, (1, 1))
        looks[line] = {"color": colour, "marker": marker, "linestyle": dashes}
        if twin:
            looks[line]["markerfacecolor"] = "white"
    return looks


def _places(values: Floats, at: Floats) -> Floats:
    """Where the values `at` stand on the x axis whose values are `values`: their logarithm, 0 one step to the left."""
    positive = values[values > 0]
    if values.min() < 0 or not spans(positive, 5):
        return at
    logarithms = np.log10(positive)
    step = max(float(np.diff(logarithms).mean()), 0.15)
    return np.where(at > 0, np.log10(np.where(at > 0, at, 1.0)), logarithms[0] - 1.2 * step)


def _swept_axis(axes: Axes, values: Floats) -> None:
    """Ticks at the swept values themselves, as many as can be read."""
    places = _places(values, values)
    reach = max(float(np.ptp(places)), 1e-12)
    kept: list[int] = []
    for i in range(len(values)):
        if not kept or places[i] - places[kept[-1]] > 0.11 * reach:
            kept.append(i)
    axes.set_xticks(places[kept], [number_text(values[i]) for i in kept])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(places[0] - 0.05 * reach - 1e-9, places[-1] + 0.05 * reach + 1e-9)
    if len(values) > 1 and values[0] == 0 and places[0] != 0:  # a logarithmic axis with 0
        gap = (places[0] + places[1]) / 2
        axes.plot([gap], [0], marker=[(-1, -2), (1, 2)], ms=5, mec="#444444", mew=0.8, ls="", clip_on=False,
                  transform=axes.get_xaxis_transform(), zorder=6)  # fmt: skip


def _curve(axes: Axes, line: pd.DataFrame, values: Floats, look: dict[str, Any], band: float = 0.16) -> None:
    if line.empty:
        return
    line = line.sort_values("value")
    swept = line["value"].to_numpy(np.float64)
    x = _places(values, swept)
    mean, low, high = (line[name].to_numpy(np.float64) for name in ("mean", "low", "high"))
    axes.fill_between(x, low, high, color=look["color"], alpha=band, lw=0)
    apart = (swept == 0) & (x != 0)  # 0 on a logarithmic axis
    if apart.any() and not apart.all():
        axes.plot(x[:2], mean[:2], color=look["color"], lw=0.8, ls=(0, (1, 1.5)))
        axes.plot(x[apart], mean[apart], ms=3.2, **look)
    axes.plot(x[~apart], mean[~apart], ms=3.2, **look)


def _curves_panel(axes: Axes, curves: pd.DataFrame, values: Floats, lines: dict[str, dict[str, Any]]) -> None:
    """The curves of one quantity; logarithmic where its means span more than a factor of 50."""
    band = 0.16 / max(1, len(lines) - 2)  # opacity: many bands lie on each other
    for line, look in lines.items():
        _curve(axes, curves[curves["line"] == line], values, look, band)
    if spans(curves["mean"].to_numpy(np.float64), 50):
        axes.set_yscale("log")


def _shares_panel(axes: Axes, curves: pd.DataFrame, values: Floats) -> None:
    """Agreement shares of a method by colour of the group, those of its twin dashed."""
    for group, (colour, marker) in AGREEMENT.items():
        of_group = curves[curves["quantity"] == _SHARES + group]
        for line in dict.fromkeys(of_group["line"]):
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "-"}
            if ", " in line:
                look |= {"linestyle": DASHED, "markerfacecolor": "white"}
            _curve(axes, of_group[of_group["line"] == line], values, look)
    axes.set_ylim(0, 150)  # the legend stands above 100
    axes.set_yticks(range(0, 101, 25))
    handles = [Line2D([], [], color=c, marker=m, ms=3.2, label=group) for group, (c, m) in AGREEMENT.items()]
    axes.legend(handles=handles, fontsize=7, loc="upper left", handlelength=1.2, labelspacing=0.12, borderpad=0,
                borderaxespad=0.1)  # fmt: skip
