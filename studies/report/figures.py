"""Figures of a study: functions from frames to matplotlib figures, without the state that pyplot keeps.

Sizes are in inches, as printed: 7.2 is the width of a page, 3.5 that of a column. Colours are Okabe and Ito's, which
colour-blind readers can tell apart; what a colour says, a marker's shape or a text says too.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from lupi.files import write_atomically
from lupi.methods.table import place

Floats = npt.NDArray[np.float64]

PAGE, COLUMN = 7.2, 3.5

_BLACK, _GREY, _PALE = "#000000", "#6b6b6b", "#f3f3f3"
_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"

#: Agreement of student, teacher and truth: name -> (colour, marker). Blue: the student is right.
AGREEMENT = {
    "all agree": (_SKY, "o"),
    "student errs alone": (_RED, "^"),
    "both err": (_BLACK, "s"),
    "student right, teacher wrong": (_BLUE, "D"),
}

#: Verdict -> colour.
VERDICTS = {
    "helps": _GREEN,
    "helps, but not through the information": _ORANGE,
    "better, cause unknown": _SKY,
    "no evidence": _GREY,
    "hurts": _RED,
}

#: Twin -> (colour, marker).
TWINS = {
    "shuffled": (_ORANGE, "s"),
    "noise": (_SKY, "^"),
    "absent": (_PURPLE, "D"),
    "unit-weights": (_GREY, "v"),
    "shuffled-weights": (_GREY, "P"),
}

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
def _style() -> Iterator[None]:
    with matplotlib.rc_context(_STYLE):
        yield


def _laid_out(figure: Figure) -> Figure:
    """Places all parts once; otherwise every file of the figure would do so again, which takes longest."""
    with _style():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


# ---------------------------------------------------------------------- effects


def twins_to_lower(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Each twin's own difference to lower: (lower - method) - (twin - method) = lower - twin.

    comparisons : frame of `comparisons.comparisons`.
    Returns a frame with columns dataset, setting, method, control, mean; NaN where a method has no comparison with
    lower.
    """
    keys = ["dataset", "setting", "method"]
    to_lower = comparisons[comparisons["against"] == "lower"].set_index(keys)["mean"]
    twins = comparisons[comparisons["against"] != "lower"]
    own = to_lower.reindex(pd.MultiIndex.from_frame(twins[keys])).to_numpy() - twins["mean"].to_numpy()
    return twins[keys].assign(control=twins["against"], mean=own).reset_index(drop=True)


def effects(
    comparisons: pd.DataFrame,
    verdicts: pd.DataFrame,
    dataset: str,
    setting: str = "",
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
    chosen = comparisons[(comparisons["dataset"] == dataset) & (comparisons["setting"] == setting)]
    to_lower = chosen[chosen["against"] == "lower"].set_index("method")
    twins = twins_to_lower(chosen)
    said = verdicts[(verdicts["dataset"] == dataset) & (verdicts["setting"] == setting)].set_index("method")
    methods = sorted(to_lower.index, key=place)
    if not methods:
        raise ValueError(f"{dataset}: no method is compared with lower; nothing to draw.")
    beside = width >= 5
    heading = 0.0 if beside else 0.15  # inches for a line of text above the interval
    count = [int((twins["method"] == method).sum()) for method in methods]
    bands = np.array([max(0.24 + _STEP * n, 0.34 if beside else 0.0) + heading for n in count])
    ends = np.concatenate([[0.0], bands.cumsum()])  # the y axis is in inches, downwards
    with _style():
        figure = Figure(figsize=(width, ends[-1] + (0.85 if beside else 1.15)), layout="constrained")
        axes = figure.add_subplot()
        for i, method in enumerate(methods):
            if i % 2 == 0:
                axes.axhspan(ends[i], ends[i + 1], color=_PALE, lw=0, zorder=0)
            text = str(said.loc[method, "verdict"]) if method in said.index else ""
            first = (ends[i] + ends[i + 1] + heading - _STEP * count[i]) / 2
            _interval(axes, to_lower.loc[method], first, VERDICTS.get(text, _BLACK))
            own = twins[twins["method"] == method]
            for k, (control, value) in enumerate(zip(own["control"], own["mean"], strict=True)):
                colour, marker = TWINS.get(str(control), (_GREY, "x"))
                axes.plot(value, first + _STEP * (k + 1), marker, ms=3.6, mec=colour, mfc="white", mew=1.0, zorder=3)
            _verdict_text(axes, method, text, ends[i], ends[i + 1], beside, _PALE if i % 2 == 0 else "white")
        axes.axvline(0, color="#444444", lw=0.8, zorder=1)
        axes.set_ylim(ends[-1], 0.0)
        axes.set_yticks((ends[1:] + ends[:-1]) / 2, methods if beside else [""] * len(methods))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(6 if beside else 4))
        axes.set_xlabel(f"difference of {metric} to lower (right: better than lower)")
        axes.set_title(_shortened(f"{dataset}{f', {setting}' if setting else ''}", int(width * 14)), loc="left")
        handles = [Line2D([], [], marker="o", ms=4.5, color=_BLACK, label="method, 95 % interval")]
        for control in [name for name in TWINS if name in set(twins["control"])]:
            colour, marker = TWINS[control]
            handles.append(
                Line2D([], [], ls="", marker=marker, ms=3.6, mec=colour, mfc="white", mew=1.0, label=f"twin: {control}")
            )
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if beside else 2,
                      handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    return _laid_out(figure)


