"""Every loss against a value worked out by hand, against finite differences, and against the formula of its paper."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lupi.columns import Column
from lupi.engine import losses

LN = math.log


def of(*values: float) -> Tensor:
    """One model, C = 1."""
    return torch.tensor(values, dtype=torch.float64)[None, None]


def logit(p: float) -> float:
    return LN(p / (1 - p))


def test_cross_entropy__binary__by_hand() -> None:
    found = losses.cross_entropy(of(logit(0.8), logit(0.8), logit(0.25)), of(1.0, 0.0, 0.5))
    assert found[0].tolist() == pytest.approx([-LN(0.8), -LN(0.2), -0.5 * LN(0.25) - 0.5 * LN(0.75)], rel=1e-12)


def test_cross_entropy__three_classes__by_hand() -> None:
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    target = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    found = losses.cross_entropy(p.log()[None, :, None] + 7.0, target[None, :, None])
    assert found.item() == pytest.approx(-0.5 * LN(0.2) - 0.5 * LN(0.3), rel=1e-12)


def test_squared_error__by_hand() -> None:
    assert losses.squared_error(of(1.0, -2.0), of(0.5, 1.0))[0].tolist() == [0.25, 9.0]


def published_tpd(p: float, t: float, y: float, beta: float) -> float:
    """δ H(p -> t) - β (1 - δ) H(p -> t), as the paper writes it."""
    inverse = -(p * LN(t) + (1 - p) * LN(1 - t))
    right = (t > 0.5) == (y > 0.5)
    return inverse if right else -beta * inverse


probability = st.floats(0.01, 0.99).filter(lambda t: abs(t - 0.5) > 1e-6)


@given(p=probability, q=probability, t=probability, y=st.sampled_from([0.0, 1.0]), beta=st.floats(0.0, 5.0))
def test_teacher_privileged__differs_from_the_published_form_by_a_constant(
    p: float, q: float, t: float, y: float, beta: float
) -> None:
    """The constant depends on (t, y), not on the student: differences between two students agree to 1e-12."""
    ours = losses.teacher_privileged(
        of(logit(p), logit(q)), of(logit(t), logit(t)), of(y, y), torch.tensor([beta], dtype=torch.float64)
    )
    published = published_tpd(p, t, y, beta) - published_tpd(q, t, y, beta)
    assert (ours[0, 0] - ours[0, 1]).item() == pytest.approx(published, abs=1e-12)


@given(p=probability, t=probability, y=st.sampled_from([0.0, 1.0]))
def test_teacher_privileged__beta_one__is_the_weighted_distance_to_the_label(p: float, t: float, y: float) -> None:
    found = losses.teacher_privileged(of(logit(p)), of(logit(t)), of(y), torch.ones(1, dtype=torch.float64))
    assert found.item() == pytest.approx(abs(logit(t)) * abs(y - p), abs=1e-12)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.integers(0, 2), st.floats(0, 4))
def test_teacher_privileged__several_classes__published_form_less_its_minimum(
    values: list[float], label: int, beta: float
) -> None:
    student = torch.tensor(values[:3], dtype=torch.float64)
    teacher = torch.tensor(values[3:], dtype=torch.float64).log_softmax(0)
    y = torch.eye(3, dtype=torch.float64)[label]
    sign = 1.0 if int(teacher.argmax()) == label else -beta
    cost = -sign * teacher
    expected = (cost * student.softmax(0)).sum() - cost.min()
    found = losses.teacher_privileged(
        student[None, :, None], teacher[None, :, None], y[None, :, None], torch.tensor([beta], dtype=torch.float64)
    )
    assert found.item() == pytest.approx(expected.item(), abs=1e-10)
    assert found.item() >= -1e-12


def test_teacher_privileged__two_classes_as_softmax__equals_the_binary_form() -> None:
    torch.manual_seed(1)
    student, teacher = torch.randn(2, 1, 1, 9, dtype=torch.float64)
    y = (torch.rand(1, 1, 9) > 0.5).double()
    beta = torch.tensor([0.7], dtype=torch.float64)
    both = [torch.cat([torch.zeros_like(v), v], 1) for v in (student, teacher)]
    wide = losses.teacher_privileged(both[0], both[1].log_softmax(1), torch.cat([1 - y, y], 1), beta)
    torch.testing.assert_close(wide, losses.teacher_privileged(student, teacher, y, beta))


@pytest.mark.parametrize("classes", [1, 3])
def test_gradients__agree_with_finite_differences(classes: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, classes, 5, dtype=torch.float64)
    y = (torch.rand(2, 1, 5) > 0.5).double() if classes == 1 else torch.eye(3).double()[torch.randint(3, (2, 5))].mT
    teacher = teacher if classes == 1 else teacher.log_softmax(1)
    beta = torch.tensor([0.5, 2.0], dtype=torch.float64)
    soft = teacher.sigmoid() if classes == 1 else teacher.exp()
    assert torch.autograd.gradcheck(lambda v: losses.cross_entropy(v, soft), (logits,))
    assert torch.autograd.gradcheck(lambda v: losses.squared_error(v, soft), (logits,))
    assert torch.autograd.gradcheck(lambda v: losses.teacher_privileged(v, teacher, y, beta), (logits,))


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1), (2, 1, 4), (5,), (1, 1, 5)])
def test_losses__shapes_that_would_broadcast__raise(shape: tuple[int, ...]) -> None:
    logits, other = torch.zeros(2, 1, 5), torch.zeros(shape)
    for call in (
        lambda: losses.cross_entropy(logits, other),
        lambda: losses.squared_error(logits, other),
        lambda: losses.teacher_privileged(logits, other, logits, torch.ones(2)),
        lambda: losses.teacher_privileged(logits, logits, other, torch.ones(2)),
        lambda: losses.Layout([Column("z", 0, 1, False)]).losses(logits, other),
        lambda: losses.mean_over_rows(torch.zeros(2, 5), torch.zeros(2, 1)),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()


def test_mean_over_rows__weights_carry_their_normalisation() -> None:
    values = torch.tensor([[1.0, 3.0]])
    assert losses.mean_over_rows(values, None).item() == 2.0
    assert losses.mean_over_rows(values, torch.tensor([[0.25, 0.75]])).item() == 2.5


def test_privileged__mixed_columns_with_missing_cells__by_hand() -> None:
    columns = [Column("lab", 0, 1, False), Column("level", 1, 3, True)]
    nan = math.nan
    z = torch.tensor([[1.0, nan, 3.0], [1, 0, nan], [0, 0, nan], [0, 1, nan]], dtype=torch.float64)[None]
    p = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    output = torch.cat([torch.tensor([[0.0, 9.0, 5.0]], dtype=torch.float64), p.log().T])[None]
    found, known = losses.Layout(columns).losses(output, z)
    assert known.all()
    # The number is known in rows 0 and 2, the level in rows 0 and 1.
    assert found[0].tolist() == pytest.approx([(1.0 + 4.0) / 2, -(LN(0.7) + LN(0.25)) / 2], rel=1e-12)


def test_privileged__column_unknown_throughout__costs_nothing_and_has_no_gradient() -> None:
    output = torch.randn(1, 1, 4, requires_grad=True)
    found, known = losses.Layout([Column("z", 0, 1, False)]).losses(output, torch.full((1, 1, 4), math.nan))
    assert not known.any()
    found.sum().backward()
    assert found.item() == 0.0
    assert output.grad is not None
    assert output.grad.abs().max().item() == 0.0


#: Kinds in a mixed order: numbers beside each other and apart, categories of two widths, a spectrum.
MIXED = (
    Column("a", 0, 1), Column("b", 1, 3, True), Column("c", 4, 1), Column("d", 5, 1), Column("e", 6, 2, True),
    Column("f", 8, 4, shape=(4,)), Column("g", 12, 3, True), Column("h", 15, 1),
)  # fmt: skip


def one_by_one(output: Tensor, z: Tensor, weights: Tensor | None) -> Tensor:
    """The losses of `MIXED` [M, q], model by model, column by column and row by row."""
    found = torch.zeros(len(output), len(MIXED), dtype=torch.float64)
    for m, (j, column) in itertools.product(range(len(output)), enumerate(MIXED)):
        total = count = torch.zeros((), dtype=torch.float64)
        for row in range(output.shape[2]):
            o, t = output[m, column.span, row], z[m, column.span, row]
            there = ~t.isnan()
            if not there.any():
                continue
            loss = (o[there] - t[there]).square().mean()
            if column.categorical:
                loss = -o.log_softmax(0)[t.argmax()]
            weight = torch.ones((), dtype=torch.float64) if weights is None else weights[m, row]
            total, count = total + weight * loss, count + weight
        found[m, j] = total / count
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_layout__columns_of_all_kinds_in_a_mixed_order__are_as_one_by_one(weighted: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    m, rows = 3, 6
    output = torch.randn(m, 16, rows, dtype=torch.float64, generator=draw).requires_grad_()
    z = torch.randn(m, 16, rows, dtype=torch.float64, generator=draw)
    for column in MIXED:
        if column.categorical:
            codes = torch.randint(column.width, (m, rows), generator=draw)
            z[:, column.span] = torch.nn.functional.one_hot(codes, column.width).mT.double()
    z[0, 0, 1] = z[1, 8:12, 2] = z[2, 9, 3] = z[1, 12:15, 0] = math.nan  # of the spectrum a whole cell, and one number
    weights = torch.rand(m, rows, dtype=torch.float64, generator=draw) if weighted else None
    found, known = losses.Layout(MIXED).losses(output, z, weights)
    expected = one_by_one(output, z, weights)
    assert known.all()
    torch.testing.assert_close(found, expected)
    mix = torch.randn(m, len(MIXED), dtype=torch.float64, generator=draw)
    ours, theirs = (torch.autograd.grad((each * mix).sum(), output, create_graph=True)[0] for each in (found, expected))
    torch.testing.assert_close(ours, theirs)
    twice = [torch.autograd.grad(each.square().sum(), output, retain_graph=True)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*twice)


def test_layout__output_that_is_no_number__has_no_finite_loss() -> None:
    output = torch.full((1, 1, 3), math.nan)
    assert losses.Layout([Column("z", 0, 1)]).losses(output, torch.ones(1, 1, 3))[0].isnan().all()


def test_layout__mixed_order__is_read_in_its_order() -> None:
    output = torch.randn(2, 16, 5)
    read = losses.Layout(MIXED).read(output)
    for column in MIXED:
        block = output[:, column.span]
        torch.testing.assert_close(read[:, column.span], block.softmax(1) if column.categorical else block)


def test_layout__uncertainties__are_those_of_the_columns() -> None:
    loss, s = torch.rand(2, len(MIXED)), torch.randn(2, len(MIXED))
    each = [losses.uncertainty(loss[:, j], s[:, j], regression=not c.categorical) for j, c in enumerate(MIXED)]
    torch.testing.assert_close(losses.Layout(MIXED).uncertainties(loss, s), torch.stack(each, 1))


def test_layout__category_of_one_level__is_refused() -> None:
    with pytest.raises(ValueError, match="'c': a category needs at least two levels"):
        losses.Layout([Column("c", 0, 1, True)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": ("a", "b")}, "expected 3 levels.*found 2"),
        ({"shape": (2, 2)}, "a shape of 3 numbers; found \\(2, 2\\)"),
    ],
)
def test_column__levels_or_shape_that_do_not_fit__are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Column("c", 0, 3, **arguments)


def test_category_probabilities__numbers_stay_and_levels_sum_to_one() -> None:
    output = torch.randn(2, 4, 5)
    read = losses.Layout([Column("n", 0, 1, False), Column("c", 1, 3, True)]).read(output)
    torch.testing.assert_close(read[:, 0], output[:, 0])
    torch.testing.assert_close(read[:, 1:].sum(1), torch.ones(2, 5))


@pytest.mark.parametrize(("regression", "factor"), [(True, 1.0), (False, 2.0)])
def test_uncertainty__frozen_loss__noise_reaches_its_stationary_value(regression: bool, factor: float) -> None:
    loss = torch.tensor([0.3, 1.7], dtype=torch.float64)
    s = torch.full((2,), 0.1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([s], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = losses.uncertainty(loss, s, regression).sum()
        value.backward()
        return value

    optimiser.step(closure)
    torch.testing.assert_close(s.detach().exp(), factor * loss, rtol=1e-6, atol=0)


def test_uncertainty__by_hand() -> None:
    two = torch.tensor([2.0])
    s = torch.tensor([LN(4.0)])
    assert losses.uncertainty(two, s, regression=True).item() == pytest.approx(2 / (2 * 4) + LN(2))
    assert losses.uncertainty(two, s, regression=False).item() == pytest.approx(2 / 4 + LN(2))
