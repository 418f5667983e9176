"""Strategies that weigh losses: values worked out by hand, torchjd as an oracle, and what must hold for any losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd import scalarization

from lupi.balancing.base import State, Step, Strategy
from lupi.balancing.dwa import DWA
from lupi.balancing.fixed import Equal, Static
from lupi.balancing.geometric import GeometricMean
from lupi.balancing.gradnorm import GradNorm
from lupi.balancing.rlw import RLW
from lupi.balancing.uncertainty import Uncertainty
from tests.lupi.balancing.steps import only, step_of, values_of

ALL: list[Strategy] = [Equal(), Static(), Uncertainty(), DWA(), RLW(), GeometricMean(), GradNorm()]
named = pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: strategy.name)


def of(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def run(strategy: Strategy, steps: list[Step], every: int = 2, **knobs: float) -> tuple[list[Tensor], State]:
    """The weights of all steps, and the state after them; an epoch has `every` steps."""
    models, tasks = steps[0].losses.shape
    state, values, found = strategy.start(models, tasks), values_of(strategy, models, **knobs), []
    for number, step in enumerate(steps, 1):
        weights, state = strategy.weights(step, state, values)
        found.append(weights)
        if number % every == 0:
            state = strategy.end_epoch(state, values)
    return found, state


def steps_from(seed: int, models: int, tasks: int, count: int, present: Tensor | None = None) -> list[Step]:
    """Steps with random losses, gradients and fixed weights."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        jacobian = torch.as_tensor(draw.normal(size=(models, tasks, 6)))
        losses = torch.as_tensor(draw.lognormal(size=(models, tasks)))
        fixed = torch.as_tensor(draw.uniform(0.1, 2.0, size=(models, tasks)))
        regression = torch.arange(tasks) % 2 == 1
        made.append(
            step_of(
                jacobian @ jacobian.mT, losses, present, fixed=fixed, regression=regression, seed=seed, number=number
            )
        )
    return made


# By hand -----------------------------------------------------------------------------------------------------------


def test_equal_and_static__by_hand() -> None:
    present = torch.tensor([[True, False, True]])
    step = step_of(losses=of((1.0, 2.0, 3.0)), present=present, fixed=of((0.5, 0.25, 2.0)))
    assert Equal().weights(step, {}, {})[0].tolist() == [[1.0, 0.0, 1.0]]
    assert Static().weights(step, {}, {})[0].tolist() == [[0.5, 0.0, 2.0]]


def test_uncertainty__two_steps_by_hand() -> None:
    """Adam's first step is lr · sign(gradient); the second is worked out from its moments."""
    steps = [step_of(losses=of(row), regression=torch.tensor([False, True])) for row in ((2.0, 0.5), (0.1, 4.0))]
    (first, second), state = run(Uncertainty(), steps, lr=0.01)
    start = math.exp(-0.1)
    assert first[0].tolist() == pytest.approx([start, start / 2], rel=1e-14)
    gradients = [0.5 - start * 2.0, 0.5 - 0.5 * start * 0.5]  # d/ds of e^{-s} L + ½ s and ½ e^{-s} L + ½ s
    s = [0.1 - 0.01 * g / (abs(g) + 1e-8) for g in gradients]
    precision = [math.exp(-s[0]), 0.5 * math.exp(-s[1])]
    assert second[0].tolist() == pytest.approx(precision, rel=1e-12)
    for k, loss in enumerate((0.1, 4.0)):
        g0, g1 = gradients[k], 0.5 - precision[k] * loss
        mean = (0.9 * 0.1 * g0 + 0.1 * g1) / (1 - 0.9**2)
        square = (0.999 * 0.001 * g0**2 + 0.001 * g1**2) / (1 - 0.999**2)
        expected = s[k] - 0.01 * mean / (math.sqrt(square) + 1e-8)
        assert state["log_variance"][0, k].item() == pytest.approx(expected, rel=1e-11)


def test_uncertainty__constant_losses__rests_where_the_paper_says() -> None:
    steps = [step_of(losses=of((0.7, 0.3)), regression=torch.tensor([False, True]))] * 1500
    _, state = run(Uncertainty(), steps, lr=0.02)
    assert state["log_variance"].exp()[0].tolist() == pytest.approx([2 * 0.7, 0.3], rel=1e-6)


def test_uncertainty__steps_without_a_task__leave_it_as_it_was() -> None:
    seen = torch.tensor([True, False, False, True, True, False, True])
    losses = of(*[(1.0, 0.3 + number) for number in range(7)])
    present = torch.stack([torch.ones(7, dtype=torch.bool), seen], 1)
    found, _ = run(Uncertainty(), [step_of(losses=losses[[i]], present=present[[i]]) for i in range(7)], lr=0.1)
    short, _ = run(Uncertainty(), [step_of(losses=losses[[i]]) for i in range(7) if seen[i]], lr=0.1)
    assert [weights[0, 1].item() for weights in found if weights[0, 1] > 0] == [w[0, 1].item() for w in short]


