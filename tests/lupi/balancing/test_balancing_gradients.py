"""Strategies that weigh gradients: torchjd, and plain loops over vectors, as oracles, and what the papers promise."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd import aggregation

from lupi.balancing.aligned import AlignedMTL
from lupi.balancing.base import State, Step, Strategy
from lupi.balancing.imtl import IMTLG
from lupi.balancing.pcgrad import GradVac, PCGrad
from lupi.balancing.tensioner import TaskTensioner
from tests.lupi.balancing.steps import only, step_of, values_of

ALL: list[Strategy] = [PCGrad(), GradVac(), IMTLG(), AlignedMTL(), TaskTensioner()]
named = pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: strategy.name)
KINDS = ("random", "conflicting", "collinear", "rank-deficient", "norms apart")

Vector = npt.NDArray[np.float64]


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


def gram_of(jacobian: Tensor) -> Tensor:
    return jacobian @ jacobian.mT


def of(*rows: tuple[float, ...]) -> Tensor:
    """The gradients of one model."""
    return torch.tensor([rows], dtype=torch.float64)


def weights_of(strategy: Strategy, jacobian: Tensor, present: Tensor | None = None, **knobs: float) -> Tensor:
    """The weights of a first step."""
    return run(strategy, [step_of(gram_of(jacobian), present=present)], **knobs)[0][0]


def run(strategy: Strategy, steps: Iterable[Step], **knobs: float) -> tuple[list[Tensor], State]:
    found: list[Tensor] = []
    state: State | None = None
    for step in steps:
        models, tasks = step.losses.shape
        state = strategy.start(models, tasks) if state is None else state
        weights, state = strategy.weights(step, state, values_of(strategy, models, **knobs))
        found.append(weights)
    assert state is not None
    return found, state


def steps_from(seed: int, models: int, tasks: int, count: int, present: Tensor | None = None) -> list[Step]:
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        jacobian = jacobian_of(int(draw.integers(2**31)), models, tasks, KINDS[number % 2])
        losses = torch.as_tensor(draw.lognormal(sigma=2.0, size=(models, tasks)))
        made.append(step_of(gram_of(jacobian), losses, present, seed=seed, number=number))
    return made


def order_of(step: Step, task: int) -> list[int]:
    """In which order a task of the only model meets the others."""
    drawn = step.uniform(task, step.losses.shape[1])[0].tolist()
    return [other for other in sorted(range(len(drawn)), key=drawn.__getitem__) if other != task]


# PCGrad ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_pcgrad__two_tasks__equals_torchjd(kind: str) -> None:
    """Two tasks leave no order to choose."""
    jacobian = jacobian_of(1, 20, 2, kind)
    oracle = aggregation.PCGradWeighting()
    expected = torch.stack([oracle(gram) for gram in gram_of(jacobian)])
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
        found = run(PCGrad(), [step])[0][0][0].numpy() @ g
        np.testing.assert_allclose(found, total, rtol=1e-9, atol=1e-10 * np.abs(g).max())


def test_pcgrad__by_hand() -> None:
    """g_1 = (1, 0), g_2 = (-1, 1): the projections are (1/2, 1/2) = g_1 + g_2 / 2 and (0, 1) = g_2 + g_1."""
    assert weights_of(PCGrad(), of((1.0, 0.0), (-1.0, 1.0))).tolist() == [[2.0, 1.5]]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_pcgrad__two_tasks__conflicts_with_neither(seed: int, kind: str) -> None:
    jacobian = jacobian_of(seed, 3, 2, kind)
    direction = torch.einsum("mk,mkd->md", weights_of(PCGrad(), jacobian), jacobian)
    cosine = torch.einsum("md,mkd->mk", direction, jacobian) / jacobian.norm(dim=2)
    assert bool((cosine >= -1e-12 * jacobian.norm(dim=2).sum(1, keepdim=True)).all())


# GradVac -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "conflicting", "norms apart"])
def test_gradvac__two_tasks__equals_torchjd_over_many_steps(kind: str) -> None:
    oracle = aggregation.GradVac(beta=0.3, eps=0.0).gramian_weighting
    grams = [gram_of(jacobian_of(seed, 1, 2, kind)) for seed in range(25)]
    found, _ = run(GradVac(), [step_of(gram) for gram in grams], beta=0.3)
    for gram, weights in zip(grams, found, strict=True):
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
    found, state = run(GradVac(), steps, beta=0.2)
    target = np.zeros((tasks, tasks))
    for step, jacobian, weights in zip(steps, jacobians, found, strict=True):
        expected = vaccinated(jacobian[0].numpy(), target, step, 0.2)
        np.testing.assert_allclose(weights[0].numpy() @ jacobian[0].numpy(), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(state["target"][0].numpy(), target, atol=1e-10)


def test_gradvac__first_step__is_pcgrads() -> None:
    jacobian = jacobian_of(2, 10, 4, "conflicting")
    torch.testing.assert_close(weights_of(GradVac(), jacobian), weights_of(PCGrad(), jacobian), rtol=1e-9, atol=1e-11)


def test_gradvac__target_of_one__stays_finite() -> None:
    steps = [step_of(gram_of(of((1.0, 0.0), second))) for second in ((2.0, 0.0), (0.0, 1.0), (-1.0, 0.0))]
    found, state = run(GradVac(), steps, beta=1.0)
    assert found[0].tolist() == [[1.0, 1.0]]
    assert all(bool(weights.isfinite().all()) for weights in found)
    assert bool(state["target"].isfinite().all())


# IMTL-G ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_imtl_g__equals_torchjd(tasks: int, kind: str) -> None:
    jacobian = jacobian_of(3, 20, tasks, kind)
    oracle = aggregation.IMTLG().gramian_weighting
    expected = torch.stack([oracle(gram) for gram in gram_of(jacobian)])
    torch.testing.assert_close(weights_of(IMTLG(), jacobian), expected, rtol=1e-6, atol=1e-7)


def test_imtl_g__by_hand() -> None:
    """Orthogonal gradients of norms 1 and 3: w ∝ 1 / ‖g‖."""
    found = weights_of(IMTLG(), of((1.0, 0.0), (0.0, 3.0)))
    assert found[0].tolist() == pytest.approx([0.75, 0.25], rel=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 5), logs=st.lists(st.floats(-2, 2), min_size=5, max_size=5))
def test_imtl_g__projections_agree__whatever_the_norms(seed: int, tasks: int, logs: list[float]) -> None:
    """Gradients scaled each by its own factor leave the direction, but for its length."""
    jacobian = jacobian_of(seed, 2, tasks)
    scaled = jacobian * 10.0 ** torch.tensor(logs[:tasks], dtype=torch.float64)[:, None]
    directions = []
    for rows in (jacobian, scaled):
        weights = weights_of(IMTLG(), rows)
        torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))
        d = torch.einsum("mk,mkd->md", weights, rows)
        projections = torch.einsum("md,mkd->mk", d, rows) / rows.norm(dim=2) / d.norm(dim=1, keepdim=True)
        torch.testing.assert_close(projections, projections[:, :1].expand(-1, tasks), rtol=1e-4, atol=1e-5)
        directions.append(d * projections[:, :1].sign() / d.norm(dim=1, keepdim=True))
    torch.testing.assert_close(directions[0], directions[1], rtol=1e-4, atol=1e-5)


# Aligned-MTL -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_aligned_mtl__equals_torchjd(tasks: int, kind: str) -> None:
    jacobian = jacobian_of(4, 20, tasks, kind)
    oracle = aggregation.AlignedMTL().gramian_weighting
    expected = torch.stack([oracle(gram) for gram in gram_of(jacobian)])
    torch.testing.assert_close(weights_of(AlignedMTL(), jacobian), expected, rtol=1e-6, atol=1e-8)


def test_aligned_mtl__by_hand() -> None:
    """Orthogonal gradients of norms 1 and 3: the second is shrunk to the first."""
    found = weights_of(AlignedMTL(), of((1.0, 0.0), (0.0, 3.0)))
    assert found[0].tolist() == pytest.approx([1 / 2, 1 / 6], rel=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 5))
def test_aligned_mtl__direction_is_the_mean_of_orthogonal_gradients(seed: int, tasks: int) -> None:
    """σ_min U Vᵀ of the singular value decomposition, averaged; its length is σ_min / √K."""
    jacobian = jacobian_of(seed, 3, tasks)
    u, sigma, vh = torch.linalg.svd(jacobian, full_matrices=False)
    expected = (sigma[:, -1, None, None] * u @ vh).mean(1)
    found = torch.einsum("mk,mkd->md", weights_of(AlignedMTL(), jacobian), jacobian)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.norm(dim=1), sigma[:, -1] / math.sqrt(tasks), rtol=1e-6, atol=0)


# Task Tensioner ----------------------------------------------------------------------------------------------------


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
def test_task_tensioner__equals_a_loop_over_vectors(tasks: int) -> None:
    draw, turns = np.random.default_rng(tasks), 0
    history: list[Vector] = []
    jacobians = [jacobian_of(seed, 1, tasks, KINDS[1 - seed % 2]) * 0.3 for seed in range(30)]
    losses = [torch.as_tensor(draw.lognormal(sigma=3.0, size=(1, tasks))) for _ in jacobians]
    steps = [step_of(gram_of(j), loss) for j, loss in zip(jacobians, losses, strict=True)]
    found, _ = run(TaskTensioner(), steps, alpha=0.9)
    for jacobian, loss, weights in zip(jacobians, losses, found, strict=True):
        g = jacobian[0].numpy()
        expected, turned = tensioned(g, loss[0].numpy(), history, 0.9)
        turns += turned
        np.testing.assert_allclose(weights[0].numpy() @ g, expected, rtol=1e-7, atol=1e-8)
    assert turns > 0


def test_task_tensioner__eleventh_step_by_hand() -> None:
    """Gradients (2, 0), (0, 2), losses 10 and 1: v = (1, 1), each 1.41 from it, R = 2 and 1, at right angles to the
    difference of the gradients the pulls cancel, along it remains the difference of the tensions."""
    step = step_of(gram_of(of((2.0, 0.0), (0.0, 2.0))), torch.tensor([[10.0, 1.0]]))
    found, _ = run(TaskTensioner(), [step] * 11, alpha=0.5)
    for weights in found[:10]:
        torch.testing.assert_close(weights, torch.full((1, 2), 0.5, dtype=torch.float64))
    more = 0.5 / (1 + math.exp(-math.e)) - 0.25
    along = more / math.sqrt(2) / 2
    assert found[10][0].tolist() == pytest.approx([0.5 + along, 0.5 - along], rel=1e-12)


def test_task_tensioner__steps_without_a_task__leave_its_norms() -> None:
    grams = [gram_of(of((1.0, 0.0), (0.0, float(n)))) for n in range(1, 5)]
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


# What must hold for all --------------------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)


@named
@settings(max_examples=6)
@given(seed=seeds, tasks=st.integers(2, 5), data=st.data())
def test_absent_tasks__change_nothing(strategy: Strategy, seed: int, tasks: int, data: st.DataObject) -> None:
    """Weights of every step are those of the problem without the absent tasks, which get 0."""
    kept = torch.tensor([True, *data.draw(st.lists(st.booleans(), min_size=tasks - 1, max_size=tasks - 1))])
    full = steps_from(seed, 2, tasks, 13, kept.expand(2, -1))
    found, _ = run(strategy, full)
    alone, _ = run(strategy, [only(step, kept) for step in full])
    for weights, expected in zip(found, alone, strict=True):
        torch.testing.assert_close(weights[:, kept], expected, rtol=1e-7, atol=1e-7)
        assert bool((weights[:, ~kept] == 0).all())


@named
@settings(max_examples=5)
@given(seed=seeds, tasks=st.integers(1, 4))
def test_models__do_not_see_each_other(strategy: Strategy, seed: int, tasks: int) -> None:
    present = torch.as_tensor(np.random.default_rng(seed).random((3, tasks)) < 0.7)
    present[:, 0] = True
    steps = steps_from(seed, 3, tasks, 12, present)
    together, _ = run(strategy, steps)
    for model in range(3):
        alone, _ = run(strategy, [step.take(torch.tensor([model])) for step in steps])
        for weights, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(weights[model], expected[0], rtol=1e-12, atol=1e-12)


@named
@settings(max_examples=6)
@given(seed=seeds, data=st.data())
def test_tasks__in_another_order__weights_in_that_order(strategy: Strategy, seed: int, data: st.DataObject) -> None:
    """For any number of tasks, or for two where what is done depends on the order in which tasks meet."""
    tasks = data.draw(st.integers(2, 5)) if strategy.name in ("imtl-g", "aligned-mtl") else 2
    order = torch.tensor(data.draw(st.permutations(range(tasks))))
    steps = steps_from(seed, 2, tasks, 8)
    found, _ = run(strategy, steps)
    moved, _ = run(strategy, [only(step, order) for step in steps])
    for weights, expected in zip(moved, found, strict=True):
        torch.testing.assert_close(weights, expected[:, order], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("strategy", ALL[:-1], ids=lambda strategy: strategy.name)
@settings(max_examples=6)
@given(seed=seeds, tasks=st.integers(2, 4), scale=st.floats(1e-3, 1e3))
def test_all_gradients_scaled__same_weights(strategy: Strategy, seed: int, tasks: int, scale: float) -> None:
    """Not so for the Task Tensioner, whose pulls have unit length."""
    steps = steps_from(seed, 2, tasks, 4)
    scaled = [step_of(step.gram * scale**2, step.losses, seed=seed, number=n) for n, step in enumerate(steps)]
    for ours, others in zip(run(strategy, steps)[0], run(strategy, scaled)[0], strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-7, atol=1e-8)


@named
@settings(max_examples=5)
@given(seed=seeds)
def test_tasks_that_come_and_go__everything_stays_finite(strategy: Strategy, seed: int) -> None:
    """With losses and gradients that are 0 in some steps, and gradients that are opposite or alike."""
    draw = np.random.default_rng(seed)
    steps = []
    for number in range(25):
        present = torch.as_tensor(draw.random((4, 3)) < 0.8)
        present[:, 0] = True
        jacobian = jacobian_of(seed + number, 4, 3, KINDS[number % len(KINDS)])
        jacobian = jacobian * torch.as_tensor(draw.integers(-1, 2, size=(4, 3, 1)))
        losses = torch.as_tensor(draw.lognormal(size=(4, 3)) * (draw.random((4, 3)) < 0.8))
        steps.append(step_of(gram_of(jacobian), losses, present, seed=seed % 1000, number=number))
    found, state = run(strategy, steps)
    for step, weights in zip(steps, found, strict=True):
        assert bool(weights.isfinite().all())
        assert bool((weights[~step.present] == 0).all())
    for value in state.values():
        assert bool(value.isfinite().all())


@named
def test_state__weights_leaves_what_it_was_given(strategy: Strategy) -> None:
    step = steps_from(0, 2, 3, 1)[0]
    state = strategy.start(2, 3)
    before = {name: value.clone() for name, value in state.items()}
    _, after = strategy.weights(step, state, values_of(strategy, 2))
    assert set(after) == set(before)
    for name, value in before.items():
        assert torch.equal(state[name], value)
        assert after[name].shape == value.shape
        assert after[name].dtype == value.dtype


@named
def test_one_task__weight_one(strategy: Strategy) -> None:
    for weights in run(strategy, steps_from(5, 2, 1, 13))[0]:
        torch.testing.assert_close(weights, torch.ones(2, 1, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "zero", "opposite", "alike"),
    [
        # One gradient of zero beside one of norm 2; norms 1 and 2 opposite; norms 1 and 2 collinear.
        ("pcgrad", (1, 1), (3, 1.5), (1, 1)),
        ("gradvac", (1, 1), (3, 1.5), (1, 1)),
        ("imtl-g", (1, 0), (-1, 2), (1 / 3, 2 / 3)),
        ("aligned-mtl", (0.5, 0), (-0.1, 0.2), (0.3, 0.6)),
        ("task-tensioner", (1, 0.5), (2 / 3, 1 / 3), None),
    ],
)
def test_degenerate_gradients__as_documented(
    name: str, zero: tuple[float, ...], opposite: tuple[float, ...], alike: tuple[float, ...] | None
) -> None:
    strategy = next(s for s in ALL if s.name == name)
    assert weights_of(strategy, of((2.0, 0.0), (0.0, 0.0)))[0].tolist() == pytest.approx(zero, abs=1e-12)
    assert weights_of(strategy, of((1.0, 0.0), (-2.0, 0.0)))[0].tolist() == pytest.approx(opposite, abs=1e-12)
    found = weights_of(strategy, of((1.0, 0.0), (2.0, 0.0)))[0].tolist()
    if alike is None:  # between the two
        assert 1 <= found[0] + 2 * found[1] <= 2
    else:
        assert found == pytest.approx(alike, abs=1e-12)


@named
def test_nothing_shared__every_task_counts_alike(strategy: Strategy) -> None:
    for weights in run(strategy, [step_of(torch.zeros(2, 3, 3))] * 12)[0]:
        assert bool((weights > 0).all())
        torch.testing.assert_close(weights, weights[:, :1].expand(-1, 3))


@pytest.mark.parametrize("strategy", [PCGrad(), GradVac()], ids=lambda strategy: strategy.name)
def test_random_orders__depend_on_seed_and_step_alone(strategy: Strategy) -> None:
    gram = gram_of(jacobian_of(6, 1, 4, "conflicting"))

    def weights(seed: int, number: int) -> Tensor:
        return run(strategy, [step_of(gram, seed=seed, number=number)])[0][0]

    assert torch.equal(weights(1, 2), weights(1, 2))
    assert any(not torch.equal(weights(1, 2), weights(1, number)) for number in range(3, 8))
    assert any(not torch.equal(weights(1, 2), weights(seed, 2)) for seed in range(2, 7))


@named
def test_without_a_gramian__raises(strategy: Strategy) -> None:
    with pytest.raises(ValueError, match="reads the Gramian"):
        run(strategy, [step_of(losses=torch.ones(1, 2))])
