"""Implicit differentiation: the Neumann series, and what the engine supplies to strategies that learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from lupi.balancing import STRATEGIES
from lupi.balancing.base import Learned, State, Step, Values
from lupi.balancing.implicit import STEP, TERMS, neumann
from lupi.engine.training import Engine, Run
from lupi.engine.weighing import Weighing
from tests.lupi.balancing.bilevel import P, Quadratics
from tests.lupi.engine.test_training import FLOAT64, problem, rows, suited


def test_neumann__many_terms_or_few__the_inverse_or_its_own_polynomial() -> None:
    hessian, vector = Quadratics().a[:, 0], Quadratics().theta
    product = lambda u: (hessian @ u.unsqueeze(2)).squeeze(2)  # noqa: E731
    step = 1 / float(torch.linalg.eigvalsh(hessian).max())
    exact = torch.linalg.solve(hessian, vector)
    torch.testing.assert_close(step * neumann(product, vector, step, 5000), exact, rtol=1e-9, atol=1e-9)
    left = torch.eye(P, dtype=torch.float64) - STEP * hessian
    powers = sum(torch.linalg.matrix_power(left, i) for i in range(TERMS + 1))
    torch.testing.assert_close(neumann(product, vector), (powers @ vector.unsqueeze(2)).squeeze(2))


class _Recording(Learned):
    """Equal weights; remembers the response that the engine supplies."""

    name, family, paper, assumes = "response", "asymmetric", "", ""
    every = 2
    response: Tensor | None = None

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        return step.present.double(), state

    def total(self, losses: Tensor, step: Step, state: State, values: Values) -> Tensor:
        return losses.sum(1)

    def learn(self, response: Tensor, step: Step, state: State, values: Values) -> State:
        type(self).response = response
        return state


@pytest.mark.parametrize("kind", ["chained", "shared", "target"])
@pytest.mark.parametrize("gramian", [False, True])
def test_engine__strategy_that_learns__is_given_the_inner_products_of_the_definition(kind: str, gramian: bool) -> None:
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
    strategy = _Recording()
    options = dataclasses.replace(FLOAT64, batch_size=40)  # one step an epoch: the second learns
    strategy.reads_gramian = gramian  # type: ignore[misc]
    engine = Engine(program, arrays, table, options, strategy)
    run = Run(engine)
    run.epoch()
    before = torch.as_tensor(run.state()["active parameters"])
    run.epoch()
    assert strategy.response is not None
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
    gradients = torch.autograd.functional.jacobian(lambda s: losses(s, batch), at)
    left = torch.eye(shared, dtype=torch.float64) - STEP * hessian
    v = sum(torch.linalg.matrix_power(left, i) @ outer for i in range(TERMS + 1))
    torch.testing.assert_close(strategy.response[0], gradients @ v, rtol=1e-8, atol=1e-12)
    assert weighing.tasks[:2] == ("target", "distillation")


def test_learned_strategies__all_of_the_table__are_these_three() -> None:
    learned = {name for name, strategy in STRATEGIES.items() if isinstance(strategy, Learned)}
    assert learned == {"auxilearn-linear", "auxilearn-nonlinear", "auxinash"}
    assert all("held_out" in {knob.name for knob in STRATEGIES[name].knobs} for name in learned)