def test_dwa__third_epoch_by_hand() -> None:
    losses = ((4.0, 1.0), (2.0, 3.0), (1.0, 1.0), (2.0, 3.0), (9.0, 9.0))  # means (3, 2), then (1.5, 2)
    found, _ = run(DWA(), [step_of(losses=of(row)) for row in losses], temperature=0.5)
    for weights in found[:4]:
        assert weights.tolist() == [[1.0, 1.0]]
    a, b = math.exp(0.5 / 0.5), math.exp(1.0 / 0.5)
    assert found[4][0].tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)], rel=1e-14)


def test_dwa__loss_that_was_zero__counts_as_unchanged() -> None:
    losses = ((0.0, 2.0), (1.0, 2.0), (1.0, 1.0))
    found, _ = run(DWA(), [step_of(losses=of(row)) for row in losses], every=1)
    assert found[2].tolist() == [[1.0, 1.0]]


def test_dwa__task_absent_in_some_steps__mean_of_the_others() -> None:
    """Task 1 has the means 3, then 1 over one step, and keeps them through an epoch without it."""
    both, alone = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    seen = [(both, 2.0), (both, 4.0), (alone, 0.0), (both, 1.0), (alone, 0.0), (alone, 0.0), (both, 7.0)]
    found, _ = run(DWA(), [step_of(losses=of((1.0, loss)), present=present) for present, loss in seen], temperature=1.0)
    a, b = math.exp(1.0), math.exp(1.0 / 3.0)
    assert found[4].tolist() == found[5].tolist() == [[1.0, 0.0]]
    assert found[6][0].tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)], rel=1e-14)


def test_rlw__softmax_of_box_and_mullers_normals() -> None:
    step = step_of(losses=of((1.0, 1.0, 1.0)), seed=3, number=5)
    u = step.uniform(0, 6)[0].tolist()
    e = [math.exp(math.sqrt(-2 * math.log(1 - u[i])) * math.cos(2 * math.pi * u[i + 1])) for i in (0, 2, 4)]
    found, _ = RLW().weights(step, {}, {})
    assert found[0].tolist() == pytest.approx([x / sum(e) for x in e], rel=1e-12)


def test_rlw__many_models__log_ratios_are_differences_of_normals() -> None:
    found, _ = RLW().weights(step_of(losses=torch.ones(20000, 2)), {}, {})
    difference = found.log().diff(dim=1)[:, 0]  # N(0, 2)
    assert abs(difference.mean().item()) < 4 * math.sqrt(2 / 20000)
    assert difference.var().item() == pytest.approx(2.0, rel=4 * math.sqrt(2 / 20000))
    assert (difference.abs() < math.sqrt(2)).double().mean().item() == pytest.approx(0.6827, abs=0.015)


def test_geometric_mean__by_hand() -> None:
    found, _ = GeometricMean().weights(step_of(losses=of((4.0, 9.0), (1.0, 0.0))), {}, {})
    assert found[0].tolist() == pytest.approx([6 / 8, 6 / 18], rel=1e-12)
    assert found[1].tolist() == pytest.approx([0.5e-4, 0.5e4], rel=1e-12)  # 0 counts as 1e-8


def gradnorm_steps(*losses: tuple[float, ...]) -> list[Step]:
    """Orthogonal gradients of norms 3 and 1."""
    return [step_of(torch.diag_embed(of((9.0, 1.0))), of(row)) for row in losses]


def test_gradnorm__two_steps_by_hand() -> None:
    """Adam's first step is lr · sign of the subgradient: the longer gradient's weight falls, the other's rises."""
    found, state = run(GradNorm(), gradnorm_steps((2.0, 2.0), (1.0, 2.0)), lr=0.1, alpha=1.0)
    assert found[0].tolist() == [[1.0, 1.0]]
    assert found[1][0].tolist() == pytest.approx([0.9, 1.1], rel=1e-7)  # target 2 for both; 3 is above, 1 below
    # Ratios (0.5, 1), rates (2/3, 4/3), norms (2.7, 1.1), mean 1.9, targets (1.27, 2.53): the same subgradient again.
    assert state["weights"][0].tolist() == pytest.approx([0.8, 1.2], rel=1e-7)
    assert state["first"].tolist() == [[2.0, 2.0]]


