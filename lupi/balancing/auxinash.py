"""AuxiNash: tasks bargain with unequal preferences, which are learned from the main task's loss or fixed."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.bargaining import preference_gradient, solve
from lupi.balancing.base import Knob, Learned, State, Step, Strategy, Values

_PAPER = "Shamsian et al., ICML 2023 (arXiv 2301.13501)"
_LEAST = 1e-4  # of a preference, as in the authors' code


def _normalised(preference: Tensor, present: Tensor) -> Tensor:
    """Preferences of the present tasks, at least `_LEAST` and summing to their number; 1 for the absent ones."""
    p = preference.clamp(min=_LEAST) * present
    p = p * (present.sum(1, keepdim=True) / p.sum(1, keepdim=True))
    return torch.where(present, p, 1.0)


class AuxiNash(Learned):
    """Tasks bargain with unequal say p, learned so that the main task's loss falls (Shamsian et al., ICML 2023).

    The direction d = Σ α_k g_k solves Gα = p / α (`bargaining.solve`, which also says what degenerate Gramians give).
    Every 25 steps p moves down the hypergradient dL_V/dp = -Σ_k ⟨v, g_k⟩ dα_k/dp, v = [d²L_T/dθ²]⁻¹ dL_V/dθ, with
    momentum; dα/dp = [G + diag(p/α²)]⁻¹ diag(1/α). L_V is the main task's loss on another training batch (the authors'
    choice, better in their Table 3), or on the validation rows.

        p = 1, u = 0
        in every step:
            α > 0 with Gα = p / α;  direction Σ_k α_k g_k
        in every 25th step, with L_T = Σ_k α_k(p) L_k of this batch and L_V = L_0 of other rows:
            v ≈ [d²L_T/dθ²]⁻¹ dL_V/dθ                     # a truncated Neumann series, from the engine
            h = -(dα/dp)ᵀ [⟨v, g_1⟩, ..., ⟨v, g_K⟩]
            u = momentum · u + h / max(1, ‖h‖)
            p = p - lr · u, each at least 1e-4, then scaled to Σ p = K

    Parameters: lr of p (5e-3, theirs) and momentum (0.9, theirs); held_out, 1 for L_V on the validation rows.

    As in the authors' code the preferences sum to the number of tasks, are at least 1e-4 before that, start equal, and
    the hypergradient is clipped to length 1 with the Neumann series left without its factor: p moves by about lr a
    time. Unlike it, α is exact, and no length of the parameter step is clipped (Adam has its own). One task alone gets
    its unit gradient.
    """

    name = "auxinash"
    family = "asymmetric"
    paper = _PAPER
    assumes = "helpers whose worth shows in the main task's loss"
    knobs = (
        Knob("lr", 5e-3, 0.0, 1.0, "step of the preferences"),
        Knob("momentum", 0.9, 0.0, 0.999, "of these steps"),
        Knob("held_out", 0.0, 0.0, 1.0, "1: the hypergradient's loss is that of the validation rows"),
    )
    reads_gramian = True
    every = 25

    def start(self, models: int, tasks: int) -> State:
        ones = torch.ones(models, tasks, dtype=torch.float64)
        return {"preference": ones, "velocity": torch.zeros_like(ones)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return solve(step.gram, _normalised(state["preference"], step.present), step.present), state

    def total(self, losses: Tensor, step: Step, state: State, values: Values) -> Tensor:
        weights, _ = self.weights(step, state, values)
        return (weights * losses).sum(1)

    def learn(self, response: Tensor, step: Step, state: State, values: Values) -> State:
        p = _normalised(state["preference"], step.present)
        alpha = solve(step.gram, p, step.present)
        gradient = -preference_gradient(step.gram, p, step.present, alpha, response)
        gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1.0)
        velocity = values["momentum"][:, None] * state["velocity"] + gradient
        moved = _normalised(p - values["lr"][:, None] * velocity, step.present)
        return {"preference": moved, "velocity": velocity}


class FixedAuxiNash(Strategy):
    """AuxiNash with a preference that stays: the main task has a share of all say, its helpers divide the rest.

    Gα = p / α with p_main = preference · K, the other K - 1 tasks (1 - preference) · K / (K - 1) each. On NYUv2 shares
    of 0.7 to 0.9 beat the learned preference (the paper's Table 8: Δ -7.62, -7.56 and -7.28 % against -6.80 %).
    Degenerate Gramians: `bargaining.solve`.
    """

    name = "auxinash-fixed"
    family = "asymmetric"
    paper = _PAPER
    assumes = "one task matters more than the others, by a known share"
    knobs = (Knob("preference", 0.8, 0.001, 0.999, "share of the main task"),)
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        share = values["preference"][:, None]
        tasks = step.present.sum(1, keepdim=True)
        p = ((1.0 - share) * tasks / (tasks - 1).clamp(min=1)).expand_as(step.losses).clone()
        p[:, :1] = torch.where(tasks > 1, share * tasks, 1.0)
        return solve(step.gram, p, step.present), state
