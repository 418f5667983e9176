"""Strategies with a main task and helpers: GCS, OL-AUX and ARML, against values worked out by hand and what they are to
find on problems built to have it."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing.arml import ARML
from lupi.balancing.base import State, Step, Strategy
from lupi.balancing.cosine import GCS, WeightedGCS
from lupi.balancing.olaux import OLAux
from tests.lupi.balancing.steps import step_of, values_of

STRATEGIES: list[Strategy] = [GCS(), WeightedGCS(), OLAux(), ARML()]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)


def of(*gradients: tuple[float, ...]) -> Tensor:
    """The Gramian [1, K, K] of these gradients."""
    j = torch.tensor(gradients, dtype=torch.float64)
    return (j @ j.mT)[None]


def random_steps(models: int, tasks: int, count: int, present: Tensor | None = None, *, seed: int = 0) -> list[Step]:
    """Steps 0, 1, ... of models with random losses and gradients."""
    rng = torch.Generator().manual_seed(seed)
    steps = []
    for number in range(count):
        j = torch.randn(models, tasks, 6, generator=rng, dtype=torch.float64)
        losses = torch.rand(models, tasks, generator=rng, dtype=torch.float64) + 0.1
        steps.append(step_of(j @ j.mT, losses, present, number=number))
    return steps


class Course(NamedTuple):
    weights: Tensor
    state: State


def run(strategy: Strategy, steps: list[Step], **knobs: float) -> Course:
    """Weights [steps, M, K] and the last state."""
    models, tasks = steps[0].losses.shape
    state, given_ = strategy.start(models, tasks), values_of(strategy, models, **knobs)
    weights = []
    for step in steps:
        found, state = strategy.weights(step, state, given_)
        weights.append(found)
    return Course(torch.stack(weights), state)


# GCS


def test_gcs__helpers_on_either_side_of_a_right_angle__by_hand() -> None:
    g = of((2.0, 0.0), (1e-3, 5.0), (0.0, 3.0), (-1e-3, 5.0), (-4.0, 0.0), (0.0, 0.0))
    assert run(GCS(), [step_of(g)]).weights[0, 0].tolist() == [1, 1, 1, 0, 0, 1]


def test_gcs_weighted__cosines__by_hand() -> None:
    g = of((2.0, 0.0), (3.0, 0.0), (3.0, 4.0), (-3.0, 4.0), (0.0, 1.0), (0.0, 0.0))
    assert run(WeightedGCS(), [step_of(g)]).weights[0, 0].tolist() == pytest.approx([1, 1, 0.6, 0, 0, 0], abs=1e-15)


@pytest.mark.parametrize(("strategy", "helper"), [(GCS(), 1.0), (WeightedGCS(), 0.0)])
def test_gcs__main_gradient_zero__as_documented(strategy: Strategy, helper: float) -> None:
    assert run(strategy, [step_of(of((0.0, 0.0), (1.0, 2.0)))]).weights[0, 0].tolist() == [1.0, helper]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_gcs__main_task_gains_at_least_what_it_gains_alone(seed: int, tasks: int) -> None:
    (step,) = random_steps(4, tasks, 1, seed=seed)
    for strategy in (GCS(), WeightedGCS()):
        w = run(strategy, [step]).weights[0]
        assert ((step.gram[:, 0] * w).sum(1) >= step.gram[:, 0, 0] * (1 - 1e-12)).all()


# OL-AUX


def test_olaux__two_runs_of_two_steps__by_hand() -> None:
    """v = 1 in the first run; then the products over the losses, 2 / (0.5 · 4) and -1 / (0.5 · 2), move it by lr."""
    losses = [torch.tensor([[0.5, 4.0]]), torch.tensor([[0.5, 2.0]])] * 2
    gramians = [of((1.0, 0.0), (2.0, 1.0)), of((1.0, 0.0), (-1.0, 1.0))] * 2
    steps = [step_of(g, loss, number=n) for n, (g, loss) in enumerate(zip(gramians, losses, strict=True))]
    weights, state = run(OLAux(), steps, lr=0.1, horizon=2)
    assert weights[:, 0, 0].tolist() == [1.0] * 4
    assert weights[:, 0, 1].tolist() == pytest.approx([0.5 / 4, 0.5 / 2] * 2, rel=1e-14)  # gains of 1 and -1 cancel
    assert state["weight"][0, 1].item() == pytest.approx(1.0, rel=1e-14)

    weights, state = run(OLAux(), steps, lr=0.1, horizon=3)
    assert weights[:, 0, 1].tolist() == pytest.approx([0.125, 0.25, 0.125, 0.25 * (1 + 0.1 * (1 - 1 + 1))], rel=1e-14)
    assert state["gain"][0, 1].item() == pytest.approx(-1.0, rel=1e-14)


def test_olaux__helper_that_helps_and_one_that_harms__weights_part_and_turn_negative() -> None:
    g = of((1.0, 0.0), (1.0, 1.0), (-1.0, 1.0))
    steps = [step_of(g, torch.ones(1, 3), number=n) for n in range(50)]
    last = run(OLAux(), steps, lr=0.1, horizon=5).weights[-1, 0]
    assert last.tolist() == pytest.approx([1.0, 1 + 0.1 * 45, 1 - 0.1 * 45], rel=1e-12)


def test_olaux__losses_in_other_units__same_course_of_v() -> None:
    steps = random_steps(3, 4, 12)
    units = torch.tensor([3.0, 0.01, 1.0, 50.0], dtype=torch.float64)
    scaled = [step_of(s.gram * units[:, None] * units, s.losses * units, number=int(s.number[0])) for s in steps]
    first, second = (run(OLAux(), each, lr=0.3).state["weight"] for each in (steps, scaled))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=0)
    assert (first[:, 1:] != 1).all()


def test_olaux__losses_of_exactly_zero__stay_out() -> None:
    g, loss = of((1.0, 0.0), (0.0, 0.0), (1.0, 0.0)), torch.tensor([[1.0, 0.0, 2.0]])
    weights, state = run(OLAux(), [step_of(g, loss, number=n) for n in range(5)])
    assert weights[-1, 0].tolist() == [1.0, 0.0, 0.5]
    assert state["weight"][0, 1].item() == 1.0
    assert run(OLAux(), [step_of(of((0.0,), (1.0,)), torch.tensor([[0.0, 1.0]]))]).weights.tolist() == [[[1.0, 0.0]]]


# ARML


def test_arml__one_step__by_hand() -> None:
    """Slope 2 (Gα - g) = 2 ((2, 4) - (3, 0)) = (-2, 8), so α = (1.2, 0.2) for lr = 0.1, then 0.3 is added to each."""
    g = of((3 / 2**0.5, 0.0), (2**0.5, 0.0), (0.0, 2.0))
    steps = [step_of(g, number=n) for n in range(4)]
    weights = run(ARML(), steps, lr=0.1, every=3).weights[:, 0]
    assert weights[:3].tolist() == [[1.0, 1.0, 1.0]] * 3
    assert weights[3].tolist() == pytest.approx([1.0, 1.5, 0.5], rel=1e-12)


def test_arml__helper_against_the_main_task__is_clamped_at_zero() -> None:
    """(3 - α_1 + 3 α_2)² with α_1 + α_2 = 2 is least at α_2 = -1/4."""
    g = of((3.0, 0.0), (1.0, 0.0), (-3.0, 0.0))
    last = run(ARML(), [step_of(g, number=n) for n in range(200)], every=1, lr=0.02).weights[-1, 0]
    assert last[2].item() == 0.0
    assert last[1].item() >= 2.0


def test_arml__one_helper__keeps_weight_one() -> None:
    assert (run(ARML(), random_steps(3, 2, 50), every=5).weights == 1.0).all()


def test_arml__linear_gaussian_problem__recovers_the_true_weights() -> None:
    """Helpers are Gaussian likelihoods of a linear model; the main task's is their product with powers α*, Σα* = K.
    The parameters move by Langevin dynamics along the direction that ARML gives."""
    rng = torch.Generator().manual_seed(0)
    truth = torch.tensor([0.2, 0.8, 2.0], dtype=torch.float64)
    rows = torch.randn(3, 5, 4, generator=rng, dtype=torch.float64) / 5**0.5
    seen = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    theta, strategy = torch.zeros(4, dtype=torch.float64), ARML()
    state, knobs = strategy.start(1, 4), values_of(strategy, 1, every=5, lr=0.02)
    for number in range(3000):
        helpers = torch.einsum("kni,kn->ki", rows, rows @ theta - seen)
        gradients = torch.cat([(truth @ helpers)[None], helpers])
        weights, state = strategy.weights(step_of((gradients @ gradients.mT)[None], number=number), state, knobs)
        noise = torch.randn(4, generator=rng, dtype=torch.float64)
        theta = theta - 0.02 * (weights[0] @ gradients) + 0.2 * noise
    torch.testing.assert_close(state["alpha"][0, 1:], truth, rtol=0, atol=1e-6)


# What all share


@every_strategy
def test_main_task__weight_is_one(strategy: Strategy) -> None:
    assert (run(strategy, random_steps(3, 4, 25)).weights[:, :, 0] == 1).all()
    assert run(strategy, random_steps(2, 1, 25)).weights.flatten().tolist() == [1.0] * 50


@every_strategy
def test_batch__each_model_alone__same_course(strategy: Strategy) -> None:
    steps = random_steps(4, 4, 45)
    together = run(strategy, steps).weights
    for m in range(4):
        alone = run(strategy, [step.take(torch.tensor([m])) for step in steps]).weights
        torch.testing.assert_close(together[:, m : m + 1], alone, rtol=1e-12, atol=1e-12)


@every_strategy
def test_absent_tasks__change_nothing(strategy: Strategy) -> None:
    present = torch.tensor([[True, False, True, True], [True, True, False, False], [True, False, False, False]])
    steps = random_steps(3, 4, 45, present)
    weights = run(strategy, steps).weights
    assert (weights[:, ~present] == 0).all()
    for m in range(3):
        tasks = present[m].nonzero()[:, 0]
        grams, losses = [s.gram[m][tasks][:, tasks][None] for s in steps], [s.losses[m, tasks][None] for s in steps]
        part = [step_of(g, loss, number=n) for n, (g, loss) in enumerate(zip(grams, losses, strict=True))]
        torch.testing.assert_close(weights[:, m, tasks], run(strategy, part).weights[:, 0], rtol=1e-12, atol=1e-12)


@every_strategy
def test_permuted_helpers__permuted_weights(strategy: Strategy) -> None:
    steps, order = random_steps(3, 4, 45), torch.tensor([0, 3, 1, 2])
    moved = [step_of(s.gram[:, order][:, :, order], s.losses[:, order], number=n) for n, s in enumerate(steps)]
    torch.testing.assert_close(run(strategy, moved).weights, run(strategy, steps).weights[:, :, order])


@every_strategy
def test_state__taken_up_midway__same_course_and_the_given_one_is_left(strategy: Strategy) -> None:
    steps, knobs = random_steps(2, 3, 45), values_of(strategy, 2)
    state = run(strategy, steps[:17]).state
    kept = {name: value.clone() for name, value in state.items()}
    later = state
    for step in steps[17:]:
        weights, later = strategy.weights(step, later, knobs)
    assert torch.equal(weights, run(strategy, steps).weights[-1])
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_knobs__per_model() -> None:
    """Two models with knobs of their own: each as if both had them."""
    steps = random_steps(2, 3, 30)
    for strategy, first, second in (
        (OLAux(), {"lr": 0.1, "horizon": 3.0}, {"lr": 0.02, "horizon": 7.0}),
        (ARML(), {"lr": 0.01, "every": 4.0}, {"lr": 0.002, "every": 9.0}),
    ):
        knobs = {name: torch.tensor([first[name], second[name]], dtype=torch.float64) for name in first}
        state = strategy.start(2, 3)
        for step in steps:
            weights, state = strategy.weights(step, state, knobs)
        assert torch.equal(weights[0], run(strategy, steps, **first).weights[-1, 0])
        assert torch.equal(weights[1], run(strategy, steps, **second).weights[-1, 1])
