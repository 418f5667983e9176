"""OL-AUX: by hand, and what moves the weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lupi.balancing.olaux import OLAux
from tests.lupi.balancing.steps import gradients_of, gram_of, random_steps, run, step_of


def gramian_of(*gradients: tuple[float, ...]) -> Tensor:
    """The Gramian [1, K, K] of these gradients."""
    return gram_of(gradients_of(*gradients))


def test_olaux__two_runs_of_two_steps__by_hand() -> None:
    """v = 1 in the first run; then the products over the losses, 2 / (0.5 · 4) and -1 / (0.5 · 2), move it by lr."""
    losses = [torch.tensor([[0.5, 4.0]]), torch.tensor([[0.5, 2.0]])] * 2
    gramians = [gramian_of((1.0, 0.0), (2.0, 1.0)), gramian_of((1.0, 0.0), (-1.0, 1.0))] * 2
    steps = [step_of(g, loss, number=n) for n, (g, loss) in enumerate(zip(gramians, losses, strict=True))]
    weights, state = run(OLAux(), steps, lr=0.1, horizon=2)
    assert weights[:, 0, 0].tolist() == [1.0] * 4
    assert weights[:, 0, 1].tolist() == pytest.approx([0.5 / 4, 0.5 / 2] * 2, rel=1e-14)  # gains of 1 and -1 cancel
    assert state["weight"][0, 1].item() == pytest.approx(1.0, rel=1e-14)

    weights, state = run(OLAux(), steps, lr=0.1, horizon=3)
    assert weights[:, 0, 1].tolist() == pytest.approx([0.125, 0.25, 0.125, 0.25 * (1 + 0.1 * (1 - 1 + 1))], rel=1e-14)
    assert state["gain"][0, 1].item() == pytest.approx(-1.0, rel=1e-14)


def test_olaux__helper_that_helps_and_one_that_harms__weights_part_and_turn_negative() -> None:
    g = gramian_of((1.0, 0.0), (1.0, 1.0), (-1.0, 1.0))
    steps = [step_of(g, torch.ones(1, 3), number=n) for n in range(50)]
    last = run(OLAux(), steps, lr=0.1, horizon=5).weights[-1, 0]
    assert last.tolist() == pytest.approx([1.0, 1 + 0.1 * 45, 1 - 0.1 * 45], rel=1e-12)


def test_olaux__losses_in_other_units__same_course_of_v() -> None:
    steps = random_steps(3, 4, 12)
    units = torch.tensor([3.0, 0.01, 1.0, 50.0], dtype=torch.float64)
    scaled = [step_of(s.gram * units[:, None] * units, s.losses * units, number=int(s.number[0])) for s in steps]
    first, second = (run(OLAux(), course, lr=0.3).state["weight"] for course in (steps, scaled))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=0)
    assert (first[:, 1:] != 1).all()


def test_olaux__losses_of_exactly_zero__stay_out() -> None:
    g, loss = gramian_of((1.0, 0.0), (0.0, 0.0), (1.0, 0.0)), torch.tensor([[1.0, 0.0, 2.0]])
    weights, state = run(OLAux(), [step_of(g, loss, number=n) for n in range(5)])
    assert weights[-1, 0].tolist() == [1.0, 0.0, 0.5]
    assert state["weight"][0, 1].item() == 1.0
    assert run(OLAux(), [step_of(gramian_of((0.0,), (1.0,)), torch.tensor([[0.0, 1.0]]))]).weights.tolist() == [
        [[1.0, 0.0]]
    ]
