"""Traces of balanced training: weights, gradient norms and cosines of the tasks, epoch by epoch."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lupi.balancing.base import Step

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Trace:
    """One model's training, means over the steps of each epoch; NaN where a task was absent.

    weights, norms : [epochs, K] of the strategy, and of the task gradients over the shared parameters.
    cosines : [epochs, K, K] between these gradients.
    """

    weights: Floats
    norms: Floats
    cosines: Floats

    def packed(self) -> bytes:
        """The trace in few bytes: every number rounded to 11 significant bits, an error of at most 2^-11 = 0.05 %.

        NaN and infinity stay what they are. Of the cosines each pair is kept once; a task's own is 1 where it has a
        gradient. Numbers of a task lie together, and then bytes of like place: zlib leaves about two bytes a number.
        """
        pairs = np.triu_indices(self.weights.shape[1], 1)
        values = np.concatenate([self.weights, self.norms, self.cosines[:, *pairs]], 1, dtype=np.float32)
        values[np.isnan(values)] = np.nan  # one NaN, whose bits survive what follows
        rounded = (values.T.ravel().view(np.uint32) + _HALF) & ~(2 * _HALF - np.uint32(1))
        return zlib.compress(rounded.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes())


def unpacked(packed: bytes, tasks: int) -> Trace:
    """The trace of so many tasks that `Trace.packed` made into bytes."""
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(4, -1)
    values = np.ascontiguousarray(planes.T).view("<f4").reshape(tasks * (tasks + 3) // 2, -1).T
    weights, norms, pairs = np.split(values, [tasks, 2 * tasks], 1)
    upper = np.triu_indices(tasks, 1)
    cosines = np.zeros((len(values), tasks, tasks), np.float32)
    cosines[:, *upper] = pairs
    cosines += cosines.transpose(0, 2, 1)
    cosines[:, range(tasks), range(tasks)] = np.where(np.isfinite(norms) & (norms > 0), np.float32(1), np.nan)
    return Trace(weights, norms, cosines)


_HALF = np.uint32(1 << 12)  # half of the last of the bits that are kept


def averaged(traces: Sequence[Trace]) -> Trace:
    """The mean over models, epoch by epoch, of those that have the task and had not stopped before."""
    if len(traces) == 1:
        return traces[0]
    longest = max(len(trace.weights) for trace in traces)
    return Trace(*(_mean([getattr(t, f.name) for t in traces], longest) for f in dataclasses.fields(Trace)))


def _mean(values: Sequence[Floats], longest: int) -> Floats:
    total = np.zeros((longest, *values[0].shape[1:]))
    count = np.zeros(total.shape, np.int64)
    for value in values:
        total[: len(value)] += np.where(np.isnan(value), 0.0, value)
        count[: len(value)] += ~np.isnan(value)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).astype(np.float32)
    return mean


class Tracer:
    """Collects the traces of the rows of a run."""

    def __init__(self) -> None:
        self._sums: torch.Tensor | None = None  # of the steps of this epoch: [M, entries]
        self._counts: torch.Tensor | None = None
        self._rows: list[npt.NDArray[np.intp]] = []
        self._values: list[Floats] = []
        self._tasks = 0

    def add(self, weights: torch.Tensor, step: Step, moving: npt.NDArray[np.bool_]) -> None:
        """A step of all active models; those that do not move have none."""
        self._tasks = weights.shape[1]
        norm = step.gram.diagonal(dim1=1, dim2=2).sqrt()
        both = step.present[:, :, None] & step.present[:, None, :]
        points = (norm[:, :, None] > 0) & (norm[:, None, :] > 0) & both
        cosine = step.gram / torch.where(points, norm[:, :, None] * norm[:, None, :], 1.0)
        values = torch.cat([weights, norm, cosine.flatten(1)], 1)
        known = torch.cat([step.present, step.present, points.flatten(1)], 1)
        known = known & torch.as_tensor(moving, device=known.device)[:, None]
        values = torch.where(known, values, 0.0)
        self._sums = values if self._sums is None else self._sums + values
        self._counts = known.long() if self._counts is None else self._counts + known

    def end_epoch(
        self, row: npt.NDArray[np.intp], epoch: npt.NDArray[np.int64], stopped: npt.NDArray[np.bool_]
    ) -> None:
        """Close an epoch of the active rows; those that had stopped before it learned nothing in it."""
        assert self._sums is not None
        assert self._counts is not None
        mean = (self._sums / self._counts).float().cpu().numpy()
        self._rows.append(row[~stopped])
        self._values.append(mean[~stopped])
        self._sums = self._counts = None

    def result(self, models: int) -> list[Trace]:
        """The traces of all rows of a run."""
        rows, values = self._together()
        order = np.argsort(rows, kind="stable")
        parts = np.split(values[order], np.searchsorted(rows[order], np.arange(1, models)))
        k = self._tasks
        return [Trace(p[:, :k], p[:, k : 2 * k], p[:, 2 * k :].reshape(-1, k, k)) for p in parts]

    def _together(self) -> tuple[npt.NDArray[np.intp], Floats]:
        if not self._rows:
            return np.zeros(0, np.intp), np.zeros((0, self._tasks * (self._tasks + 2)), np.float32)
        return np.concatenate(self._rows), np.concatenate(self._values)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What was collected, as arrays."""
        rows, values = self._together()
        return {"rows": rows, "values": values, "tasks": np.array(self._tasks)}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put back what `state` returned."""
        self._tasks = int(state["tasks"])
        if len(state["rows"]):
            self._rows, self._values = [np.array(state["rows"])], [np.array(state["values"])]
