"""A training step whose tasks are weighed by a balancing strategy: from task gradients to one direction."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.balancing.base import Learned, State, Step, Strategy, Values
from lupi.balancing.implicit import neumann
from lupi.engine.losses import category_probabilities
from lupi.engine.mlp import Workspace
from lupi.engine.objective import Batch, Knobs, Program, fixed_weights, losses_of_outputs, task_losses, tasks_of


@dataclasses.dataclass
class Weighed:
    """What came of a step: its direction [M, P], the weights [M, K], what the strategy was told, and the gradients of
    the tasks [M, K, P], in memory that the next step overwrites (None where they were not needed)."""

    gradient: Tensor
    weights: Tensor
    step: Step
    gradients: Tensor | None

    def take(self, which: npt.NDArray[np.intp]) -> Weighed:
        """Copies for the models at positions `which`."""
        at = torch.as_tensor(which, device=self.weights.device)
        gradients = None if self.gradients is None else self.gradients[at]
        return Weighed(self.gradient[at], self.weights[at], self.step.take(at), gradients)


class Weighing:
    """Weighs the tasks of models of one program by one strategy.

    Parameters
    ----------
    distils : whether the batches hold soft labels, which makes distillation a task of its own.
    traced : compute the Gramian of the gradients even if the strategy does not read it.

    Raises
    ------
    ValueError : where the program has one task alone.
    """

    def __init__(self, program: Program, strategy: Strategy, *, distils: bool, traced: bool) -> None:
        self.program, self.strategy, self._distils = program, strategy, distils
        self.tasks = tasks_of(program, distils)
        if len(self.tasks) < 2:
            raise ValueError(
                f"the strategy {strategy.name} weighs at least two tasks; these models have one, {self.tasks[0]}. "
                "Choose a method with a teacher or a privileged task, or leave the strategy out."
            )
        self._needs_gradients = strategy.reads_gramian or traced
        regression = [program.numeric] * (1 + distils)
        regression += [not column.categorical for column in program.columns[: len(self.tasks) - len(regression)]]
        self._regression = torch.tensor(regression)

    def start(self, models: int, device: str) -> State:
        return {name: value.to(device) for name, value in self.strategy.start(models, len(self.tasks)).items()}

    def step(
        self,
        parameters: Tensor,
        batch: Batch,
        knobs: Knobs,
        state: State,
        values: Values,
        seed: npt.NDArray[np.uint64],
        number: npt.NDArray[np.int64],
        workspace: Workspace | None,
    ) -> tuple[Weighed, State]:
        """The direction of a step from the parameters [M, P], and the strategy's state after it."""
        if self._needs_gradients:
            losses, present, gradients = self._gradients(parameters, batch, knobs, workspace)
            step = self._told(losses, present, gradients, knobs, seed, number)
            weights, state = self.strategy.weights(step, state, values)
            gradient = (weights.to(gradients.dtype)[:, None, :] @ gradients).squeeze(1)
            return Weighed(gradient, weights, step, gradients), state
        parts = leaves(self.program, parameters)
        losses, present = task_losses(self.program, parts, batch, knobs, workspace)
        step = self._told(losses, present, None, knobs, seed, number)
        weights, state = self.strategy.weights(step, state, values)
        total = (weights.to(losses.dtype) * losses).sum()
        gradient = torch.cat(torch.autograd.grad(total, parts, materialize_grads=True), 1)
        return Weighed(gradient, weights, step, None), state

    def _told(
        self,
        losses: Tensor,
        present: Tensor,
        gradients: Tensor | None,
        knobs: Knobs,
        seed: npt.NDArray[np.uint64],
        number: npt.NDArray[np.int64],
    ) -> Step:
        gramian = None
        if gradients is not None:
            shared = gradients[:, :, : self.program.n_shared]
            gramian = (shared @ shared.mT).double()
        return Step(
            losses=losses.detach().double(),
            present=present,
            regression=self._regression.to(losses.device),
            fixed=fixed_weights(self.program, knobs, self._distils).double(),
            gramian=gramian,
            seed=seed,
            number=number,
        )

    @torch.no_grad()
    def _gradients(
        self, parameters: Tensor, batch: Batch, knobs: Knobs, workspace: Workspace | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses [M, K], which tasks are present [M, K], and the gradient of every task [M, K, P]: one pass through the
        networks for all tasks."""
        program, x = self.program, batch.x
        parts = program.parts(parameters)
        shape = (len(x), len(self.tasks), parameters.shape[1])
        gradients = x.new_empty(shape) if workspace is None else workspace.empty("task gradients", shape, x)
        into = gradients.split([part.shape[1] for part in parts], 2)
        if program.n_scalars:
            into[-1].zero_()
        z = batch.z if program.kind == "target" else None
        output, activations = program.networks[0].kept(parts[0], x, z, workspace)
        if program.kind == "chained":
            losses, present, cotangents = self._through(parts[1], into[1], output, batch, knobs, workspace)
        else:
            losses, present, cotangents = self._cotangents(output, None, batch, knobs)
        program.networks[0].pullback(parts[0], x, z, activations, cotangents, into[0])
        return losses, present, gradients

    def _through(
        self, part: Tensor, into: Tensor, predicted: Tensor, batch: Batch, knobs: Knobs, workspace: Workspace | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The target network of a chained program: its gradients into `into`, and the cotangents at the output of the
        network that predicts Z, of the target's tasks through ẑ and of the columns directly."""
        classifier, columns, targets = self.program.networks[1], self.program.columns, 1 + self._distils
        with torch.enable_grad():
            leaf = predicted.requires_grad_()
            read = category_probabilities(leaf, columns)
        output, activations = classifier.kept(part, batch.x, read.detach(), workspace)
        losses, present, cotangents = self._cotangents(output, leaf, batch, knobs)
        of_target, of_columns = cotangents.split([len(output[0]), len(leaf[0])], 1)
        into[:, targets:].zero_()
        at_read = classifier.pullback(
            part, batch.x, read.detach(), activations, of_target[:, :, :targets].contiguous(), into[:, :targets]
        )
        assert at_read is not None
        if read is leaf:
            of_columns[:, :, :targets] = at_read
        else:
            for task in range(targets):
                (of_columns[:, :, task],) = torch.autograd.grad(read, leaf, at_read[:, :, task], retain_graph=True)
        return losses, present, of_columns.contiguous()

    def _cotangents(
        self, output: Tensor, predicted: Tensor | None, batch: Batch, knobs: Knobs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, presence, and the losses' derivatives by the outputs [M, C + Q, K, rows], the target's first.

        The target's two losses read the same outputs; every column reads its own, so one backward serves them all.
        """
        program, c = self.program, self.program.outputs
        with torch.enable_grad():
            together = (output if predicted is None else torch.cat([output, predicted], 1)).detach().requires_grad_()
            target, columns = together, None
            if together.shape[1] > c:
                target, columns = program.heads(together, batch.y.shape[2])
            losses, present = losses_of_outputs(program, target, columns, batch, knobs)
            hard, *soft = losses[:, : 1 + self._distils].unbind(1)
            rest = losses[:, 1 + self._distils :].sum()
            each = [torch.autograd.grad(loss.sum(), together, retain_graph=True)[0] for loss in soft]
            (both,) = torch.autograd.grad(hard.sum() + rest, together)
        m, width, rows = together.shape
        cotangents = both.new_zeros(m, width, losses.shape[1], rows)
        cotangents[:, :c, 0] = both[:, :c]
        for task, soft_one in enumerate(each, 1):
            cotangents[:, :c, task] = soft_one[:, :c]
        for task, column in enumerate(program.columns if columns is not None else (), 1 + self._distils):
            span = slice(c + column.start, c + column.start + column.width)
            cotangents[:, span, task] = both[:, span]
        return losses.detach(), present, cotangents

    # ------------------------------------------------------------------ learning the weights

    def due(self, number: npt.NDArray[np.int64], moving: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        """Positions of the models whose strategy learns after this step."""
        if not isinstance(self.strategy, Learned):
            return np.zeros(0, np.intp)
        return np.flatnonzero(moving & ((number + 1) % self.strategy.every == 0))

    def learn(
        self,
        parameters: Tensor,
        batch: Batch,
        knobs: Knobs,
        other: Batch,
        weighed: Weighed,
        state: State,
        values: Values,
        workspace: Workspace | None,
    ) -> State:
        """The strategy's state after a step down the hypergradient of the main task's loss on the rows `other`.

        Only the parameters that all tasks share count, as in the code of AuxiNash: no helper reaches the others.
        """
        strategy, shared = self.strategy, self.program.n_shared
        assert isinstance(strategy, Learned)
        gradients = weighed.gradients
        if gradients is None:
            gradients = self._gradients(parameters, batch, knobs, None)[2]
        parts = leaves(self.program, parameters)
        main = task_losses(self.program, parts, other, knobs, workspace)[0][:, 0]
        outer = torch.autograd.grad(main.sum(), parts, materialize_grads=True)[0][:, :shared].clone()
        with torch.enable_grad():
            leaf = parameters[:, :shared].detach().requires_grad_()
            parts = self.program.parts(torch.cat([leaf, parameters[:, shared:].detach()], 1))
            losses = task_losses(self.program, parts, batch, knobs, plain=True)[0]
            total = strategy.total(losses.double(), weighed.step, state, values)
            (inner,) = torch.autograd.grad(total.sum(), leaf, create_graph=True, materialize_grads=True)

            def product(vector: Tensor) -> Tensor:
                return torch.autograd.grad(inner, leaf, vector, retain_graph=True, materialize_grads=True)[0]

            v = neumann(product, outer)
        response = (gradients[:, :, :shared] @ v.unsqueeze(2)).squeeze(2)
        return strategy.learn(response.double(), weighed.step, state, values)


def leaves(program: Program, parameters: Tensor) -> list[Tensor]:
    """The parts of `parameters`, each by itself to be differentiated by."""
    return [part.detach().requires_grad_() for part in program.parts(parameters)]


def scattered(state: State, which: npt.NDArray[np.intp], learned: State) -> State:
    """`state` with the rows at positions `which` replaced."""
    at = {name: torch.as_tensor(which, device=value.device) for name, value in state.items()}
    return {name: value.index_copy(0, at[name], learned[name]) for name, value in state.items()}
