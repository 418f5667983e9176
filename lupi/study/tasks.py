"""Columns that models predict in place of the privileged ones: auxiliary tasks, or candidates of a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi import rng
from lupi.columns import Column
from lupi.methods import auxiliary
from lupi.study.preparation import Prepared

Floats = npt.NDArray[np.float64]

_CLUSTERS = 106  # stream of the seed that draws the first centres of the clusters


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
    return Tasks.standardised(auxiliary.columns(prepared.encoded, "derived"), blocks, of)


def derived_block(prepared: Prepared, split: int) -> Floats:
    """The columns [n, Q] derived from X on the training rows of a split."""
    outer, training_set = prepared.splits[split], prepared.training_set(split)
    seed = int(rng.keys(prepared.options.seed, _CLUSTERS, outer.repeat, outer.fold)[0] >> np.uint64(33))
    units = training_set.x_center, training_set.x_scale
    return auxiliary.derived(prepared.encoded, training_set.rows, *units, seed)


#: `Method.auxiliary` -> the tasks of the rows of a design table.
TASKS: dict[str, Callable[[Prepared, pd.DataFrame], Tasks]] = {"derived": derived, "masked": masked}
