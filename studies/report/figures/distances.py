"""Distance to change against distance to real: where a student's errors lie, of one method and privileged column."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from studies.report.figures.style import AGREEMENT, BLACK, COLUMN, Floats, drawing, laid_out, shortened


def robust_limits(values: Floats) -> tuple[float, float]:
    """Limits of an axis that shows `values` [n] (NaN ignored) and 0: all of them but far outliers.

    Far: from the middle 95 % by more than half its range.
    """
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return -1.0, 1.0
    inner = np.quantile(known, (0.025, 0.975))
    reach = 0.5 * (inner[1] - inner[0])
    low = min(0.0, max(float(known.min()), float(inner[0] - reach)))
    high = max(0.0, min(float(known.max()), float(inner[1] + reach)))
    if high - low < 1e-9:
        return -1.0, 1.0
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def dc_dr(points: pd.DataFrame, method: str, column: str, *, width: float = COLUMN) -> Figure:
    """Distance to change (DC, x) against distance to real (DR = ẑ - z, y) of the rows that have a DC.

    On the shaded side of the line DR = DC, away from 0, the teacher itself would change its class if it were given ẑ.

    points : frame of points of one data set (columns dataset, method, column, dc, dr, agreement; standardised units).
    width : inches; the fonts are for use at that size.
    """
    chosen = points[(points["method"] == method) & (points["column"] == column)]
    if chosen.empty:
        raise ValueError(f"no points of {method} and {column!r}; nothing to draw.")
    known = chosen[chosen["dc"].notna() & chosen["dr"].notna()]
    dc, dr = known["dc"].to_numpy(np.float64), known["dr"].to_numpy(np.float64)
    x_limits, y_limits = robust_limits(dc), robust_limits(dr)
    outside = int(((dc < x_limits[0]) | (dc > x_limits[1]) | (dr < y_limits[0]) | (dr > y_limits[1])).sum())
    with drawing():
        figure = Figure(figsize=(width, width * 1.24), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 5))
        axes = figure.add_subplot(grid[1, 0])
        above = figure.add_subplot(grid[0, 0], sharex=axes)
        beside = figure.add_subplot(grid[1, 1], sharey=axes)
        axes.set_xlim(*x_limits)
        axes.set_ylim(*y_limits)
        _shade_beyond(axes, x_limits, y_limits)
        handles = _scatter(axes, known)
        _marginals(known, above, beside, x_limits, y_limits)
        axes.set_xlabel("DC: distance to change (sd)")
        axes.set_ylabel("DR: distance to real, ẑ − z (sd)")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        above.set_title(shortened(f"{chosen['dataset'].iloc[0]}, {method}, {column}", int(width * 14)), loc="left")
        figure.legend(handles=handles, loc="outside lower left", ncols=1, handletextpad=0.5, labelspacing=0.3,
                      title=textwrap.fill(what_is_shown(len(chosen), len(known), outside), int(width * 18)),
                      title_fontsize=7, alignment="left")  # fmt: skip
    return laid_out(figure)


def _scatter(axes: Axes, known: pd.DataFrame) -> list[Line2D]:
    """The points by group of agreement, and the entries of the legend."""
    handles = []
    size, alpha = (9.0, 0.75) if len(known) < 1500 else (4.0, 0.5)
    for k, (name, (colour, marker)) in enumerate(AGREEMENT.items()):
        group = known[known["agreement"] == name]
        axes.scatter(group["dc"], group["dr"], s=size, c=colour, marker=marker, alpha=alpha, lw=0, zorder=3 + k,
                     rasterized=len(known) > 3000)  # fmt: skip
        label = f"{name}: {len(group)} ({100.0 * len(group) / max(len(known), 1):.1f} %)"
        handles.append(Line2D([], [], ls="", marker=marker, ms=4, color=colour, mew=0, label=label))
    handles.append(Line2D([], [], color=BLACK, lw=0.8, ls=(0, (4, 2)), label="DR = DC; shaded: ẑ beyond change"))
    return handles


def what_is_shown(rows: int, with_dc: int, outside: int, drawn: int | None = None) -> str:
    """What a scatter shows of its rows; `drawn`: of those with a DC so many are drawn, where not all are."""
    text = f"{rows} rows, {rows - with_dc} of them without DC."
    if drawn is not None:
        text += f" A random sample of {drawn} of {with_dc} points is drawn."
    if outside:
        text += f" {outside} point{'s lie' if outside > 1 else ' lies'} outside the frame."
    return text


def _shade_beyond(axes: Axes, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    """The line DR = DC, and light grey where DR lies beyond DC on DC's own side of 0."""
    right = np.array([0.0, max(x_limits[1], 0.0)])
    left = np.array([min(x_limits[0], 0.0), 0.0])
    axes.fill_between(right, right, np.full(2, max(y_limits[1], right[1])), color="#000000", alpha=0.07, lw=0, zorder=1)
    axes.fill_between(left, np.full(2, min(y_limits[0], left[0])), left, color="#000000", alpha=0.07, lw=0, zorder=1)
    axes.plot(x_limits, x_limits, color=BLACK, lw=0.8, ls=(0, (4, 2)), zorder=2, scalex=False, scaley=False)
    axes.axhline(0, color="#bbbbbb", lw=0.5, zorder=1)
    axes.axvline(0, color="#bbbbbb", lw=0.5, zorder=1)


def _marginals(
    known: pd.DataFrame, above: Axes, beside: Axes, x_limits: tuple[float, float], y_limits: tuple[float, float]
) -> None:
    """Stacked histograms of DC and DR by agreement."""
    colours = [colour for colour, _ in AGREEMENT.values()]
    groups = [known[known["agreement"] == name] for name in AGREEMENT]
    for axes, name, limits in ((above, "dc", x_limits), (beside, "dr", y_limits)):
        upright = axes is above
        axes.hist(
            [group[name].to_numpy(np.float64) for group in groups], bins=np.linspace(*limits, 37).tolist(),
            stacked=True, histtype="stepfilled", color=colours, lw=0,
            orientation="vertical" if upright else "horizontal",
        )  # fmt: skip
        axes.tick_params(labelbottom=False, labelleft=False, left=False, bottom=False)
        counts = axes.yaxis if upright else axes.xaxis
        counts.set_major_locator(NullLocator())
        axes.spines["left" if upright else "bottom"].set_visible(False)
