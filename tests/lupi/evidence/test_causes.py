"""Distances to change: teachers whose boundary is known, and the published procedure row by row."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from lupi.columns import Column
from lupi.engine import teachers
from lupi.engine.mlp import MLP
from lupi.engine.teachers import PerceptronTeacher, Teacher, teacher_of
from lupi.evidence import causes, errors
from lupi.evidence.causes import Floats, IntArray

STEP, TOLERANCE = 0.01, 1e-4
NAN = np.nan
NUMBER = Column("z", 0, 1, False)
Layers = Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]


def parameters_of(network: MLP, layers: Layers) -> torch.Tensor:
    """Parameters [1, P] of given weights [out, into], z's columns behind those of x, and biases [out]."""
    parameters = torch.zeros(1, network.n_parameters, dtype=torch.float64)
    views, of_z = network.split(parameters)
    for i, ((weight, bias), (given_weight, given_bias)) in enumerate(zip(views, layers, strict=True)):
        full = torch.as_tensor(given_weight, dtype=torch.float64)
        weight[0] = full[:, : network.inputs] if i == 0 else full
        if i == 0:
            of_z[0] = full[:, network.inputs :]
        bias[0, :, 0] = torch.as_tensor(given_bias, dtype=torch.float64)
    return parameters


def built(layers: Layers, z: npt.ArrayLike, x: float = 0.0) -> Teacher:
    """A teacher of given layers on rows z [n] or [n, Q], each with one regular feature of value x."""
    values = np.asarray(z, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    hidden = tuple(len(np.asarray(bias)) for _, bias in layers[:-1])
    network = MLP(1, values.shape[1], hidden, len(np.asarray(layers[-1][1])))
    return teacher_of(network, parameters_of(network, layers), np.full((len(values), 1), x), values)


STEEP = 1e5
LINEAR: Layers = [([[2.0, 4.0]], [-1.0])]  # class 1 where 2 x + 4 z > 1
WINDOW: Layers = [  # class 1 where 0.5 < z < 1.5: steep ReLUs make a step up and a step down
    ([[0.0, STEEP]] * 4, [-0.5 * STEEP, -0.5 * STEEP - 1.0, -1.5 * STEEP, -1.5 * STEEP - 1.0]),
    ([[1.0, -1.0, -1.0, 1.0]], [-0.5]),
]
TWO_SIDED: Layers = [([[0.0, 1.0], [0.0, -1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [-0.7])]  # class 1 where |z| > 0.7
NONE: Layers = [([[1.0, 0.0], [1.0, 0.0]], [1.0, 0.0]), ([[1.0, 1.0]], [1.0])]  # z has no say


@dataclasses.dataclass(frozen=True)
class Random:
    """A teacher with random weights, and all that it was made of."""

    network: MLP
    parameters: torch.Tensor
    x: Floats
    z: Floats
    teacher: Teacher

    def probabilities(self, x: Floats, z: Floats) -> Floats:
        """Averaged class probabilities [n, K] by the network's own forward pass."""
        m = len(self.parameters)
        x_all, z_all = (torch.as_tensor(block).expand(m, -1, -1) for block in (x, z))
        output = self.network(self.parameters, x_all, z_all.mT).mT.numpy()
        each = np.concatenate([expit(-output), expit(output)], 2) if output.shape[2] == 1 else softmax(output, 2)
        return np.asarray(each.mean(0))

    def class_of(self, row: int, column: int) -> Callable[[Floats], IntArray]:
        """The class of a row as a function of the values [G] of one privileged column."""

        def classes(values: Floats) -> IntArray:
            x, z = (np.tile(block[row], (len(values), 1)) for block in (self.x, self.z))
            z[:, column] = values
            return np.asarray(self.probabilities(x, z).argmax(1))

        return classes


def random_teacher(
    seed: int, n: int = 30, *, members: int = 1, outputs: int = 1, q: int = 1, hidden: tuple[int, ...] = (20, 20)
) -> Random:
    network = MLP(3, q, hidden, outputs)
    weights = torch.Generator().manual_seed(seed)
    parameters = 0.5 * torch.randn(members, network.n_parameters, generator=weights, dtype=torch.float64)
    draw = np.random.default_rng(seed)
    x, z = draw.normal(size=(n, 3)), 1.5 * draw.normal(size=(n, q))
    x_all, z_all = (torch.as_tensor(block).expand(members, -1, -1) for block in (x, z))
    for _, bias in network.split(parameters)[0][-1:]:  # no class wins in all rows
        bias -= network(parameters, x_all, z_all.mT).mean(2, keepdim=True)
    return Random(network, parameters, x, z, teacher_of(network, parameters, x, z))


SHAPES = {
    "one logit": {},
    "three classes": {"outputs": 3},
    "members": {"members": 3},
    "members and classes": {"members": 3, "outputs": 3},
    "linear": {"hidden": ()},
    "one layer": {"hidden": (30,)},
    "three layers": {"hidden": (8, 8, 8)},
    "two columns": {"q": 2},
}


def of_shape(name: str, seed: int = 0, n: int = 30) -> Random:
    return random_teacher(seed, n, **SHAPES[name])  # type: ignore[arg-type]


def changes_of(teacher: Teacher, low: float, high: float, column: int = 0, **given: float) -> Floats:
    """Changes along one column, sought between its values low and high."""
    direction = np.eye(teacher.network.extra)[[column] * teacher.n]
    z = teacher.z[:, column]
    return causes.nearest_changes(teacher.along(direction), teacher.n, low - z, high - z, **given)


def assert_just_beyond(found: Floats, true: npt.ArrayLike, tolerance: float = TOLERANCE) -> None:
    """`found` has changes where `true` has them, on their far side and within the tolerance."""
    expected = np.asarray(true, dtype=np.float64)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    excess = (np.abs(found) - np.abs(expected))[~np.isnan(expected)]
    assert (excess >= -1e-9).all()
    assert (excess <= tolerance + 1e-9).all()
    assert (np.sign(found) == np.sign(expected))[~np.isnan(expected)].all()


# ---------------------------------------------------------------------- boundaries known in closed form


def test_linear__changes_at_its_boundary_on_one_side() -> None:
    z = np.array([-2.0, -0.003, 0.24, 0.26, 1.0])
    teacher = built(LINEAR, z)
    np.testing.assert_array_equal(teacher.classes(), [0, 0, 0, 1, 1])
    to_boundary = 0.25 - z
    expected = np.stack([np.where(to_boundary < 0, to_boundary, NAN), np.where(to_boundary > 0, to_boundary, NAN)], 1)
    assert_just_beyond(changes_of(teacher, -3.0, 3.0), expected)


def test_linear__regular_features_shift_the_boundary() -> None:
    assert_just_beyond(changes_of(built(LINEAR, [0.0], x=1.0), -3.0, 3.0), [[-0.25, NAN]])


def test_step__two_boundaries__the_nearest_on_either_side() -> None:
    teacher = built(WINDOW, [0.0, 0.6, 1.0, 2.0])
    np.testing.assert_array_equal(teacher.classes(), [0, 1, 1, 0])
    expected = [[NAN, 0.5], [-0.1, 0.9], [-0.5, 0.5], [-0.5, NAN]]
    assert_just_beyond(changes_of(teacher, -3.0, 3.0), expected, TOLERANCE + 1 / STEEP)


def test_two_sided__both_boundaries() -> None:
    teacher = built(TWO_SIDED, [0.0, -0.6, 1.0, -2.0])
    expected = [[-0.7, 0.7], [-0.1, 1.3], [-0.3, NAN], [NAN, 1.3]]
    assert_just_beyond(changes_of(teacher, -3.0, 3.0), expected)


def test_none__no_change_anywhere() -> None:
    assert np.isnan(changes_of(built(NONE, [-1.0, 0.0, 2.0]), -40.0, 40.0)).all()


@pytest.mark.parametrize(("high", "seen"), [(0.24, False), (0.253, True), (3.0, True)])
def test_range__a_change_counts_up_to_its_end(high: float, seen: bool) -> None:
    """The grid from -3 in steps of 0.01 passes 0.24 and 0.25: only the end itself shows a change at 0.25 + 0.003."""
    found = changes_of(built(LINEAR, [0.0]), -3.0, high)
    assert_just_beyond(found, [[NAN, 0.25 if seen else NAN]])


def test_range__true_value_outside__is_still_the_starting_point() -> None:
    teacher = built(LINEAR, [-2.0, 2.0])
    assert_just_beyond(changes_of(teacher, -1.0, 1.0), [[NAN, 2.25], [-1.75, NAN]])


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-6])
def test_tolerance__is_kept(tolerance: float) -> None:
    found = changes_of(built(LINEAR, np.linspace(-2.0, 2.0, 57)), -3.0, 3.0, tolerance=tolerance)
    z = np.linspace(-2.0, 2.0, 57)
    assert_just_beyond(found[z < 0.25, 1:], (0.25 - z[z < 0.25])[:, None], tolerance)
    assert_just_beyond(found[z > 0.25, :1], (0.25 - z[z > 0.25])[:, None], tolerance)


NARROW: Layers = [  # class 1 where 0.499 < z < 0.501
    ([[0.0, STEEP]] * 4, np.array([-0.499, -0.499, -0.501, -0.501]) * STEEP + [0, -1, 0, -1]),
    ([[1.0, -1.0, -1.0, 1.0]], [-0.5]),
]


@pytest.mark.parametrize("z", [-1.0, 0.493, 0.507, 1.0])
def test_narrow_window__is_seen_if_a_grid_point_lies_in_it(z: float) -> None:
    """On the grid from -2, which meets 0.5, however near; not on that from -2.005."""
    teacher = built(NARROW, [z])
    expected = [[NAN, 0.499 - z]] if z < 0.5 else [[0.501 - z, NAN]]
    assert_just_beyond(changes_of(teacher, -2.0, 2.0), expected, TOLERANCE + 1 / STEEP)
    assert np.isnan(changes_of(teacher, -2.005, 2.0)).all()


def test_narrow_window__between_a_true_value_outside_the_range_and_the_range__is_not_seen() -> None:
    assert np.isnan(changes_of(built(NARROW, [1.0]), -1.0, 0.2)).all()
    assert np.isnan(changes_of(built(NARROW, [0.0]), 0.8, 2.0)).all()


def test_tie__goes_to_the_lower_code() -> None:
    teacher = built(LINEAR, [0.25, np.nextafter(0.25, 1.0)])
    np.testing.assert_array_equal(teacher.classes(), [0, 1])
    three = built([(np.zeros((3, 2)), [0.0, 1.0, 1.0])], [0.0])
    np.testing.assert_array_equal(three.classes(), [1])


def test_three_classes__any_other_class_is_a_change() -> None:
    """Logits 0, z and 2 z - 1: class 0 below 0, class 1 up to 1, class 2 above."""
    teacher = built([([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]], [0.0, 0.0, -1.0])], [-0.5, 0.3, 0.8, 1.5])
    np.testing.assert_array_equal(teacher.classes(), [0, 1, 1, 2])
    expected = [[NAN, 0.5], [-0.3, 0.7], [-0.8, 0.2], [-0.5, NAN]]
    assert_just_beyond(changes_of(teacher, -3.0, 3.0), expected)


