"""GradNorm: learned weights that bring the norms of the task gradients to a common scale."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.adam import adam, start
from lupi.balancing.base import Knob, State, Step, Strategy, Values

_LEAST = 1e-3  # of a weight before it is normalised


class GradNorm(Strategy):
    """Weights are learned until the gradient norms agree, up to how far each task is behind.

    Chen, Badrinarayanan, Lee and Rabinovich, "GradNorm: gradient normalization for adaptive loss balancing in deep
    multitask networks", ICML 2018 (arXiv 1711.02257). With G_k = w_k ‖g_k‖, mean Ḡ over the present tasks, and the
    relative inverse training rate r_k = L̃_k / mean(L̃), L̃_k = L_k(t) / L_k(0): w goes down the subgradient of
    Σ_k |G_k - Ḡ r_k^α| with Ḡ r_k^α held constant, which is ‖g_k‖ sign(G_k - Ḡ r_k^α), by Adam, after it has been used;
    then Σ_k w_k = K again. All start at 1.

    Parameters: alpha in [0, 10], how strongly the tasks are held to one rate, 1.5 as in the paper's study of NYUv2
    (0.12 in its toy example; 0 asks for equal norms); lr in [0, 1], step of Adam on w, 0.025 as in the paper.

    Deviations: the norms are over all parameters that the tasks share (the paper: their last layer). No weight falls
    below 0.001 before it is normalised; the paper does not say what keeps them positive. L_k(0) is the loss of the
    first step in which the task is present, on that batch; where it is 0, L̃_k = 1. In a step in which tasks are
    absent, the weights of the others sum to their number; those of the absent stay as they are.

    A task whose shared gradient is zero gets no push but that of the normalisation; where nothing is shared all weights
    stay at 1. Collinear and opposite gradients are like any others: angles are not read. With one task the weight is 1.
    """

    name = "gradnorm"
    family = "loss"
    paper = "Chen, Badrinarayanan, Lee and Rabinovich, ICML 2018 (arXiv 1711.02257)"
    assumes = "first losses say what a task's scale is; tasks should improve at one rate"
    knobs = (
        Knob("alpha", 1.5, 0.0, 10.0, "how strongly tasks are held to one training rate"),
        Knob("lr", 0.025, 0.0, 1.0, "learning rate of the weights"),
    )
    reads_gramian = True

    def start(self, models: int, tasks: int) -> State:
        shape = (models, tasks)
        first = {"first": torch.zeros(shape, dtype=torch.float64), "seen": torch.zeros(shape, dtype=torch.bool)}
        return {"weights": torch.ones(shape, dtype=torch.float64), **first, **start(models, tasks)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        present, tasks = step.present, step.present.sum(1, keepdim=True)
        first = torch.where(present & ~state["seen"], step.losses, state["first"])
        ratio = torch.where(first > 0, step.losses / torch.where(first > 0, first, 1.0), 1.0) * present
        mean_ratio = ratio.sum(1, keepdim=True) / tasks
        rate = torch.where(mean_ratio > 0, ratio / torch.where(mean_ratio > 0, mean_ratio, 1.0), 1.0)

        used = _normalised(state["weights"], present)
        norms = step.gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt() * present
        weighted = used * norms
        target = weighted.sum(1, keepdim=True) / tasks * rate ** values["alpha"][:, None]
        learned, moments = adam(used, norms * torch.sign(weighted - target), state, values["lr"], present)
        learned = _normalised(torch.where(present, learned.clamp(min=_LEAST), state["weights"]), present)
        return used * present, {"weights": learned, "first": first, "seen": state["seen"] | present, **moments}


def _normalised(weights: Tensor, present: Tensor) -> Tensor:
    """Weights of the present tasks scaled to sum to their number; those of the absent as they are."""
    total = (weights * present).sum(1, keepdim=True)
    return torch.where(present, weights * present.sum(1, keepdim=True) / total, weights)
