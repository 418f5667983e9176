"""AuxiLearn: the combination of the losses is learned from the main task's loss on held-out rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lupi.balancing.base import Knob, Learned, State, Step, Values

_PAPER = "Navon et al., ICLR 2021 (arXiv 2007.02693)"
_KNOBS = (
    Knob("lr", 5e-3, 0.0, 1.0, "step of the combination's parameters"),
    Knob("momentum", 0.9, 0.0, 0.999, "of these steps"),
    Knob("held_out", 1.0, 0.0, 1.0, "1: the hypergradient's loss is that of the validation rows; 0: of training rows"),
)
_CLIP = 10.0  # length of the hypergradient, as in the authors' code


def _descended(state: State, gradient: State, values: Values) -> State:
    """A step of gradient descent with momentum on all entries of `gradient`, their joint length clipped."""
    length = torch.stack([g.flatten(1).square().sum(1) for g in gradient.values()]).sum(0).sqrt()
    shrink = (_CLIP / length.clamp(min=_CLIP)).nan_to_num(nan=0.0)
    after = {}
    for name, g in gradient.items():

        def per_model(value: Tensor, like: Tensor = g) -> Tensor:
            return value.view(-1, *[1] * (like.ndim - 1))

        after[f"{name} velocity"] = per_model(values["momentum"]) * state[f"{name} velocity"] + per_model(shrink) * g
        after[name] = state[name] - per_model(values["lr"]) * after[f"{name} velocity"]
    return after


class AuxiLearnLinear(Learned):
    """Weights of the helpers learned by implicit differentiation (Navon et al., ICLR 2021, linear form).

    L_T = L_main + Σ_k w_k L_k, w_k >= 0, starting at 1. Every 25 steps w moves down the hypergradient of the main
    task's loss on held-out rows, dL_V/dw_k = -⟨v, g_k⟩, v = [d²L_T/dθ²]⁻¹ dL_V/dθ, with momentum.

        w = 1, u = 0
        in every step:
            direction g_main + Σ_k w_k g_k
        in every 25th step, with L_V = L_main of held-out rows:
            v ≈ [d²L_T/dθ²]⁻¹ dL_V/dθ                     # a truncated Neumann series, from the engine
            h_k = -⟨v, g_k⟩, shortened to length 10 at most
            u = momentum · u + h
            w = max(0, w - lr · u)

    Parameters: lr (5e-3, here; the paper tunes it) and momentum (0.9), held_out (1, the paper's).

    Deviations: the main task's weight stays 1, so that the scale of the loss does; the validation rows that also stop
    the training serve as held-out rows; the Neumann series is left without its factor, as in AuxiNash's code. One task
    alone has weight 1. A helper whose gradient is 0 keeps its weight.
    """

    name = "auxilearn-linear"
    family = "asymmetric"
    paper = _PAPER
    assumes = "held-out rows enough to tell which helper helps"
    knobs = _KNOBS
    every = 25

    def start(self, models: int, tasks: int) -> State:
        ones = torch.ones(models, tasks, dtype=torch.float64)
        return {"weight": ones, "weight velocity": torch.zeros_like(ones)}

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return state["weight"] * step.present, state

    def total(self, losses: Tensor, step: Step, state: State, values: Values) -> Tensor:
        return (state["weight"] * step.present * losses).sum(1)

    def learn(self, response: Tensor, step: Step, state: State, values: Values) -> State:
        helpers = step.present.clone()
        helpers[:, 0] = False
        after = _descended(state, {"weight": -response * helpers}, values)
        return {**after, "weight": after["weight"].clamp(min=0.0)}


class AuxiLearnNonlinear(Learned):
    """A small network combines the losses, learned by implicit differentiation (Navon et al., ICLR 2021).

    L_T = L_main + Σ_h b_h softplus(Σ_k A_hk L_k + c_h) over 4 hidden units, A and b >= 0 (the monotone variant: no
    loss is ever driven up), c free; the weights of a step are dL_T/dL_k. Starts near the sum of the losses. Every 25
    steps A, b and c move down the hypergradient of the main task's loss on held-out rows; d²L_T/(dθ dφ) reaches them
    through Σ_k ⟨v, g_k⟩ dL_T/dL_k.

        in every step:
            weights w_k = dL_T/dL_k at the losses of this batch
        in every 25th step, φ = (A, b, c), with v as in the linear form:
            h = -d(Σ_k ⟨v, g_k⟩ w_k)/dφ, shortened to length 10 at most
            u = momentum · u + h
            φ = φ - lr · u;  A = max(0, A), b = max(0, b)

    Parameters: lr (5e-3, here; the paper tunes it) and momentum (0.9), held_out (1, the paper's).

    Deviations: as for the linear form, and 4 hidden units in one layer. One task alone has a weight of at least 1.
    """

    name = "auxilearn-nonlinear"
    family = "asymmetric"
    paper = _PAPER
    assumes = "held-out rows enough to fit the combination"
    knobs = _KNOBS
    every = 25
    hidden = 4

    def start(self, models: int, tasks: int) -> State:
        start = {
            # softplus has slope 1/2 at 0; units that differ from the start can learn different things.
            "into": torch.ones(models, self.hidden, tasks, dtype=torch.float64),
            "bias": torch.linspace(-1.0, 1.0, self.hidden, dtype=torch.float64).repeat(models, 1),
            "out": torch.full((models, self.hidden), 2.0 / self.hidden, dtype=torch.float64),
        }
        return {**start, **{f"{name} velocity": torch.zeros_like(value) for name, value in start.items()}}

    def total(self, losses: Tensor, step: Step, state: State, values: Values) -> Tensor:
        seen = (losses * step.present).unsqueeze(2)
        units = F.softplus((state["into"] @ seen).squeeze(2) + state["bias"])
        return losses[:, 0] + (state["out"] * units).sum(1)

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return self._slopes(step, state, values), state

    def _slopes(self, step: Step, state: State, values: Values) -> Tensor:
        """dL_T/dL_k [M, K]; differentiable in the state where that requires gradients."""
        with torch.enable_grad():
            losses = step.losses.detach().requires_grad_()
            differentiable = any(value.requires_grad for value in state.values())
            total = self.total(losses, step, state, values).sum()
            (slopes,) = torch.autograd.grad(total, losses, create_graph=differentiable)
        return slopes

    def learn(self, response: Tensor, step: Step, state: State, values: Values) -> State:
        names = ("into", "bias", "out")
        with torch.enable_grad():
            leaves = {name: state[name].detach().requires_grad_() for name in names}
            gain = (response * self._slopes(step, {**state, **leaves}, values)).sum()
            gradient = torch.autograd.grad(gain, list(leaves.values()))
        after = _descended(state, {n: -g for n, g in zip(names, gradient, strict=True)}, values)
        return {**after, "into": after["into"].clamp(min=0.0), "out": after["out"].clamp(min=0.0)}
