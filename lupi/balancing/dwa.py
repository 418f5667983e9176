"""Dynamic weight average: a task that has stopped improving gets more weight."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import Knob, State, Step, Strategy, Values


class DWA(Strategy):
    """Weights follow how fast each loss fell over the last two epochs.

    Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019 (arXiv 1803.10704).
    w_k = K e^{r_k / T} / Σ_i e^{r_i / T} with r_k = L_k(t - 1) / L_k(t - 2), L_k(t) the mean training loss of task k
    over the steps of epoch t and K the number of present tasks; r_k = 1 in the first two epochs, so that all weights
    are 1.

    Parameters: temperature T in [0.01, 1e6], 2 as in the paper; the larger, the more equal the weights.

    Deviations: none in the formula. A task that is absent in a step does not enter its epoch's mean; one with less than
    two epochs behind it, or a mean of 0 two epochs ago, has r_k = 1.

    It reads losses alone, each relative to itself: the scale of a loss does not matter, nor do zero, collinear or
    opposite gradients. With one task the weight is 1.
    """

    name = "dwa"
    family = "loss"
    paper = "Liu, Johns and Davison, CVPR 2019 (arXiv 1803.10704)"
    assumes = "tasks should improve at one rate; losses of comparable scale"
    knobs = (Knob("temperature", 2.0, 0.01, 1e6, "the larger, the more equal the weights"),)

    def start(self, models: int, tasks: int) -> State:
        names = ("sum", "count", "last", "before")
        return {name: torch.zeros(models, tasks, dtype=torch.float64) for name in names}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        known = state["before"] > 0
        rate = torch.where(known, state["last"] / torch.where(known, state["before"], 1.0), 1.0)
        scores = (rate / values["temperature"][:, None]).masked_fill(~step.present, -torch.inf)
        weights = torch.softmax(scores, 1) * step.present.sum(1, keepdim=True)
        seen = {"sum": state["sum"] + step.losses * step.present, "count": state["count"] + step.present}
        return weights, {**state, **seen}

    def end_epoch(self, state: State, values: Values) -> State:
        ended = state["count"] > 0
        mean = state["sum"] / state["count"].clamp(min=1)
        none = torch.zeros_like(mean)
        return {
            "sum": none,
            "count": none.clone(),
            "last": torch.where(ended, mean, state["last"]),
            "before": torch.where(ended, state["last"], state["before"]),
        }