def test_gradnorm__alpha_turns_the_target_round() -> None:
    """A task far behind may keep a gradient longer than the mean: r = 1.8, and 1.9 · 1.8³ is above 2.7."""
    found, _ = run(GradNorm(), gradnorm_steps((1.0, 9.0), (1.0, 1.0), (1.0, 1.0)), lr=0.1, alpha=3.0)
    assert found[1][0, 0].item() < 1
    up, down = found[2][0].tolist()
    assert up > found[1][0, 0].item()
    assert up + down == pytest.approx(2, rel=1e-14)


def test_gradnorm__constant_training_rates__norms_become_equal() -> None:
    found, _ = run(GradNorm(), gradnorm_steps((1.0, 1.0)) * 400, lr=0.005)
    weighted = found[-1][0] * of((3.0, 1.0))[0]
    assert weighted[0].item() == pytest.approx(weighted[1].item(), rel=0.03)


def test_gradnorm__large_steps__weights_stay_positive() -> None:
    """The second step would take the weight of the longer gradient from 0.4 to -0.2."""
    found, _ = run(GradNorm(), [step_of(torch.diag_embed(of((900.0, 1.0))))] * 5, lr=0.6)
    for weights in found:
        assert bool((weights > 0).all())
        assert weights.sum().item() == pytest.approx(2, rel=1e-14)


