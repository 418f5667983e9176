"""Losses, one value per model and data row.

Predictions, targets and teachers are [M, C, rows], M models: C = 1 for a binary target (the logit, and the probability
of class 1) and for a numeric one, C = K for K classes (logits, and probabilities). Every loss returns [M, rows];
`mean_over_rows` is the one place where rows are weighed and averaged. Shapes must agree exactly: nothing broadcasts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lupi.columns import Column


def _must_agree(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 3:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected tensors of one shape [models, C, rows]; found {found}")


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """H(target -> softmax(logits)) [M, rows]; the target may be soft. Binary where C = 1."""
    _must_agree(logits=logits, target=target)
    if logits.shape[1] == 1:
        return (F.softplus(logits) - target * logits).squeeze(1)
    return -(target * F.log_softmax(logits, 1)).sum(1)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction - target)² summed over C: [M, rows]."""
    _must_agree(prediction=prediction, target=target)
    return (prediction - target).square().sum(1)


def teacher_privileged(logits: Tensor, teacher: Tensor, target: Tensor, repulsion: Tensor) -> Tensor:
    """Imitate the teacher where it is right, move away from it where it is wrong: [M, rows].

    δ H(p -> t) - β (1 - δ) H(p -> t) with H(p -> t) = -Σ_k p_k ln t_k, p the student, t the teacher, δ = 1 where the
    teacher's class is right (Martínez-García et al., "Teacher privileged distillation", Knowledge-Based Systems 2025).
    Given t this is linear in p; it is returned less its minimum over p, a constant that has no gradient, so that it
    is never negative and no learned temperature can drive it to -inf. For two classes that is
    (δ + β (1 - δ)) |logit t| |y - p|.

    Parameters
    ----------
    logits : the student's.
    teacher : log-odds of the teacher (C = 1) or its log-probabilities (C = K).
    target : true class, as 0/1 or one-hot.
    repulsion : β >= 0, one per model [M].
    """
    _must_agree(logits=logits, teacher=teacher, target=target)
    beta = repulsion[:, None]
    if logits.shape[1] == 1:
        wrong = (teacher > 0) != (target > 0.5)
        weight = teacher.abs().squeeze(1)
        weight = torch.where(wrong.squeeze(1), beta * weight, weight)
        return weight * (target - torch.sigmoid(logits)).abs().squeeze(1)
    wrong = (teacher.argmax(1) != target.argmax(1))[:, None]
    cost = torch.where(
        wrong, beta[:, None] * (teacher - teacher.amin(1, keepdim=True)), teacher.amax(1, keepdim=True) - teacher
    )
    return (cost * torch.softmax(logits, 1)).sum(1)


def mean_over_rows(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Σ_i weights_i losses_i [M]; weights None is the plain mean. Weights [M, rows] carry their own normalisation."""
    if weights is None:
        return losses.mean(-1)
    if weights.shape != losses.shape:
        raise ValueError(f"expected weights {tuple(losses.shape)}; found {tuple(weights.shape)}")
    return (losses * weights).sum(-1)


def privileged(
    output: Tensor, z: Tensor, columns: Sequence[Column], weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Loss of every privileged column [M, q], squared error of a number and cross-entropy of a category, and whether
    the column is known in any row [M, q].

    output : predictions [M, Q, rows] (values, and logits of the levels).
    z : what is to be predicted [M, Q, rows]; NaN in all entries of a column where it is missing (or is padding). Each
        column is averaged over the rows in which it is known; a column unknown in all rows has loss 0.
    weights : of the rows in that average [M, rows]; None: all equal.
    """
    _must_agree(output=output, z=z)
    per_column, counts = [], []
    for column in columns:
        known = ~z[:, column.start].isnan()
        predicted, true = output[:, column.span], z[:, column.span].nan_to_num(nan=0.0)
        if not column.categorical:
            losses = squared_error(predicted, true)
        elif column.width == 1:
            raise ValueError(f"column {column.name!r}: a category needs at least two levels")
        else:
            losses = cross_entropy(predicted, true)
        counts.append(known.sum(-1))
        if weights is None:
            per_column.append((losses * known).sum(-1) / counts[-1].clamp(min=1))
        else:
            counted = weights * known
            per_column.append((losses * counted).sum(-1) / counted.sum(-1).clamp(min=1e-30))
    return torch.stack(per_column, 1), torch.stack(counts, 1) > 0


def category_probabilities(output: Tensor, columns: Sequence[Column]) -> Tensor:
    """ẑ [M, Q, rows] as the target network reads it: numbers as they are, levels of a category as probabilities."""
    if not any(column.categorical for column in columns):
        return output
    blocks = [output[:, c.span].softmax(1) if c.categorical else output[:, c.span] for c in columns]
    return torch.cat(blocks, 1)


def uncertainty(loss: Tensor, log_variance: Tensor, regression: bool) -> Tensor:
    """Loss under a learned noise: L / (2σ²) + ln σ for a regression, L / T² + ln T for a classification.

    `log_variance` is s = ln σ² (or ln T²); at the stationary point σ² = L and T² = 2 L. Kendall, Gal and Cipolla, CVPR
    2018.
    """
    precision = torch.exp(-log_variance)
    return (0.5 * precision if regression else precision) * loss + 0.5 * log_variance
