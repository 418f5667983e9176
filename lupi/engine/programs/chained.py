"""The multi-task student: one network predicts Z from X, a second the target from X and ẑ; both train end to end."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from lupi.engine.batches import Batch, Knobs
from lupi.engine.network import Network, Workspace
from lupi.engine.programs.base import PREDICTS_TARGET, PREDICTS_Z, Forward, Outputs, Program


@dataclasses.dataclass(frozen=True)
class ChainedProgram(Program):
    """c([x, r(x)]), trained end to end.

    stop_gradient : whether no gradient of the target reaches r: c reads ẑ without shaping it.
    """

    stop_gradient: bool = False

    kind = "chained"
    roles = (PREDICTS_Z, PREDICTS_TARGET)
    predicts_z = True
    always_reads_z = True

    @functools.cached_property
    def networks(self) -> tuple[Network, ...]:
        return (
            self.architecture.predictor(self.regular, self.width),
            self.architecture.classifier(self.regular, self.width, self.outputs),
        )

    @functools.cached_property
    def n_shared(self) -> int:
        """Those of r, through which the target learns too."""
        return self.networks[0].n_parameters

    def reader(self, parameters: Tensor) -> tuple[Network, Tensor]:
        return self.networks[1], self.parts(parameters)[1]

    def _outputs(self, network: Forward, x: Tensor, z: Tensor | None) -> Outputs:
        predicted = network(0, x)
        read = self.layout.read(predicted)
        return network(1, x, read.detach() if self.stop_gradient else read), predicted

    @torch.no_grad()
    def task_gradients(
        self, parameters: Tensor, batch: Batch, knobs: Knobs, workspace: Workspace | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients, into = self._gradients(parameters, batch, workspace)
        part, predictor = self.parts(parameters)[0], self.networks[0]
        predicted, kept = predictor.forward_kept(part, batch.x, None, workspace, batch.kept(0))
        losses, present, cotangents = self._through(parameters, predicted, into[1], batch, knobs, workspace)
        predictor.pullback(part, batch.x, None, kept, cotangents, into[0])
        return losses, present, gradients

    def _through(
        self,
        parameters: Tensor,
        predicted: Tensor,
        into: Tensor,
        batch: Batch,
        knobs: Knobs,
        workspace: Workspace | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses and presence of the tasks, and the cotangents at the output of r: of the target's tasks through ẑ, of
        the columns directly. Writes the gradients of c into `into`."""
        part, classifier, targets = self.parts(parameters)[1], self.networks[1], 1 + (batch.teacher is not None)
        with torch.enable_grad():
            leaf = predicted.requires_grad_()
            read = self.layout.read(leaf)
        output, kept = classifier.forward_kept(part, batch.x, read.detach(), workspace, batch.kept(1))
        losses, present, cotangents = self._cotangents(output, leaf, batch, knobs)
        of_target, of_columns = cotangents.split([self.outputs, self.width], 1)
        into[:, targets:].zero_()
        at_read = classifier.pullback(
            part, batch.x, read.detach(), kept, of_target[:, :, :targets].contiguous(), into[:, :targets]
        )
        assert at_read is not None
        if self.stop_gradient:
            of_columns[:, :, :targets] = 0.0
        elif read is leaf:
            of_columns[:, :, :targets] = at_read
        else:
            for task in range(targets):
                (of_columns[:, :, task],) = torch.autograd.grad(read, leaf, at_read[:, :, task], retain_graph=True)
        return losses, present, of_columns.contiguous()
