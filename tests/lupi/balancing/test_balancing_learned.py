"""Weights learned by implicit differentiation: AuxiLearn and AuxiNash against exact answers."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lupi.balancing import STRATEGIES, nash
from lupi.balancing.auxilearn import AuxiLearnLinear, AuxiLearnNonlinear
from lupi.balancing.auxinash import AuxiNash
from lupi.balancing.base import Learned, State, Step, Values
from lupi.balancing.implicit import STEP, TERMS, neumann
from lupi.engine.training import Engine, Run
from lupi.engine.weighing import Weighing
from tests.lupi.balancing.steps import step_of, values_of
from tests.lupi.engine.test_training import FLOAT64, problem, rows, suited

M, K, P = 2, 3, 5


class Quadratics:
    """Losses L_k = ½ (θ - c_k)ᵀ A_k (θ - c_k) of M models, and the main task's loss of other rows, L_V."""

    def __init__(self, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
        root = normal(M, K, P, P)
        self.a = root @ root.mT / P + 0.5 * torch.eye(P, dtype=torch.float64)
        self.c, self.held = normal(M, K, P), normal(M, P)
        self.theta = normal(M, P)

    def optimum(self, weights: Tensor) -> Tensor:
        """θ* [M, P], where Σ_k w_k L_k is least."""
        right = torch.einsum("mk,mkij,mkj->mi", weights, self.a, self.c)
        return torch.linalg.solve(self.hessian(weights), right)

    def hessian(self, weights: Tensor) -> Tensor:
        return torch.einsum("mk,mkij->mij", weights, self.a)

    def gradients(self, theta: Tensor) -> Tensor:
        """Of the K losses [M, K, P]."""
        return torch.einsum("mkij,mkj->mki", self.a, theta[:, None] - self.c)

    def losses(self, theta: Tensor) -> Tensor:
        return 0.5 * ((theta[:, None] - self.c) * self.gradients(theta)).sum(2)

    def outer(self, theta: Tensor) -> Tensor:
        """L_V [M]."""
        return 0.5 * (theta - self.held).square().sum(1)

    def response(self, weights: Tensor, theta: Tensor, terms: int = 4000) -> Tensor:
        """⟨v, g_k⟩ [M, K] by the Neumann series, with its factor."""
        hessian = self.hessian(weights)
        step = 1 / float(torch.linalg.eigvalsh(hessian).max())
        v = step * neumann(lambda u: (hessian @ u.unsqueeze(2)).squeeze(2), theta - self.held, step, terms)
        return (self.gradients(theta) @ v.unsqueeze(2)).squeeze(2)


def slopes(of: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """d of [M] / d at [M, K] by central differences."""
    found = torch.zeros_like(at)
    for k in range(at.shape[1]):
        h = torch.zeros_like(at)
        h[:, k] = 1e-5
        found[:, k] = (of(at + h) - of(at - h)) / 2e-5
    return found


def by_gradient_descent(quadratics: Quadratics, weights: Tensor) -> Tensor:
    """The unrolled problem: θ after many plain steps down Σ w_k L_k."""
    theta, rate = quadratics.theta, 1 / float(torch.linalg.eigvalsh(quadratics.hessian(weights)).max())
    for _ in range(2000):
        theta = theta - rate * (weights[:, None] @ quadratics.gradients(theta)).squeeze(1)
    return theta


def test_neumann__converges_to_the_inverse__and_truncated_is_its_own_polynomial() -> None:
    hessian, vector = Quadratics().a[:, 0], Quadratics().theta
    product = lambda u: (hessian @ u.unsqueeze(2)).squeeze(2)  # noqa: E731
    step = 1 / float(torch.linalg.eigvalsh(hessian).max())
    exact = torch.linalg.solve(hessian, vector)
    torch.testing.assert_close(step * neumann(product, vector, step, 5000), exact, rtol=1e-9, atol=1e-9)
    left = torch.eye(P, dtype=torch.float64) - STEP * hessian
    powers = sum(torch.linalg.matrix_power(left, i) for i in range(TERMS + 1))
    torch.testing.assert_close(neumann(product, vector), (powers @ vector.unsqueeze(2)).squeeze(2))


def test_auxilearn_linear__hypergradient__is_the_slope_of_the_unrolled_problem() -> None:
    quadratics, strategy = Quadratics(), AuxiLearnLinear()
    state = strategy.start(M, K)
    weights = torch.tensor([[1.0, 0.7, 0.3], [1.0, 0.2, 1.5]], dtype=torch.float64)
    state["weight"] = weights
    values = values_of(strategy, M, lr=1.0, momentum=0.0)
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
    values = values_of(strategy, M, lr=1.0, momentum=0.0)
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
    weights, _ = strategy.weights(step, strategy.start(4, 3), values_of(strategy, 4))
    assert (weights[:, 0] > 1).all()
    assert (weights[:, 1] > 0).all()
    assert (weights[:, 2] == 0).all()


def test_auxinash__hypergradient__is_the_slope_through_the_bargaining_weights() -> None:
    quadratics, strategy = Quadratics(1), AuxiNash()
    p = torch.tensor([[1.2, 1.0, 0.8], [0.5, 0.9, 1.6]], dtype=torch.float64)
    present = torch.ones(M, K, dtype=torch.bool)
    start = quadratics.gradients(quadratics.theta)
    gramian = start @ start.mT
    alpha = nash.solve(gramian, p, present)
    theta = quadratics.optimum(alpha)
    exact = slopes(lambda q: quadratics.outer(quadratics.optimum(nash.solve(gramian, q, present))), p)
    response = quadratics.response(alpha, theta)
    found = -nash.preference_gradient(gramian, p, present, alpha, response)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-7)
    # The step itself: down this gradient, no longer than 1, then normalised.
    state = {**strategy.start(M, K), "preference": p}
    after = strategy.learn(response, step_of(gramian), state, values_of(strategy, M, lr=0.01))
    moved = (p - 0.01 * exact / exact.norm(dim=1, keepdim=True).clamp(min=1)).clamp(min=1e-4)
    torch.testing.assert_close(after["preference"], moved * 3 / moved.sum(1, keepdim=True), rtol=1e-5, atol=1e-7)


class _Heard(Learned):
    """Equal weights; remembers the response that the engine supplies."""

    name, family, paper, assumes = "heard", "asymmetric", "", ""
    every = 2
    heard: Tensor | None = None

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return step.present.double(), state

    def total(self, losses: Tensor, step: Step, state: State, values: Values) -> Tensor:
        return losses.sum(1)

    def learn(self, response: Tensor, step: Step, state: State, values: Values) -> State:
        type(self).heard = response
        return state


@pytest.mark.parametrize("kind", ["chained", "shared", "target"])
@pytest.mark.parametrize("gramian", [False, True])
def test_engine__supplies_the_inner_products_of_the_definition(kind: str, gramian: bool) -> None:
    """Against dense Hessians of the shared parameters, and against where the rows of L_V come from."""
    program, arrays = problem(kind)
    table = suited(rows(1), 1, False)
    imitate = np.array([0.4])
    table = dataclasses.replace(
        table,
        knobs={**table.knobs, "privileged_teacher": 0 * imitate, "imitate": imitate, "epsilon": np.ones(1)},
        strategy_parameters={"held_out": np.ones(1)},
        z_of=np.array([-1 if kind == "target" else 0]),
    )
    strategy = _Heard()
    options = dataclasses.replace(FLOAT64, batch_size=40)  # one step an epoch: the second learns
    strategy.reads_gramian = gramian  # type: ignore[misc]
    engine = Engine(program, arrays, table, options, strategy)
    run = Run(engine)
    run.epoch()
    before = torch.as_tensor(run.state()["active parameters"])
    run.epoch()
    assert strategy.heard is not None
    weighing = Weighing(program, strategy, distils=True, traced=False)
    active = engine._admit(np.array([0]), before)
    everything = engine._data.indices(table.fit.padded[:1, :40])
    batch = engine._data.batch(active, everything, np.array([40])).take(np.array([0]))
    held = engine._data.indices(table.validation.padded[:1, :10])
    other = engine._data.batch(active, held, np.array([10])).take(np.array([0]))
    knobs, shared = engine._knobs(active), program.n_shared

    def losses(of: Tensor, data: object) -> Tensor:
        parts = program.parts(torch.cat([of, before[0, shared:]])[None])
        return program.task_losses(parts, data, knobs, reference=True)[0][0]  # type: ignore[arg-type]

    at = before[0, :shared].clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(lambda s: losses(s, batch).sum(), at)
    outer = torch.autograd.functional.jacobian(lambda s: losses(s, other)[0], at)
    each = torch.autograd.functional.jacobian(lambda s: losses(s, batch), at)
    left = torch.eye(shared, dtype=torch.float64) - STEP * hessian
    v = sum(torch.linalg.matrix_power(left, i) @ outer for i in range(TERMS + 1))
    torch.testing.assert_close(strategy.heard[0], each @ v, rtol=1e-8, atol=1e-12)
    assert weighing.tasks[:2] == ("target", "distillation")


def test_all_learned_strategies__are_known() -> None:
    learned = {name for name, strategy in STRATEGIES.items() if isinstance(strategy, Learned)}
    assert learned == {"auxilearn-linear", "auxilearn-nonlinear", "auxinash"}
    assert all("held_out" in {knob.name for knob in STRATEGIES[name].knobs} for name in learned)
