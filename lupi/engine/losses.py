"""Losses, one value per model and data row.

Predictions, targets and teachers are [M, C, rows], M models: C = 1 for a binary target (the logit, and the probability
of class 1) and for a numeric one, C = K for K classes (logits, and probabilities). Every loss returns [M, rows];
`mean_over_rows` is the one place where rows are weighed and averaged. Shapes must agree exactly: nothing broadcasts.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lupi.columns import Column


def _must_agree(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 3:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected tensors of one shape [models, C, rows]; found {listed}")


# ---------------------------------------------------------------------- the target


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


# ---------------------------------------------------------------------- the privileged columns


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Columns of one kind and width, which go through a loss together.

    places : [n] positions among all columns. entries : [n * width] positions in the encoded block, column by column.
    """

    categorical: bool
    width: int
    places: tuple[int, ...]
    entries: tuple[int, ...]

    @functools.cached_property
    def _span(self) -> slice | None:
        """Where they lie, if side by side."""
        span = range(self.entries[0], self.entries[0] + len(self.entries))
        return slice(span.start, span.stop) if self.entries == tuple(span) else None

    def block(self, values: Tensor) -> Tensor:
        """Their part [M, n, width, rows] of `values` [M, Q, rows]: a view where they lie side by side."""
        if self._span is not None:
            block = values[:, self._span]
        else:
            block = values.index_select(1, _index(self.entries, values.device))
        return block.view(len(values), len(self.places), self.width, -1)


class Layout:
    """The columns of an encoded block, by kind: columns of one kind and width go through the loss together.

    A number and a category of three levels, in a block of width 4; one model, two data rows:

    >>> layout = Layout([Column("a", 0, 1, False), Column("b", 1, 3, True)])
    >>> z = torch.tensor([[[1.0, 2.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    >>> losses, known = layout.losses(torch.zeros(1, 4, 2), z)
    >>> [round(loss, 2) for loss in losses[0].tolist()]  # (1 + 4) / 2, and ln 3
    [2.5, 1.1]

    Shape
    -----
    block : [M, Q, rows]; losses of the columns : [M, q].

    Parameters
    ----------
    columns : as they lie in the block, q of them, of width Q in all.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        for column in self.columns:
            if column.categorical and column.width == 1:
                raise ValueError(f"column {column.name!r}: a category needs at least two levels")
        places: dict[tuple[bool, int], list[int]] = {}
        for place, column in enumerate(self.columns):
            places.setdefault((column.categorical, column.width), []).append(place)
        spans = [range(column.start, column.start + column.width) for column in self.columns]
        self._kinds = tuple(
            _Kind(categorical, width, tuple(at), tuple(itertools.chain(*(spans[i] for i in at))))
            for (categorical, width), at in places.items()
        )
        self._place_order = _inverse([i for kind in self._kinds for i in kind.places])
        self._entry_order = _inverse([i for kind in self._kinds for i in kind.entries])
        self.has_categories = any(column.categorical for column in self.columns)

    @property
    def width(self) -> int:
        """Width Q of the block."""
        return sum(column.width for column in self.columns)

    def losses(self, output: Tensor, z: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The loss of every column [M, q], and whether it is known in any row [M, q].

        A number has the squared error; a spectrum or an image the mean of those of its numbers, so that its one σ is
        theirs; a category the cross-entropy. Each is averaged over the rows in which it is known, and 0 without any.

        output : predictions [M, Q, rows] (values, and logits of the levels).
        z : what is to be predicted [M, Q, rows]; NaN where it is missing (or is padding), of a category in all levels.
        weights : of the rows in that average [M, rows]; None: all equal.
        """
        _must_agree(output=output, z=z)
        of_kinds = [_kind_losses(kind, output, z, weights) for kind in self._kinds]
        losses, known = (_in_order([pair[i] for pair in of_kinds], self._place_order) for i in (0, 1))
        return losses, known

    def read(self, output: Tensor) -> Tensor:
        """ẑ [M, Q, rows] as the target network reads it: numbers as they are, levels of a category as probabilities."""
        if not self.has_categories:
            return output
        blocks = [kind.block(output) for kind in self._kinds]
        read = [b.softmax(2) if k.categorical else b for k, b in zip(self._kinds, blocks, strict=True)]
        return _in_order([block.flatten(1, 2) for block in read], self._entry_order)

    @functools.cached_property
    def _likelihood(self) -> Tensor:
        """Share of its loss in a column's likelihood [q]: see `uncertainty`."""
        return torch.tensor([1.0 if column.categorical else 0.5 for column in self.columns])

    def uncertainties(self, losses: Tensor, log_variances: Tensor) -> Tensor:
        """`uncertainty` of every column [M, q], of its loss and its ln σ² (ln T² of a category), [M, q] both."""
        return log_variances.neg().exp() * self._likelihood.to(losses) * losses + 0.5 * log_variances


