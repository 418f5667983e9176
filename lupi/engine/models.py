"""Inputs and results of the engine: data stored once, a table of models that index them, and trained models."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lupi.engine.traces import Trace


@dataclasses.dataclass(frozen=True)
class Arrays:
    """One data set on its device, stored once; models refer to it by index.

    x : [n, D] encoded regular features, NaN where missing.
    y : [n, C] target: 0/1, one-hot, or a number.
    codes : [n] class codes, None for a numeric target.
    z : [V, n, Q] encoded privileged blocks to choose from: true ones, controls, predictions. NaN where missing.
    teacher : [S, n, C] log-odds (C = 1), log-probabilities (C = K) or values of the teachers to choose from, or None.
    sample_weight : [n] with mean 1, or None.
    most : what bounds the length of an index list, for the shuffles, which depend on it; None: n.
    """

    x: Tensor
    y: Tensor
    codes: Tensor | None
    z: Tensor
    teacher: Tensor | None = None
    sample_weight: Tensor | None = None
    most: int | None = None


#: Hyper-parameters of the optimiser that a table of models may leave out, and what they then are. dropout : in [0, 1),
#: of the hidden units. beta2 : of Adam. schedule : a place in `schedules.SCHEDULES`.
#: embedding_rate : factor of the learning rate of what embeds inputs.
PLAIN_KNOBS = {"dropout": 0.0, "beta2": 0.999, "schedule": 0.0, "embedding_rate": 1.0}


class IndexSets:
    """Lists of data rows of unequal length, as one matrix [S, longest] and their lengths [S].

    A list is padded with its own first row: no row outside a list is ever read for it.
    """

    def __init__(self, lists: list[npt.NDArray[np.intp]]) -> None:
        self.lengths = np.array([len(indices) for indices in lists], dtype=np.int64)
        self.padded = np.zeros((len(lists), int(self.lengths.max(initial=1))), dtype=np.intp)
        for row, indices in zip(self.padded, lists, strict=True):
            row[: len(indices)] = indices
            row[len(indices) :] = indices[0] if len(indices) else 0


@dataclasses.dataclass
class Models:
    """The M models to train: the rows of a design table as arrays, one entry of each for every model.

    seed : [M] uint64, the model's own.
    fit, validation : which data rows train and validate: index sets, and [M] which of them a model uses.
    x_center, x_scale : [M, D] the model's affine map of x to (x - center) * scale. Scale 0 hides a column from it.
    z_center, z_scale : [M, Q] likewise for the privileged block.
    z_of : [M] the block of `Arrays.z` it reads; -1: hidden.
    teacher_of : [M] the entry of `Arrays.teacher` it learns from; -1: none.
    y_center, y_scale : [M] likewise for a numeric target (0 and 1 for classes).
    class_weights : [M, K] weight of every class in the losses (1 where there are no classes: [M, 1]).
    knobs : name -> [M], for every field of `Knobs`, and for the optimiser "lr" (> 0), "weight_decay" (>= 0,
        decoupled from the gradient as in AdamW), "epochs" (at most so many, >= 1), and those of `PLAIN_KNOBS`.
    strategy_parameters : name -> [M], those of the balancing strategy, where there is one.
    x_bound : [M, D] b >= 0: standardised values v enter as v / sqrt(1 + (b v)²), at most 1/b; None: as they are.
    """

    seed: npt.NDArray[np.uint64]
    fit: IndexSets
    fit_of: npt.NDArray[np.intp]
    validation: IndexSets
    validation_of: npt.NDArray[np.intp]
    x_center: npt.NDArray[np.float64]
    x_scale: npt.NDArray[np.float64]
    z_center: npt.NDArray[np.float64]
    z_scale: npt.NDArray[np.float64]
    z_of: npt.NDArray[np.intp]
    teacher_of: npt.NDArray[np.intp]
    y_center: npt.NDArray[np.float64]
    y_scale: npt.NDArray[np.float64]
    class_weights: npt.NDArray[np.float64]
    knobs: dict[str, npt.NDArray[np.float64]]
    strategy_parameters: dict[str, npt.NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    x_bound: npt.NDArray[np.float64] | None = None

    def knob(self, name: str) -> npt.NDArray[np.float64]:
        """A hyper-parameter of the optimiser [M]."""
        value = self.knobs.get(name)
        return np.full(len(self), PLAIN_KNOBS[name]) if value is None else value

    def __len__(self) -> int:
        return len(self.seed)

    def take(self, which: npt.NDArray[np.intp]) -> Models:
        """The models at positions `which`."""
        picked = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = value[which]
            elif isinstance(value, dict):
                value = {name: array[which] for name, array in value.items()}
            picked[field.name] = value
        return Models(**picked)


@dataclasses.dataclass
class Trained:
    """What became of M models: parameters [M, P], epochs run, best validation loss and its epoch, all [M].

    `seconds` [M] is the time of the whole call, shared out by the data rows that each model read. `traces` holds what
    was traced of each model (see `traces`), if anything was; `curves` the validation losses of each, epoch by epoch.
    """

    parameters: Tensor
    epochs: npt.NDArray[np.int64]
    best_epoch: npt.NDArray[np.int64]
    best_loss: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    traces: list[Trace] | None = None
    curves: list[npt.NDArray[np.float64]] = dataclasses.field(default_factory=list)

    def take(self, which: npt.NDArray[np.intp]) -> Trained:
        """The models at positions `which`."""
        arrays = {field.name: getattr(self, field.name)[which] for field in dataclasses.fields(self)[:-2]}
        traces = None if self.traces is None else [self.traces[i] for i in which]
        return Trained(**arrays, traces=traces, curves=[self.curves[i] for i in which] if self.curves else [])
