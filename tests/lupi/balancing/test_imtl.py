"""IMTL-G: against torchjd, by hand, and what the paper promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import aggregation

from lupi.balancing.imtl import IMTLG
from tests.lupi.balancing.steps import KINDS, for_each_model, gradients_of, jacobian_of, weights_of

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_imtl_g__any_kind_of_gradients__equals_torchjd(tasks: int, kind: str) -> None:
    jacobian = jacobian_of(3, 20, tasks, kind)
    expected = for_each_model(aggregation.IMTLG().gramian_weighting, jacobian)
    torch.testing.assert_close(weights_of(IMTLG(), jacobian), expected, rtol=1e-6, atol=1e-7)


def test_imtl_g__orthogonal_pair__weights_by_hand() -> None:
    """Orthogonal gradients of norms 1 and 3: w ∝ 1 / ‖g‖."""
    weights = weights_of(IMTLG(), gradients_of((1.0, 0.0), (0.0, 3.0)))
    assert weights[0].tolist() == pytest.approx([0.75, 0.25], rel=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 5), logs=st.lists(st.floats(-2, 2), min_size=5, max_size=5))
def test_imtl_g__norms_of_any_length__projections_agree(seed: int, tasks: int, logs: list[float]) -> None:
    """Gradients scaled each by its own factor leave the direction, but for its length."""
    jacobian = jacobian_of(seed, 2, tasks)
    scaled = jacobian * 10.0 ** torch.tensor(logs[:tasks], dtype=torch.float64)[:, None]
    directions = []
    for rows in (jacobian, scaled):
        weights = weights_of(IMTLG(), rows)
        torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))
        d = torch.einsum("mk,mkd->md", weights, rows)
        projections = torch.einsum("md,mkd->mk", d, rows) / rows.norm(dim=2) / d.norm(dim=1, keepdim=True)
        torch.testing.assert_close(projections, projections[:, :1].expand(-1, tasks), rtol=1e-4, atol=1e-5)
        directions.append(d * projections[:, :1].sign() / d.norm(dim=1, keepdim=True))
    torch.testing.assert_close(directions[0], directions[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (((2.0, 0.0), (0.0, 0.0)), (1, 0)),  # one of them 0
        (((1.0, 0.0), (-2.0, 0.0)), (-1, 2)),  # opposite
        (((1.0, 0.0), (2.0, 0.0)), (1 / 3, 2 / 3)),  # collinear
    ],
)
def test_imtl_g__degenerate_pair__as_documented(
    pair: tuple[tuple[float, float], ...], expected: tuple[float, float]
) -> None:
    assert weights_of(IMTLG(), gradients_of(*pair))[0].tolist() == pytest.approx(expected, abs=1e-12)
