"""The forest plot of a data set: every method's difference to lower, its interval, its twins, its verdict."""

from __future__ import annotations

import textwrap

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lupi.methods.table import place
from lupi.settings import PLAIN, Setting
from studies.report.figures.style import BLACK, GREY, PAGE, PALE, TWINS, VERDICTS, drawing, laid_out, shortened
from studies.views import settings


def twins_to_lower(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Each twin's own difference to lower: (lower - method) - (twin - method) = lower - twin.

    comparisons : frame of `comparisons.comparisons`.
    Returns a frame with columns dataset, swept, value, method, control, mean; NaN where a method has no comparison with
    lower.
    """
    keys = ["dataset", "swept", "value", "method"]
    lower = comparisons["against"] == "lower"
    arms = list(zip(comparisons["dataset"], settings.settings_of(comparisons), comparisons["method"], strict=True))
    rows = zip(arms, comparisons["mean"], lower, strict=True)
    to_lower = {arm: mean for arm, mean, of_lower in rows if of_lower}
    own = np.array([to_lower.get(arm, np.nan) for arm in arms], dtype=np.float64) - comparisons["mean"]
    return comparisons[keys].assign(control=comparisons["against"], mean=own)[~lower].reset_index(drop=True)


def effects(
    comparisons: pd.DataFrame,
    verdicts: pd.DataFrame,
    dataset: str,
    setting: Setting = PLAIN,
    *,
    metric: str = "error",
    width: float = PAGE,
) -> Figure:
    """Forest plot of one data set: a row for every method, its difference to lower with the 95 % interval, below it
    that of each twin, beside it the verdict.

    comparisons, verdicts : frames of `comparisons.comparisons` and `verdicts.verdicts`; positive = better than lower.
    metric : what the differences are of, in the axis' words.
    width : inches; below 5 the verdict stands above the interval instead of beside it.
    """
    chosen = comparisons[(comparisons["dataset"] == dataset) & settings.at(comparisons, setting)]
    to_lower = chosen[chosen["against"] == "lower"].set_index("method")
    twins = twins_to_lower(chosen)
    judged = verdicts[(verdicts["dataset"] == dataset) & settings.at(verdicts, setting)].set_index("method")
    methods = sorted(to_lower.index, key=place)
    if not methods:
        raise ValueError(f"{dataset}: no method is compared with lower; nothing to draw.")
    beside = width >= 5
    heading = 0.0 if beside else 0.15  # inches for a line of text above the interval
    counts = [int((twins["method"] == method).sum()) for method in methods]
    bands = np.array([max(0.24 + _STEP * n, 0.34 if beside else 0.0) + heading for n in counts])
    ends = np.concatenate([[0.0], bands.cumsum()])  # the y axis is in inches, downwards
    with drawing():
        figure = Figure(figsize=(width, ends[-1] + (0.85 if beside else 1.15)), layout="constrained")
        axes = figure.add_subplot()
        for i, method in enumerate(methods):
            ground = "white" if i % 2 else PALE
            axes.axhspan(ends[i], ends[i + 1], color=ground, lw=0, zorder=0)
            verdict = str(judged.loc[method, "verdict"]) if method in judged.index else ""
            first = (ends[i] + ends[i + 1] + heading - _STEP * counts[i]) / 2
            _interval(axes, to_lower.loc[method], first, VERDICTS.get(verdict, BLACK))
            _twins(axes, twins[twins["method"] == method], first)
            _verdict_text(axes, method, verdict, ends[i], ends[i + 1], beside, ground)
        axes.axvline(0, color="#444444", lw=0.8, zorder=1)
        axes.set_ylim(ends[-1], 0.0)
        axes.set_yticks((ends[1:] + ends[:-1]) / 2, methods if beside else [""] * len(methods))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(6 if beside else 4))
        axes.set_xlabel(f"difference of {metric} to lower (right: better than lower)")
        axes.set_title(shortened(settings.title(dataset, setting), int(width * 14)), loc="left")
        handles = _handles(set(twins["control"]))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if beside else 2,
                      handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    return laid_out(figure)


def _handles(controls: set[str]) -> list[Line2D]:
    """Entries of the legend: the interval, and the twins that are drawn."""
    handles = [Line2D([], [], marker="o", ms=4.5, color=BLACK, label="method, 95 % interval")]
    for control in [name for name in TWINS if name in controls]:
        colour, marker = TWINS[control]
        handles.append(
            Line2D([], [], ls="", marker=marker, ms=3.6, mec=colour, mfc="white", mew=1.0, label=f"twin: {control}")
        )
    return handles


def _twins(axes: Axes, twins: pd.DataFrame, first: float) -> None:
    """The twins of a method, each a step below the one before, beginning below y = `first`."""
    for k, (control, value) in enumerate(zip(twins["control"], twins["mean"], strict=True)):
        colour, marker = TWINS.get(str(control), (GREY, "x"))
        axes.plot(value, first + _STEP * (k + 1), marker, ms=3.6, mec=colour, mfc="white", mew=1.0, zorder=3)


_STEP = 0.088  # inches between a method's interval and its twins


def _interval(axes: Axes, row: pd.Series, y: float, colour: str) -> None:
    """A mean with its interval; the mean alone where there is none."""
    if np.isfinite(row["low"]) and np.isfinite(row["high"]):
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.8, solid_capstyle="butt", zorder=2)
    axes.plot(row["mean"], y, "o", ms=5, color=colour, mec="white", mew=0.5, zorder=4)


def _verdict_text(axes: Axes, method: str, verdict: str, top: float, bottom: float, beside: bool, ground: str) -> None:
    """The verdict at the right margin, or with the method's name as a line above the interval."""
    colour = _dark(VERDICTS.get(verdict, BLACK))
    across = axes.get_yaxis_transform()  # x as a share of the axes, y in data
    if beside:
        axes.text(1.015, (top + bottom) / 2, textwrap.fill(verdict, 24), transform=across, va="center", color=colour,
                  fontweight="bold", linespacing=1.1)  # fmt: skip
        return
    axes.text(0.01, top + 0.1, method, transform=across, va="center", fontweight="bold", fontsize=7, zorder=5)
    axes.text(0.99, top + 0.1, verdict, transform=across, va="center", ha="right", color=colour, fontsize=7,
              zorder=5, bbox={"fc": ground, "ec": "none", "pad": 0.8})  # fmt: skip


def _dark(colour: str) -> str:
    """The colour, darkened for text on white."""
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return matplotlib.colors.to_hex((0.72 * red, 0.72 * green, 0.72 * blue))
