"""Schedules: what share of its learning rate a model has at each point of its training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def _constant(t: Floats) -> Floats:
    return np.ones_like(t)


def _cosine(t: Floats) -> Floats:
    """(1 + cos π t) / 2 (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts)."""
    return np.asarray(0.5 * (1.0 + np.cos(np.pi * t)))


def _coslog4(t: Floats) -> Floats:
    """(1 - cos(2π log₂(1 + 15 t))) / 2: four waves, each longer than the one before (Holzmüller, Grinsztajn and
    Steinwart, "Better by default", NeurIPS 2024). 0 at the start, at the end, and between the waves."""
    return np.asarray(0.5 * (1.0 - np.cos(2.0 * np.pi * np.log2(1.0 + 15.0 * t))))


#: Name -> share [M] at t [M] in [0, 1], the part of the training that is done. Design tables hold their places here.
SCHEDULES: dict[str, Callable[[Floats], Floats]] = {"constant": _constant, "cosine": _cosine, "coslog4": _coslog4}


def share(schedule: npt.NDArray[np.intp], t: Floats) -> Floats:
    """The share [M] of models with these schedules [M] (places in `SCHEDULES`) at t [M]."""
    shares = np.ones_like(t)
    for place, function in enumerate(SCHEDULES.values()):
        shares = np.where(schedule == place, function(t), shares)
    return shares
