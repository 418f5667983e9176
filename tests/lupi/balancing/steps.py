"""Steps of training, made up: what the tests of the balancing strategies are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lupi.balancing.base import Step, Strategy


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
    """The step of the sub-problem that has the tasks `kept` [K] alone."""
    gram = step.gram[:, kept][:, :, kept]
    present, regression = step.present[:, kept], step.regression[kept]
    return Step(step.losses[:, kept], present, regression, step.fixed[:, kept], gram, step.seed, step.number)


def values_of(strategy: Strategy, models: int, **changed: float) -> dict[str, Tensor]:
    """The strategy's knobs, at their defaults unless `changed`: [models] each."""
    defaults: dict[str, Any] = {knob.name: knob.default for knob in strategy.knobs}
    return {name: torch.full((models,), float(v), dtype=torch.float64) for name, v in {**defaults, **changed}.items()}
