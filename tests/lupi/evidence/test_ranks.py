"""Ranks over data sets."""

import math

import pytest

from lupi.evidence.ranks import friedman

NAN = float("nan")


def test_friedman__same_order_everywhere__by_hand() -> None:
    """12 D / (k (k + 1)) Σ R² - 3 D (k + 1) = 3·14 - 36 = 6 for D = k = 3; χ² with 2 degrees: p = exp(-3)."""
    found = friedman([[0.1, 0.2, 0.3], [0.4, 0.5, 0.9], [0.0, 0.1, 0.2]])
    assert found.statistic == pytest.approx(6.0)
    assert found.p == pytest.approx(math.exp(-3.0))
    assert found.ranks.tolist() == [1.0, 2.0, 3.0]


def test_friedman__ties__share_ranks() -> None:
    assert friedman([[0.1, 0.1, 0.3], [0.1, 0.2, 0.2]]).ranks.tolist() == [1.25, 2.0, 2.75]
    nothing = friedman([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2]])
    assert (nothing.statistic, nothing.p) == (0.0, 1.0)


@pytest.mark.parametrize("bad", [[[0.1, 0.2, 0.3]], [[0.1, 0.2], [0.1, 0.2]], [[0.1, 0.2, NAN], [0.1, 0.2, 0.3]]])
def test_friedman__bad_input__raises(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="must be"):
        friedman(bad)
