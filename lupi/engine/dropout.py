"""Dropout whose draws belong to a model's own seed and step, and to nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng

_DROPOUT = 5  # stream of a model's random numbers
_LEVELS = 256  # a draw is one byte, so a probability is a multiple of 1/256
_WORTH_A_THREAD = 100_000  # hashes below which starting a thread costs more than it saves


def kept(
    seed: rng.UInt64,
    step: npt.NDArray[np.int64],
    probability: npt.NDArray[np.float64],
    units: int,
    rows: int,
    batch_size: int,
    like: Tensor,
    copies: int = 1,
) -> Tensor:
    """What hidden units are multiplied by: 0 with a model's `probability`, else 1 / (1 - probability).

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014, in its inverted
    form, so that prediction needs no factor.

    Shape
    -----
    Returns [M, units, copies · rows].

    Parameters
    ----------
    seed, step, probability : of every model [M]; a probability is rounded to a multiple of 1/256.
    rows : of the batch; batch_size : the most that a batch can have, on which the draws depend in place of `rows`.
    copies : how often the batch holds each row.
    like : of which dtype and device.
    """
    per_unit = copies * batch_size
    count = -(-units * per_unit // 8)  # eight draws from every hash
    key = rng.keys(seed, _DROPOUT, step)
    draws = np.empty((len(key), count), np.uint64)

    def fill(part: slice) -> None:
        draws[part] = rng.hashes(key[part], count)

    # A few models at a time stay within the cache; threads share them out.
    size = max(min(2**15 // count, -(-len(key) // torch.get_num_threads())), 1)
    parts = [slice(first, first + size) for first in range(0, len(key), size)]
    if draws.size < _WORTH_A_THREAD or torch.get_num_threads() == 1:
        for part in parts:
            fill(part)
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(fill, parts))
    levels = np.minimum(np.round(probability * _LEVELS), _LEVELS - 1)
    drawn = torch.from_numpy(draws.view(np.uint8)[:, : units * per_unit]).to(like.device)
    drawn = drawn.view(len(key), units, copies, batch_size)[..., :rows].reshape(len(key), units, copies * rows)
    least = torch.as_tensor(levels.astype(np.uint8), device=like.device)[:, None, None]
    factor = torch.as_tensor(_LEVELS / (_LEVELS - levels), device=like.device).to(like.dtype)[:, None, None]
    return (drawn >= least) * factor
