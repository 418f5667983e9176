"""ARML: weights of the helpers under which the sum of their gradients approximates the main task's gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing import quadratic
from lupi.balancing.base import Knob, State, Step, Strategy, Values, due, merge, with_main


class ARML(Strategy):
    """Weights of helpers under which the sum of their gradients comes near to the main task's.

    Shi, Hoffman, Saenko, Darrell and Xu, "Auxiliary task reweighting for minimum-data learning", NeurIPS 2020, arXiv
    2010.08244. The weighted helpers are a surrogate prior for the main task; its distance to the true one comes down to
    ‖g_0 - Σ_k α_k g_k‖², averaged along training, under α >= 0 and Σα = K, K helpers. As in the authors' code: every
    `every` steps α_k <- α_k - lr · 2 ⟨g_k, Σ_j α_j g_j - g_0⟩, then (K - Σα) / K is added to each, then what is below 0
    is set to 0 (after which Σα may exceed K). α starts at 1; the direction is g_0 + Σ_k α_k g_k.

        α = 1
        in every step:
            direction g_0 + Σ_k α_k g_k
        after every 20th step (`every`), over the helpers k:
            α_k = α_k - lr · 2 ⟨g_k, Σ_j α_j g_j - g_0⟩
            α_k = max(0, α_k + (K - Σ_j α_j) / K)

    Parameters: lr >= 0 (0.05) and every >= 1 (20), both the authors' code's. The step diverges, from clamp to clamp,
    once lr exceeds 1 / the largest eigenvalue of the helpers' Gramian.

    Deviations: no Langevin noise on the network's gradients; the network also moves in the steps in which α does; α is
    used from the next step on; the gradients are those of the shared parameters.

    One task: weight 1. One helper: weight 1 always, since Σα = K. Zero gradients: the helper's α follows the sum alone.
    Collinear helpers keep the difference of their α, as far as the clamp allows. A helper opposite to the main task
    loses weight to the others.
    """

    name = "arml"
    family = "asymmetric"
    paper = "Shi et al., NeurIPS 2020 (arXiv 2010.08244)"
    assumes = "the helpers' gradients span the main task's, with weights that stay"
    knobs = (
        Knob("lr", 0.05, 0.0, 1e3, "length of the gradient step on the helpers' weights"),
        Knob("every", 20, 1, 1e6, "steps between two changes of the helpers' weights"),
    )
    reads_gramian = True

    def start(self, models: int, tasks: int) -> State:
        return {"alpha": torch.ones(models, tasks, dtype=torch.float64)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        alpha, helpers = state["alpha"], step.present.clone()
        helpers[:, 0] = False
        slope = 2 * (quadratic.times(step.gram, alpha * helpers) - step.gram[:, 0])
        moved = alpha - values["lr"][:, None] * slope
        count = helpers.sum(1, keepdim=True)
        missing = (count - (moved * helpers).sum(1, keepdim=True)) / count.clamp(min=1)
        moved = torch.where(helpers, (moved + missing).clamp(min=0), alpha)
        return with_main(alpha, step), merge(state, {"alpha": moved}, due(step, values["every"]))