_STEP = 0.088  # inches between a method's interval and its twins


def _interval(axes: Axes, row: pd.Series, y: float, colour: str) -> None:
    """A mean with its interval; the mean alone where there is none."""
    if np.isfinite(row["low"]) and np.isfinite(row["high"]):
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.8, solid_capstyle="butt", zorder=2)
    axes.plot(row["mean"], y, "o", ms=5, color=colour, mec="white", mew=0.5, zorder=4)


def _verdict_text(axes: Axes, method: str, verdict: str, top: float, bottom: float, beside: bool, ground: str) -> None:
    """The verdict at the right margin, or with the method's name as a line above the interval."""
    colour = _dark(VERDICTS.get(verdict, _BLACK))
    across = axes.get_yaxis_transform()  # x as a share of the axes, y in data
    if beside:
        axes.text(1.015, (top + bottom) / 2, textwrap.fill(verdict, 24), transform=across, va="center", color=colour,
                  fontweight="bold", linespacing=1.1)  # fmt: skip
        return
    axes.text(0.01, top + 0.1, method, transform=across, va="center", fontweight="bold", fontsize=7, zorder=5)
    axes.text(0.99, top + 0.1, verdict, transform=across, va="center", ha="right", color=colour, fontsize=6.5,
              zorder=5, bbox={"fc": ground, "ec": "none", "pad": 0.8})  # fmt: skip


def _dark(colour: str) -> str:
    """The colour, darkened for text on white."""
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return matplotlib.colors.to_hex((0.72 * red, 0.72 * green, 0.72 * blue))


# ---------------------------------------------------------------------- distance to change and distance to real


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
    with _style():
        figure = Figure(figsize=(width, width * 1.24), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 5))
        axes = figure.add_subplot(grid[1, 0])
        above = figure.add_subplot(grid[0, 0], sharex=axes)
        beside = figure.add_subplot(grid[1, 1], sharey=axes)
        axes.set_xlim(*x_limits)
        axes.set_ylim(*y_limits)
        _shade_beyond(axes, x_limits, y_limits)
        handles = []
        counts = known["agreement"].value_counts()
        size, alpha = (9.0, 0.75) if len(known) < 1500 else (4.0, 0.5)
        for k, (name, (colour, marker)) in enumerate(AGREEMENT.items()):
            at = (known["agreement"] == name).to_numpy()
            axes.scatter(dc[at], dr[at], s=size, c=colour, marker=marker, alpha=alpha, lw=0, zorder=3 + k,
                         rasterized=len(known) > 3000)  # fmt: skip
            share = 100.0 * at.sum() / max(len(known), 1)
            label = f"{name}: {counts.get(name, 0)} ({share:.1f} %)"
            handles.append(Line2D([], [], ls="", marker=marker, ms=4, color=colour, mew=0, label=label))
        handles.append(Line2D([], [], color=_BLACK, lw=0.8, ls=(0, (4, 2)), label="DR = DC; shaded: ẑ beyond change"))
        _marginals(known, above, beside, x_limits, y_limits)
        axes.set_xlabel("DC: distance to change (sd)")
        axes.set_ylabel("DR: distance to real, ẑ − z (sd)")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        above.set_title(_shortened(f"{chosen['dataset'].iloc[0]}, {method}, {column}", int(width * 14)), loc="left")
        figure.legend(handles=handles, loc="outside lower left", ncols=1, handletextpad=0.5, labelspacing=0.3,
                      title=textwrap.fill(_told(len(chosen), len(known), outside), int(width * 18)),
                      title_fontsize=7, alignment="left")  # fmt: skip
    return _laid_out(figure)


