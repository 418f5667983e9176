"""The small quadratic programmes under MGDA, UPGrad and CAGrad: against other solvers."""

from __future__ import annotations

import numpy as np
import pytest
import quadprog
import torch

from lupi.balancing import quadratic
from tests.lupi.balancing.gramians import gramians, problems


def test_solve__positive_definite__equals_lapack() -> None:
    a = gramians(20, 6, spread=1)
    b = torch.randn(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(quadratic.solve(a, b), torch.linalg.solve(a, b), rtol=1e-9, atol=1e-12)


@problems
def test_nonnegative__any_positive_semidefinite_matrix__meets_the_optimality_conditions(
    tasks: int, rank: int, spread: float
) -> None:
    q = gramians(40, tasks, rank=rank, spread=spread)
    start = torch.randn(40, tasks, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    c = quadratic.times(q, start)
    x = quadratic.nonnegative(q, c)
    norms = q.diagonal(dim1=1, dim2=2).sqrt()
    slope = (quadratic.times(q, x) + c) / norms
    scale = (norms * (x + start.abs())).sum(1, keepdim=True)
    assert x.min() >= 0
    assert (slope / scale).min() > -1e-13
    assert ((slope / scale).abs() * (x > 0)).max() < 1e-12


def test_nonnegative__regular_matrix__equals_quadprog_to_1e_10() -> None:
    q = gramians(30, 6)
    c = torch.randn(30, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = [quadprog.solve_qp(a.numpy(), -b.numpy(), np.eye(6), np.zeros(6))[0] for a, b in zip(q, c, strict=True)]
    torch.testing.assert_close(quadratic.nonnegative(q, c), torch.as_tensor(np.array(expected)), rtol=1e-10, atol=1e-12)


def test_nonnegative__one_swap_at_a_time__same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that is sure to end, on its own: what is left when swaps of whole blocks go round in circles."""
    q = gramians(30, 6)
    c = torch.randn(30, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    blocks = quadratic.nonnegative(q, c)
    monkeypatch.setattr(quadratic, "PATIENCE", -1)
    torch.testing.assert_close(quadratic.nonnegative(q, c), blocks, rtol=1e-12, atol=1e-14)
