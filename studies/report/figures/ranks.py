"""Mean ranks of methods over data sets: the critical-difference diagram."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from studies.report.figures.style import BLACK, BLUE, PAGE, drawing, laid_out


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
    with drawing():
        figure = Figure(figsize=(width, 0.9 + 0.17 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        scikit_posthocs.critical_difference_diagram(
            ranks[names], p_values.loc[names, names], alpha=alpha, ax=axes,
            label_fmt_left="{label} ({rank:.2f})", label_fmt_right="({rank:.2f}) {label}",
            label_props={"fontsize": 7}, color_palette=dict.fromkeys(names, BLACK), elbow_props={"linewidth": 0.6},
            marker_props={"s": 14, "color": BLUE}, crossbar_props={"linewidth": 2.4, "color": BLACK},
            text_h_margin=0.05,
        )  # fmt: skip
        axes.spines["top"].set_visible(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if difference is not None:
            best = float(ranks.min())
            axes.plot([best, best + difference], [1.7, 1.7], color=BLACK, lw=1.0, marker="|", ms=5)
            axes.text(best + difference, 1.7, f"  critical difference {difference:.2f}", va="center", fontsize=7)
        axes.set_title(title or "mean rank over data sets (left: better)", loc="left", pad=10)
    return laid_out(figure)
