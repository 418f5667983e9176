"""`Program`, the base of all kinds: its networks, their outputs for a batch, and the loss of every model.

A program is the shape that all models of one engine call share. What differs between models (which columns they see,
how the parts of the loss weigh) is data: masks and per-model coefficients in a `Batch` and in `Knobs`.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng
from lupi.columns import Column
from lupi.engine import losses
from lupi.engine.batches import Batch, Knobs
from lupi.engine.losses import Layout
from lupi.engine.network import Architecture, Network, Workspace

Bools = npt.NDArray[np.bool_]
Outputs = tuple[Tensor | None, Tensor | None]
#: (number of a network, x, z) -> its outputs.
Forward = Callable[..., Tensor]

#: What a network is. Networks of one role start alike in every program: the role is part of the key of their weights.
PREDICTS_Z, PREDICTS_TARGET, BLIND_HEAD, INFORMED_HEAD = range(4)

_INITIAL = 0  # stream of a model's random numbers that draws its weights
_INITIAL_LOG_VARIANCE = 0.1  # of ln σ² and ln T², as in the papers' code


@dataclasses.dataclass(frozen=True)
class Program(abc.ABC):
    """The networks of one engine call, and what they are trained for.

    Parameters
    ----------
    regular : width D of the encoded x.
    columns : the privileged columns and their places in the encoded z (width Q in all).
    outputs : width C of the target: 1 for two classes or a number, K for K classes.
    numeric : whether the target is a number.
    architecture : makes the networks.

    Attributes
    ----------
    kind : name of the class, as design tables and files have it.
    roles : what each network is.
    predicts_target, predicts_z : what it outputs. Where it does not predict z, z is an input, if anything.
    always_reads_z : whether its batches must hold z (else only where a model is given it).
    n_random : numbers of each data row's own that are read beside z.
    """

    regular: int
    columns: tuple[Column, ...]
    outputs: int
    numeric: bool
    architecture: Architecture

    kind: ClassVar[str]
    roles: ClassVar[tuple[int, ...]]
    predicts_target: ClassVar[bool] = True
    predicts_z: ClassVar[bool] = False
    always_reads_z: ClassVar[bool] = False
    n_random: ClassVar[int] = 0

    # ------------------------------------------------------------------ networks and parameters

    @property
    @abc.abstractmethod
    def networks(self) -> tuple[Network, ...]:
        """In the order of their parameters."""

    @property
    @abc.abstractmethod
    def n_shared(self) -> int:
        """How many parameters, the first ones, every task's gradient reaches."""

    @functools.cached_property
    def layout(self) -> Layout:
        return Layout(self.columns)

    @functools.cached_property
    def width(self) -> int:
        """Width Q of the encoded privileged block."""
        return self.layout.width

    @functools.cached_property
    def n_scalars(self) -> int:
        """Learned log-variances: one for each privileged column, then the target's (programs that have both)."""
        return len(self.columns) + 1 if self.predicts_z and self.predicts_target else 0

    @functools.cached_property
    def n_parameters(self) -> int:
        return sum(self._sizes)

    @functools.cached_property
    def rates(self) -> npt.NDArray[np.float64] | None:
        """Factors [P] of the learning rate of each parameter; None: all learn alike."""
        if all(network.rates is None for network in self.networks):
            return None
        of_each = [np.ones(n.n_parameters) if n.rates is None else n.rates for n in self.networks]
        return np.concatenate([*of_each, np.ones(self.n_scalars)])

    @functools.cached_property
    def decayed(self) -> npt.NDArray[np.bool_]:
        """Which parameters [P] weight decay draws to 0: those that the networks say, never the scalars."""
        of_each = [np.ones(n.n_parameters, np.bool_) if n.decayed is None else n.decayed for n in self.networks]
        return np.concatenate([*of_each, np.zeros(self.n_scalars, np.bool_)])

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [network.n_parameters for network in self.networks] + ([self.n_scalars] if self.n_scalars else [])

    def parts(self, parameters: Tensor) -> list[Tensor]:
        """Views of `parameters` [M, P]: one for each network, then the scalars where there are any."""
        return list(parameters.split(self._sizes, 1)) if len(self._sizes) > 1 else [parameters]

    def leaves(self, parameters: Tensor) -> list[Tensor]:
        """The parts of `parameters`, each by itself to be differentiated by."""
        return [part.detach().requires_grad_() for part in self.parts(parameters)]

    def initial(self, seed: rng.UInt64, sees_x: Bools, sees_z: Bools) -> npt.NDArray[np.float64]:
        """Initial parameters [M, P] of models with these seeds [M], which see these entries of x [M, D] and z [M, Q].

        Columns that a model does not see count in no fan-in: it starts like one that never had them.
        """
        pieces = [
            network.initial(rng.keys(seed, _INITIAL, role), visible)
            for role, network, visible in zip(self.roles, self.networks, self._visible(sees_x, sees_z), strict=True)
        ]
        return np.concatenate([*pieces, np.full((len(seed), self.n_scalars), _INITIAL_LOG_VARIANCE)], 1)

    def _visible(self, sees_x: Bools, sees_z: Bools) -> list[Bools]:
        """Which inputs of each network the models see."""
        both = np.concatenate([sees_x, sees_z], 1)
        return [both[:, : network.inputs + network.extra] for network in self.networks]

    def reader(self, parameters: Tensor) -> tuple[Network, Tensor] | None:
        """The network that reads z and gives the target, and its parameters [M, P']; None where the target's network
        does not read z."""
        return None

    # ------------------------------------------------------------------ outputs and losses

    def outputs_of(
        self,
        parts: list[Tensor],
        x: Tensor,
        z: Tensor | None,
        workspace: Workspace | None = None,
        *,
        keep: tuple[Tensor | None, ...] | None = None,
        reference: bool = False,
    ) -> Outputs:
        """Target output [M, C, rows] and privileged output [M, Q, rows] (None where the program has none).

        Both are raw: logits, and for a category the logits of its levels.
        keep : dropout of each network (see `Batch`). reference : by `Network.reference_forward`, slower and
        differentiable twice.
        """

        def network(i: int, x: Tensor, z: Tensor | None = None) -> Tensor:
            kept = None if keep is None else keep[i]
            if reference:
                return self.networks[i].reference_forward(parts[i], x, z, kept)
            return self.networks[i](parts[i], x, z, workspace, kept)

        return self._outputs(network, x, z)

    @abc.abstractmethod
    def _outputs(self, network: Forward, x: Tensor, z: Tensor | None) -> Outputs:
        """`outputs_of`, of networks that are called by their number."""

    def training_batch(self, batch: Batch, seed: rng.UInt64, step: npt.NDArray[np.int64], x_scale: Tensor) -> Batch:
        """What models with these seeds read in training in place of `batch`, at their steps [M].

        x_scale : [M, 1, D], 0 where an entry of x is hidden from a model or does not vary among its training rows.
        """
        return batch

    def objective(self, parts: list[Tensor], batch: Batch, knobs: Knobs, workspace: Workspace | None = None) -> Tensor:
        """The training loss of every model [M].

        With C the target's loss and L_j those of the q privileged columns, where the program has them:
        fixed weights: C + ε mean_j L_j;
        learned: C/T² + ln T + mean_j [ε L_j/(2σ_j²) + ln σ_j], where a category has ε L_j/T_j² + ln T_j instead. The
        term of a column that does not count (ε = 0, or unknown in all rows) is 0: nothing would hold its ln σ.
        """
        target, predicted = self.outputs_of(parts, batch.x, batch.z, workspace, keep=batch.keep)
        assert target is not None
        fixed = self.target_loss(target, batch, knobs)
        if predicted is None:
            return fixed
        columns, known = self.privileged_losses(predicted, batch)
        scalars, epsilon = parts[-1], knobs.epsilon[:, None]
        weighted = epsilon * columns
        noisy = self.layout.uncertainties(weighted, scalars[:, :-1]) * (known & (epsilon > 0))
        learned = losses.uncertainty(fixed, scalars[:, -1], regression=self.numeric) + noisy.mean(1)
        return torch.where(knobs.learned > 0, learned, fixed + weighted.mean(1))

    def monitored(
        self, parts: list[Tensor], batch: Batch, knobs: Knobs, total: bool, workspace: Workspace | None = None
    ) -> Tensor:
        """What early stopping watches on the validation rows [M].

        total : the training loss itself (the papers' protocol); else the target's part of it, hard, soft and
            teacher-privileged as the method mixes them, so that learning Z longer never counts as progress.
        """
        if total:
            return self.objective(parts, batch, knobs, workspace)
        target, _ = self.outputs_of(parts, batch.x, batch.z, workspace)
        assert target is not None
        return self.target_loss(target, batch, knobs)

    def target_loss(self, output: Tensor, batch: Batch, knobs: Knobs) -> Tensor:
        """The target's loss, its hard, soft and teacher-privileged parts mixed: [M]."""
        hard = knobs.hard[:, None] * self._hard(output, batch, knobs)
        if batch.teacher is None:
            return losses.mean_over_rows(hard, batch.weights)
        imitation, tpd = self._soft(output, batch, knobs)
        mixed = hard + knobs.imitate[:, None] * imitation
        if tpd is not None:
            mixed = mixed + knobs.privileged_teacher[:, None] * tpd
        return losses.mean_over_rows(mixed, batch.weights)

    def _hard(self, output: Tensor, batch: Batch, knobs: Knobs) -> Tensor:
        """The loss against the true target [M, rows]: squared error, or cross-entropy with label smoothing."""
        if self.numeric:
            return losses.squared_error(output, batch.y)
        if knobs.smoothing is None:
            return losses.cross_entropy(output, batch.y)
        smoothing = knobs.smoothing[:, None, None]
        return losses.cross_entropy(output, batch.y + smoothing * (1.0 / max(self.outputs, 2) - batch.y))

    def _soft(self, output: Tensor, batch: Batch, knobs: Knobs) -> tuple[Tensor, Tensor | None]:
        """Imitation of the teacher at the model's temperature, and the TPD loss [M, rows] (None for a number)."""
        assert batch.teacher is not None
        if self.numeric:
            return losses.squared_error(output, batch.teacher), None
        softened = batch.teacher / knobs.temperature[:, None, None]
        softened = softened if self.outputs == 1 else softened.log_softmax(1)
        soft = softened.sigmoid() if self.outputs == 1 else softened.exp()
        tpd = losses.teacher_privileged(output, softened, batch.y, knobs.repulsion)
        return losses.cross_entropy(output, soft), tpd

    def privileged_losses(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of every privileged column [M, q], and whether it is known in any row [M, q]."""
        if batch.z is None:
            raise ValueError("this program predicts the privileged columns: the batch must hold them")
        return self.layout.losses(output, batch.z, batch.sample_weights)

    # ------------------------------------------------------------------ tasks, one by one

    def tasks(self, distils: bool) -> tuple[str, ...]:
        """Names of the tasks that can be weighed: the target's loss, that of the teacher's soft labels, the columns'.

        distils : whether the batches hold soft labels.
        """
        columns = self.columns if self.n_scalars else ()
        return ("target", *(["distillation"] if distils else []), *(column.name for column in columns))

    def fixed_weights(self, knobs: Knobs, distils: bool) -> Tensor:
        """The weights [M, K] that methods themselves give their tasks where nothing is learned: 1 - λ, λ, ε / q."""
        soft = [knobs.imitate + knobs.privileged_teacher] if distils else []
        columns = len(self.tasks(distils)) - 1 - len(soft)
        return torch.stack([knobs.hard, *soft, *[knobs.epsilon / max(columns, 1)] * columns], 1)

    def task_losses(
        self,
        parts: list[Tensor],
        batch: Batch,
        knobs: Knobs,
        workspace: Workspace | None = None,
        *,
        reference: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The loss of every task by itself, unweighted [M, K], and which tasks a model has [M, K].

        A model has no distillation where neither of its weights is positive, and lacks a privileged column where ε = 0
        or the column is unknown in all rows of the batch; the losses of these are 0.
        """
        target, predicted = self.outputs_of(parts, batch.x, batch.z, workspace, keep=batch.keep, reference=reference)
        assert target is not None
        return self._losses_of_outputs(target, predicted, batch, knobs)

    def _losses_of_outputs(
        self, target: Tensor, predicted: Tensor | None, batch: Batch, knobs: Knobs
    ) -> tuple[Tensor, Tensor]:
        """`task_losses` from the raw outputs for the target [M, C, rows] and the privileged columns [M, Q, rows]."""
        task_losses = [losses.mean_over_rows(self._hard(target, batch, knobs), batch.weights)]
        present = [torch.ones_like(knobs.hard, dtype=torch.bool)]
        if batch.teacher is not None:
            soft, tpd = self._soft(target, batch, knobs)
            if tpd is not None:
                soft = torch.where((knobs.privileged_teacher > 0)[:, None], tpd, soft)
            present.append((knobs.imitate > 0) | (knobs.privileged_teacher > 0))
            task_losses.append(losses.mean_over_rows(soft, batch.weights) * present[-1])
        if predicted is None:
            return torch.stack(task_losses, 1), torch.stack(present, 1)
        columns, known = self.privileged_losses(predicted, batch)
        known = known & (knobs.epsilon > 0)[:, None]
        of_target = torch.stack(task_losses, 1), torch.stack(present, 1)
        return torch.cat([of_target[0], columns * known], 1), torch.cat([of_target[1], known], 1)

    @torch.no_grad()
    def task_gradients(
        self, parameters: Tensor, batch: Batch, knobs: Knobs, workspace: Workspace | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses [M, K], which tasks are present [M, K], and the gradient of every task [M, K, P]: one pass through
        the networks for all tasks.

        Here of programs of one network, whose output holds the target's and then the columns' (see `heads`).
        """
        z = None if self.predicts_z else batch.z
        gradients, into = self._gradients(parameters, batch, workspace)
        part, network = self.parts(parameters)[0], self.networks[0]
        output, kept = network.forward_kept(part, batch.x, z, workspace, batch.kept(0))
        task_losses, present, cotangents = self._cotangents(output, None, batch, knobs)
        network.pullback(part, batch.x, z, kept, cotangents, into[0])
        return task_losses, present, gradients

    def _gradients(self, parameters: Tensor, batch: Batch, workspace: Workspace | None) -> tuple[Tensor, list[Tensor]]:
        """Memory for the gradients of all tasks [M, K, P], and views of it for each part; 0 for the scalars."""
        shape = len(parameters), len(self.tasks(batch.teacher is not None)), parameters.shape[1]
        gradients = batch.x.new_empty(shape) if workspace is None else workspace.empty("task gradients", shape, batch.x)
        into = list(gradients.split(self._sizes, 2))
        if self.n_scalars:
            into[-1].zero_()
        return gradients, into

    def heads(self, output: Tensor, rows: int) -> tuple[Tensor, Tensor | None]:
        """The target's and the columns' part of an output [M, C + Q, rows], None where it holds no columns."""
        if output.shape[1] == self.outputs:
            return output, None
        target, columns = output.split([self.outputs, output.shape[1] - self.outputs], 1)
        return target, columns

    def _cotangents(
        self, output: Tensor, predicted: Tensor | None, batch: Batch, knobs: Knobs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, presence, and the losses' derivatives by the outputs [M, C + Q, K, rows], the target's first.

        The target's two losses read the same outputs; every column reads its own, so one backward serves them all.
        predicted : the columns' outputs, where they are not in `output`.
        """
        c, targets = self.outputs, 1 + (batch.teacher is not None)
        with torch.enable_grad():
            together = (output if predicted is None else torch.cat([output, predicted], 1)).detach().requires_grad_()
            target, columns = self.heads(together, batch.y.shape[2])
            task_losses, present = self._losses_of_outputs(target, columns, batch, knobs)
            hard, *soft = task_losses[:, :targets].unbind(1)
            by_soft = [torch.autograd.grad(loss.sum(), together, retain_graph=True)[0] for loss in soft]
            (both,) = torch.autograd.grad(hard.sum() + task_losses[:, targets:].sum(), together)
        m, width, rows = together.shape
        cotangents = both.new_zeros(m, width, task_losses.shape[1], rows)
        for task, by_output in enumerate([both, *by_soft]):
            cotangents[:, :c, task] = by_output[:, :c]
        if columns is not None:
            entries = [c + column.start + i for column in self.columns for i in range(column.width)]
            tasks = [targets + j for j, column in enumerate(self.columns) for _ in range(column.width)]
            cotangents[:, entries, tasks] = both[:, entries]
        return task_losses.detach(), present, cotangents
