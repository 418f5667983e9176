"""Homoscedastic uncertainty: every task is divided by a noise level that is learned with it."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.adam import adam, start
from lupi.balancing.base import Knob, State, Step, Strategy, Values

_INITIAL = 0.1


class Uncertainty(Strategy):
    """Weights are inverse noise levels, learned beside the network.

    Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and semantics",
    CVPR 2018 (arXiv 1705.07115). A regression task enters as ½ e^{-s} L + ½ s with s = ln σ², a classification task as
    e^{-s} L + ½ s with s = ln T²; so w = ½ e^{-s} and w = e^{-s}. s goes down the gradient of that sum, ½ - w L, by
    Adam, after its weight has been used; it rests where σ² = L, T² = 2 L.

    s starts at 0.1, as in the code of Martínez-García et al. (Pattern Recognition 178, 2026); Kendall et al. report
    that the start matters little.

    Parameters: lr in [0, 1], step of Adam on s; 0.001 is Adam's own default and this toolkit's for the networks
    (Kendall et al. name none; Chen et al., ICML 2018, ran this strategy with 0.025).

    Deviation: the paper gives s the optimiser of the network; here it has one of its own, so that it can be resumed
    exactly and weight decay does not touch it.

    It reads losses alone: with one task that task is still divided by its noise, and gradients that are zero, collinear
    or opposite change nothing. A loss of 0 lets s fall, and the weight grow, for as long as it lasts. The s of a task
    that is absent in a step stays as it is.
    """

    name = "uncertainty"
    family = "loss"
    paper = "Kendall, Gal and Cipolla, CVPR 2018 (arXiv 1705.07115)"
    assumes = "losses are likelihoods up to a noise level of the task"
    knobs = (Knob("lr", 1e-3, 0.0, 1.0, "learning rate of the log-variances"),)

    def start(self, models: int, tasks: int) -> State:
        return {"log_variance": torch.full((models, tasks), _INITIAL, dtype=torch.float64), **start(models, tasks)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        s = state["log_variance"]
        weights = torch.exp(-s) * torch.where(step.regression, 0.5, 1.0).to(s.dtype)
        moved, moments = adam(s, 0.5 - weights * step.losses, state, values["lr"], step.present)
        return weights * step.present, {"log_variance": moved, **moments}
