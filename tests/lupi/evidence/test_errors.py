"""Why a student errs, from arrays whose answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi.columns import Column
from lupi.evidence import errors
from lupi.evidence.errors import AGREEMENT

NAN = np.nan
COLUMNS = [Column("number", 0, 1, False), Column("level", 1, 3, True)]


def test_nearest__is_the_signed_nearer_one() -> None:
    changes = [[-0.2, 0.5], [-0.5, 0.2], [-0.3, NAN], [NAN, 0.3], [NAN, NAN], [-0.4, 0.4]]
    np.testing.assert_array_equal(errors.nearest(changes), [-0.2, 0.2, -0.3, 0.3, NAN, 0.4])


def test_beyond__asks_the_side_on_which_the_prediction_lies() -> None:
    changes = np.array([[-0.2, 0.5]] * 7 + [[NAN, 0.5], [-0.2, NAN]])
    dr = [-0.3, -0.2, -0.1, 0.0, 0.4, 0.5, NAN, -0.3, 0.6]
    np.testing.assert_array_equal(errors.beyond(changes, dr), [1, 1, 0, 0, 0, 1, 0, 0, 0])


# ---------------------------------------------------------------------- agreement


def test_agreement__every_case_by_hand() -> None:
    #           P  T  R
    cases = {(0, 0, 0): 0, (1, 1, 1): 0, (1, 0, 0): 1, (0, 1, 1): 1, (1, 1, 0): 2, (0, 1, 0): 3, (0, 1, 2): 2}
    p, t, r = np.array(list(cases)).T
    np.testing.assert_array_equal(errors.agreement_of(p, t, r), list(cases.values()))
    shares = errors.agreement(p, t, r)
    assert tuple(shares) == AGREEMENT
    assert list(shares.values()) == pytest.approx([200 / 7, 200 / 7, 200 / 7, 100 / 7])


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=50))
def test_agreement__sums_to_100_and_holds_the_errors(rows: list[tuple[int, int, int]]) -> None:
    p, t, r = np.array(rows).T
    shares = errors.agreement(p, t, r)
    assert sum(shares.values()) == pytest.approx(100.0)
    assert shares["student errs alone"] + shares["both err"] == pytest.approx(100 * (p != r).mean())
    assert shares["both err"] + shares["student right, teacher wrong"] == pytest.approx(100 * (t != r).mean())


def test_agreement__no_rows__is_unknown() -> None:
    empty = np.zeros(0, np.int64)
    assert np.isnan(list(errors.agreement(empty, empty, empty).values())).all()


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: errors.unpack(np.zeros((4, 4)), COLUMNS), r"expected change \[n, 5\]"),
        (lambda: errors.nearest(np.zeros(4)), r"expected changes \[n, 2\]"),
        (lambda: errors.beyond(np.zeros((4, 2)), np.zeros((4, 1))), r"expected dr \(4,\)"),
        (lambda: errors.agreement([0, 1], [0, 1], [[0], [1]]), "one shape"),
        (lambda: errors.agreement([0, 1], [0, 1], [0]), "one shape"),
    ],
)
def test_bad_input__is_told(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------- points and kinds of error

CHANGE = np.array([[-0.2, 0.5, 0, 0, 1], [NAN, 0.5, 0, 1, 0], [NAN, NAN, NAN, NAN, NAN], [NAN, 0.1, 0, 0, 0]])
Z = np.array([[0.0, 1, 0, 0], [1.0, 1, 0, 0], [NAN, NAN, NAN, NAN], [0.0, 0, 0, 1]])
Z_HAT = np.array([[-0.3, 0.1, 0.2, 0.7], [1.2, 0.1, 0.8, 0.1], [0.5, 0.1, 0.8, 0.1], [0.2, 0.1, 0.1, 0.8]])
STUDENT, TEACHER, TRUTH = np.array([1, 1, 0, 0]), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("column", "reaches", "changes"),
    [
        (0, [True, False, False, True], [True, True, False, True]),
        (1, [True, True, False, False], [True, True, False, False]),
    ],
)
def test_reached__number_and_category__are_where_the_teacher_changes(
    column: int, reaches: list[bool], changes: list[bool]
) -> None:
    entries = errors.unpack(CHANGE, COLUMNS)[COLUMNS[column].name]
    assert errors.reached(COLUMNS[column], entries, Z, Z_HAT).tolist() == reaches
    assert errors.has_change(COLUMNS[column], entries).tolist() == changes


def test_kinds_of_error__every_error__is_of_one_kind() -> None:
    counts = errors.kinds_of_error(STUDENT, TEACHER, TRUTH, np.array([True, False, True, False]))
    assert counts == {"rows": 4, "errors": 4, "both": 1, "caused": 1, "own": 2}
    assert tuple(counts) == errors.KINDS


def test_crosses__no_change_on_the_way__is_false() -> None:
    assert errors.crosses([[0.3], [NAN]]).tolist() == [True, False]


def test_points__numbers_alone__have_dc_and_dr() -> None:
    points = errors.points(COLUMNS, CHANGE, Z, Z_HAT, (STUDENT, TEACHER, TRUTH), ("no", "yes"))
    assert tuple(points.columns) == errors.POINTS
    assert points["column"].tolist() == ["number"] * 4
    np.testing.assert_array_equal(points["dc"], [-0.2, 0.5, NAN, 0.1])
    np.testing.assert_allclose(points["dr"], [-0.3, 0.2, NAN, 0.2])
    assert points["student"].tolist() == ["yes", "yes", "no", "no"]
    assert points["agreement"].tolist() == [
        "student errs alone",
        "student errs alone",
        "both err",
        "student errs alone",
    ]
    none = errors.points(COLUMNS[1:], CHANGE[:, 2:], Z, Z_HAT, (STUDENT, TEACHER, TRUTH), ("no", "yes"))
    assert none.empty
    assert tuple(none.columns) == errors.POINTS
