"""What a program reads in one step: the data rows of M models, and the coefficients of their losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclasses.dataclass
class Knobs:
    """Coefficients of the loss, one for each model [M]."""

    hard: Tensor  # weight of the loss against the true target
    imitate: Tensor  # weight of the loss against the teacher's soft label
    privileged_teacher: Tensor  # weight of the TPD term
    repulsion: Tensor  # β of the TPD term, >= 0
    temperature: Tensor  # T > 0 of the teacher's soft labels
    epsilon: Tensor  # ε >= 0, weight of the privileged task
    learned: Tensor  # 1: σ and T of the tasks are learned; 0: their weights are fixed
    smoothing: Tensor | None  # label smoothing in [0, 1); None: no model smooths


@dataclasses.dataclass
class Batch:
    """The data rows that M models read in one step, encoded and standardised."""

    x: Tensor  # [M, rows, D]; in training masked programs [M, 2 rows, D]: as they are, then with masked cells
    z: Tensor | None  # [M, Q, rows]: to be predicted (NaN: unknown), or an input
    y: Tensor  # [M, C, rows]
    teacher: Tensor | None  # [M, C, rows] log-odds, log-probabilities or values; None: no model has a teacher
    weights: Tensor | None  # [M, rows], summing to about 1 over rows; None: all equal
    random: Tensor | None = None  # [M, 1, rows]: the number of each row's own of "tram++" programs
    sample_weights: Tensor | None = None  # [M, rows], the rows' own, in the privileged losses; None: all equal
    keep: tuple[Tensor | None, ...] | None = None  # for each network [M, n_dropped, rows]: dropout; None: none

    def kept(self, network: int) -> Tensor | None:
        """What dropout leaves of the hidden units of a network."""
        return None if self.keep is None else self.keep[network]

    def take(self, which: npt.NDArray[np.intp]) -> Batch:
        """Copies of the models' data at positions `which`."""
        at = torch.as_tensor(which, device=self.x.device)

        def some(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[at]

        teacher, weights, random, own = map(some, (self.teacher, self.weights, self.random, self.sample_weights))
        keep = None if self.keep is None else tuple(map(some, self.keep))
        return Batch(self.x[at], some(self.z), self.y[at], teacher, weights, random, own, keep)
