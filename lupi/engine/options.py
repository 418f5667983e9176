"""`TrainingOptions`: how the engine runs (batches, early stopping, device, precision)."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How the engine runs; nothing here differs between models.

    batch_size : data rows a step, >= 1.
    patience : stop after so many epochs without a validation loss that is better by `min_delta`, >= 1.
    min_delta : what counts as better, >= 0. The best weights are the best, by however little.
    restore_best : keep the weights of the best epoch (else those of the last one).
    monitor_total : watch the whole training loss on the validation rows, else the target's part of it.
    dtype, device : of all tensors.
    width : how many models are active at once; None: as many as `capacity.width_of` finds room for. More models share
        the cost of a call, fewer fit a cache.
    compile : let torch.compile fuse the elementwise work (on a CPU it needs a C++ compiler).
    trace : remember weights, gradient norms and cosines of the tasks, epoch by epoch (balanced models alone).
    """

    batch_size: int = 128
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True
    monitor_total: bool = False
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    width: int | None = None
    compile: bool = False
    trace: bool = False
