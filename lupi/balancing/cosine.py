"""Gradient cosine similarity (GCS) of each helper and the main task: a weight of 0 or 1, and a weighted form."""

from __future__ import annotations

from torch import Tensor

from lupi.balancing.base import State, Step, Strategy, Values, with_main


class GCS(Strategy):
    """A helper counts fully where the cosine of its gradient with the main task's is >= 0, and not at all elsewhere.

    Du, Czarnecki, Jayakumar, Farajtabar, Pascanu and Lakshminarayanan, "Adapting auxiliary losses using gradient
    similarity", arXiv 1812.02224, the unweighted version: w_0 = 1 and w_k = 1 if ⟨g_0, g_k⟩ >= 0, else 0. Under small
    steps of gradient descent the main task's loss falls wherever its gradient is not 0. No parameters.

    Deviations: with several helpers, which the paper does not have, each is judged by itself.

    One task: weight 1. A zero gradient has cosine 0, and its task counts; where it is the main task's, all helpers do.
    Collinear gradients: the sum. Opposite gradients: the main task alone.
    """

    name = "gcs"
    family = "asymmetric"
    paper = "Du et al., arXiv 1812.02224"
    assumes = "a helper that opposes the main task now has nothing to give now"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        inner = step.gram[:, 0]
        return with_main((inner >= 0).to(inner.dtype), step), state


class WeightedGCS(Strategy):
    """A helper counts by the cosine of its gradient with the main task's, and not at all where that is negative.

    Du et al., arXiv 1812.02224, the weighted version: w_0 = 1 and w_k = max(0, ⟨g_0, g_k⟩ / (‖g_0‖ ‖g_k‖)); else as
    `GCS`. A zero gradient has cosine 0: its task does not count, and where it is the main task's, no helper does.
    """

    name = "gcs-weighted"
    family = "asymmetric"
    paper = "Du et al., arXiv 1812.02224"
    assumes = "the nearer a helper's gradient to the main task's, the more it has to give"
    reads_gramian = True

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        norms = step.gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        scale = norms[:, :1] * norms
        inner = step.gram[:, 0].clamp(min=0)
        return with_main((inner / scale.where(scale > 0, 1.0)).clamp(max=1), step), state
