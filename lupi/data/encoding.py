"""A data set encoded as arrays, and its standardisation, which is fitted on training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from lupi.columns import Column
from lupi.data.privileged_data import PrivilegedData

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A data set as arrays.

    x : [n, D] numbers shifted and scaled column by column, so that float32 holds them (seconds since 1970 differ in
        their last digits only); categories one-hot; NaN where missing (in all levels of a category). Standardised on
        training rows, as they are before use, they are what they would have been without the shift and the scale.
    x_columns : which feature lies where in x.
    z : [V, n, Q] the privileged block; V = 1, or where the privileged column is chosen within every training fold one
        block (Q = 1) for each numeric feature that can be chosen.
    z_columns : which privileged column lies where in a block.
    candidates : for each of the V blocks its place in `x_columns`; empty where the privileged columns are given.
    y : [n, C] 0/1, one-hot, or a number less `y_origin` in units of `y_unit`, for float32's sake too.
    y_origin, y_unit : mean and standard deviation of a numeric target; 0 and 1 for classes.
    """

    x: Floats
    x_columns: tuple[Column, ...]
    z: Floats
    z_columns: tuple[Column, ...]
    candidates: tuple[int, ...]
    y: Floats
    y_origin: float = 0.0
    y_unit: float = 1.0


def encode(data: PrivilegedData, missing_flags: bool = False) -> Encoded:
    """Arrays for the engine; nothing in them depends on which rows will be trained on.

    missing_flags : x holds, behind the features, a column of 0 and 1 for every number that is missing in some row.
    """
    x, x_columns = _encode_table(data.X)
    features = len(x_columns)
    if missing_flags:
        x, x_columns = with_flags(x, x_columns)
    origin, unit = (0.0, 1.0) if data.classes is not None else (float(data.y.mean()), float(data.y.std()))
    y = (data.y[:, None] - origin) / unit
    if data.classes is not None and len(data.classes) > 2:
        y = np.eye(len(data.classes))[data.y]
    if not data.chooses_privileged:
        z, z_columns = _encode_table(data.Z)
        return Encoded(x, x_columns, z[None], z_columns, (), y, origin, unit)
    candidates = tuple(i for i, column in enumerate(x_columns[:features]) if not column.categorical)
    if not candidates or features < 2:
        raise ValueError(
            f"{data.name}: no privileged column is named, and among {features} regular features there is no "
            "numeric one to choose beside another that stays. Name the privileged columns."
        )
    blocks = np.stack([x[:, x_columns[i].span] for i in candidates])
    return Encoded(x, x_columns, blocks, (Column("chosen", 0, 1, False),), candidates, y, origin, unit)


def _encode_table(table: pd.DataFrame) -> tuple[Floats, tuple[Column, ...]]:
    blocks, columns, at = [], [], 0
    for name in table.columns:
        values = table[name]
        levels = None
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.cat.remove_unused_categories()
            levels, codes = tuple(map(str, values.cat.categories)), values.cat.codes.to_numpy()
            block = np.eye(codes.max() + 1)[codes]
            block[codes < 0] = np.nan
        else:
            raw = values.to_numpy(dtype=np.float64)
            block = centred(raw, *center_of(raw))[:, None]
        columns.append(Column(str(name), at, block.shape[1], levels is not None, levels))
        blocks.append(block)
        at += block.shape[1]
    return np.concatenate(blocks, 1), tuple(columns)


def with_flags(x: Floats, columns: tuple[Column, ...]) -> tuple[Floats, tuple[Column, ...]]:
    """x [n, D] with a column behind it for every number that is missing in some row: 1 where it is."""
    absent = np.isnan(x)
    lacking = [column for column in columns if not column.categorical and absent[:, column.start].any()]
    flags = tuple(Column(flag_name(column.name), x.shape[1] + i, 1, False) for i, column in enumerate(lacking))
    places = [column.start for column in lacking]
    return np.concatenate([x, absent[:, places].astype(x.dtype)], 1), (*columns, *flags)


def flag_name(name: str) -> str:
    """What the column is called that tells where `name` is missing."""
    return f"{name} is missing"


#: How far out, in units of its column, a number can lie.
FARTHEST = 1e30


def center_of(values: Floats) -> tuple[float, float]:
    """The median of the values [n], and the median distance to it of those that differ from it."""
    origin = np.nanquantile(values, 0.5, method="lower")
    far = values - origin
    return float(origin), float(np.nanquantile(np.abs(far[far != 0]), 0.5, method="lower"))