def _told(rows: int, with_dc: int, outside: int) -> str:
    text = f"{rows} rows, {rows - with_dc} of them without DC"
    if outside:
        text += f"; {outside} point{'s lie' if outside > 1 else ' lies'} outside the frame"
    return text + "."


def _shade_beyond(axes: Axes, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    """The line DR = DC, and light grey where DR lies beyond DC on DC's own side of 0."""
    right = np.array([0.0, max(x_limits[1], 0.0)])
    left = np.array([min(x_limits[0], 0.0), 0.0])
    axes.fill_between(right, right, np.full(2, max(y_limits[1], right[1])), color="#000000", alpha=0.07, lw=0, zorder=1)
    axes.fill_between(left, np.full(2, min(y_limits[0], left[0])), left, color="#000000", alpha=0.07, lw=0, zorder=1)
    axes.plot(x_limits, x_limits, color=_BLACK, lw=0.8, ls=(0, (4, 2)), zorder=2, scalex=False, scaley=False)
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


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# ---------------------------------------------------------------------- sweeps

_LINES = [(_BLUE, "o"), (_RED, "s"), (_GREEN, "^"), (_ORANGE, "D"), (_PURPLE, "v"), (_SKY, "P"), (_BLACK, "X")]
_DASHED = (0, (4, 1.5))
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
    band = 0.16 / max(1, len(lines) - 2)  # opacity: many bands lie on each other
    with _style():
        figure = Figure(figsize=(width, height * rows + 0.45 + 0.16 * (len(lines) > 1)), layout="constrained")
        for i, (panel, of_panel) in enumerate(panels):
            axes = figure.add_subplot(rows, columns, i + 1)
            if panel.startswith(_SHARES):
                _shares_panel(axes, of_panel, values)
            else:
                for line, look in lines.items():
                    _curve(axes, of_panel[of_panel["line"] == line], values, look, band)
                if _spans(of_panel["mean"].to_numpy(np.float64), 50):
                    axes.set_yscale("log")
            axes.set_title(_shortened(panel, int(width / columns * 14)), loc="left")
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
    return _laid_out(figure)


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
        dashes: Any = _DASHED if twin else "-" if k < len(_LINES) else (0, (1, 1))
        looks[line] = {"color": colour, "marker": marker, "linestyle": dashes}
        if twin:
            looks[line]["markerfacecolor"] = "white"
    return looks


def learning_curves(curves: pd.DataFrame, *, width: float = PAGE, title: str = "") -> Figure:
    """`sweep` over the number of training rows."""
    return sweep(curves, "training rows", width=width, title=title)


def _spans(values: Floats, factor: float) -> bool:
    """Whether finite values are all positive and the largest is more than `factor` times the least."""
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() > 0 and known.max() > factor * known.min())


def _places(values: Floats, at: Floats) -> Floats:
    """Where the values `at` stand on the x axis whose values are `values`: their logarithm, 0 one step to the left."""
    positive = values[values > 0]
    if values.min() < 0 or not _spans(positive, 5):
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
    axes.set_xticks(places[kept], [f"{values[i]:g}" for i in kept])
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


def _shares_panel(axes: Axes, curves: pd.DataFrame, values: Floats) -> None:
    """Agreement shares of a method by colour of the group, those of its twin dashed."""
    for group, (colour, marker) in AGREEMENT.items():
        of_group = curves[curves["quantity"] == _SHARES + group]
        for line in dict.fromkeys(of_group["line"]):
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "-"}
            if ", " in line:
                look |= {"linestyle": _DASHED, "markerfacecolor": "white"}
            _curve(axes, of_group[of_group["line"] == line], values, look)
    axes.set_ylim(0, 150)  # the legend stands above 100
    axes.set_yticks(range(0, 101, 25))
    handles = [Line2D([], [], color=c, marker=m, ms=3.2, label=group) for group, (c, m) in AGREEMENT.items()]
    axes.legend(handles=handles, fontsize=6, loc="upper left", handlelength=1.2, labelspacing=0.12, borderpad=0,
                borderaxespad=0.1)  # fmt: skip


