"""Data stored once on the device; every model gathers its rows by index and standardises them with its own units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.engine.active import Active
from lupi.engine.batches import Batch
from lupi.engine.models import Arrays, Models
from lupi.engine.network import Workspace
from lupi.engine.options import TrainingOptions
from lupi.engine.programs import Program


def bounded(values: Tensor, bound: Tensor) -> Tensor:
    """v / sqrt(1 + (b v)²), in place: about v where |v| is small beside 1/b, and never beyond it; b = 0 is v itself.

    The smooth clip of RealMLP (Holzmüller, Grinsztajn and Steinwart, NeurIPS 2024) with b = 1/3.
    """
    return values.mul_((values * bound).square_().add_(1.0).rsqrt_())


class StoredData:
    """The arrays of one data set, for models of one program.

    Attributes
    ----------
    n : data rows.
    longest : what bounds the length of a list of training rows, for the shuffles, which depend on it.
    index : integer type that holds every place in the arrays.
    """

    def __init__(
        self, program: Program, arrays: Arrays, models: Models, options: TrainingOptions, workspace: Workspace | None
    ) -> None:
        self._program, self._options, self._workspace = program, options, workspace

        def stored(values: Tensor) -> Tensor:
            return values.to(options.device, options.dtype).contiguous()

        self._x, self._y, self._z = stored(arrays.x), stored(arrays.y), stored(arrays.z).flatten(0, 1)
        self._teacher = None if arrays.teacher is None else stored(arrays.teacher).flatten(0, 1)
        self._codes = None if arrays.codes is None else arrays.codes.to(options.device)
        self._sample_weight = None if arrays.sample_weight is None else stored(arrays.sample_weight)
        self.n = len(self._x)
        self.longest = self.n if arrays.most is None else arrays.most
        entries = max(len(self._z), 0 if self._teacher is None else len(self._teacher), models.fit.padded.size, self.n)
        self.index = np.int32 if entries < 2**31 else np.int64
        self._incomplete = bool(self._x.isnan().any())
        self._reads_z = program.always_reads_z or bool((models.z_of >= 0).any())
        self._weighs_classes = self._codes is not None and bool((models.class_weights != 1).any())

    @property
    def distils(self) -> bool:
        """Whether batches hold soft labels."""
        return self._teacher is not None

    def tensor(self, values: npt.NDArray[np.floating | np.bool_]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self._options.device, self._options.dtype)

    def indices(self, values: npt.NDArray[np.integer]) -> Tensor:
        return torch.as_tensor(values.astype(self.index, copy=False)).to(self._options.device)

    def batch(
        self, active: Active, index: Tensor, counts: npt.NDArray[np.int64], z_index: Tensor | None = None
    ) -> Batch:
        """Gather and standardise the data rows `index` [M, rows]; the first `counts` of each model are real.

        z_index : [M, rows], to read z from other data rows.
        """
        m, rows = index.shape
        flat = index.reshape(-1)
        padding = None
        if counts.min() < rows:
            padding = torch.arange(rows, device=index.device) >= self.indices(counts)[:, None]
        x = self._read(self._x, flat, "x").view(m, rows, -1)
        x = torch.addcmul(active.x_shift, x, active.x_scale, out=x)
        if active.x_bound.shape[2]:
            x = bounded(x, active.x_bound)
        if self._incomplete:
            x.nan_to_num_(nan=0.0)
        y = self._read(self._y, flat, "y").view(m, rows, -1).mT
        teacher = None
        if self._teacher is not None:
            place = (active.teacher_of * self.n + index).reshape(-1)
            teacher = self._read(self._teacher, place, "teacher").view(m, rows, -1).mT
        if self._program.numeric:
            y = torch.addcmul(active.y_shift, y, active.y_scale)
            teacher = None if teacher is None else torch.addcmul(active.y_shift, teacher, active.y_scale)
        z = self._privileged(active, index if z_index is None else z_index, padding) if self._reads_z else None
        random = active.random.gather(1, index.long())[:, None] if active.random.shape[1] else None
        own = None if self._sample_weight is None else self._sample_weight[flat].view(m, rows)
        return Batch(x, z, y, teacher, self._weights(active, index, counts, padding, own), random, own)

    def _privileged(self, active: Active, index: Tensor, padding: Tensor | None) -> Tensor:
        place = (active.z_of * self.n + index).reshape(-1)
        z = self._read(self._z, place, "z").view(*index.shape, -1)
        if not self._program.predicts_z:
            return torch.addcmul(active.z_shift, z, active.z_scale, out=z).nan_to_num_(nan=0.0).mT
        # Losses read it as often as the outputs, which have the rows last.
        out = None if self._workspace is None else self._workspace.empty("z.mT", tuple(z.mT.shape), z)
        z = torch.addcmul(active.z_shift.mT, z.mT, active.z_scale.mT, out=out)
        return z if padding is None else z.masked_fill_(padding[:, None], torch.nan)

    def _weights(
        self,
        active: Active,
        index: Tensor,
        counts: npt.NDArray[np.int64],
        padding: Tensor | None,
        own: Tensor | None,
    ) -> Tensor | None:
        """Weights [M, rows] that average over the real rows, times their `own`; None where all count the same."""
        if padding is None and not self._weighs_classes and own is None:
            return None
        weights = self.tensor(1.0 / np.maximum(counts, 1))[:, None].expand(index.shape)
        if padding is not None:
            weights = weights.masked_fill(padding, 0.0)
        if self._weighs_classes:
            assert self._codes is not None
            weights = weights * active.class_weights.gather(1, self._codes[index.reshape(-1)].view(index.shape))
        return weights if own is None else weights * own

    def _read(self, source: Tensor, flat: Tensor, slot: str) -> Tensor:
        """source[flat], in kept memory on a CPU."""
        if source.shape[1] == 1:  # five times faster without the second axis
            return source.squeeze(1).index_select(0, flat)
        if self._workspace is None:
            return source.index_select(0, flat)
        out = self._workspace.empty(slot, (len(flat), source.shape[1]), source)
        return torch.index_select(source, 0, flat, out=out)