def test_members__probabilities_are_averaged() -> None:
    """Log-odds 4 z - 1 and -z: their probabilities average to 1/2 where they are opposite, at z = 1/3."""
    one = built(LINEAR, [0.0, 1.0])
    parameters = torch.cat([parameters_of(one.network, layers) for layers in (LINEAR, [([[0.0, -1.0]], [0.0])])])
    both = teacher_of(one.network, parameters, np.zeros((2, 1)), np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(both.probabilities(both.z)[:, 1], [(expit(-1) + 0.5) / 2, (expit(3) + expit(-1)) / 2])
    assert_just_beyond(changes_of(both, -3.0, 3.0), [[NAN, 1 / 3], [-2 / 3, NAN]])


# ---------------------------------------------------------------------- random teachers


@pytest.mark.parametrize("shape", SHAPES)
def test_teacher__probabilities_and_classes__are_those_of_the_network(shape: str) -> None:
    case = of_shape(shape)
    other = np.random.default_rng(9).normal(size=case.z.shape)
    expected = case.probabilities(case.x, other)
    np.testing.assert_allclose(case.teacher.probabilities(other), expected, rtol=1e-10)
    np.testing.assert_array_equal(case.teacher.at(other), expected.argmax(1))
    np.testing.assert_array_equal(case.teacher.classes(), case.probabilities(case.x, case.z).argmax(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_line__is_the_teacher_at_shifted_values(shape: str) -> None:
    case = of_shape(shape)
    direction = np.random.default_rng(1).normal(size=case.z.shape)
    rows, t = np.array([4, 0, 17, 4]), np.linspace(-3.0, 3.0, 28).reshape(4, 7)
    codes = case.teacher.along(direction)(rows, t)
    for g in range(t.shape[1]):
        moved = case.z[rows] + t[:, g, None] * direction[rows]
        np.testing.assert_array_equal(codes[:, g], case.probabilities(case.x[rows], moved).argmax(1))


def published(classes: Callable[[Floats], IntArray], z: float, low: float, high: float) -> tuple[float, float]:
    """The published procedure for one row: the nearest value of the grid on either side whose class differs."""
    grid = np.arange(low, high, STEP)
    differs = classes(grid) != classes(np.array([z]))
    left, right = grid[(grid < z) & differs], grid[(grid > z) & differs]
    return (left.max() - z if len(left) else NAN), (right.min() - z if len(right) else NAN)


def assert_agrees(ours: Floats, theirs: Floats, z: Floats, low: float, high: float) -> None:
    """Within one grid step, but for changes that only the end of the range shows, which their grid leaves out."""
    last = np.arange(low, high, STEP)[-1]
    only_ours = np.isnan(theirs) & ~np.isnan(ours)
    assert (z[:, None] + ours > last)[only_ours].all()
    assert not (np.isnan(ours) & ~np.isnan(theirs)).any()
    both = ~np.isnan(theirs)
    assert (np.abs(ours - theirs)[both] <= STEP * (1 + 1e-9)).all()
    # On the far side of the change, hence on the near side of their first changed grid point.
    assert (np.abs(ours)[both] <= np.abs(theirs)[both] + 1e-9).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nearest_changes__published_procedure__agrees_within_a_step_in_all_rows(shape: str, seed: int) -> None:
    case = of_shape(shape, seed)
    column = case.z.shape[1] - 1
    z = case.z[:, column]
    low, high = z.min(), z.max()
    theirs = np.array([published(case.class_of(i, column), z[i], low, high) for i in range(len(z))])
    ours = changes_of(case.teacher, low, high, column)
    assert_agrees(ours, theirs, z, low, high)
    assert np.isfinite(theirs).any()


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from(sorted(SHAPES)), margin=st.floats(0.0, 3.0))
def test_property__the_class_changes_there_and_at_no_grid_point_nearer(seed: int, shape: str, margin: float) -> None:
    case = of_shape(shape, seed, n=12)
    z = case.z[:, 0]
    low, high = z.min() - margin, z.max() + margin
    found = changes_of(case.teacher, low, high)
    grid = np.append(np.arange(low, high, STEP), high)
    for i, value in enumerate(z):
        classes = case.class_of(i, 0)
        base = classes(z[i : i + 1])[0]
        for side, sign in enumerate((-1.0, 1.0)):
            distance = abs(found[i, side])
            nearer = grid[(sign * (grid - value) > 1e-12) & ~(sign * (grid - value) >= distance - 1e-9)]
            assert (classes(nearer) == base).all()
            if not np.isnan(distance):
                assert classes(np.array([value + sign * distance])) != base
                just_before = value + sign * np.linspace(distance - TOLERANCE, distance, 20, endpoint=False)
                assert (classes(just_before) == base).any()


@dataclasses.dataclass
class Plain:
    """A line of which no more is known than the classes that it gives."""

    line: causes.Line
    points: int = 0

    def __call__(self, rows: IntArray, t: Floats) -> IntArray:
        self.points += t.size
        return self.line(rows, t)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("far", [0.0, 40.0])
def test_nearest_changes__passing_over_what_is_proven_constant__finds_the_same(shape: str, far: float) -> None:
    case = of_shape(shape, 5, n=60)
    z = case.z[:, 0]
    line = case.teacher.along(np.eye(case.z.shape[1])[[0] * len(z)])
    bounds = z.min() - z, z.max() + far - z
    ours = causes.nearest_changes(line, len(z), *bounds)
    np.testing.assert_array_equal(ours, causes.nearest_changes(Plain(line), len(z), *bounds))


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from(sorted(SHAPES)), width=st.floats(0.01, 5.0))
def test_property__a_stretch_proven_constant_is_constant(seed: int, shape: str, width: float) -> None:
    case = of_shape(shape, seed, n=10)
    line = case.teacher.along(np.ones_like(case.z))
    assert isinstance(line, teachers._Ray)
    rows, ends = np.arange(10), np.tile(width * np.arange(-3.0, 4.0), (10, 1))
    codes, constant = line.look(rows, ends)
    np.testing.assert_array_equal(codes, line(rows, ends))
    within = np.stack([ends[:, :-1] + share * width for share in np.linspace(0.0, 1.0, 101)], 2)
    asked = line(rows, within.reshape(10, -1)).reshape(within.shape)
    is_constant = (asked == asked[:, :, :1]).all(2)
    assert is_constant[constant].all()


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_look__small_networks_with_few_bends__proves_nothing_false(outputs: int) -> None:
    """In these a change within a stretch whose ends agree is frequent."""
    hidden_changes, rows, ends = 0, np.arange(10), 3.0 * np.arange(-2.0, 3.0)
    inner = (ends[:-1, None] + 3.0 * np.linspace(0.0, 1.0, 101)).ravel()
    for seed in range(300):
        case = random_teacher(seed, 10, outputs=outputs, hidden=(4, 4))
        line = case.teacher.along(np.ones_like(case.z))
        assert isinstance(line, teachers._Ray)
        codes, constant = line.look(rows, np.tile(ends, (10, 1)))
        within = line(rows, np.tile(inner, (10, 1))).reshape(10, 4, -1)
        is_constant = (within == within[:, :, :1]).all(2)
        assert is_constant[constant].all()
        hidden_changes += int((~is_constant & (codes[:, 1:] == codes[:, :-1])).sum())
    assert hidden_changes > 100


def test_look__proves_nearly_all_that_is_constant() -> None:
    """A proof that never succeeds would be right and useless."""
    case = random_teacher(0, 200)
    line = case.teacher.along(np.ones_like(case.z))
    assert isinstance(line, teachers._Ray)
    ends = np.tile(0.08 * np.arange(-40.0, 41.0), (200, 1))
    codes, constant = line.look(np.arange(200), ends)
    same_ends = codes[:, 1:] == codes[:, :-1]
    assert constant[same_ends].mean() > 0.95
    assert not constant[~same_ends].any()


def test_far_outlier__costs_few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 4,000 grid points a row: rows leave when both sides are found, and proofs pass over the rest."""
    asked = 0
    forward = PerceptronTeacher._output

    def counted(self: PerceptronTeacher, kept: torch.Tensor, apart: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        nonlocal asked
        asked += kept.shape[2]
        return forward(self, kept, apart)

    monkeypatch.setattr(PerceptronTeacher, "_output", counted)
    case = random_teacher(3, 200)
    changes_of(case.teacher, -4.0, 36.0)
    assert 0 < asked < 200 * 4000 / 20
    plain, asked = asked, 0
    line = Plain(case.teacher.along(np.ones_like(case.z)))
    causes.nearest_changes(line, 200, -4.0 - case.z[:, 0], 36.0 - case.z[:, 0])
    assert asked > 5 * plain


@pytest.mark.parametrize("boundary", [60.0, 1e3, 1e6])
def test_farther_than_the_regular_grid__changes_are_still_found(boundary: float) -> None:
    teacher = built([([[0.0, 1.0]], [-boundary])], [0.0, 1.0])
    found = changes_of(teacher, -1e7, 1e7)
    assert_just_beyond(found, [[NAN, boundary], [NAN, boundary - 1.0]])


def test_range_of_1e30__ends() -> None:
    assert np.isnan(changes_of(built(NONE, [0.0]), -1e30, 1e30)).all()


def test_range_of_1e4__nothing_proven__takes_few_points() -> None:
    """Two million points in steps of 0.01."""
    line = Plain(built(NONE, [0.0]).along(np.ones((1, 1))))
    assert np.isnan(causes.nearest_changes(line, 1, -1e4, 1e4)).all()
    assert 10_000 < line.points < 100_000


def test_float32__agrees_with_float64() -> None:
    case = random_teacher(7, 300)
    single = teacher_of(case.network, case.parameters.float(), case.x, case.z)
    ours, theirs = (changes_of(teacher, -4.0, 4.0) for teacher in (single, case.teacher))
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.2
    assert (np.isfinite(ours) == np.isfinite(theirs)).mean() > 0.99
    assert np.abs(ours - theirs)[both].max() < 3 * TOLERANCE


def test_many_rows__do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_teacher(2, 50)
    whole = changes_of(case.teacher, -5.0, 5.0)
    monkeypatch.setattr(teachers, "_POINTS", 40)
    for name, value in {"_ROWS": 7, "_STRETCHES": 5}.items():
        monkeypatch.setattr(causes, name, value)
    np.testing.assert_array_equal(changes_of(case.teacher, -5.0, 5.0), whole)


def test_rows_without_bounds__have_no_change() -> None:
    teacher = built(LINEAR, [0.0, 0.0])
    line = teacher.along(np.ones((2, 1)))
    found = causes.nearest_changes(line, 2, np.array([NAN, -1.0]), np.array([NAN, 1.0]))
    assert_just_beyond(found, [[NAN, NAN], [NAN, 0.25]])


def test_no_rows__nothing_found() -> None:
    teacher = built(LINEAR, np.zeros((0, 1)))
    assert teacher.classes().shape == (0,)
    assert teacher.probabilities(teacher.z).shape == (0, 2)
    assert changes_of(teacher, -1.0, 1.0).shape == (0, 2)


# ---------------------------------------------------------------------- columns

# z: a number, and a category of the levels a, b, c.  Log-odds: number + 1 of a, -1 of b, 0.2 of c.
PLANE: Layers = [([[0.0, 3.0, 4.0]], [-5.0])]  # class 1 where 3 z1 + 4 z2 > 5: at distance 1 from 0
COLUMNS = (Column("number", 0, 1, False), Column("level", 1, 3, True))
MIXED: Layers = [([[0.0, 1.0, 1.0, -1.0, 0.2]], [0.0])]
MIXED_Z = np.array([[0.5, 1, 0, 0], [0.5, 0, 1, 0], [-0.5, 1, 0, 0], [NAN, 0, 0, 1], [0.5, NAN, NAN, NAN]])
RANGES = [[-3.0, 3.0], [NAN, NAN]]


def test_flipping_levels__are_those_that_change_the_class() -> None:
    teacher = built(MIXED, MIXED_Z)
    np.testing.assert_array_equal(teacher.classes(), [1, 0, 1, 1, 1])
    expected = [[0, 1, 0], [1, 0, 1], [0, 1, 1], [0, 1, 0], [NAN, NAN, NAN]]
    np.testing.assert_array_equal(causes.flipping_levels(teacher, COLUMNS[1]), expected)


def test_distance_to_change__packs_all_columns_and_unpack_tells_them_apart() -> None:
    teacher = built(MIXED, MIXED_Z)
    change = causes.distance_to_change(teacher, COLUMNS, RANGES)
    assert change.shape == (5, 5)
    found = errors.unpack(change, COLUMNS)
    assert list(found) == ["number", "level"]
    # A missing category counts nothing: the number alone decides, with the boundary at 0.
    assert_just_beyond(found["number"], [[-1.5, NAN], [NAN, 0.5], [-0.5, NAN], [NAN, NAN], [-0.5, NAN]])
    np.testing.assert_array_equal(found["level"], causes.flipping_levels(teacher, COLUMNS[1]))


def test_distance_to_change__order_of_columns_is_that_asked_for() -> None:
    teacher = built(MIXED, MIXED_Z)
    change = causes.distance_to_change(teacher, COLUMNS, RANGES)
    turned = causes.distance_to_change(teacher, COLUMNS[::-1], RANGES[::-1])
    np.testing.assert_array_equal(turned, change[:, [2, 3, 4, 0, 1]])


def test_distance_to_change__every_column_has_its_own_line_and_range() -> None:
    """Class 1 where 3 a + 4 b > 5."""
    columns = (Column("a", 0, 1, False), Column("b", 1, 1, False))
    teacher = built(PLANE, [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    found = errors.unpack(causes.distance_to_change(teacher, columns, [[-3.0, 1.5], [-3.0, 3.0]]), columns)
    assert_just_beyond(found["a"], [[NAN, NAN], [NAN, NAN], [-2.0, NAN]])
    assert_just_beyond(found["b"], [[NAN, 1.25], [NAN, 0.5], [-1.5, NAN]])


def test_diverged_teacher__has_no_distances() -> None:
    case = random_teacher(0, 5, q=4)
    case.parameters[0, 0] = NAN
    diverged = teacher_of(case.network, case.parameters, case.x, case.z)
    assert not diverged.finite
    assert np.isnan(causes.distance_to_change(diverged, COLUMNS, RANGES)).all()
    assert np.isnan(causes.crossing(diverged, case.z, case.z + 1.0)).all()


# ---------------------------------------------------------------------- the straight line to the prediction


def test_crossing__is_the_joint_distance_to_the_boundary() -> None:
    z = np.zeros((5, 2))
    z_hat = np.array([[3.0, 4.0], [3.0, 0.0], [0.3, 0.4], [-3.0, -4.0], [0.0, 0.0]])
    found = causes.crossing(built(PLANE, z), z, z_hat)
    assert_just_beyond(found, [1.0, 5 / 3, NAN, NAN, NAN])


def test_crossing__the_prediction_itself_counts() -> None:
    """The way ends between two points of the grid, just past the boundary."""
    z = np.zeros((1, 2))
    found = causes.crossing(built(PLANE, z), z, [[0.6 * 1.003, 0.8 * 1.003]])
    assert_just_beyond(found, [1.0])
    assert np.isnan(causes.crossing(built(PLANE, z), z, [[0.6 * 0.999, 0.8 * 0.999]])).all()


def test_crossing__missing_values__stay_as_the_teacher_reads_them() -> None:
    z = np.array([[0.0, NAN], [NAN, NAN], [0.0, 0.0]])
    z_hat = np.array([[3.0, 4.0], [3.0, 4.0], [NAN, 4.0]])
    assert_just_beyond(causes.crossing(built(PLANE, z), z, z_hat), [5 / 3, NAN, NAN])


def test_crossing__one_number__agrees_with_beyond() -> None:
    case = random_teacher(11, 200)
    z_hat = case.z + np.random.default_rng(0).normal(size=case.z.shape)
    dr = (z_hat - case.z)[:, 0]
    changes = changes_of(case.teacher, case.z.min() - 5, case.z.max() + 5)
    crossed = causes.crossing(case.teacher, case.z, z_hat)
    by_side = np.where(dr < 0, -changes[:, 0], changes[:, 1])
    certain = np.isnan(by_side) | (np.abs(np.abs(dr) - by_side) > STEP)  # the two grids are anchored differently
    beyond = errors.beyond(changes, dr)
    assert (beyond == ~np.isnan(crossed))[certain].all()
    assert 0.05 < beyond.mean() < 0.95
    agree = beyond & ~np.isnan(crossed)
    assert (np.abs(crossed - by_side)[agree] < STEP).all()


# ---------------------------------------------------------------------- bad input, and what is left alone

GOOD = random_teacher(0, 4, q=4)
LINE = GOOD.teacher.along(np.ones((4, 4)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: teacher_of(MLP(3, 0, (), 1), torch.zeros(1, 4), GOOD.x, GOOD.z), "must read z"),
        (lambda: teacher_of(GOOD.network, GOOD.parameters[0], GOOD.x, GOOD.z), "expected parameters"),
        (lambda: teacher_of(GOOD.network, GOOD.parameters[:, 1:], GOOD.x, GOOD.z), "expected parameters"),
        (lambda: teacher_of(GOOD.network, GOOD.parameters[:0], GOOD.x, GOOD.z), "expected parameters"),
        (lambda: teacher_of(GOOD.network, GOOD.parameters, GOOD.x[:, :2], GOOD.z), "expected x"),
        (lambda: teacher_of(GOOD.network, GOOD.parameters, GOOD.x, GOOD.z[:3]), "expected z"),
        (lambda: GOOD.teacher.at(GOOD.z[:, :2]), "expected z"),
        (lambda: GOOD.teacher.probabilities(GOOD.z[:, 0]), "expected z"),
        (lambda: GOOD.teacher.along(np.ones(4)), "expected direction"),
        (lambda: LINE(np.arange(3), np.zeros((4, 2))), r"expected t \[3, G\]"),
        (lambda: LINE(np.arange(3), np.zeros(3)), r"expected t \[3, G\]"),
        (lambda: causes.nearest_changes(LINE, 4, np.zeros((4, 1)), 1.0), "expected low"),
        (lambda: causes.nearest_changes(LINE, 4, 0.0, np.zeros(3)), "expected high"),
        (lambda: causes.nearest_changes(LINE, 4, 1.0, 0.0), "low must not exceed high; it does in 4 of 4"),
        (lambda: causes.nearest_changes(LINE, 4, -np.inf, 0.0), "must be finite"),
        (lambda: causes.nearest_changes(LINE, 4, -1.0, 1.0, step=0.0), "must be > 0"),
        (lambda: causes.nearest_changes(LINE, 4, -1.0, 1.0, tolerance=-1.0), "must be > 0"),
        (lambda: causes.flipping_levels(GOOD.teacher, COLUMNS[0]), "'number' must be a category"),
        (lambda: causes.flipping_levels(GOOD.teacher, Column("c", 2, 3, True)), "lies at 2 to 4 of z, which has 4"),
        (lambda: causes.distance_to_change(GOOD.teacher, COLUMNS, RANGES[:1]), "expected ranges"),
        (lambda: causes.distance_to_change(GOOD.teacher, [Column("c", 4, 1, False)], [[0, 1]]), "lies at 4 to 4"),
        (lambda: causes.crossing(GOOD.teacher, GOOD.z, GOOD.z[:, :1]), "expected z_hat"),
        (lambda: causes.crossing(GOOD.teacher, GOOD.z + 1.0, GOOD.z), "found others"),
    ],
)
def test_bad_input__is_told(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_torch__is_left_as_it_was() -> None:
    before = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state()
    case = random_teacher(0)
    parameters = case.parameters.requires_grad_()
    teacher = teacher_of(case.network, parameters, case.x, case.z)
    changes_of(teacher, -1.0, 1.0)
    teacher.probabilities(case.z)
    assert parameters.grad is None
    after = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


@pytest.mark.parametrize("outputs", [1, 3])
def test_teacher__of_any_network__finds_what_that_of_perceptrons_finds(outputs: int) -> None:
    """The same networks, asked without anything that holds for perceptrons alone."""
    case = random_teacher(4, members=2, outputs=outputs, q=2)
    plain = Teacher(case.network, case.parameters, case.x, case.z)
    columns = (Column("a", 0, 1), Column("b", 1, 1))
    ranges = [(-3.0, 3.0)] * 2
    assert (plain.classes() == case.teacher.classes()).all()
    np.testing.assert_allclose(plain.probabilities(case.z), case.teacher.probabilities(case.z))
    found, expected = (causes.distance_to_change(t, columns, ranges) for t in (plain, case.teacher))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    z_hat = np.nan_to_num(case.z) + 1.0
    np.testing.assert_allclose(*(causes.crossing(t, case.z, z_hat) for t in (plain, case.teacher)), atol=1e-4)