@functools.lru_cache(maxsize=256)
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places, device=device)


def _inverse(order: Sequence[int]) -> tuple[int, ...] | None:
    """Where each of 0, 1, ... stands in `order`; None: in its place."""
    if list(order) == list(range(len(order))):
        return None
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _in_order(parts: Sequence[Tensor], order: tuple[int, ...] | None) -> Tensor:
    """`parts` joined along axis 1, and its entries taken in this order."""
    joined = parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)
    return joined if order is None else joined.index_select(1, _index(order, joined.device))


def _kind_losses(kind: _Kind, output: Tensor, z: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The losses of the columns of one kind [M, n], and whether each is known in any row [M, n]."""
    predicted, true = kind.block(output), kind.block(z)
    if not kind.categorical and weights is None:
        sums, count = _SquaredErrors.apply(predicted, true)
        return sums / count.clamp(min=1), count > 0
    cells = ~true.isnan()
    if kind.categorical:
        known = cells[:, :, 0]
        losses = -(true.nan_to_num(nan=0.0) * predicted.log_softmax(2)).sum(2)
    else:
        known, counts = cells.any(2), cells.sum(2)
        losses = ((predicted - true.nan_to_num(nan=0.0)).square() * cells).sum(2) / counts.clamp(min=1)
    count = known.sum(-1)
    if weights is None:
        return (losses * known).sum(-1) / count.clamp(min=1), count > 0
    counted = weights[:, None] * known
    return (losses * counted).sum(-1) / counted.sum(-1).clamp(min=1e-30), count > 0


class _SquaredErrors(torch.autograd.Function):
    """Mean squared error of every cell [M, n, width, rows] over its known numbers, summed over the rows in which there
    are some [M, n], and how many these rows are [M, n].

    Of many columns these tensors are larger than a network's own: so few passes through memory as can be. It can be
    differentiated twice by the predictions.
    """

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        residual, share = torch.sub(predicted, true), None
        m, n, width, rows = true.shape
        count = torch.full((m, n), rows, device=true.device)
        sums = torch.linalg.vector_norm(residual.movedim(2, 1), dim=(1, 3)).square() / width
        if sums.isnan().any():  # cells are missing, or a network has diverged
            missing = true.isnan()
            residual.masked_fill_(missing, 0.0)
            known = width - missing.sum(2)  # numbers of each cell
            count, share = (known > 0).sum(2), width / known.clamp(min=1)
            sums = (residual.square().mean(2) * share).sum(2)
        ctx.share = share
        ctx.save_for_backward(predicted, true, residual)
        ctx.mark_non_differentiable(count)
        return sums, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        predicted, true, residual = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph is asked for
            residual = torch.where(true.isnan(), 0.0, predicted - true)
        slope = (2.0 / true.shape[2]) * gradients[0][:, :, None, None]
        return residual * (slope if ctx.share is None else slope * ctx.share.unsqueeze(2)), None


def uncertainty(loss: Tensor, log_variance: Tensor, regression: bool) -> Tensor:
    """Loss under a learned noise: L / (2σ²) + ln σ for a regression, L / T² + ln T for a classification.

    `log_variance` is s = ln σ² (or ln T²); at the stationary point σ² = L and T² = 2 L. Kendall, Gal and Cipolla, CVPR
    2018.
    """
    precision = torch.exp(-log_variance)
    return (0.5 * precision if regression else precision) * loss + 0.5 * log_variance
