"""How useful the candidates of --discover are, in bars, each beside the null distribution of its kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.report.figures.style import BLACK, BLUE, ORANGE, PAGE, PURPLE, drawing, laid_out, shortened
from studies.views import discoveries

#: Kind of candidate -> colour.
_KINDS = {"offered": BLUE, "product": ORANGE, "projection": PURPLE}


def usefulness(candidates: pd.DataFrame, dataset: str, *, most: int = 20, width: float = PAGE) -> Figure:
    """Bars of the most useful candidates of one data set, first the most useful; each crossed by the line below which
    95 % of its null distribution lies. Pale bars end before that line.

    candidates : rows of `discovery.discovered`, the most useful first.
    """
    shown = candidates.head(most)
    places = np.arange(len(shown))
    with drawing():
        figure = Figure(figsize=(width, 0.95 + 0.17 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        for kind, colour in _KINDS.items():
            for above, alpha in ((True, 0.95), (False, 0.35)):
                at = ((shown["kind"] == kind) & (shown["above_null"] == above)).to_numpy()
                axes.barh(places[at], shown.loc[at, "usefulness"], 0.72, color=colour, alpha=alpha, lw=0)
        sd = shown["usefulness_sd"].to_numpy(np.float64)
        mean = shown["usefulness"].to_numpy(np.float64)
        axes.hlines(places, mean - sd, mean + sd, color="#444444", lw=0.7)
        axes.vlines(shown["null"], places - 0.5, places + 0.5, color=BLACK, lw=1.2)
        axes.set_yticks(places, [shortened(label, int(width * 6.5)) for label in _labels(shown)])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(left=0.0)
        axes.set_xlabel("usefulness, mean and sd over splits")
        axes.set_title(shortened(f"{dataset}: usefulness of candidates", int(width * 14)), loc="left")
        handles = [
            Line2D([], [], color=_KINDS[kind], lw=5, label=kind) for kind in _KINDS if kind in set(shown["kind"])
        ]
        handles.append(Line2D([], [], color=BLACK, lw=1.2, label="null, 95 %; pale: not above it"))
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles) if width >= 5 else 2,
                      handlelength=1.4, columnspacing=1.2)  # fmt: skip
    return laid_out(figure)


def _labels(candidates: pd.DataFrame) -> list[str]:
    """Names; of a projection its number and largest coefficients, as the number alone tells nothing."""
    sums = candidates["weights"].map(discoveries.weighted_sum)
    return [
        f"{str(name).removeprefix('projection ')}: {made_of}" if made_of else str(name)
        for name, made_of in zip(candidates["candidate"], sums, strict=True)
    ]
