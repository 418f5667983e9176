"""What holds for every balancing strategy, whatever it computes; what holds for all but a few names them and says why.

A strategy is run over steps that let it learn: one that moves its weights every 25 steps, or sums over a horizon, has
moved them. What one strategy alone promises stands in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lupi.balancing import STRATEGIES, quadratic
from lupi.balancing.base import Learned, State, Step, Strategy
from lupi.balancing.cagrad import CAGrad
from lupi.balancing.mgda import MGDA
from lupi.balancing.upgrad import UPGrad
from tests.lupi.balancing.gramians import gramians, hard_gramians, length, problems
from tests.lupi.balancing.steps import (
    KINDS,
    Course,
    gram_of,
    jacobian_of,
    only,
    parameters_of,
    random_steps,
    run,
    step_of,
    weigh,
)

#: Long enough for every strategy to have moved its weights.
LONG = 46
seeds = st.integers(0, 2**32 - 1)


def every_strategy(but: Sequence[str] = (), that: Callable[[Strategy], bool] = lambda _: True) -> pytest.MarkDecorator:
    """A test of each strategy `that` is so, but for those named."""
    assert set(but) <= set(STRATEGIES)
    chosen = [strategy for name, strategy in STRATEGIES.items() if name not in but and that(strategy)]
    return pytest.mark.parametrize("strategy", chosen, ids=lambda strategy: strategy.name)


def reads_gramian(strategy: Strategy) -> bool:
    return strategy.reads_gramian


def is_asymmetric(strategy: Strategy) -> bool:
    return strategy.family == "asymmetric"


SOLVERS = every_strategy(that=lambda strategy: isinstance(strategy, MGDA | UPGrad | CAGrad))


def taught(strategy: Strategy, steps: Sequence[Step], state: State | None = None) -> Course:
    """As `run`; a strategy that learns is given a response to every step, which is the step's last row of G."""
    if not isinstance(strategy, Learned):
        return run(strategy, steps, state)
    weights, state = [], strategy.start(*steps[0].losses.shape) if state is None else state
    parameters = parameters_of(strategy, len(steps[0].losses))
    for step in steps:
        weights.append(strategy.weights(step, state, parameters)[0])
        state = strategy.learn(step.gram[:, 0], step, state, parameters)
    return Course(torch.stack(weights), state)


def some_present(seed: int, models: int, tasks: int, share: float = 0.7) -> Tensor:
    """[M, K] which tasks are there: always the first."""
    present = torch.as_tensor(np.random.default_rng(seed).random((models, tasks)) < share)
    present[:, 0] = True
    return present


# What the interface says --------------------------------------------------------------------------------------------


@every_strategy()
def test_weights__any_step__float64_of_the_shape_of_the_losses_and_finite(strategy: Strategy) -> None:
    steps = random_steps(3, 4, LONG, seed=1, kinds=KINDS)
    weights = taught(strategy, steps).weights
    assert weights.shape == (LONG, 3, 4)
    assert weights.dtype == torch.float64
    assert weights.isfinite().all()


@every_strategy(that=lambda strategy: strategy.family == "loss")
def test_weights__strategy_that_weighs_losses__never_negative(strategy: Strategy) -> None:
    assert (run(strategy, random_steps(3, 4, LONG, seed=2, kinds=KINDS)).weights >= 0).all()


@every_strategy(that=is_asymmetric, but=("auxilearn-nonlinear", "auxinash", "auxinash-fixed"))
def test_weights__asymmetric_strategy__main_task_has_one(strategy: Strategy) -> None:
    """The nonlinear AuxiLearn gives the main task more, and a bargain gives it what it bargains for."""
    assert (taught(strategy, random_steps(3, 4, LONG)).weights[:, :, 0] == 1).all()
    assert (taught(strategy, random_steps(2, 1, LONG)).weights == 1).all()


@every_strategy()
def test_parameters__at_either_end_of_their_ranges__weights_are_finite(strategy: Strategy) -> None:
    steps = random_steps(2, 3, 12, seed=3)
    for knob in strategy.knobs:
        assert knob.low <= knob.default <= knob.high
        for end in (knob.low, knob.high):
            assert run(strategy, steps, **{knob.name: end}).weights.isfinite().all()


@every_strategy(that=reads_gramian)
def test_weights__without_a_gramian__raises(strategy: Strategy) -> None:
    with pytest.raises(ValueError, match="reads the Gramian"):
        run(strategy, [step_of(losses=torch.ones(1, 2))])


