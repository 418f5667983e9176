"""Programs of one trunk with two heads: the target, and privileged columns or masked cells of x."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng
from lupi.columns import Column
from lupi.engine.batches import Batch
from lupi.engine.network import Network
from lupi.engine.programs.base import PREDICTS_TARGET, Forward, Outputs, Program

#: Share of the columns that are masked in a row: the default of VIME's code (Yoon et al., "VIME: extending the success
#: of self- and semi-supervised learning to tabular domain", NeurIPS 2020). CompL's own tasks are those of images.
MASKED_SHARE = 0.3

_MASK = 4  # stream of a model's random numbers that draws what is masked


@dataclasses.dataclass(frozen=True)
class TrunkProgram(Program):
    """One trunk on x with a target and a privileged head: auxiliary learning."""

    kind = "shared"
    roles = (PREDICTS_TARGET,)
    predicts_z = True
    always_reads_z = True

    @functools.cached_property
    def networks(self) -> tuple[Network, ...]:
        return (self.architecture.trunk(self.regular, self.outputs + self.width),)

    @functools.cached_property
    def n_shared(self) -> int:
        """Those of the trunk below the heads."""
        return self.networks[0].n_below_output

    def _outputs(self, network: Forward, x: Tensor, z: Tensor | None) -> Outputs:
        output = network(0, x)
        return self.heads(output, output.shape[2] if z is None else z.shape[2])


@dataclasses.dataclass(frozen=True)
class MaskedProgram(TrunkProgram):
    """The same trunk, whose second head reconstructs columns of x from rows with masked cells; columns are those of x.

    In training the batch holds every row twice: as it is, for the target's head, and masked, for the other. Which cells
    are masked depends on a model's own seed and step alone.
    """

    kind = "masked"

    def heads(self, output: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """The outputs [M, C + Q, rows or 2 rows], each head's for its own `rows`."""
        return output[:, : self.outputs, :rows], output[:, self.outputs :, -rows:]

    def training_batch(self, batch: Batch, seed: rng.UInt64, step: npt.NDArray[np.int64], x_scale: Tensor) -> Batch:
        hidden = drawn_mask(rng.keys(seed, _MASK, step), batch.x.shape[1], len(self.columns))
        return masked(batch, self.columns, torch.as_tensor(hidden).to(batch.x.device), x_scale != 0)


def drawn_mask(key: rng.UInt64, rows: int, columns: int, share: float = MASKED_SHARE) -> npt.NDArray[np.bool_]:
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
