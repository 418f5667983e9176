"""Programs of one network with one kind of output: the target, or the privileged columns."""

from __future__ import annotations

import dataclasses
import functools

from torch import Tensor

from lupi.engine.batches import Batch, Knobs
from lupi.engine.network import Network, Workspace
from lupi.engine.programs.base import PREDICTS_TARGET, PREDICTS_Z, Forward, Outputs, Program


@dataclasses.dataclass(frozen=True)
class TargetProgram(Program):
    """c([x, z]), where z is the true Z, a prediction made before, or hidden."""

    kind = "target"
    roles = (PREDICTS_TARGET,)

    @functools.cached_property
    def networks(self) -> tuple[Network, ...]:
        return (self.architecture.classifier(self.regular, self.width, self.outputs),)

    @functools.cached_property
    def n_shared(self) -> int:
        """All of them: every task is a loss of one output."""
        return self.networks[0].n_parameters

    def reader(self, parameters: Tensor) -> tuple[Network, Tensor]:
        return self.networks[0], parameters

    def _outputs(self, network: Forward, x: Tensor, z: Tensor | None) -> Outputs:
        return network(0, x, z), None


@dataclasses.dataclass(frozen=True)
class PrivilegedProgram(Program):
    """r(x), which predicts the privileged columns and nothing else."""

    kind = "privileged"
    roles = (PREDICTS_Z,)
    predicts_target = False
    predicts_z = True
    always_reads_z = True

    @functools.cached_property
    def networks(self) -> tuple[Network, ...]:
        return (self.architecture.predictor(self.regular, self.width),)

    @functools.cached_property
    def n_shared(self) -> int:
        return self.networks[0].n_parameters

    def _outputs(self, network: Forward, x: Tensor, z: Tensor | None) -> Outputs:
        return None, network(0, x)

    def objective(self, parts: list[Tensor], batch: Batch, knobs: Knobs, workspace: Workspace | None = None) -> Tensor:
        """The mean over columns of their losses."""
        _, predicted = self.outputs_of(parts, batch.x, batch.z, workspace, keep=batch.keep)
        assert predicted is not None
        return self.privileged_losses(predicted, batch)[0].mean(1)

    def monitored(
        self, parts: list[Tensor], batch: Batch, knobs: Knobs, total: bool, workspace: Workspace | None = None
    ) -> Tensor:
        return self.objective(parts, batch, knobs, workspace)
