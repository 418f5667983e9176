"""A training step under a balancing strategy: task gradients are weighed and summed to one direction."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.balancing.base import Learned, State, Step, Strategy, Values
from lupi.balancing.implicit import neumann
from lupi.engine.batches import Batch, Knobs
from lupi.engine.network import Workspace
from lupi.engine.programs import Program


@dataclasses.dataclass
class Weighed:
    """What came of a step: its direction [M, P], the weights [M, K], what the strategy was given, and the gradients of
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
        self.tasks = program.tasks(distils)
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
            losses, present, gradients = self.program.task_gradients(parameters, batch, knobs, workspace)
            step = self._step(losses, present, gradients, knobs, seed, number)
            weights, state = self.strategy.weights(step, state, values)
            gradient = (weights.to(gradients.dtype)[:, None, :] @ gradients).squeeze(1)
            return Weighed(gradient, weights, step, gradients), state
        parts = self.program.leaves(parameters)
        losses, present = self.program.task_losses(parts, batch, knobs, workspace)
        step = self._step(losses, present, None, knobs, seed, number)
        weights, state = self.strategy.weights(step, state, values)
        total = (weights.to(losses.dtype) * losses).sum()
        gradient = torch.cat(torch.autograd.grad(total, parts, materialize_grads=True), 1)
        return Weighed(gradient, weights, step, None), state

    def _step(
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
            fixed=self.program.fixed_weights(knobs, self._distils).double(),
            gramian=gramian,
            seed=seed,
            number=number,
        )

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
            gradients = self.program.task_gradients(parameters, batch, knobs, None)[2]
        parts = self.program.leaves(parameters)
        main = self.program.task_losses(parts, other, knobs, workspace)[0][:, 0]
        outer = torch.autograd.grad(main.sum(), parts, materialize_grads=True)[0][:, :shared].clone()
        with torch.enable_grad():
            leaf = parameters[:, :shared].detach().requires_grad_()
            parts = self.program.parts(torch.cat([leaf, parameters[:, shared:].detach()], 1))
            losses = self.program.task_losses(parts, batch, knobs, reference=True)[0]
            total = strategy.total(losses.double(), weighed.step, state, values)
            (inner,) = torch.autograd.grad(total.sum(), leaf, create_graph=True, materialize_grads=True)

            def product(vector: Tensor) -> Tensor:
                return torch.autograd.grad(inner, leaf, vector, retain_graph=True, materialize_grads=True)[0]

            v = neumann(product, outer)
        response = (gradients[:, :, :shared] @ v.unsqueeze(2)).squeeze(2)
        return strategy.learn(response.double(), weighed.step, state, values)


def scattered(state: State, which: npt.NDArray[np.intp], learned: State) -> State:
    """`state` with the models at positions `which` replaced."""
    at = {name: torch.as_tensor(which, device=value.device) for name, value in state.items()}
    return {name: value.index_copy(0, at[name], learned[name]) for name, value in state.items()}
