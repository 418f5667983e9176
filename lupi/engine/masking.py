"""Masked-feature reconstruction: rows are read twice, as they are and with a random share of their columns masked.

Which cells are masked depends on a model's own seed and step alone, never on the models beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng
from lupi.columns import Column
from lupi.engine.objective import Batch

#: Share of the columns that are masked in a row: the default of VIME's code (Yoon et al., "VIME: extending the success
#: of self- and semi-supervised learning to tabular domain", NeurIPS 2020). CompL's own tasks are those of images.
SHARE = 0.3


def hidden(key: rng.UInt64, rows: int, columns: int, share: float = SHARE) -> npt.NDArray[np.bool_]:
    """Which columns are masked in which row: [M, rows, columns], each with probability `share`, to 2^-16.

    The first rows of a model do not depend on `rows`.
    """
    count = rows * columns
    draws = rng.hashes(key, -(-count // 4)).view(np.uint16)[:, :count]  # four draws from every hash
    return (draws < round(share * 2**16)).reshape(len(key), rows, columns)


def masked(batch: Batch, columns: Sequence[Column], which: Tensor, varies: Tensor) -> Batch:
    """The batch with its rows twice in x, the second time with the columns `which` [M, rows, q] masked to 0.

    Of a number 0 is the mean, of a category (all levels 0) what a missing cell is. What is left in z, the x to be
    reconstructed, are the masked cells that are known (NaN in all others).

    varies : [M, 1, D], whether a column varies among the training rows: one that does not, or is hidden from the model,
        is not to be reconstructed.
    """
    assert batch.z is not None
    cells = which
    if any(column.width > 1 for column in columns):  # all levels of a category are masked together
        of = [i for i, column in enumerate(columns) for _ in range(column.width)]
        cells = which.index_select(2, torch.as_tensor(of, device=which.device))
    x = torch.cat([batch.x, batch.x.masked_fill(cells, 0.0)], 1)
    return dataclasses.replace(batch, x=x, z=batch.z.masked_fill(~(cells & varies).mT, torch.nan))
