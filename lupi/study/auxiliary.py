"""Auxiliary tasks that need no privileged information: what a second head learns from X alone.

"masked" (composite learning, Kanakis et al., WACV 2023, arXiv 2210.07239): the masked cells of X itself, see
`engine.programs.trunk`.
"derived" (Kim, Liu and Yacef, arXiv 2112.03032: products of the preprocessing as further supervisors): which cells are
missing, statistics of a row, and its cluster. All of it is fitted on the training rows of a split; test rows have none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cluster import KMeans

from lupi import rng
from lupi.columns import Column
from lupi.data.encoding import Encoded, standardisation
from lupi.study.preparation import Prepared

Floats = npt.NDArray[np.float64]

#: Clusters of k-means: scikit-learn's default.
CLUSTERS = 8

_CLUSTERS = 106  # stream of the seed that draws the first centres

_STATISTICS = ("mean", "spread", "minimum", "maximum")


@dataclasses.dataclass(frozen=True)
class Tasks:
    """What the M models of one engine call learn to predict in place of the privileged columns.

    columns : which column lies where in a block.
    blocks : [V, n, Q], NaN where unknown.
    of : [M] which block a model learns.
    center, scale : [M, Q] the affine map (v - center) * scale under which it does.
    stop_gradient : whether the target network of a chained program reads ẑ without shaping it.
    """

    columns: tuple[Column, ...]
    blocks: Floats
    of: npt.NDArray[np.intp]
    center: Floats
    scale: Floats
    stop_gradient: bool = False

    @classmethod
    def standardised(
        cls, columns: tuple[Column, ...], blocks: Floats, of: npt.NDArray[np.intp], stop_gradient: bool = False
    ) -> Tasks:
        """Blocks that are learned as they are."""
        shape = len(of), blocks.shape[2]
        return cls(columns, blocks, of, np.zeros(shape), np.ones(shape), stop_gradient)


def columns(encoded: Encoded, kind: str) -> tuple[Column, ...]:
    """The columns of a kind of auxiliary tasks, "derived" or "masked". Which there are depends on the table alone, not
    on which rows are trained on; what is in them does."""
    if kind == "masked":
        return encoded.x_columns
    missing = [(f"{encoded.x_columns[i].name} missing", 2, True) for i in _incomplete(encoded)]
    statistics = [(f"row {name}", 1, False) for name in _STATISTICS if _has_statistics(encoded)]
    found, at = [], 0
    for name, width, categorical in (*missing, *statistics, ("cluster", CLUSTERS, True)):
        found.append(Column(name, at, width, categorical))
        at += width
    return tuple(found)


def _incomplete(encoded: Encoded) -> list[int]:
    """The places of the columns of X that have missing cells."""
    return [i for i, column in enumerate(encoded.x_columns) if np.isnan(encoded.x[:, column.start]).any()]


def _has_statistics(encoded: Encoded) -> bool:
    """Of a single number all statistics are itself."""
    numbers = sum(not column.categorical for column in encoded.x_columns)
    return numbers - bool(encoded.candidates) > 1


def masked(prepared: Prepared, table: pd.DataFrame) -> Tasks:
    """The cells of X, standardised as the models read them."""
    encoded, split = prepared.encoded, table["split"].to_numpy()
    sets = [prepared.training_set(s) for s in split]
    center, scale = np.stack([t.x_center for t in sets]), np.stack([t.x_scale for t in sets])
    return Tasks(encoded.x_columns, encoded.x[None], np.zeros(len(table), np.intp), center, scale)


def derived(prepared: Prepared, table: pd.DataFrame) -> Tasks:
    """The columns derived from X, of every split its own."""
    splits, of = np.unique(table["split"].to_numpy(), return_inverse=True)
    blocks = np.stack([derived_block(prepared, s) for s in splits])
    return Tasks.standardised(columns(prepared.encoded, "derived"), blocks, of)


def derived_block(prepared: Prepared, split: int) -> Floats:
    """The derived columns [n, Q] of a split, numbers standardised; NaN in all rows but the training rows.

    A column of X that is hidden from students (the one chosen to be privileged) enters none of them.
    """
    encoded, training_set = prepared.encoded, prepared.training_set(split)
    rows = training_set.rows
    x = (encoded.x[rows] - training_set.x_center) * training_set.x_scale
    seen = training_set.x_scale != 0
    starts = [encoded.x_columns[i].start for i in _incomplete(encoded)]
    pieces = [_missing(x[:, start], seen[start]) for start in starts]
    if _has_statistics(encoded):
        numbers = [c.start for c in encoded.x_columns if not c.categorical and seen[c.start]]
        pieces.append(_statistics(x[:, numbers]))
    outer = prepared.splits[split]
    key = rng.keys(prepared.options.seed, _CLUSTERS, outer.repeat, outer.fold)
    pieces.append(_clusters(np.nan_to_num(x, nan=0.0), int(key[0] >> np.uint64(33))))
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
    found = np.stack([mean, spread, least, most], 1)
    found[~known.any(1)] = np.nan
    center, scale = standardisation(found, [Column(name, i, 1, False) for i, name in enumerate(_STATISTICS)])
    standard: Floats = (found - center) * scale
    return standard


def _clusters(x: Floats, seed: int) -> Floats:
    """The cluster of each row, one-hot [rows, CLUSTERS]; fewer clusters where fewer rows differ."""
    count = min(CLUSTERS, len(np.unique(x, axis=0)))
    labels = KMeans(count, n_init=1, random_state=seed).fit_predict(x)
    return np.asarray(np.eye(CLUSTERS)[labels])


#: `Method.auxiliary` -> the tasks of the rows of a design table.
TASKS: dict[str, Callable[[Prepared, pd.DataFrame], Tasks]] = {"derived": derived, "masked": masked}
