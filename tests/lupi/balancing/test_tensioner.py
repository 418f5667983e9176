"""The Task Tensioner: against a loop over vectors, by hand, and what it promises before its tenth step."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lupi.balancing.tensioner import TaskTensioner
from tests.lupi.balancing.steps import KINDS, gradients_of, gram_of, jacobian_of, run, step_of, weights_of

Vector = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def shortest(g: Vector) -> Vector:
    """Weights on the simplex of the shortest sum of the rows, by non-negative least squares: the minimum over y >= 0 of
    ‖gᵀy‖² + (Σy - 1)² is a multiple of them."""
    y, _ = scipy.optimize.nnls(np.vstack([g.T, np.ones(len(g))]), np.append(np.zeros(g.shape[1]), 1.0))
    return y / y.sum()


def angle(a: Vector, b: Vector) -> float:
    return math.acos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))


def tensioned(g: Vector, losses: Vector, history: list[Vector], a: float) -> tuple[Vector, int]:
    """The direction on plain vectors, as the authors' code has it with angles and tangents, and how many turns."""
    norms = np.linalg.norm(g, axis=1)
    q = shortest(g / norms[:, None])
    v = (q / norms) @ g / (q / norms).sum()
    history.append(norms)
    if len(history) <= 10:
        return v, 0
    now, before = np.sum(history[-10:], 0), np.sum(history[-11:-1], 0)
    growth = now / before + np.log10(losses)
    tension = np.maximum(0, a / (1 + np.exp(-growth * math.e + math.e)) + 1 - a)
    pulls = [c * (row - v) / np.linalg.norm(row - v) for c, row in zip(tension, g, strict=True)]
    v, turns = v + np.sum(pulls, 0), 0
    for row, norm in zip(g, norms, strict=True):
        if angle(row, v) > math.pi / 2:
            flat = v - (v @ row) / norm**2 * row
            opening = math.pi - angle(row, v - row)
            v, turns = math.tan(opening) * norm * flat / np.linalg.norm(flat), turns + 1
    return v, turns


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_task_tensioner__random_steps__equals_a_loop_over_vectors(tasks: int) -> None:
    draw, turns = np.random.default_rng(tasks), 0
    history: list[Vector] = []
    jacobians = [jacobian_of(seed, 1, tasks, KINDS[1 - seed % 2]) * 0.3 for seed in range(30)]
    losses = [torch.as_tensor(draw.lognormal(sigma=3.0, size=(1, tasks))) for _ in jacobians]
    steps = [step_of(gram_of(j), loss) for j, loss in zip(jacobians, losses, strict=True)]
    course, _ = run(TaskTensioner(), steps, alpha=0.9)
    for jacobian, loss, weights in zip(jacobians, losses, course, strict=True):
        g = jacobian[0].numpy()
        expected, turned = tensioned(g, loss[0].numpy(), history, 0.9)
        turns += turned
        np.testing.assert_allclose(weights[0].numpy() @ g, expected, rtol=1e-7, atol=1e-8)
    assert turns > 0


def test_task_tensioner__eleventh_step__weights_by_hand() -> None:
    """Gradients (2, 0), (0, 2), losses 10 and 1: v = (1, 1), each 1.41 from it, R = 2 and 1, at right angles to the
    difference of the gradients the pulls cancel, along it remains the difference of the tensions."""
    step = step_of(gram_of(gradients_of((2.0, 0.0), (0.0, 2.0))), torch.tensor([[10.0, 1.0]]))
    course, _ = run(TaskTensioner(), [step] * 11, alpha=0.5)
    for weights in course[:10]:
        torch.testing.assert_close(weights, torch.full((1, 2), 0.5, dtype=torch.float64))
    more = 0.5 / (1 + math.exp(-math.e)) - 0.25
    along = more / math.sqrt(2) / 2
    assert course[10][0].tolist() == pytest.approx([0.5 + along, 0.5 - along], rel=1e-12)


def test_task_tensioner__steps_without_a_task__leave_its_norms() -> None:
    grams = [gram_of(gradients_of((1.0, 0.0), (0.0, float(n)))) for n in range(1, 5)]
    present = [torch.tensor([[True, n != 3]]) for n in range(1, 5)]
    _, state = run(TaskTensioner(), [step_of(g, present=p) for g, p in zip(grams, present, strict=True)])
    assert state["norms"][0, :, -4:].tolist() == [[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 4.0]]
    assert state["known"].tolist() == [[4.0, 3.0]]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 5), kind=st.sampled_from(KINDS))
def test_task_tensioner__before_the_tenth_norm__conflicts_with_none(seed: int, tasks: int, kind: str) -> None:
    """The projections on all gradients that carry the direction are equal, and no other is shorter."""
    jacobian = jacobian_of(seed, 2, tasks, kind)
    weights = weights_of(TaskTensioner(), jacobian)
    direction = torch.einsum("mk,mkd->md", weights, jacobian)
    projections = torch.einsum("md,mkd->mk", direction, jacobian) / jacobian.norm(dim=2)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))
    size = jacobian.norm(dim=2).amax(1, keepdim=True)
    smallest = projections.amin(1, keepdim=True)
    assert bool((smallest >= -1e-7 * size).all())
    assert bool((((projections - smallest) < 1e-6 * size) | (weights < 1e-6)).all())


def test_task_tensioner__degenerate_pair__as_documented() -> None:
    zero, opposite, alike = (
        weights_of(TaskTensioner(), gradients_of(*pair))[0].tolist()
        for pair in (((2.0, 0.0), (0.0, 0.0)), ((1.0, 0.0), (-2.0, 0.0)), ((1.0, 0.0), (2.0, 0.0)))
    )
    assert zero == pytest.approx((1, 0.5), abs=1e-12)
    assert opposite == pytest.approx((2 / 3, 1 / 3), abs=1e-12)
    assert 1 <= alike[0] + 2 * alike[1] <= 2  # between the two