# ---------------------------------------------------------------------- usefulness of candidates

#: Kind of candidate -> colour.
_KINDS = {"offered": _BLUE, "product": _ORANGE, "projection": _PURPLE}


def usefulness(candidates: pd.DataFrame, dataset: str, *, most: int = 20, width: float = PAGE) -> Figure:
    """Bars of the most useful candidates of one data set, first the most useful; each crossed by the line below which
    95 % of its null distribution lies. Pale bars end before that line.

    candidates : rows of `discoveries.discovered`, the most useful first.
    """
    shown = candidates.head(most)
    places = np.arange(len(shown))
    with _style():
        figure = Figure(figsize=(width, 0.95 + 0.17 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        for kind, colour in _KINDS.items():
            for above, alpha in ((True, 0.95), (False, 0.35)):
                at = ((shown["kind"] == kind) & (shown["above_null"] == above)).to_numpy()
                axes.barh(places[at], shown.loc[at, "usefulness"], 0.72, color=colour, alpha=alpha, lw=0)
        sd = shown["usefulness_sd"].to_numpy(np.float64)
        mean = shown["usefulness"].to_numpy(np.float64)
        axes.hlines(places, mean - sd, mean + sd, color="#444444", lw=0.7)
        axes.vlines(shown["null"], places - 0.5, places + 0.5, color=_BLACK, lw=1.2)
        axes.set_yticks(places, [_shortened(str(name), int(width * 5)) for name in shown["candidate"]])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(left=0.0)
        axes.set_xlabel("usefulness, mean and sd over splits")
        axes.set_title(_shortened(f"{dataset}: usefulness of candidates", int(width * 14)), loc="left")
        handles = [
            Line2D([], [], color=_KINDS[kind], lw=5, label=kind) for kind in _KINDS if kind in set(shown["kind"])
        ]
        handles.append(Line2D([], [], color=_BLACK, lw=1.2, label="null, 95 %; pale: not above it"))
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles) if width >= 5 else 2,
                      handlelength=1.4, columnspacing=1.2)  # fmt: skip
    return _laid_out(figure)


# ---------------------------------------------------------------------- several data sets


def critical_difference(
    ranks: pd.Series,
    p_values: pd.DataFrame,
    *,
    difference: float | None = None,
    alpha: float = 0.05,
    width: float = PAGE,
    title: str = "",
) -> Figure:
    """Critical-difference diagram (Demšar, JMLR 7, 2006): mean ranks over data sets; bars join methods that the test
    does not tell apart.

    ranks : method -> mean rank (1: best).
    p_values : square, of the pairwise test after Friedman's; index and columns are the methods.
    difference : the critical difference of Nemenyi's test, drawn as a scale.
    """
    import scikit_posthocs

    if len(ranks) < 2:
        raise ValueError(f"a critical-difference diagram needs at least two methods; found {len(ranks)}.")
    names = list(ranks.sort_values().index)
    with _style():
        figure = Figure(figsize=(width, 0.9 + 0.17 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        scikit_posthocs.critical_difference_diagram(
            ranks[names], p_values.loc[names, names], alpha=alpha, ax=axes,
            label_fmt_left="{label} ({rank:.2f})", label_fmt_right="({rank:.2f}) {label}",
            label_props={"fontsize": 7}, color_palette=dict.fromkeys(names, _BLACK), elbow_props={"linewidth": 0.6},
            marker_props={"s": 14, "color": _BLUE}, crossbar_props={"linewidth": 2.4, "color": _BLACK},
            text_h_margin=0.05,
        )  # fmt: skip
        axes.spines["top"].set_visible(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if difference is not None:
            best = float(ranks.min())
            axes.plot([best, best + difference], [1.7, 1.7], color=_BLACK, lw=1.0, marker="|", ms=5)
            axes.text(best + difference, 1.7, f"  critical difference {difference:.2f}", va="center", fontsize=7)
        axes.set_title(title or "mean rank over data sets (left: better)", loc="left", pad=10)
    return _laid_out(figure)


# ---------------------------------------------------------------------- files


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
    with _style(), io.BytesIO() as buffer:
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
        return buffer.getvalue()
