"""Weights that do not change: against values worked out by hand."""

from __future__ import annotations

import torch

from lupi.balancing.fixed import Equal, Static
from tests.lupi.balancing.steps import losses_of, step_of


def test_equal_and_static__a_task_absent__weights_by_hand() -> None:
    present = torch.tensor([[True, False, True]])
    step = step_of(losses=losses_of((1.0, 2.0, 3.0)), present=present, fixed=losses_of((0.5, 0.25, 2.0)))
    assert Equal().weights(step, {}, {})[0].tolist() == [[1.0, 0.0, 1.0]]
    assert Static().weights(step, {}, {})[0].tolist() == [[0.5, 0.0, 2.0]]