# Oracles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_dwa__equals_torchjd(tasks: int) -> None:
    steps, oracle = steps_from(1, 1, tasks, 12), scalarization.DWA(temperature=1.3)
    found, _ = run(DWA(), steps, every=3, temperature=1.3)
    for number, (step, weights) in enumerate(zip(steps, found, strict=True), 1):
        losses = step.losses[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(oracle(losses), losses)
        torch.testing.assert_close(weights[0], expected, rtol=1e-12, atol=0)
        if number % 3 == 0:
            oracle.step()


@pytest.mark.parametrize("tasks", [1, 2, 3, 6])
def test_geometric_mean__equals_torchjds_derivative(tasks: int) -> None:
    for step in steps_from(2, 1, tasks, 8):
        losses = step.losses[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(scalarization.GeometricMean()(losses), losses)
        torch.testing.assert_close(GeometricMean().weights(step, {}, {})[0][0], expected, rtol=1e-12, atol=0)


def test_uncertainty__regressions__equals_torchjd_under_torchs_adam() -> None:
    draw, oracle = np.random.default_rng(3), scalarization.UW(3).double()
    torch.nn.init.constant_(oracle.log_var, 0.1)
    adam = torch.optim.Adam(oracle.parameters(), lr=0.03)
    rows = torch.as_tensor(draw.lognormal(size=(40, 1, 3)))
    found, _ = run(Uncertainty(), [step_of(losses=row, regression=torch.ones(3).bool()) for row in rows], lr=0.03)
    for row, weights in zip(rows, found, strict=True):
        losses = row[0].clone().requires_grad_()
        adam.zero_grad()
        oracle(losses).backward()
        assert losses.grad is not None
        torch.testing.assert_close(weights[0], losses.grad, rtol=1e-11, atol=0)
        adam.step()


def test_rlw__distributed_as_torchjds_random() -> None:
    """Both are softmax of normals: means and spreads of a weight agree within their error."""
    torch.manual_seed(0)
    losses = torch.ones(3, dtype=torch.float64, requires_grad=True)
    drawn = [torch.autograd.grad(scalarization.Random()(losses), losses)[0] for _ in range(4000)]
    theirs = torch.stack(drawn)
    ours, _ = RLW().weights(step_of(losses=torch.ones(4000, 3)), {}, {})
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0, atol=0.02)


# Properties --------------------------------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)


@named
@settings(max_examples=8)
@given(seed=seeds, tasks=st.integers(2, 5), data=st.data())
def test_absent_tasks__change_nothing(strategy: Strategy, seed: int, tasks: int, data: st.DataObject) -> None:
    """Weights of every step are those of the problem without the absent tasks, which get 0."""
    kept = torch.tensor([True, *data.draw(st.lists(st.booleans(), min_size=tasks - 1, max_size=tasks - 1))])
    full = steps_from(seed, 2, tasks, 7, kept.expand(2, -1))
    found, _ = run(strategy, full)
    alone, _ = run(strategy, [only(step, kept) for step in full])
    for weights, expected in zip(found, alone, strict=True):
        torch.testing.assert_close(weights[:, kept], expected, rtol=1e-12, atol=1e-14)
        assert bool((weights[:, ~kept] == 0).all())


@named
@settings(max_examples=6)
@given(seed=seeds, tasks=st.integers(1, 4))
def test_models__do_not_see_each_other(strategy: Strategy, seed: int, tasks: int) -> None:
    present = torch.as_tensor(np.random.default_rng(seed).random((3, tasks)) < 0.7)
    present[:, 0] = True
    steps = steps_from(seed, 3, tasks, 6, present)
    together, _ = run(strategy, steps)
    for model in range(3):
        alone, _ = run(strategy, [step.take(torch.tensor([model])) for step in steps])
        for weights, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(weights[model], expected[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("strategy", [s for s in ALL if s.name != "rlw"], ids=lambda strategy: strategy.name)
@settings(max_examples=6)
@given(seed=seeds, tasks=st.integers(2, 5), data=st.data())
def test_tasks__in_another_order__weights_in_that_order(
    strategy: Strategy, seed: int, tasks: int, data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(tasks))))
    steps = steps_from(seed, 2, tasks, 7)
    found, _ = run(strategy, steps)
    moved, _ = run(strategy, [only(step, order) for step in steps])
    for weights, expected in zip(moved, found, strict=True):
        torch.testing.assert_close(weights, expected[:, order], rtol=1e-9, atol=1e-12)


@named
@settings(max_examples=6)
@given(seed=seeds)
def test_tasks_that_come_and_go__everything_stays_finite(strategy: Strategy, seed: int) -> None:
    """With losses and gradients that are 0 in some steps, too."""
    draw = np.random.default_rng(seed)
    steps = []
    for step in steps_from(seed, 4, 3, 12):
        present = torch.as_tensor(draw.random((4, 3)) < 0.6)
        present[:, 0] = True
        kept = torch.as_tensor(draw.random((4, 3)) < 0.7)
        gramian = step.gram * kept[:, :, None] * kept[:, None, :]
        steps.append(step_of(gramian, step.losses * kept, present, seed=seed))
    found, state = run(strategy, steps)
    for step, weights in zip(steps, found, strict=True):
        assert bool(weights.isfinite().all())
        assert bool((weights >= 0).all())
        assert bool((weights[~step.present] == 0).all())
    for value in state.values():
        assert bool(value.isfinite().all())


@named
def test_state__weights_leaves_what_it_was_given(strategy: Strategy) -> None:
    step = steps_from(0, 2, 3, 1)[0]
    state, values = strategy.start(2, 3), values_of(strategy, 2)
    before = {name: value.clone() for name, value in state.items()}
    _, after = strategy.weights(step, state, values)
    strategy.end_epoch(after, values)
    assert set(after) == set(before)
    for name, value in before.items():
        assert torch.equal(state[name], value)
        assert after[name].shape == value.shape
        assert after[name].dtype == value.dtype


@pytest.mark.parametrize("name", ["equal", "dwa", "rlw", "geometric-mean", "gradnorm"])
def test_one_task__weight_one(name: str) -> None:
    strategy = next(s for s in ALL if s.name == name)
    for weights in run(strategy, steps_from(4, 2, 1, 6))[0]:
        torch.testing.assert_close(weights, torch.ones(2, 1, dtype=torch.float64), rtol=1e-14, atol=0)


@settings(max_examples=20)
@given(seed=seeds, scales=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3))
def test_scale_of_a_loss__dwa_ignores_it_and_the_geometric_mean_undoes_it(seed: int, scales: list[float]) -> None:
    by = of(tuple(scales))
    steps = steps_from(seed, 2, 3, 7)
    scaled = [step_of(step.gram, step.losses * by) for step in steps]
    for ours, others in zip(run(DWA(), steps)[0], run(DWA(), scaled)[0], strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-10, atol=0)
    for step in (*steps, *scaled):
        shares = GeometricMean().weights(step, {}, {})[0] * step.losses
        torch.testing.assert_close(shares, shares[:, :1].expand(-1, 3), rtol=1e-10, atol=0)


@settings(max_examples=6)
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_gradnorm__all_gradients_scaled__same_weights(seed: int, scale: float) -> None:
    steps = steps_from(seed, 2, 3, 7)
    scaled = [step_of(step.gram * scale**2, step.losses) for step in steps]
    for ours, others in zip(run(GradNorm(), steps)[0], run(GradNorm(), scaled)[0], strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-4, atol=0)  # Adam's 1e-8 is not to scale


def test_rlw__depends_on_seed_and_step_alone() -> None:
    def weights(**about: Any) -> Tensor:
        return RLW().weights(step_of(losses=torch.rand(1, 3), **about), {}, {})[0]

    assert torch.equal(weights(seed=7, number=2), weights(seed=7, number=2))
    assert not torch.equal(weights(seed=7, number=2), weights(seed=7, number=3))
    assert not torch.equal(weights(seed=7, number=2), weights(seed=8, number=2))
    assert weights(seed=7, number=2).sum().item() == pytest.approx(1, rel=1e-14)


def test_gradnorm__without_a_gramian__raises() -> None:
    with pytest.raises(ValueError, match="reads the Gramian"):
        run(GradNorm(), [step_of(losses=of((1.0, 1.0)))])
