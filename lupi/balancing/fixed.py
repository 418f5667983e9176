"""Weights that do not change during training."""

from __future__ import annotations

from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values


class Equal(Strategy):
    """Every task has weight 1: the sum of the losses.

    Caruana, "Multitask learning", Machine Learning 28 (1997); called linear scalarisation elsewhere. w_k = 1, whatever
    the gradients are. With one task, that task alone.
    """

    name = "equal"
    family = "loss"
    paper = "Caruana, Machine Learning 28 (1997)"
    assumes = "losses of comparable scale"

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return step.present.to(step.losses.dtype), state


class Static(Strategy):
    """The weights that the method itself gives: its shares of λ, and ε for the privileged tasks.

    Caruana, "Multitask learning", Machine Learning 28 (1997). w_k = `Step.fixed`, whatever the gradients are; the
    numbers are hyper-parameters of the methods, not of the strategy. With one task, that task times its weight.
    """

    name = "static"
    family = "loss"
    paper = "Caruana, Machine Learning 28 (1997)"
    assumes = "good weights are known beforehand"

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return step.fixed * step.present, state
