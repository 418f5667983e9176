"""The interface of balancing strategies: they read the losses of the tasks, or the Gramian of their gradients, and
return weights.

Everything here is batched: M models at once, each with its own losses, state and strategy parameters, and no model's
weights depend on the models beside it. Task 0 is the main task, the target; the others serve it. All numbers are
float64, whatever the networks are trained in: matrices of few tasks are cheap beside the networks and need the digits.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng

#: What a strategy remembers: tensors whose first axis is the model's.
State = dict[str, Tensor]

#: Values of a strategy's parameters, [M] each.
Values = Mapping[str, Tensor]

Family = Literal["loss", "gradient", "asymmetric"]


@dataclasses.dataclass(frozen=True)
class Knob:
    """A number that a strategy reads: its default (the paper's) and its range, both ends included."""

    name: str
    default: float
    low: float
    high: float
    help: str


@dataclasses.dataclass(frozen=True)
class Step:
    """What M models know of their K tasks in one training step.

    losses : [M, K], >= 0.
    present : [M, K] which tasks a model has, always task 0. Losses and Gramian entries of the others are 0.
    regression : [K] whether a task's loss is a squared error; else it is a cross-entropy, or alike.
    fixed : [M, K] the weights that the method itself would give (shares of λ, and ε).
    gramian : [M, K, K] inner products of the task gradients over the parameters that all tasks share; None where the
        strategy does not read it.
    seed : [M] of the model's random numbers.
    number : [M] how many steps the model has made before this one.
    """

    losses: Tensor
    present: Tensor
    regression: Tensor
    fixed: Tensor
    gramian: Tensor | None
    seed: npt.NDArray[np.uint64]
    number: npt.NDArray[np.int64]

    @property
    def gram(self) -> Tensor:
        """The Gramian, which must be there."""
        if self.gramian is None:
            raise ValueError("this strategy reads the Gramian of the task gradients: expected [M, K, K], found None")
        return self.gramian

    def uniform(self, stream: int, count: int) -> Tensor:
        """Uniform numbers in [0, 1) of this model and step: [M, count]."""
        drawn = rng.uniform(rng.keys(self.seed, self.number, stream), count)
        return torch.as_tensor(drawn, device=self.losses.device)

    def take(self, which: Tensor) -> Step:
        """The models at positions `which`."""
        host = which.cpu().numpy()
        return Step(
            self.losses[which],
            self.present[which],
            self.regression,
            self.fixed[which],
            None if self.gramian is None else self.gramian[which],
            self.seed[host],
            self.number[host],
        )


class Strategy(abc.ABC):
    """How to weigh tasks. The object holds no state: what is remembered goes in and comes out as tensors.

    The direction of a training step is Σ_k w_k g_k over all parameters, w = `weights(...)`. An absent task has weight 0
    and changes nothing for the others. Where nothing is shared between the tasks, or a model has one task alone, there
    is nothing to balance: each strategy's docstring says what it then gives.

    Two gradients at right angles, of lengths 1 and 2: the shortest vector between them gives the shorter one more
    weight.

    >>> from lupi.balancing import strategy_of
    >>> losses = torch.ones(1, 2, dtype=torch.float64)
    >>> step = Step(
    ...     losses, present=losses > 0, regression=torch.tensor([False, False]), fixed=losses,
    ...     gramian=torch.tensor([[[1.0, 0.0], [0.0, 4.0]]], dtype=torch.float64),
    ...     seed=np.zeros(1, np.uint64), number=np.zeros(1, np.int64),
    ... )
    >>> mgda = strategy_of("mgda")
    >>> weights, state = mgda.weights(step, mgda.start(models=1, tasks=2), {})
    >>> [round(w, 6) for w in weights[0].tolist()]
    [0.8, 0.2]

    Shape
    -----
    weights : [M, K]; tensors of the state : [M, ...]; values of parameters : [M]. For `step` see `Step`.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    paper: ClassVar[str]
    assumes: ClassVar[str]
    knobs: ClassVar[tuple[Knob, ...]] = ()
    reads_gramian: ClassVar[bool] = False

    def start(self, models: int, tasks: int) -> State:
        """The state of models that have not been trained yet."""
        return {}

    @abc.abstractmethod
    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        """Weights [M, K] for this step, and the state after it (new tensors: the given ones stay as they are)."""

    def end_epoch(self, state: State, values: Values) -> State:
        """The state after an epoch."""
        return state


class Learned(Strategy):
    """A strategy that learns its weights from the main task's loss on other data, by implicit differentiation.

    Every `every` steps: with L_T the weighted loss of a training batch and L_V the main task's loss of other rows,
    dL_V/dφ = -(dL_V/dθ) [d²L_T/dθ²]⁻¹ d²L_T/(dθ dφ). The engine supplies v = [d²L_T/dθ²]⁻¹ dL_V/dθ (a truncated
    Neumann series) as inner products with the task gradients, `response` [M, K] = ⟨v, g_k⟩; what remains is small.
    """

    every: ClassVar[int]

    @abc.abstractmethod
    def total(self, losses: Tensor, step: Step, state: State, values: Values) -> Tensor:
        """L_T [M] as a function of the losses [M, K], differentiable twice in them."""

    @abc.abstractmethod
    def learn(self, response: Tensor, step: Step, state: State, values: Values) -> State:
        """The state after a step down the hypergradient."""


def merge(old: State, new: State, moved: Tensor) -> State:
    """`new` for the models that `moved` [M], `old` for the others."""

    def chosen(before: Tensor, after: Tensor) -> Tensor:
        return torch.where(moved.view(-1, *[1] * (after.ndim - 1)), after, before)

    return {name: chosen(old[name], value) for name, value in new.items()}


def with_main(helpers: Tensor, step: Step) -> Tensor:
    """Weights [M, K]: 1 for the main task, `helpers` [M, K] for its helpers, 0 for absent tasks."""
    weights = helpers * step.present
    weights[:, 0] = 1.0
    return weights


def due(step: Step, every: Tensor) -> Tensor:
    """[M] whether this step is the last of a run of `every` [M] steps."""
    made = torch.as_tensor(step.number, dtype=every.dtype, device=every.device) + 1
    return made.remainder(every.round()) == 0
