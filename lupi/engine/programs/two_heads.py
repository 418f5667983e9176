"""TRAM: a head that reads Z trains the shared features; a head without Z learns on them and predicts."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng
from lupi.engine.batches import Batch, Knobs
from lupi.engine.network import Network, Workspace
from lupi.engine.programs.base import BLIND_HEAD, INFORMED_HEAD, PREDICTS_TARGET, Bools, Forward, Outputs, Program


@dataclasses.dataclass(frozen=True)
class TwoHeadProgram(Program):
    """Features φ(x), the hidden layers of c, with a head on [φ, z], which shapes them, and a linear one on φ, which
    predicts (Collier et al., ICML 2022).

    The objective is the sum of the losses of both heads, C(g_t(φ, z)) + w C(g_s(φ)), the latter without a gradient to
    φ. w = 1: it would only scale the gradient of g_s, which Adam undoes. g_s starts at 0, unlike in the papers: from
    random weights its loss rises at first, as φ moves away under it, and early stopping, which watches it, may end in
    epoch 1.
    """

    kind = "tram"
    roles = (PREDICTS_TARGET, BLIND_HEAD, INFORMED_HEAD)  # φ starts like the hidden layers of the other programs
    always_reads_z = True

    _feature_share: ClassVar[int] = 1
    _head_factor: ClassVar[int] = 1

    @functools.cached_property
    def networks(self) -> tuple[Network, ...]:
        """φ, the head on φ alone, and the one on [z, φ]."""
        return self.architecture.two_heads(
            self.regular, self.width + self.n_random, self.outputs, self._feature_share, self._head_factor
        )

    @functools.cached_property
    def n_shared(self) -> int:
        return self.networks[0].n_parameters

    def initial(self, seed: rng.UInt64, sees_x: Bools, sees_z: Bools) -> npt.NDArray[np.float64]:
        parameters = super().initial(seed, sees_x, sees_z)
        features, blind = (network.n_parameters for network in self.networks[:2])
        parameters[:, features : features + blind] = 0.0
        return parameters

    def _visible(self, sees_x: Bools, sees_z: Bools) -> list[Bools]:
        features = np.ones((len(sees_x), self.networks[0].outputs), np.bool_)
        random = np.ones((len(sees_x), self.n_random), np.bool_)
        return [sees_x, features, np.concatenate([sees_z, random, features], 1)]

    def _outputs(self, network: Forward, x: Tensor, z: Tensor | None) -> Outputs:
        return network(1, network(0, x).relu().detach().mT), None

    def both_heads(
        self, parts: list[Tensor], batch: Batch, workspace: Workspace | None = None
    ) -> tuple[Tensor, Tensor]:
        """Target outputs [M, C, rows] of the head on φ alone, and of the one that is given z."""
        if batch.z is None:
            raise ValueError("this program reads the privileged columns: the batch must hold them")
        features = self.networks[0](parts[0], batch.x, None, workspace, batch.kept(0)).relu()  # φ [M, H, rows]
        given = batch.z if batch.random is None else torch.cat([batch.z, batch.random], 1)
        blind = self.networks[1](parts[1], features.detach().mT)  # no gradient reaches φ
        return blind, self.networks[2](parts[2], given.mT, features, workspace, batch.kept(2))

    def objective(self, parts: list[Tensor], batch: Batch, knobs: Knobs, workspace: Workspace | None = None) -> Tensor:
        blind, informed = self.both_heads(parts, batch, workspace)
        return self.target_loss(blind, batch, knobs) + self.target_loss(informed, batch, knobs)


@dataclasses.dataclass(frozen=True)
class RandomisedTwoHeadProgram(TwoHeadProgram):
    """TRAM++: the same with a number of each row's own beside z, half the widths in φ and twice the width in the head
    that is given z, so that the product of the two, which most of the head's parameters are, stays (Ortiz-Jimenez et
    al., ICML 2023)."""

    kind = "tram++"
    n_random = 1

    _feature_share = 2
    _head_factor = 2
