"""Aligned-MTL: against torchjd, by hand, and against the singular value decomposition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import aggregation

from lupi.balancing.aligned import AlignedMTL
from tests.lupi.balancing.steps import KINDS, for_each_model, gradients_of, jacobian_of, weights_of

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_aligned_mtl__any_kind_of_gradients__equals_torchjd(tasks: int, kind: str) -> None:
    jacobian = jacobian_of(4, 20, tasks, kind)
    expected = for_each_model(aggregation.AlignedMTL().gramian_weighting, jacobian)
    torch.testing.assert_close(weights_of(AlignedMTL(), jacobian), expected, rtol=1e-6, atol=1e-8)


def test_aligned_mtl__orthogonal_pair__weights_by_hand() -> None:
    """Orthogonal gradients of norms 1 and 3: the second is shrunk to the first."""
    weights = weights_of(AlignedMTL(), gradients_of((1.0, 0.0), (0.0, 3.0)))
    assert weights[0].tolist() == pytest.approx([1 / 2, 1 / 6], rel=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 5))
def test_aligned_mtl__random_gradients__direction_is_the_mean_of_orthogonal_ones(seed: int, tasks: int) -> None:
    """σ_min U Vᵀ of the singular value decomposition, averaged; its length is σ_min / √K."""
    jacobian = jacobian_of(seed, 3, tasks)
    u, sigma, vh = torch.linalg.svd(jacobian, full_matrices=False)
    expected = (sigma[:, -1, None, None] * u @ vh).mean(1)
    direction = torch.einsum("mk,mkd->md", weights_of(AlignedMTL(), jacobian), jacobian)
    torch.testing.assert_close(direction, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(direction.norm(dim=1), sigma[:, -1] / math.sqrt(tasks), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (((2.0, 0.0), (0.0, 0.0)), (0.5, 0)),  # one of them 0
        (((1.0, 0.0), (-2.0, 0.0)), (-0.1, 0.2)),  # opposite
        (((1.0, 0.0), (2.0, 0.0)), (0.3, 0.6)),  # collinear
    ],
)
def test_aligned_mtl__degenerate_pair__as_documented(
    pair: tuple[tuple[float, float], ...], expected: tuple[float, float]
) -> None:
    assert weights_of(AlignedMTL(), gradients_of(*pair))[0].tolist() == pytest.approx(expected, abs=1e-12)
