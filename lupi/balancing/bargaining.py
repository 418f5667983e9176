"""The exact bargaining solution for task gradients (weights α > 0 with Gα = p / α), and its derivative by p."""

from __future__ import annotations

import torch
from torch import Tensor

_NO_GRADIENT = 1e-30  # a squared norm below which a task has no direction to bargain for
_FARTHEST = 1e4  # normalised weights beyond this mean opposite gradients: there is no solution
_SOLVED = 1e-6  # a relative Newton step after which the error is about its square
_MOST_STEPS = 100


def solve(gramian: Tensor, preference: Tensor, present: Tensor) -> Tensor:
    """The bargaining weights α [M, K] > 0 with Gα = p / α.

    They are the stationary point of the strictly convex ½ αᵀGα - Σ p_k ln α_k. In units of the gradient norms,
    a_k = α_k ‖g_k‖, G becomes the matrix C of cosines and a damped Newton iteration from a = sqrt(p) takes some five
    steps. With δ the relative Newton step and m = max(-δ, 0), the step 1 / (1 + m) always descends: -ln(1 + x) is at
    most -x + x² / (2 (1 - m)) for x >= -m. The full step is taken where m < 1/3. Two tasks have a closed form.

        a = sqrt(p)
        repeat
            a = a · sqrt(Σ p / aᵀCa)                         # the best point on the ray through a
            solve (diag(a) C diag(a) + diag(p)) δ = p - a·Ca   # Newton, in relative steps
            m = max(0, -min δ)
            a = a · (1 + δ)  if m < 1/3,  else  a · (1 + δ / (1 + m))
        until max |δ| <= 1e-6, or max a >= 1e4             # the latter: opposite gradients, no solution
        α = a / ‖g‖

    Parameters
    ----------
    gramian : G [M, K, K], of any scale.
    preference : p [M, K] > 0.
    present : [M, K]; absent tasks get 0.

    Degenerate models: a present task whose gradient is 0 bargains for nothing and gets sqrt(p), the others bargain
    among themselves; one task alone gets sqrt(p) / ‖g‖; collinear gradients are no difficulty; for opposite gradients
    (0 within their convex hull) no solution exists, α grows along a direction in which Σ α_k g_k vanishes, and is
    returned in that direction with its greatest a_k at 1, so that the tasks' own parameters go on learning.
    """
    norm, cosines, bargains = _normalised(gramian, present)
    p = torch.where(bargains, preference, 1.0)
    a = _closed_form(cosines[:, 0, 1], p) if p.shape[1] == 2 else _newton(cosines, p)
    most = a.amax(1, keepdim=True)
    a = torch.where((most < _FARTHEST) & a.isfinite().all(1, keepdim=True), a, _direction(a))
    return torch.where(bargains, a / norm, preference.sqrt() * present)


def preference_gradient(
    gramian: Tensor, preference: Tensor, present: Tensor, alpha: Tensor, cotangent: Tensor
) -> Tensor:
    """cotangentᵀ dα/dp [M, K] at the solution α, by implicit differentiation of Gα = p / α.

    dα/dp = [G + diag(p/α²)]⁻¹ diag(1/α), symmetric but for the last factor.
    """
    norm, cosines, bargains = _normalised(gramian, present)
    p, a = torch.where(bargains, preference, 1.0), torch.where(bargains, alpha * norm, 1.0)
    system = cosines + torch.diag_embed(p / a.square())
    solved: Tensor = torch.linalg.solve(system, torch.where(bargains, cotangent / norm, 0.0).unsqueeze(2)).squeeze(2)
    return torch.where(bargains, solved / a, 0.0)


def _normalised(gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient norms [M, K], cosines [M, K, K] and who bargains [M, K]; the others are alone, at right angles."""
    square = gramian.diagonal(dim1=1, dim2=2)
    bargains = present & (square > _NO_GRADIENT)
    norm = torch.where(bargains, square, 1.0).sqrt()
    cosines = gramian / (norm[:, :, None] * norm[:, None, :]) * (bargains[:, :, None] & bargains[:, None, :])
    cosines = cosines.clamp(-1.0, 1.0)
    cosines.diagonal(dim1=1, dim2=2).fill_(1.0)
    return norm, cosines, bargains


def _closed_form(cosine: Tensor, p: Tensor) -> Tensor:
    """a for two tasks: m = a₁a₂ solves m²(1 - c²) + m c (p₁ + p₂) = p₁p₂, and a_k² = p_k - c m."""
    total, product = p.sum(1), p.prod(1)
    sine = (1.0 - cosine) * (1.0 + cosine)
    root = (cosine.square() * total.square() + 4.0 * sine * product).sqrt()
    # Two forms of one root: each without cancellation on its side.
    acute, obtuse = 2.0 * product / (root + cosine * total), (root - cosine * total) / (2.0 * sine)
    m = torch.where(cosine >= 0, acute, obtuse)
    return (p - (cosine * m)[:, None]).clamp(min=0.0).sqrt()


def _newton(cosines: Tensor, p: Tensor) -> Tensor:
    a, total = p.sqrt(), p.sum(1, keepdim=True)
    running = torch.ones(len(a), 1, dtype=torch.bool, device=a.device)
    for _ in range(_MOST_STEPS):
        pulls = a[:, :, None] * cosines * a[:, None, :]
        # The best point on the ray through a: most of the way where gradients are nearly opposite.
        square = total / pulls.sum((1, 2)).clamp(min=1e-200)[:, None]
        pulls = pulls * square[:, :, None]
        residual = p - pulls.sum(2)
        pulls.diagonal(dim1=1, dim2=2).add_(p)
        relative = torch.linalg.solve_ex(pulls, residual.unsqueeze(2)).result.squeeze(2)
        down = -relative.amin(1, keepdim=True).clamp(max=0.0)
        size = torch.where(down < 1 / 3, 1.0, 1.0 / (1.0 + down))
        # A model that has arrived stays where it is, so that none depends on how long others take.
        a = torch.where(running, a * square.sqrt() * (1.0 + size * relative), a)
        running = running & (relative.abs().amax(1, keepdim=True) > _SOLVED) & (a.amax(1, keepdim=True) < _FARTHEST)
        if not running.any():
            break
    return a


def _direction(a: Tensor) -> Tensor:
    """Where a heads when it grows without bound, its greatest entry 1."""
    a = torch.where(a.isfinite(), a, torch.where(a.isinf(), torch.inf, 1.0))
    unbounded = a.isinf()
    a = torch.where(unbounded.any(1, keepdim=True), unbounded.to(a.dtype), a)
    return a / a.amax(1, keepdim=True)
