"""Inference on paired differences."""

import numpy as np
import pytest

from lupi.evidence import corrected_standard_error


def test_corrected_standard_error__by_hand() -> None:
    # Variance 1 of (1, 2, 3); 1/3 + 1/4 of it.
    assert corrected_standard_error([1.0, 2.0, 3.0], 0.25) == pytest.approx(np.sqrt(7 / 12), rel=1e-12)


def test_corrected_standard_error__many_repeats__does_not_shrink_to_zero() -> None:
    draw = np.random.default_rng(0).normal(size=10_000)
    assert corrected_standard_error(draw, 0.25) > 0.49


@pytest.mark.parametrize(("differences", "share"), [([1.0], 0.25), ([[1.0, 2.0]], 0.25), ([1.0, 2.0], 0.0)])
def test_corrected_standard_error__bad_input__raises(differences: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        corrected_standard_error(differences, share)
