"""AuxiLearn: hypergradients against slopes of the problem solved another way."""

from __future__ import annotations

import torch
from torch import Tensor

from lupi.balancing.auxilearn import AuxiLearnLinear, AuxiLearnNonlinear
from lupi.balancing.base import State
from tests.lupi.balancing.bilevel import K, M, P, Quadratics, by_gradient_descent, slopes
from tests.lupi.balancing.steps import parameters_of, step_of


def test_auxilearn_linear__hypergradient__is_the_slope_of_the_unrolled_problem() -> None:
    quadratics, strategy = Quadratics(), AuxiLearnLinear()
    state = strategy.start(M, K)
    weights = torch.tensor([[1.0, 0.7, 0.3], [1.0, 0.2, 1.5]], dtype=torch.float64)
    state["weight"] = weights
    values = parameters_of(strategy, M, lr=1.0, momentum=0.0)
    theta = quadratics.optimum(weights)
    step = step_of(losses=quadratics.losses(theta))
    after = strategy.learn(quadratics.response(weights, theta), step, state, values)
    unrolled = slopes(lambda w: quadratics.outer(by_gradient_descent(quadratics, w)), weights)
    exact = slopes(lambda w: quadratics.outer(quadratics.optimum(w)), weights)
    torch.testing.assert_close(unrolled, exact, rtol=1e-4, atol=1e-7)
    moved = (weights - unrolled).clamp(min=0)
    torch.testing.assert_close(after["weight"][:, 1:], moved[:, 1:], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(after["weight"][:, 0], weights[:, 0])


def test_auxilearn_nonlinear__hypergradient__is_the_slope_of_the_unrolled_problem() -> None:
    quadratics, strategy = Quadratics(3), AuxiLearnNonlinear()
    state = strategy.start(M, K)
    values = parameters_of(strategy, M, lr=1.0, momentum=0.0)
    # θ* of L_T = g(L(θ); φ) by Newton's method with autograd; H its Hessian there.
    scale = 0.02  # of the losses, so that the hidden units are not saturated

    def total(theta: Tensor, phi: State) -> Tensor:
        losses = scale * quadratics.losses(theta)
        return strategy.total(losses, step_of(losses=losses.detach()), phi, values)

    def optimum(phi: State) -> tuple[Tensor, Tensor]:
        theta = quadratics.optimum(torch.ones(M, K, dtype=torch.float64))
        for _ in range(30):
            leaf = theta.detach().requires_grad_()
            (g,) = torch.autograd.grad(total(leaf, phi).sum(), leaf, create_graph=True)
            hessian = torch.stack([torch.autograd.grad(g[:, i].sum(), leaf, retain_graph=True)[0] for i in range(P)], 1)
            theta = theta - torch.linalg.solve(hessian, g.detach())
        return theta, hessian

    theta, hessian = optimum(state)
    v = torch.linalg.solve(hessian, theta - quadratics.held)
    response = scale * (quadratics.gradients(theta) @ v.unsqueeze(2)).squeeze(2)
    step = step_of(losses=scale * quadratics.losses(theta))
    after = strategy.learn(response, step, state, values)
    for name, entry in (("bias", (slice(None), 1)), ("out", (slice(None), 2)), ("into", (slice(None), 3, 1))):
        ends = []
        for sign in (1, -1):
            phi = {key: value.clone() for key, value in state.items()}
            phi[name][entry] += sign * 1e-4
            ends.append(quadratics.outer(optimum(phi)[0]))
        slope = (ends[0] - ends[1]) / 2e-4
        torch.testing.assert_close((state[name] - after[name])[entry], slope, rtol=1e-3, atol=1e-9)


def test_auxilearn_nonlinear__slopes_are_weights__positive_and_zero_where_absent() -> None:
    strategy = AuxiLearnNonlinear()
    present = torch.tensor([[True, True, False]] * 4)
    step = step_of(losses=torch.rand(4, 3).double(), present=present)
    weights, _ = strategy.weights(step, strategy.start(4, 3), parameters_of(strategy, 4))
    assert (weights[:, 0] > 1).all()
    assert (weights[:, 1] > 0).all()
    assert (weights[:, 2] == 0).all()
