"""Steps of training, made up: what the tests of the balancing strategies are given, and a strategy run over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lupi.balancing.base import State, Step, Strategy

#: Sets of task gradients that a strategy may meet.
KINDS = ("random", "conflicting", "collinear", "rank-deficient", "norms apart")


def step_of(
    gramian: Tensor | None = None,
    losses: Tensor | None = None,
    present: Tensor | None = None,
    *,
    fixed: Tensor | None = None,
    regression: Tensor | None = None,
    seed: int = 0,
    number: int = 0,
) -> Step:
    """A step of M models with K tasks, from a Gramian [M, K, K], losses [M, K], or both; absent tasks are zeroed."""
    given = gramian if gramian is not None else losses
    assert given is not None
    m, k = given.shape[:2]
    losses = torch.ones(m, k, dtype=torch.float64) if losses is None else losses.double()
    present = torch.ones(m, k, dtype=torch.bool) if present is None else present
    if gramian is not None:
        gramian = gramian.double() * present[:, :, None] * present[:, None, :]
    return Step(
        losses=losses * present,
        present=present,
        regression=torch.zeros(k, dtype=torch.bool) if regression is None else regression,
        fixed=torch.ones(m, k, dtype=torch.float64) if fixed is None else fixed,
        gramian=gramian,
        seed=np.full(m, seed, np.uint64) + np.arange(m, dtype=np.uint64),
        number=np.full(m, number, np.int64),
    )


def only(step: Step, kept: Tensor) -> Step:
    """The step of the sub-problem that has the tasks `kept` [K] alone, or all of them in this order."""
    gram = step.gram[:, kept][:, :, kept]
    present, regression = step.present[:, kept], step.regression[kept]
    return Step(step.losses[:, kept], present, regression, step.fixed[:, kept], gram, step.seed, step.number)


def losses_of(*rows: tuple[float, ...]) -> Tensor:
    """Losses [M, K], a row a model."""
    return torch.tensor(rows, dtype=torch.float64)


def gradients_of(*rows: tuple[float, ...]) -> Tensor:
    """The task gradients [1, K, D] of one model."""
    return torch.tensor([rows], dtype=torch.float64)


def gram_of(jacobian: Tensor) -> Tensor:
    """The Gramians [M, K, K] of task gradients [M, K, D]."""
    return jacobian @ jacobian.mT


def for_each_model(oracle: Callable[[Tensor], Tensor], jacobian: Tensor) -> Tensor:
    """What an oracle for one Gramian gives for those of task gradients [M, K, D]."""
    return torch.stack([oracle(gram) for gram in gram_of(jacobian)])


def jacobian_of(seed: int, models: int, tasks: int, kind: str = "random") -> Tensor:
    """Task gradients [M, K, 7] of a kind."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(models, tasks, 7))
    if kind == "conflicting":  # every pair at an obtuse angle
        rows -= rows.mean(1, keepdims=True) * 1.02
    elif kind == "collinear":
        rows = rows[:, :1] * draw.uniform(0.5, 2.0, size=(models, tasks, 1))
    elif kind == "rank-deficient":
        rows = draw.normal(size=(models, tasks, max(tasks - 1, 1))) @ rows[:, : max(tasks - 1, 1)]
    elif kind == "norms apart":
        rows *= 10.0 ** draw.uniform(-2, 2, size=(models, tasks, 1))
    return torch.as_tensor(rows)


def random_steps(
    models: int,
    tasks: int,
    count: int,
    present: Tensor | None = None,
    *,
    seed: int = 0,
    kinds: Sequence[str] = KINDS[:2],
) -> list[Step]:
    """Steps 0, 1, ... with random losses and fixed weights, and with gradients of these kinds in turn; every second
    task is a regression."""
    draw = np.random.default_rng(seed)
    steps = []
    for number in range(count):
        jacobian = jacobian_of(int(draw.integers(2**31)), models, tasks, kinds[number % len(kinds)])
        losses = torch.as_tensor(draw.lognormal(size=(models, tasks)))
        fixed = torch.as_tensor(draw.uniform(0.1, 2.0, size=(models, tasks)))
        regression = torch.arange(tasks) % 2 == 1
        step = step_of(gram_of(jacobian), losses, present, fixed=fixed, regression=regression, seed=seed, number=number)
        steps.append(step)
    return steps


def parameters_of(strategy: Strategy, models: int, **changed: float) -> dict[str, Tensor]:
    """The strategy's parameters, at their defaults unless `changed`: [models] each."""
    defaults: dict[str, Any] = {knob.name: knob.default for knob in strategy.knobs}
    return {name: torch.full((models,), float(v), dtype=torch.float64) for name, v in {**defaults, **changed}.items()}


class Course(NamedTuple):
    """What a strategy gave over some steps: weights [steps, M, K], and its last state."""

    weights: Tensor
    state: State


def run(
    strategy: Strategy, steps: Sequence[Step], state: State | None = None, *, epoch: int = 2, **changed: float
) -> Course:
    """The weights of all steps, and the state after them; an epoch has `epoch` steps."""
    models, tasks = steps[0].losses.shape
    state = strategy.start(models, tasks) if state is None else state
    parameters, weights = parameters_of(strategy, models, **changed), []
    for number, step in enumerate(steps, 1):
        given, state = strategy.weights(step, state, parameters)
        weights.append(given)
        if number % epoch == 0:
            state = strategy.end_epoch(state, parameters)
    return Course(torch.stack(weights), state)


def weigh(strategy: Strategy, gramian: Tensor, present: Tensor | None = None, **changed: float) -> Tensor:
    """The weights of a first step, from Gramians."""
    return run(strategy, [step_of(gramian, present=present)], **changed).weights[0]


def weights_of(strategy: Strategy, jacobian: Tensor, **changed: float) -> Tensor:
    """The weights of a first step, from task gradients."""
    return weigh(strategy, gram_of(jacobian), **changed)