def centred(values: Floats, origin: float, unit: float) -> Floats:
    """Values less `origin` in units of `unit`, at most `FARTHEST` out."""
    with np.errstate(over="ignore"):
        near: Floats = (values - origin) / unit
    return near.clip(-FARTHEST, FARTHEST)


def standardisation(values: Floats, columns: Sequence[Column], weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Center and scale [D] of the affine map (v - center) * scale, fitted on the rows of `values` [rows, D].

    Numbers get mean 0 and standard deviation 1 over the rows in which they are known, and scale 0 where they do not
    vary; levels of a category stay 0 and 1, and get scale 0 where no row has them: networks never learn what they mean,
    so that they are read as missing. With `weights` [rows], all > 0, a row counts as often as its weight says.
    """
    known = ~np.isnan(values)
    if weights is None:
        count = np.maximum(known.sum(0), 1)
        center = np.where(known, values, 0.0).sum(0) / count
        deviation = np.sqrt((np.where(known, values - center, 0.0) ** 2).sum(0) / count)
    else:
        total = weights @ known
        total[total == 0] = 1.0
        center = weights @ np.where(known, values, 0.0) / total
        deviation = np.sqrt(weights @ np.where(known, values - center, 0.0) ** 2 / total)
    varies = deviation > 1e-9 * np.maximum(np.abs(center), 1e-30)
    scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
    for column in columns:
        if column.categorical:
            center[column.span] = 0.0
            scale[column.span] = (known[:, column.span] & (values[:, column.span] > 0)).any(0)
    return center, scale


def robust_standardisation(
    values: Floats, columns: Sequence[Column], weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """Center and scale [D] by median and quartiles: numbers get median 0 and an interquartile range of 1.

    Where the quartiles are equal, the range becomes 2; where a number does not vary, its scale is 0. Levels of a
    category are as in `standardisation`. So far values, which move a mean and a standard deviation, move nothing
    (Holzmüller, Grinsztajn and Steinwart, NeurIPS 2024).

    values, weights : as there.
    """
    method: Any = "linear" if weights is None else "inverted_cdf"
    center, scale = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for column in columns:
        if column.categorical:
            scale[column.span] = (values[:, column.span] > 0).any(0)  # NaN is not greater
            continue
        for place in range(column.start, column.start + column.width):
            known = ~np.isnan(values[:, place])
            if not known.any():
                continue
            of_known = values[known, place]
            counts = None if weights is None else weights[known]
            low, center[place], high = np.quantile(of_known, (0.25, 0.5, 0.75), weights=counts, method=method)
            least, most = of_known.min(), of_known.max()
            spread = high - low if high > low else (most - least) / 2
            varies = spread > 1e-9 * max(abs(center[place]), 1e-30)
            scale[place] = 1.0 / spread if varies else 0.0
    return center, scale


#: Far values that a robust scale bounds: b of `engine.stored.bounded`, 1 over the bound.
SMOOTH_CLIP = 1.0 / 3.0


def bounds(columns: Sequence[Column], width: int) -> Floats:
    """b [width] of the smooth clip of each entry of x: numbers are bounded by 3, levels of a category are not."""
    bound = np.full(width, SMOOTH_CLIP)
    for column in columns:
        if column.categorical:
            bound[column.span] = 0.0
    return bound


def smoothly_clipped(values: Floats, bound: Floats) -> Floats:
    """v / sqrt(1 + (b v)²) of `values` [rows, D], `bound` [D]: see `engine.stored.bounded`, which does it in place."""
    return np.asarray(values / np.sqrt(1.0 + (values * bound) ** 2))


def most_correlated(blocks: Floats, y: Floats) -> int:
    """The block of largest |Spearman correlation| with the target: its place among the V of `blocks` [V, rows, 1].

    With several classes (y [rows, K] one-hot) the largest over the classes counts. Missing cells are left out.
    """
    strengths = []
    for block in blocks[:, :, 0]:
        known = ~np.isnan(block)
        ranks = rankdata(block[known])
        targets = [rankdata(column) for column in y[known].T]
        varies = len(ranks) > 1 and np.ptp(ranks) > 0
        strengths.append(
            max((abs(np.corrcoef(ranks, t)[0, 1]) for t in targets if varies and np.ptp(t) > 0), default=0.0)
        )
    return int(np.argmax(strengths))