SCALES_ONE_TASK = ("uncertainty", "static", "cagrad", "nash-mtl", "auxilearn-nonlinear", "auxinash", "auxinash-fixed")


@every_strategy(but=SCALES_ONE_TASK)
def test_one_task__any_step__weight_one(strategy: Strategy) -> None:
    """The others scale it: by a noise level, a fixed weight, 1 + c, its length, or a learned slope."""
    torch.testing.assert_close(
        taught(strategy, random_steps(2, 1, LONG, seed=4)).weights,
        torch.ones(LONG, 2, 1, dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )


def test_one_task__cagrad__weight_of_one_and_the_radius() -> None:
    assert weigh(CAGrad(), torch.full((1, 1, 1), 7.0), c=0.5)[0].tolist() == pytest.approx([1.5], rel=1e-12)


@every_strategy(that=reads_gramian, but=("gcs-weighted", "auxinash-fixed"))
def test_nothing_shared__losses_alike__every_task_counts_alike(strategy: Strategy) -> None:
    """The weighted GCS leaves out helpers without a gradient, and a fixed preference is for the main task."""
    weights = run(strategy, [step_of(torch.zeros(2, 3, 3))] * 12).weights
    assert (weights > 0).all()
    torch.testing.assert_close(weights, weights[:, :, :1].expand(-1, -1, 3))


# A model does not know its neighbours -------------------------------------------------------------------------------


@every_strategy()
@settings(max_examples=5)
@given(seed=seeds, tasks=st.integers(1, 4))
def test_models__in_a_batch_or_alone__same_course(strategy: Strategy, seed: int, tasks: int) -> None:
    steps = random_steps(3, tasks, 12, some_present(seed, 3, tasks), seed=seed)
    together = taught(strategy, steps).weights
    for model in range(3):
        alone = taught(strategy, [step.take(torch.tensor([model])) for step in steps]).weights
        torch.testing.assert_close(together[:, model], alone[:, 0], rtol=1e-12, atol=1e-12)


@every_strategy()
def test_models__over_a_long_course__same_in_a_batch_or_alone(strategy: Strategy) -> None:
    steps = random_steps(4, 4, LONG, seed=5)
    together = taught(strategy, steps).weights
    for model in range(4):
        alone = taught(strategy, [step.take(torch.tensor([model])) for step in steps]).weights
        torch.testing.assert_close(together[:, model], alone[:, 0], rtol=1e-12, atol=1e-12)


@SOLVERS
@problems
def test_models__gramian_of_any_rank__same_weights_in_a_batch_or_alone(
    strategy: Strategy, tasks: int, rank: int, spread: float
) -> None:
    g = gramians(12, tasks, rank=rank, spread=spread)
    alone = torch.cat([weigh(strategy, g[m : m + 1]) for m in range(12)])
    torch.testing.assert_close(weigh(strategy, g), alone, rtol=1e-12, atol=1e-12)


@every_strategy(that=lambda strategy: bool(strategy.knobs))
def test_parameters__each_model_its_own__as_if_all_had_them(strategy: Strategy) -> None:
    steps = random_steps(2, 3, 30, seed=6)
    first = {knob.name: knob.default for knob in strategy.knobs}
    second = {knob.name: (knob.default + knob.low) / 2 for knob in strategy.knobs}
    parameters = {name: torch.tensor([first[name], second[name]], dtype=torch.float64) for name in first}
    state, weights = strategy.start(2, 3), []
    for number, step in enumerate(steps, 1):
        given_, state = strategy.weights(step, state, parameters)
        weights.append(given_)
        state = strategy.end_epoch(state, parameters) if number % 2 == 0 else state
    both = torch.stack(weights)
    torch.testing.assert_close(both[:, 0], run(strategy, steps, **first).weights[:, 0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(both[:, 1], run(strategy, steps, **second).weights[:, 1], rtol=1e-12, atol=1e-12)


# Absent tasks, and tasks in another order ---------------------------------------------------------------------------


@every_strategy()
@settings(max_examples=6)
@given(seed=seeds, tasks=st.integers(2, 5), data=st.data())
def test_absent_tasks__any_subset__change_nothing(
    strategy: Strategy, seed: int, tasks: int, data: st.DataObject
) -> None:
    """Weights of every step are those of the problem without the absent tasks, which get 0."""
    kept = torch.tensor([True, *data.draw(st.lists(st.booleans(), min_size=tasks - 1, max_size=tasks - 1))])
    steps = random_steps(2, tasks, 13, kept.expand(2, -1), seed=seed)
    weights = taught(strategy, steps).weights
    alone = taught(strategy, [only(step, kept) for step in steps]).weights
    torch.testing.assert_close(weights[:, :, kept], alone, rtol=1e-7, atol=1e-7)
    assert (weights[:, :, ~kept] == 0).all()


@every_strategy()
def test_absent_tasks__each_model_its_own__change_nothing(strategy: Strategy) -> None:
    present = torch.tensor([[True, False, True, True], [True, True, False, False], [True, False, False, False]])
    steps = random_steps(3, 4, LONG, present, seed=7)
    weights = taught(strategy, steps).weights
    assert (weights[:, ~present] == 0).all()
    for model in range(3):
        part = [only(step.take(torch.tensor([model])), present[model]) for step in steps]
        alone = taught(strategy, part).weights[:, 0]
        torch.testing.assert_close(weights[:, model, present[model]], alone, rtol=1e-9, atol=1e-10)


@SOLVERS
def test_absent_tasks__lengths_far_apart__change_nothing(strategy: Strategy) -> None:
    g, present = gramians(30, 5, spread=2), some_present(5, 30, 5, 0.6)
    weights = weigh(strategy, g, present)
    assert (weights[~present] == 0).all()
    for model in range(30):
        kept = present[model]
        alone = weigh(strategy, g[model : model + 1][:, kept][:, :, kept])
        torch.testing.assert_close(weights[model, kept], alone[0], rtol=1e-10, atol=1e-12)


@every_strategy(but=("rlw",))
@settings(max_examples=6)
@given(seed=seeds, data=st.data())
def test_tasks__in_another_order__weights_in_that_order(strategy: Strategy, seed: int, data: st.DataObject) -> None:
    """The main task stays where it is for the asymmetric ones. RLW draws by position; PCGrad, GradVac and the Task
    Tensioner go through the tasks one by one, which leaves two tasks no order to choose."""
    tasks = 2 if strategy.name in ("pcgrad", "gradvac", "task-tensioner") else data.draw(st.integers(2, 5))
    head = [0] if is_asymmetric(strategy) else []
    order = torch.tensor(head + data.draw(st.permutations(range(len(head), tasks))))
    steps = random_steps(2, tasks, 8, seed=seed)
    moved = taught(strategy, [only(step, order) for step in steps]).weights
    torch.testing.assert_close(moved, taught(strategy, steps).weights[:, :, order], rtol=1e-7, atol=1e-8)


@SOLVERS
@settings(max_examples=25)
@given(g=hard_gramians(), data=st.data())
def test_tasks__gramian_of_any_rank_in_another_order__same_direction(
    strategy: Strategy, g: Tensor, data: st.DataObject
) -> None:
    order = list(data.draw(st.permutations(range(g.shape[1]))))
    back = torch.tensor(order).argsort()
    weights = weigh(strategy, g)
    again = weigh(strategy, g[:, order][:, :, order])[:, back]
    size = ((g.diagonal(dim1=1, dim2=2).sqrt() * weights).sum(1)).square()
    assert (length(g, again - weights).abs() / size).max() < 1e-8


# Gradients of other lengths -----------------------------------------------------------------------------------------


BARGAINS = ("nash-mtl", "auxinash", "auxinash-fixed")


@every_strategy(that=reads_gramian, but=("gradnorm", "task-tensioner", "ol-aux", "arml", *BARGAINS))
@settings(max_examples=6)
@given(seed=seeds, tasks=st.integers(2, 4), scale=st.floats(1e-3, 1e3))
def test_gradients__all_longer_by_one_factor__same_weights(
    strategy: Strategy, seed: int, tasks: int, scale: float
) -> None:
    """Not so for pulls of unit length (Task Tensioner), gains and steps in the units of the gradients (OL-AUX, ARML),
    and bargains, whose direction stays and whose weights shrink (below). GradNorm's Adam adds 1e-8 (below)."""
    steps = random_steps(2, tasks, 7, seed=seed)
    longer = [step_of(step.gram * scale**2, step.losses, seed=seed, number=n) for n, step in enumerate(steps)]
    torch.testing.assert_close(run(strategy, steps).weights, run(strategy, longer).weights, rtol=1e-7, atol=1e-8)


@settings(max_examples=6)
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_gradients__all_longer_for_gradnorm__same_weights_but_for_adams_constant(seed: int, scale: float) -> None:
    strategy, steps = STRATEGIES["gradnorm"], random_steps(2, 3, 7, seed=seed)
    longer = [step_of(step.gram * scale**2, step.losses) for step in steps]
    torch.testing.assert_close(run(strategy, steps).weights, run(strategy, longer).weights, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", BARGAINS)
@settings(max_examples=6)
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_gradients__all_longer_in_a_bargain__weights_shrink_by_that_factor(name: str, seed: int, scale: float) -> None:
    steps = random_steps(2, 4, 7, seed=seed, kinds=KINDS[:1])
    longer = [step_of(step.gram * scale**2, step.losses) for step in steps]
    first, second = run(STRATEGIES[name], steps).weights, run(STRATEGIES[name], longer).weights
    torch.testing.assert_close(second * scale, first, rtol=1e-7, atol=0)


@SOLVERS
@settings(max_examples=20)
@given(g=hard_gramians(), power=st.integers(-40, 40))
def test_gradients__of_any_rank_all_longer__same_weights(strategy: Strategy, g: Tensor, power: int) -> None:
    torch.testing.assert_close(weigh(strategy, g * 4.0**power), weigh(strategy, g), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mgda", "upgrad"])
@settings(max_examples=25)
@given(g=hard_gramians())
def test_direction__gramian_of_any_rank__no_task_loses(name: str, g: Tensor) -> None:
    norms = g.diagonal(dim1=1, dim2=2).sqrt()
    weights = weigh(STRATEGIES[name], g)
    scale = norms * (norms * weights).sum(1, keepdim=True)
    assert (quadratic.times(g, weights) / scale).min() > -1e-9


# State --------------------------------------------------------------------------------------------------------------


def copied(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


@every_strategy()
def test_state__after_a_step__same_shapes_and_the_given_one_is_left(strategy: Strategy) -> None:
    (step,), state = random_steps(2, 3, 1), strategy.start(2, 3)
    before, parameters = copied(state), parameters_of(strategy, 2)
    _, after = strategy.weights(step, state, parameters)
    strategy.end_epoch(after, parameters)
    if isinstance(strategy, Learned):
        after = strategy.learn(step.gram[:, 0], step, after, parameters)
    assert set(after) == set(before)
    for name, value in before.items():
        assert torch.equal(state[name], value)
        assert after[name].shape == value.shape
        assert after[name].dtype == value.dtype


@every_strategy()
def test_state__taken_up_midway__same_course_to_the_last_bit(strategy: Strategy) -> None:
    steps = random_steps(2, 3, LONG, seed=8)
    state = taught(strategy, steps[:18]).state
    kept = copied(state)
    later = taught(strategy, steps[18:], state)
    whole = taught(strategy, steps)
    assert torch.equal(later.weights, whole.weights[18:])
    assert all(torch.equal(later.state[name], whole.state[name]) for name in whole.state)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


@every_strategy()
@settings(max_examples=5)
@given(seed=seeds)
def test_state__tasks_that_come_and_go__everything_stays_finite(strategy: Strategy, seed: int) -> None:
    """With losses and gradients that are 0 in some steps, and gradients that are opposite or alike."""
    draw = np.random.default_rng(seed)
    steps = []
    for number in range(25):
        jacobian = jacobian_of(seed + number, 4, 3, KINDS[number % len(KINDS)])
        jacobian = jacobian * torch.as_tensor(draw.integers(-1, 2, size=(4, 3, 1)))
        losses = torch.as_tensor(draw.lognormal(size=(4, 3)) * (draw.random((4, 3)) < 0.8))
        present = some_present(seed + number, 4, 3, 0.8)
        steps.append(step_of(gram_of(jacobian), losses, present, seed=seed % 1000, number=number))
    weights, state = taught(strategy, steps)
    assert weights.isfinite().all()
    assert strategy.family != "loss" or bool((weights >= 0).all())
    assert (weights[~torch.stack([step.present for step in steps])] == 0).all()
    assert all(bool(value.isfinite().all()) for value in state.values())


# Draws --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rlw", "pcgrad", "gradvac"])
def test_draws__same_model_and_step__same_weights_and_others_for_other_ones(name: str) -> None:
    gram = gram_of(jacobian_of(6, 1, 4, "conflicting"))

    def weights(seed: int, number: int) -> Tensor:
        return run(STRATEGIES[name], [step_of(gram, seed=seed, number=number)]).weights

    assert torch.equal(weights(1, 2), weights(1, 2))
    assert any(not torch.equal(weights(1, 2), weights(1, number)) for number in range(3, 8))
    assert any(not torch.equal(weights(1, 2), weights(seed, 2)) for seed in range(2, 7))
