"""PCGrad and GradVac: against torchjd, loops over vectors, and by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import aggregation

from lupi.balancing.base import Step, Strategy
from lupi.balancing.pcgrad import GradVac, PCGrad
from tests.lupi.balancing.steps import (
    KINDS,
    for_each_model,
    gradients_of,
    gram_of,
    jacobian_of,
    run,
    step_of,
    weights_of,
)

Vector = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def order_of(step: Step, task: int) -> list[int]:
    """In which order a task of the only model meets the others."""
    drawn = step.uniform(task, step.losses.shape[1])[0].tolist()
    return [other for other in sorted(range(len(drawn)), key=drawn.__getitem__) if other != task]


@pytest.mark.parametrize("kind", KINDS)
def test_pcgrad__two_tasks__equals_torchjd(kind: str) -> None:
    """Two tasks leave no order to choose."""
    jacobian = jacobian_of(1, 20, 2, kind)
    expected = for_each_model(aggregation.PCGradWeighting(), jacobian)
    torch.testing.assert_close(weights_of(PCGrad(), jacobian), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks", [3, 5])
def test_pcgrad__many_tasks__equals_a_loop_over_vectors(tasks: int, kind: str) -> None:
    for seed in range(8):
        jacobian = jacobian_of(seed, 1, tasks, kind)
        step = step_of(gram_of(jacobian), seed=seed, number=4)
        g = jacobian[0].numpy()
        total = np.zeros(g.shape[1])
        for i in range(tasks):
            mine = g[i].copy()
            for j in order_of(step, i):
                if mine @ g[j] < 0:
                    mine -= mine @ g[j] / (g[j] @ g[j]) * g[j]
            total += mine
        direction = run(PCGrad(), [step]).weights[0, 0].numpy() @ g
        np.testing.assert_allclose(direction, total, rtol=1e-9, atol=1e-10 * np.abs(g).max())


def test_pcgrad__obtuse_pair__weights_by_hand() -> None:
    """g_1 = (1, 0), g_2 = (-1, 1): the projections are (1/2, 1/2) = g_1 + g_2 / 2 and (0, 1) = g_2 + g_1."""
    assert weights_of(PCGrad(), gradients_of((1.0, 0.0), (-1.0, 1.0))).tolist() == [[2.0, 1.5]]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_pcgrad__two_tasks__conflicts_with_neither(seed: int, kind: str) -> None:
    jacobian = jacobian_of(seed, 3, 2, kind)
    direction = torch.einsum("mk,mkd->md", weights_of(PCGrad(), jacobian), jacobian)
    cosine = torch.einsum("md,mkd->mk", direction, jacobian) / jacobian.norm(dim=2)
    assert bool((cosine >= -1e-12 * jacobian.norm(dim=2).sum(1, keepdim=True)).all())


@pytest.mark.parametrize("strategy", [PCGrad(), GradVac()], ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (((2.0, 0.0), (0.0, 0.0)), (1, 1)),  # one of them 0
        (((1.0, 0.0), (-2.0, 0.0)), (3, 1.5)),  # opposite
        (((1.0, 0.0), (2.0, 0.0)), (1, 1)),  # collinear
    ],
)
def test_pcgrad_and_gradvac__degenerate_pair__as_documented(
    strategy: Strategy, pair: tuple[tuple[float, float], ...], expected: tuple[float, float]
) -> None:
    assert weights_of(strategy, gradients_of(*pair))[0].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["random", "conflicting", "norms apart"])
def test_gradvac__two_tasks__equals_torchjd_over_many_steps(kind: str) -> None:
    oracle = aggregation.GradVac(beta=0.3, eps=0.0).gramian_weighting
    grams = [gram_of(jacobian_of(seed, 1, 2, kind)) for seed in range(25)]
    course, _ = run(GradVac(), [step_of(gram) for gram in grams], beta=0.3)
    for gram, weights in zip(grams, course, strict=True):
        torch.testing.assert_close(weights[0], oracle(gram[0]), rtol=1e-9, atol=1e-11)


def vaccinated(g: Vector, target: Vector, step: Step, beta: float) -> Vector:
    """The direction on plain vectors; the target [K, K] is moved in place."""
    total = np.zeros(g.shape[1])
    for i in range(len(g)):
        mine = g[i].copy()
        for j in order_of(step, i):
            norm, theirs, aim = np.linalg.norm(mine), np.linalg.norm(g[j]), target[i, j]
            phi = mine @ g[j] / (norm * theirs)
            if phi < aim:
                turn = norm * (aim * math.sqrt(1 - phi**2) - phi * math.sqrt(1 - aim**2))
                mine += turn / (theirs * math.sqrt(1 - aim**2)) * g[j]
                assert mine @ g[j] / (np.linalg.norm(mine) * theirs) == pytest.approx(aim, abs=1e-9)
            target[i, j] = (1 - beta) * aim + beta * phi
        total += mine
    return total


@pytest.mark.parametrize("tasks", [3, 4])
def test_gradvac__many_tasks__equals_a_loop_over_vectors(tasks: int) -> None:
    jacobians = [jacobian_of(seed, 1, tasks, KINDS[seed % 2]) for seed in range(12)]
    steps = [step_of(gram_of(jacobian), seed=3, number=n) for n, jacobian in enumerate(jacobians)]
    course, state = run(GradVac(), steps, beta=0.2)
    target = np.zeros((tasks, tasks))
    for step, jacobian, weights in zip(steps, jacobians, course, strict=True):
        expected = vaccinated(jacobian[0].numpy(), target, step, 0.2)
        np.testing.assert_allclose(weights[0].numpy() @ jacobian[0].numpy(), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(state["target"][0].numpy(), target, atol=1e-10)


def test_gradvac__first_step__is_pcgrads() -> None:
    jacobian = jacobian_of(2, 10, 4, "conflicting")
    torch.testing.assert_close(weights_of(GradVac(), jacobian), weights_of(PCGrad(), jacobian), rtol=1e-9, atol=1e-11)


def test_gradvac__target_of_one__stays_finite() -> None:
    steps = [step_of(gram_of(gradients_of((1.0, 0.0), second))) for second in ((2.0, 0.0), (0.0, 1.0), (-1.0, 0.0))]
    course, state = run(GradVac(), steps, beta=1.0)
    assert course[0].tolist() == [[1.0, 1.0]]
    assert all(bool(weights.isfinite().all()) for weights in course)
    assert bool(state["target"].isfinite().all())
