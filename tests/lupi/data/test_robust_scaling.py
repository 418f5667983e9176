"""Robust scaling by hand, its smooth clip, and the flags of missing cells."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi.columns import Column
from lupi.data.encoding import bounds, encode, flag_name, robust_standardisation, standardisation, with_flags
from lupi.data.privileged_data import PrivilegedData

Floats = npt.NDArray[np.float64]
NUMBER = (Column("a", 0, 1),)


def scaled(values: list[float], weights: Floats | None = None) -> Floats:
    column = np.array(values)[:, None]
    center, scale = robust_standardisation(column, NUMBER, weights)
    return np.asarray(((column - center) * scale)[:, 0])


def test_robust__five_numbers__have_median_zero_and_quartiles_one_apart() -> None:
    """Median 3, quartiles 2 and 4: (v - 3) / 2, whatever the last number is."""
    np.testing.assert_allclose(scaled([1, 2, 3, 4, 5]), [-1, -0.5, 0, 0.5, 1], rtol=1e-15)
    np.testing.assert_allclose(scaled([1, 2, 3, 4, 5e6]), [-1, -0.5, 0, 0.5, (5e6 - 3) / 2], rtol=1e-15)


def test_robust__equal_quartiles__range_is_two() -> None:
    """Most numbers are 4, so that quartiles and median are; the others span 1 to 9: 2 / 8 (v - 4)."""
    np.testing.assert_allclose(scaled([4, 4, 4, 4, 4, 4, 4, 1, 9]), [0] * 7 + [-0.75, 1.25], rtol=1e-15)


def test_robust__flag__is_zero_or_two() -> None:
    """A flag that is rarely 1 has equal quartiles."""
    np.testing.assert_array_equal(scaled([0, 0, 0, 0, 0, 0, 1]), [0] * 6 + [2])


@pytest.mark.parametrize("values", [[7.0] * 6, [1e9 + 0.1] * 5, [np.nan] * 4, [np.nan, 2.0, np.nan]])
def test_robust__constant_or_unknown__is_switched_off(values: list[float]) -> None:
    center, scale = robust_standardisation(np.array(values)[:, None], NUMBER)
    assert scale[0] == 0
    assert np.isfinite(center[0])


def test_robust__missing_cells__count_in_nothing() -> None:
    values = [np.nan, 1, 2, np.nan, 3, 4, 5, np.nan]
    np.testing.assert_allclose(scaled(values)[[1, 2, 4, 5, 6]], [-1, -0.5, 0, 0.5, 1], rtol=1e-15)


@given(
    numbers=st.lists(st.integers(-50, 50), min_size=2, max_size=25),
    seed=st.integers(0, 2**32 - 1),
    unit=st.sampled_from([1.0, 0.25, 3.0]),
)
def test_robust__whole_weights__count_rows_as_often(numbers: list[int], seed: int, unit: float) -> None:
    """A row of weight 3 is three rows: quartiles are then rows themselves (the inverted distribution function)."""
    counts = np.random.default_rng(seed).integers(1, 5, len(numbers))
    column = np.array(numbers, float)[:, None]
    weighed = robust_standardisation(column, NUMBER, counts * unit)
    many = np.repeat(column[:, 0], counts)
    low, middle, high = np.quantile(many, [0.25, 0.5, 0.75], method="inverted_cdf")
    spread = high - low if high > low else np.ptp(many) / 2
    assert weighed[0][0] == middle
    assert weighed[1][0] == pytest.approx(1 / spread if spread else 0.0, rel=1e-14)


def test_robust__weights_where_cells_are_missing__are_those_of_the_known_rows() -> None:
    column = np.array([[5.0], [np.nan], [1.0], [2.0]])
    center, scale = robust_standardisation(column, NUMBER, np.array([1.0, 99.0, 1.0, 1.0]))
    assert (center[0], scale[0]) == (2.0, 1 / 4)  # quartiles 1 and 5


def test_robust__categories__are_those_of_the_plain_standardisation() -> None:
    """Levels stay 0 and 1; one that no row has is switched off, so that it is read as missing."""
    columns = (Column("a", 0, 1), Column("colour", 1, 3, True))
    values = np.array([[1.0, 1, 0, 0], [2, 0, 1, 0], [4, np.nan, np.nan, np.nan], [5, 0, 1, 0]])
    for weights in (None, np.array([1.0, 2.0, 1.0, 1.0])):
        center, scale = robust_standardisation(values, columns, weights)
        plain = standardisation(values, columns, weights)
        np.testing.assert_array_equal(center[1:], plain[0][1:])
        np.testing.assert_array_equal(scale[1:], plain[1][1:])
        assert scale.tolist()[1:] == [1, 1, 0]


def test_robust__column_of_several_numbers__scales_each() -> None:
    values = np.array([[0.0, 10], [1, 20], [2, 30], [3, 40], [4, 50]])
    center, scale = robust_standardisation(values, (Column("spectrum", 0, 2, shape=(2,)),))
    np.testing.assert_allclose(center, [2, 30])
    np.testing.assert_allclose(scale, [0.5, 0.05])


def test_bounds__numbers_alone__are_bounded_by_three() -> None:
    columns = (Column("a", 0, 1), Column("colour", 1, 3, True), Column("b", 4, 1))
    bound = bounds(columns, 5)
    np.testing.assert_allclose(bound, [1 / 3, 0, 0, 0, 1 / 3])
    far = np.full(5, 1e9)
    np.testing.assert_allclose((far / np.sqrt(1 + (bound * far) ** 2))[[0, 4]], 3)


# ---------------------------------------------------------------------- flags


def test_with_flags__numbers_missing_somewhere__have_a_column_behind_all() -> None:
    columns = (Column("a", 0, 1), Column("colour", 1, 2, True), Column("b", 3, 1), Column("c", 4, 1))
    nan = np.nan
    x = np.array([[nan, 1, 0, 4, 1], [2, nan, nan, 5, nan], [3, 0, 1, 6, 3]])
    flagged, described = with_flags(x, columns)
    np.testing.assert_array_equal(flagged[:, :5], x)
    np.testing.assert_array_equal(flagged[:, 5:], [[1, 0], [0, 1], [0, 0]])
    assert [(c.name, c.start, c.width, c.categorical) for c in described[4:]] == [
        (flag_name("a"), 5, 1, False),
        (flag_name("c"), 6, 1, False),
    ]
    assert described[:4] == columns


def table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(30, 3)), columns=["a", "b", "lab"])
    frame.loc[[3, 4, 9], "b"] = np.nan
    return frame.assign(y=np.where(frame["a"] > 0, "yes", "no"))


def test_encode__missing_flags__stand_behind_the_features_alone() -> None:
    data = PrivilegedData.from_frame(table(), "y", name="t", privileged=["lab"])
    plain, flagged = encode(data), encode(data, missing_flags=True)
    assert [c.name for c in flagged.x_columns] == ["a", "b", flag_name("b")]
    np.testing.assert_array_equal(flagged.x[:, :2], plain.x)
    assert np.flatnonzero(flagged.x[:, 2]).tolist() == [3, 4, 9]
    np.testing.assert_array_equal(flagged.z, plain.z)


def test_encode__nothing_missing__has_no_flags() -> None:
    data = PrivilegedData.from_frame(table().dropna(), "y", name="t", privileged=["lab"])
    assert encode(data, missing_flags=True).x.shape == encode(data).x.shape


def test_encode__flags__are_no_candidates_for_the_privileged_column() -> None:
    data = PrivilegedData.from_frame(table(), "y", name="t")
    plain, flagged = encode(data), encode(data, missing_flags=True)
    assert flagged.candidates == plain.candidates == (0, 1, 2)
    np.testing.assert_array_equal(flagged.z, plain.z)
