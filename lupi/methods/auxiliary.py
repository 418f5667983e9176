"""Auxiliary tasks that need no privileged information: what a second head learns from X alone.

"masked" (composite learning, Kanakis et al., WACV 2023, arXiv 2210.07239): the masked cells of X itself, see
`engine.programs.trunk`.
"derived" (Kim, Liu and Yacef, arXiv 2112.03032: products of the preprocessing as further supervisors): which cells are
missing, statistics of a row, and its cluster. All of it is fitted on the training rows of a split; test rows have none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from lupi.columns import Column
from lupi.data.encoding import Encoded, standardisation

Floats = npt.NDArray[np.float64]

#: Clusters of k-means: scikit-learn's default.
CLUSTERS = 8

_STATISTICS = ("mean", "spread", "minimum", "maximum")


def columns(encoded: Encoded, kind: str) -> tuple[Column, ...]:
    """The columns of a kind of auxiliary tasks, "derived" or "masked". Which there are depends on the table alone, not
    on which rows are trained on; what is in them does."""
    if kind == "masked":
        return encoded.x_columns
    missing = [(f"{encoded.x_columns[i].name} missing", 2, True) for i in _incomplete(encoded)]
    statistics = [(f"row {name}", 1, False) for name in _STATISTICS if _has_statistics(encoded)]
    placed, at = [], 0
    for name, width, categorical in (*missing, *statistics, ("cluster", CLUSTERS, True)):
        placed.append(Column(name, at, width, categorical))
        at += width
    return tuple(placed)


def _incomplete(encoded: Encoded) -> list[int]:
    """The places of the columns of X that have missing cells."""
    return [i for i, column in enumerate(encoded.x_columns) if np.isnan(encoded.x[:, column.start]).any()]


def _has_statistics(encoded: Encoded) -> bool:
    """Of a single number all statistics are itself."""
    numbers = sum(not column.categorical for column in encoded.x_columns)
    return numbers - bool(encoded.candidates) > 1


def derived(encoded: Encoded, rows: npt.NDArray[np.intp], center: Floats, scale: Floats, seed: int) -> Floats:
    """The derived columns [n, Q], numbers standardised; NaN in all rows but the training rows `rows`.

    center, scale : [D] the standardisation of x on these rows. A column of scale 0 (it does not vary, or is hidden from
        students, as it was chosen to be privileged) enters none of them.
    seed : draws the first centres of the clusters.
    """
    x, seen = (encoded.x[rows] - center) * scale, scale != 0
    starts = [encoded.x_columns[i].start for i in _incomplete(encoded)]
    pieces = [_missing(x[:, start], seen[start]) for start in starts]
    if _has_statistics(encoded):
        numbers = [c.start for c in encoded.x_columns if not c.categorical and seen[c.start]]
        pieces.append(_statistics(x[:, numbers]))
    pieces.append(_clusters(np.nan_to_num(x, nan=0.0), seed))
    block = np.full((len(encoded.x), sum(piece.shape[1] for piece in pieces)), np.nan)
    block[rows] = np.concatenate(pieces, 1)
    return block


def _missing(values: Floats, seen: bool) -> Floats:
    """Whether a cell is known or missing, one-hot [rows, 2]; NaN of a column that is not to be seen."""
    indicator = np.isnan(values)[:, None] == [False, True]
    return indicator.astype(np.float64) if seen else np.full((len(values), 2), np.nan)


def _statistics(numbers: Floats) -> Floats:
    """Mean, standard deviation, minimum and maximum of the known numbers of each row [rows, 4], standardised; NaN in a
    row without any."""
    known = ~np.isnan(numbers)
    count = np.maximum(known.sum(1), 1)
    mean = np.where(known, numbers, 0.0).sum(1) / count
    spread = np.sqrt((np.where(known, numbers - mean[:, None], 0.0) ** 2).sum(1) / count)
    least = np.where(known, numbers, np.inf).min(1, initial=np.inf)
    most = np.where(known, numbers, -np.inf).max(1, initial=-np.inf)
    statistics = np.stack([mean, spread, least, most], 1)
    statistics[~known.any(1)] = np.nan
    center, scale = standardisation(statistics, [Column(name, i, 1, False) for i, name in enumerate(_STATISTICS)])
    standard: Floats = (statistics - center) * scale
    return standard


def _clusters(x: Floats, seed: int) -> Floats:
    """The cluster of each row, one-hot [rows, CLUSTERS]; fewer clusters where fewer rows differ."""
    count = min(CLUSTERS, len(np.unique(x, axis=0)))
    labels = KMeans(count, n_init=1, random_state=seed).fit_predict(x)
    return np.asarray(np.eye(CLUSTERS)[labels])
