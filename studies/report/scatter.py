"""The scatter of DC and DR as SVG for a page. It shows without a script; with one its points answer."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from studies.report import figures

_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 46, 8, 8, 40  # of the drawing, in its own units

Limits = tuple[tuple[float, float], tuple[float, float]]
"""Least and greatest value shown of DC, and of DR."""


def svg(points: pd.DataFrame, title: str, most: int, seed: int) -> tuple[str, str]:
    """The drawing, and a sentence on what of the `points` it shows.

    points : of `cause_tables.points`; those with a DC are drawn, a seeded sample where they are more than `most`.
        Each carries its row number, z, ẑ, DC, DR and classes as data attributes.
    """
    known = points[points["dc"].notna() & points["dr"].notna()]
    shown = known
    if len(known) > most:
        shown = known.iloc[np.sort(np.random.default_rng(seed).choice(len(known), most, replace=False))]
    dc, dr = shown["dc"].to_numpy(np.float64), shown["dr"].to_numpy(np.float64)
    limits = figures.robust_limits(dc), figures.robust_limits(dr)
    inside = (dc >= limits[0][0]) & (dc <= limits[0][1]) & (dr >= limits[1][0]) & (dr <= limits[1][1])
    marks = [
        _mark(row, limits)
        for name in figures.AGREEMENT
        for row in shown[inside & (shown["agreement"] == name)].sort_values(["dc", "row"]).to_dict("records")
    ]
    told = [f"{len(points)} rows, {len(points) - len(known)} of them without DC."]
    if len(shown) < len(known):
        told.append(f"A random sample of {len(shown)} of {len(known)} points is drawn.")
    if outside := int((~inside).sum()):
        told.append(f"{outside} point{'s lie' if outside > 1 else ' lies'} outside the frame.")
    drawing = (
        f'<svg class="plot" viewBox="0 0 {_SIZE} {_SIZE}" role="group" aria-label="{_e(title)}">\n{_axes(limits)}\n'
        + "\n".join(["<g>", *marks, "</g>"])
        + '<circle class="ring" r="6" cx="-20" cy="-20"/></svg>'
    )
    return drawing, " ".join(told)


def legend(points: pd.DataFrame) -> list[tuple[str, str]]:
    """(small drawing of the marker, text with count and share) of every group of agreement, of the rows with a DC."""
    known = points[points["dc"].notna() & points["dr"].notna()]["agreement"]
    found = []
    for name in figures.AGREEMENT:
        count = int((known == name).sum())
        drawing = f'<svg viewBox="-6 -6 12 12" aria-hidden="true">{_shape(name, 0, 0, 1.3)}/></svg>'
        found.append((drawing, f"{name}: {count} ({100 * count / max(len(known), 1):.1f} %)"))
    return found


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)


def _place(x: float, y: float, limits: Limits) -> tuple[float, float]:
    (x_low, x_high), (y_low, y_high) = limits
    across = _LEFT + (x - x_low) / (x_high - x_low) * (_SIZE - _LEFT - _RIGHT)
    down = _SIZE - _BOTTOM - (y - y_low) / (y_high - y_low) * (_SIZE - _TOP - _BOTTOM)
    return across, down


def _shape(name: str, x: float, y: float, s: float = 1.0) -> str:
    """The marker of a group at (x, y), `s` times its usual size, as an element that is not closed yet."""
    colour, marker = figures.AGREEMENT[name]
    if marker == "o":
        return f'<circle fill="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{2.6 * s:.1f}"'
    return f'<path fill="{colour}" d="{outline(marker, x, y, s)}"'


#: Marker -> where its outline begins, and the steps that follow.
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "^": [(0, -3.4), (3.2, 5.8), (-6.4, 0)],
    "v": [(0, 3.4), (3.2, -5.8), (-6.4, 0)],
    "s": [(-2.5, -2.5), (5, 0), (0, 5), (-5, 0)],
    "D": [(0, -3.5), (3.5, 3.5), (-3.5, 3.5), (-3.5, -3.5)],
    "P": [(-1, -3), (2, 0), (0, 2), (2, 0), (0, 2), (-2, 0), (0, 2), (-2, 0), (0, -2), (-2, 0), (0, -2), (2, 0)],
    "o": [(-1.5, -3), (3, 0), (1.5, 3), (-1.5, 3), (-3, 0), (-1.5, -3)],
}


def outline(marker: str, x: float, y: float, s: float) -> str:
    """Path of a marker, called as matplotlib calls it, at (x, y), `s` times its usual size."""
    (dx, dy), *steps = _OUTLINES.get(marker, _OUTLINES["o"])
    lines = " ".join(f"{s * across:.1f} {s * down:.1f}" for across, down in steps)
    return f"M{x + s * dx:.1f} {y + s * dy:.1f}l{lines}z"


def _mark(row: dict[Any, Any], limits: Limits) -> str:
    names = ("row", "z", "z_hat", "z_raw", "z_hat_raw", "dc", "dr", "teacher", "student", "truth", "agreement")
    data = " ".join(f'data-{name.replace("_", "-")}="{_e(_value(row[name]))}"' for name in names)
    return f"{_shape(row['agreement'], *_place(row['dc'], row['dr'], limits))} {data}/>"


def _value(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"
    return str(value)


def _axes(limits: Limits) -> str:
    """Frame, ticks, the line DR = DC and the shaded part beyond it."""
    (x_low, x_high), (y_low, y_high) = limits
    low, high = min(x_low, y_low), max(x_high, y_high)
    right, bottom = _SIZE - _RIGHT, _SIZE - _BOTTOM
    box = (_LEFT, _TOP, right - _LEFT, bottom - _TOP)

    def polygon(corners: Sequence[tuple[float, float]]) -> str:
        places = (_place(x, y, limits) for x, y in corners)
        return '<polygon class="beyond" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>'

    (x0, y0), (x1, y1), (x2, y2) = _place(0, 0, limits), _place(low, low, limits), _place(high, high, limits)
    parts = [
        # An inner svg clips what it holds.
        '<svg x="{}" y="{}" width="{}" height="{}" viewBox="{} {} {} {}">'.format(*box, *box),
        polygon([(0, 0), (high, high), (0, high)]),
        polygon([(0, 0), (low, low), (0, low)]),
        f'<path class="zero" d="M{_LEFT} {y0:.1f}H{right}M{x0:.1f} {_TOP}V{bottom}"/>',
        f'<path class="equal" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/></svg>',
        f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>',
    ]
    for value in ticks(x_low, x_high):
        x, _ = _place(value, 0, limits)
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick(value)}</text>')
    for value in ticks(y_low, y_high):
        _, y = _place(0, value, limits)
        parts.append(f'<path class="axis" d="M{_LEFT} {y:.1f}h-4"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{tick(value)}</text>')
    middle = (_TOP + bottom) / 2
    parts += [
        f'<text x="{(_LEFT + right) / 2}" y="{_SIZE - 8}" text-anchor="middle">DC: distance to change (sd)</text>',
        f'<text x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">'
        "DR: distance to real (sd)</text>",
    ]
    return "".join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between `low` and `high`, some five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")
