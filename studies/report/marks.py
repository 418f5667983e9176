"""Markers and ticks of drawings in a page, as SVG writes them."""

from __future__ import annotations

import math

#: Marker -> where its outline begins, and the steps that follow.
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "^": [(0, -3.4), (3.2, 5.8), (-6.4, 0)],
    "v": [(0, 3.4), (3.2, -5.8), (-6.4, 0)],
    "s": [(-2.5, -2.5), (5, 0), (0, 5), (-5, 0)],
    "D": [(0, -3.5), (3.5, 3.5), (-3.5, 3.5), (-3.5, -3.5)],
    "P": [(-1, -3), (2, 0), (0, 2), (2, 0), (0, 2), (-2, 0), (0, 2), (-2, 0), (0, -2), (-2, 0), (0, -2), (2, 0)],
}


def outline(marker: str, x: float = 0.0, y: float = 0.0, size: float = 1.0) -> str:
    """Path of a marker, called as matplotlib calls it, `size` times as large as usual; others are circles."""
    if marker not in _OUTLINES:
        r = 2.6 * size
        return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"
    (dx, dy), *steps = _OUTLINES[marker]
    lines = " ".join(f"{size * across:.1f} {size * down:.1f}" for across, down in steps)
    return f"M{x + size * dx:.1f} {y + size * dy:.1f}l{lines}z"


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between `low` and `high`, some five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def number(value: object) -> str:
    """Four digits of a number with a true minus sign, a dash where it is missing; all else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"
