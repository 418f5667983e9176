"""Schedules by their formulas."""

import numpy as np
import pytest

from lupi.engine.schedules import SCHEDULES, share
from lupi.settings import HYPER_PARAMETERS

T = np.linspace(0, 1, 31)


def test_constant__any_time__is_one() -> None:
    np.testing.assert_array_equal(SCHEDULES["constant"](T), np.ones(31))


def test_cosine__any_time__is_half_a_wave_from_one_to_zero() -> None:
    np.testing.assert_allclose(
        SCHEDULES["cosine"](np.array([0, 1 / 3, 0.5, 2 / 3, 1])), [1, 0.75, 0.5, 0.25, 0], atol=1e-15
    )
    assert (np.diff(SCHEDULES["cosine"](T)) < 0).all()


def test_coslog4__ends_of_its_waves__are_zero_and_tops_one() -> None:
    """log₂(1 + 15 t) is a whole number at the ends of the four waves, and a half more in between."""
    ends = np.array([0, 1 / 15, 3 / 15, 7 / 15, 1])
    np.testing.assert_allclose(SCHEDULES["coslog4"](ends), 0, atol=1e-25)
    tops = (2 ** np.array([0.5, 1.5, 2.5, 3.5]) - 1) / 15
    np.testing.assert_allclose(SCHEDULES["coslog4"](tops), 1, rtol=1e-14)
    between = np.array([0.02, 0.1, 0.35, 0.8])
    by_formula = [(1 - np.cos(2 * np.pi * np.log(1 + 15 * t) / np.log(2))) / 2 for t in between]
    np.testing.assert_allclose(SCHEDULES["coslog4"](between), by_formula, rtol=1e-13)
    assert (SCHEDULES["coslog4"](between) > 0.1).all()


def test_share__models_of_all_schedules__has_each_its_own() -> None:
    places, t = np.array([2, 0, 1, 1, 2]), np.array([0.1, 0.5, 0.5, 1.0, 0.2])
    functions = list(SCHEDULES.values())
    expected = [functions[place](np.array([at]))[0] for place, at in zip(places, t, strict=True)]
    np.testing.assert_allclose(share(places, t), expected, rtol=0, atol=1e-15)
    assert share(places, t)[[1, 2]] == pytest.approx([1.0, 0.5])


def test_schedules__order__is_that_of_the_hyper_parameter() -> None:
    """Design tables hold places, which both lists must give the same names."""
    assert tuple(SCHEDULES) == HYPER_PARAMETERS["schedule"].choices
