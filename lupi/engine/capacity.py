"""How many models train side by side: what a model takes of a bounded memory."""

from __future__ import annotations

import torch

from lupi.engine.models import Models
from lupi.engine.options import TrainingOptions
from lupi.engine.programs import Program

#: Memory that active models may fill on a CPU, in which the tensors of a step should stay, and on another device.
_CPU_BYTES, _DEVICE_BYTES = 48 * 2**20, 4 * 2**30
_PARAMETER_COPIES = 6  # weights, the best ones, two moments of Adam, a gradient and what it is made from
_ACTIVATION_COPIES = 3  # of the forward pass, of its gradient, and what the losses make of them


def width_of(program: Program, models: Models, options: TrainingOptions, tasks: int = 0) -> int:
    """How many models of a program train side by side: as many as have room in a bounded memory, at least one.

    A model takes its parameters, what its data rows of a step leave in the networks, and with a balancing strategy the
    gradients of its tasks.
    """
    rows = min(options.batch_size, int(models.fit.lengths.max(initial=1)))
    activations = sum(network.n_activations for network in program.networks) + program.regular + program.width
    numbers = (_PARAMETER_COPIES + tasks) * program.n_parameters
    numbers += rows * (_ACTIVATION_COPIES + tasks) * activations
    room = _CPU_BYTES if torch.device(options.device).type == "cpu" else _DEVICE_BYTES
    return max(room // (numbers * options.dtype.itemsize), 1)
