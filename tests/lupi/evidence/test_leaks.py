"""Leaks: what gives the target away is named, as data and in a sentence."""

import pytest

from lupi.evidence.leaks import Leak, leak_of_bounds, leaks_of_columns
from lupi.evidence.metric_table import METRICS


def test_leaks_of_columns__each_column__is_data_and_a_sentence() -> None:
    one, two = leaks_of_columns(["Gamma", "code"])
    assert (one.columns, two.columns) == (("Gamma",), ("code",))
    assert str(one).startswith("The privileged column Gamma determines the target: ")
    assert leaks_of_columns([]) == ()


@pytest.mark.parametrize(
    ("metric", "lower", "upper", "numeric", "part"),
    [
        ("error", 0.30, 0.004, False, "errs in 0.4 % of rows (lower in 30 %)"),
        ("error", 0.02, 0.004, False, "errs in 0.4 % of rows (lower in 2 %)"),  # no tenth of it, but hardly ever
        ("error", 0.02, 0.004, True, None),
        ("error", 400.0, 3.0, True, "has an RMSE of 3 where lower has 400"),
        ("log_loss", 0.6, 0.05, False, "has a log loss of 0.05 where lower has 0.6"),
        ("log_loss", 0.02, 0.004, False, None),
        ("auc", 0.8, 0.99, False, "has an AUC of 0.99 where lower has 0.8"),
        ("auc", 0.8, 0.97, False, None),
        ("r2", 0.5, 0.97, True, "has an R² of 0.97 where lower has 0.5"),
    ],
)
def test_leak_of_bounds__upper_all_but_perfect__is_a_leak(
    metric: str, lower: float, upper: float, numeric: bool, part: str | None
) -> None:
    leak = leak_of_bounds(upper, lower, METRICS[metric], numeric)
    if part is None:
        assert leak is None
    else:
        assert isinstance(leak, Leak)
        assert leak.columns == ()
        assert part in str(leak)
        assert ("soft labels are then the labels" in str(leak)) != numeric
