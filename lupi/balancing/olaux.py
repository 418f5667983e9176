"""OL-AUX: the weight of a helper grows with the inner products of its gradient and the main task's over some steps."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.base import Knob, State, Step, Strategy, Values, due, merge, with_main


class OLAux(Strategy):
    """Weights of helpers learned online from inner products of their gradients with the main task's.

    Lin, Baweja, Kantor and Held, "Adaptive auxiliary task weighting for reinforcement learning", NeurIPS 2019. With
    log losses, which balance their sizes, the network descends ln L_0 + Σ_k v_k ln L_k; one step of length α changes
    the main term by -α Σ_k v_k ⟨∇ ln L_0, ∇ ln L_k⟩ to first order, so that, after every N steps,
    v_k <- v_k + lr Σ_{N steps} ⟨g_0, g_k⟩ / (L_0 L_k), from v_k = 1, with lr = α β, β the weights' own step length.
    The v are not constrained here: a helper that opposes the main task for long gets a negative weight.
    The weights given are those of that objective, times L_0: w_0 = 1, w_k = v_k L_0 / L_k.
    Parameters: lr >= 0 (0.01 is ours: the paper's α and β belong to its agents), horizon N >= 1 (5, as in public
    reimplementations).

    Deviations: the factor L_0, the same for all tasks; v moves after the step that completes a run and is used from the
    next one on; gradients at one point, as in the paper's approximation, from the same rows as the training step. Tasks
    with a loss of exactly 0 have no gradient, gain nothing and get weight 0; if it is the main one, so do all helpers.

    One task: weight 1. A zero gradient leaves v_k as it is. Collinear gradients raise v_k, opposite ones lower it.
    """

    name = "ol-aux"
    family = "asymmetric"
    paper = "Lin et al., NeurIPS 2019"
    assumes = "what helped in the last steps helps in the next; losses > 0"
    knobs = (
        Knob("lr", 0.01, 0.0, 1e3, "how far the helpers' weights move for a given gain"),
        Knob("horizon", 5, 1, 1e6, "steps over which the gain is summed before the weights move"),
    )
    reads_gramian = True

    def start(self, models: int, tasks: int) -> State:
        ones = torch.ones(models, tasks, dtype=torch.float64)
        return {"weight": ones, "gain": torch.zeros_like(ones)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        size = torch.where(step.losses > 0, step.losses, torch.inf)
        gain = state["gain"] + step.gram[:, 0] / (size[:, :1] * size)
        weights = with_main(state["weight"] * step.losses[:, :1] / size, step)
        moved = {"weight": state["weight"] + values["lr"][:, None] * gain, "gain": torch.zeros_like(gain)}
        return weights, merge({**state, "gain": gain}, moved, due(step, values["horizon"]))
