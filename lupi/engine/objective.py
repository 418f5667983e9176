"""What one tensor program computes: its networks, their outputs for a batch, and the loss of every model.

A `Program` is the shape that all rows of one engine call share. What differs between rows (which columns they see, how
the parts of the loss weigh) is data: masks and per-row coefficients in a `Batch` and in `Knobs`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi.columns import Column
from lupi.engine import losses
from lupi.engine.mlp import MLP, MLPPair, Workspace

Kind = Literal["target", "privileged", "chained", "shared", "masked", "tram", "tram++"]


@dataclasses.dataclass(frozen=True)
class Program:
    """The networks of one engine call.

    Parameters
    ----------
    kind : "target": c([x, z]), where z is the true Z, a prediction made before, or hidden; "privileged": r(x);
        "chained": c([x, r(x)]), trained end to end; "shared": one trunk on x with a target and a privileged head;
        "tram": features φ(x), the hidden layers of c, with a head on [φ, z], which shapes them, and a linear one on φ,
        which predicts (Collier et al., ICML 2022); "tram++": the same with a number of each row's own beside z, half
        the widths in φ and twice the width in the head that is given z (Ortiz-Jimenez et al., ICML 2023).
        "masked": the same trunk, whose second head reconstructs columns of x from rows with masked cells.
    regular : width of the encoded x.
    columns : the privileged columns and their places in the encoded z (width Q in all).
    outputs : width C of the target: 1 for two classes or a number, K for K classes.
    numeric : whether the target is a number.
    pair : hidden layers.
    stopped : whether no gradient of the target reaches r in a chained program: it reads ẑ without shaping it.
    """

    kind: Kind
    regular: int
    columns: tuple[Column, ...]
    outputs: int
    numeric: bool
    pair: MLPPair
    stopped: bool = False

    @functools.cached_property
    def roles(self) -> tuple[int, ...]:
        """What each network is: 0 predicts Z, 1 the target. Networks of one role start alike in every program."""
        if self.two_heads:  # φ starts like the hidden layers of the other programs
            return (1, 2, 3)
        return {"privileged": (0,), "chained": (0, 1)}.get(self.kind, (1,))

    @property
    def two_heads(self) -> bool:
        return self.kind in ("tram", "tram++")

    @property
    def predicts_z(self) -> bool:
        """Whether the privileged columns (of "masked" programs those of x) are to be predicted; else z is an input, if
        anything."""
        return self.kind in ("privileged", "chained", "shared", "masked")

    @property
    def n_random(self) -> int:
        """Numbers of each row's own that are read beside z."""
        return int(self.kind == "tram++")

    @functools.cached_property
    def width(self) -> int:
        """Width Q of the encoded privileged block."""
        return sum(column.width for column in self.columns)

    @functools.cached_property
    def networks(self) -> tuple[MLP, ...]:
        if self.two_heads:
            return self._two_headed()
        r = MLP(self.regular, 0, self.pair.regressor_layers, self.width)
        c = MLP(self.regular, self.width, self.pair.classifier_layers, self.outputs)
        shared = MLP(self.regular, 0, self.pair.classifier_layers, self.outputs + self.width)
        return {"target": (c,), "privileged": (r,), "chained": (r, c)}.get(self.kind, (shared,))

    def _two_headed(self) -> tuple[MLP, ...]:
        """φ, the head on φ alone, and the one on [z, φ]: one hidden layer, as wide as φ in "tram".

        In "tram++" φ is half as wide and this layer twice, so that the product of the two, which most of the head's
        parameters are, stays.
        """
        if not self.pair.classifier_layers:
            raise ValueError(
                "TRAM learns the hidden layers of the target network: classifier_layers must have at least one width; "
                "found none."
            )
        share, head = (2, 2) if self.kind == "tram++" else (1, 1)
        *widths, last = (max(width // share, 1) for width in self.pair.classifier_layers)
        return (
            MLP(self.regular, 0, tuple(widths), last),
            MLP(last, 0, (), self.outputs),
            MLP(self.width + self.n_random, last, (head * self.pair.classifier_layers[-1],), self.outputs),
        )

    def visible(self, x: npt.NDArray[np.bool_], z: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
        """Which inputs of each network M models see, of whose x [M, D] and z [M, Q] are seen."""
        if not self.two_heads:
            both = np.concatenate([x, z], 1)
            return [both[:, : network.inputs + network.extra] for network in self.networks]
        features = np.ones((len(x), self.networks[0].outputs), np.bool_)
        return [x, features, np.concatenate([z, np.ones((len(x), self.n_random), np.bool_), features], 1)]

    @functools.cached_property
    def n_shared(self) -> int:
        """How many parameters, the first ones, every task's gradient reaches: r where it feeds c, the trunk below the
        heads, or the whole network where all tasks are losses of one output."""
        first: MLP = self.networks[0]
        return first.n_hidden if self.kind in ("shared", "masked") else first.n_parameters

    @functools.cached_property
    def n_scalars(self) -> int:
        """Learned log-variances: one for each privileged column, then the target's (programs that have both)."""
        return len(self.columns) + 1 if self.predicts_z and self.kind != "privileged" else 0

    @property
    def n_parameters(self) -> int:
        return sum(network.n_parameters for network in self.networks) + self.n_scalars

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [network.n_parameters for network in self.networks] + ([self.n_scalars] if self.n_scalars else [])

    def parts(self, parameters: Tensor) -> list[Tensor]:
        """Views of `parameters` [M, P]: one for each network, then the scalars where there are any."""
        return list(parameters.split(self._sizes, 1)) if len(self._sizes) > 1 else [parameters]

    def outputs_of(
        self,
        parts: list[Tensor],
        x: Tensor,
        z: Tensor | None,
        workspace: Workspace | None = None,
        *,
        plain: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Target output [M, C, rows] and privileged output [M, Q, rows] (None where the program has none).

        Both are raw: logits, and for a category the logits of its levels. z is read by "target" programs only. Where a
        masked program is given twice the rows of z, the first half is read by the target head, the second by the other.
        plain : in PyTorch's own operations, slower and differentiable twice.
        """

        def network(i: int, z: Tensor | None = None) -> Tensor:
            if plain:
                return self.networks[i].plain(parts[i], x, z)
            output: Tensor = self.networks[i](parts[i], x, z, workspace)
            return output

        if self.two_heads:
            return self._blind(parts, self._features(parts, x, workspace)), None
        if self.kind == "target":
            return network(0, z), None
        if self.kind == "privileged":
            return None, network(0)
        if self.kind in ("shared", "masked"):
            both = network(0)
            return self.heads(both, both.shape[2] if z is None else z.shape[2])
        predicted = network(0)
        read = losses.category_probabilities(predicted, self.columns)
        return network(1, read.detach() if self.stopped else read), predicted

    def heads(self, both: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """The outputs [M, C + Q, rows or 2 rows] of a trunk with two heads, each for its own `rows`."""
        return both[:, : self.outputs, :rows], both[:, self.outputs :, -rows:]

    def both_heads(
        self, parts: list[Tensor], batch: Batch, workspace: Workspace | None = None
    ) -> tuple[Tensor, Tensor]:
        """Target outputs [M, C, rows] of the head on φ alone, and of the one that is given z (of "tram" programs)."""
        if batch.z is None:
            raise ValueError("this program reads the privileged columns: the batch must hold them")
        features = self._features(parts, batch.x, workspace)
        told = batch.z if batch.random is None else torch.cat([batch.z, batch.random], 1)
        return self._blind(parts, features), self.networks[2](parts[2], told.mT, features, workspace)

    def _features(self, parts: list[Tensor], x: Tensor, workspace: Workspace | None) -> Tensor:
        """φ [M, H, rows]."""
        output: Tensor = self.networks[0](parts[0], x, None, workspace)
        return output.relu()

    def _blind(self, parts: list[Tensor], features: Tensor) -> Tensor:
        """The head on φ alone, from which no gradient reaches φ. Too small a network for a workspace."""
        output: Tensor = self.networks[1](parts[1], features.detach().mT)
        return output


@dataclasses.dataclass
class Knobs:
    """Coefficients of the loss, one for each model [M]."""

    hard: Tensor  # weight of the loss against the true target
    imitate: Tensor  # weight of the loss against the teacher's soft label
    privileged_teacher: Tensor  # weight of the TPD term
    repulsion: Tensor  # β of the TPD term, >= 0
    temperature: Tensor  # T > 0 of the teacher's soft labels
    epsilon: Tensor  # ε >= 0, weight of the privileged task
    learned: Tensor  # 1: σ and T of the tasks are learned; 0: their weights are fixed
    smoothing: Tensor | None  # label smoothing in [0, 1); None: no model smooths


@dataclasses.dataclass
class Batch:
    """The data rows that M models read in one step, encoded and standardised."""

    x: Tensor  # [M, rows, D]; in training masked programs [M, 2 rows, D]: as they are, then with masked cells
    z: Tensor | None  # [M, Q, rows]: to be predicted (NaN: unknown), or an input
    y: Tensor  # [M, C, rows]
    teacher: Tensor | None  # [M, C, rows] log-odds, log-probabilities or values; None: no model has a teacher
    weights: Tensor | None  # [M, rows], summing to about 1 over rows; None: all equal
    random: Tensor | None = None  # [M, 1, rows]: the number of each row's own of "tram++" programs
    sample_weights: Tensor | None = None  # [M, rows], the rows' own, in the privileged losses; None: all equal

    def take(self, which: npt.NDArray[np.intp]) -> Batch:
        """Copies of the models' data at positions `which`."""
        at = torch.as_tensor(which, device=self.x.device)

        def some(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[at]

        return Batch(
            self.x[at],
            some(self.z),
            self.y[at],
            some(self.teacher),
            some(self.weights),
            some(self.random),
            some(self.sample_weights),
        )


def target_losses(program: Program, output: Tensor, batch: Batch, knobs: Knobs) -> Tensor:
    """The target's loss, hard, soft and teacher-privileged parts mixed: [M, rows]."""
    y = batch.y
    if program.numeric:
        loss = knobs.hard[:, None] * losses.squared_error(output, y)
        if batch.teacher is not None:
            loss = loss + knobs.imitate[:, None] * losses.squared_error(output, batch.teacher)
        return loss
    smooth = _smoothed(program, batch, knobs)
    if batch.teacher is None:
        return knobs.hard[:, None] * losses.cross_entropy(output, smooth)
    # Cross-entropy is linear in its target: the hard and the soft part are one cross-entropy.
    softened, soft = _softened(program, batch.teacher, knobs)
    hard, imitate = knobs.hard[:, None, None], knobs.imitate[:, None, None]
    total = hard + imitate
    mixed = losses.cross_entropy(output, (hard * smooth + imitate * soft) / total.clamp(min=1e-12))
    tpd = losses.teacher_privileged(output, softened, y, knobs.repulsion)
    return total.squeeze(1) * mixed + knobs.privileged_teacher[:, None] * tpd


def _smoothed(program: Program, batch: Batch, knobs: Knobs) -> Tensor:
    """True classes with label smoothing [M, C, rows]."""
    if knobs.smoothing is None:
        return batch.y
    return batch.y + knobs.smoothing[:, None, None] * (1.0 / max(program.outputs, 2) - batch.y)


def _softened(program: Program, teacher: Tensor, knobs: Knobs) -> tuple[Tensor, Tensor]:
    """The teacher at the model's temperature: log-odds or log-probabilities, and probabilities [M, C, rows]."""
    softened = teacher / knobs.temperature[:, None, None]
    if program.outputs == 1:
        return softened, softened.sigmoid()
    return softened.log_softmax(1), softened.softmax(1)


def privileged_losses(program: Program, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss of every privileged column [M, q], and whether it is known in any row [M, q]."""
    if batch.z is None:
        raise ValueError("this program predicts the privileged columns: the batch must hold them")
    return losses.privileged(output, batch.z, program.columns, batch.sample_weights)


def tasks_of(program: Program, distils: bool) -> tuple[str, ...]:
    """Names of the tasks that can be weighed: the target's loss, that of the teacher's soft labels, the columns'."""
    columns = () if program.kind in ("target", "privileged") else program.columns
    return ("target", *(["distillation"] if distils else []), *(column.name for column in columns))


def fixed_weights(program: Program, knobs: Knobs, distils: bool) -> Tensor:
    """The weights [M, K] that the methods themselves give their tasks where nothing is learned: 1 - λ, λ, ε / q."""
    soft = [knobs.imitate + knobs.privileged_teacher] if distils else []
    columns = len(tasks_of(program, distils)) - 1 - len(soft)
    return torch.stack([knobs.hard, *soft, *[knobs.epsilon / max(columns, 1)] * columns], 1)


def task_losses(
    program: Program,
    parts: list[Tensor],
    batch: Batch,
    knobs: Knobs,
    workspace: Workspace | None = None,
    *,
    plain: bool = False,
) -> tuple[Tensor, Tensor]:
    """The loss of every task by itself, unweighted [M, K], and which tasks a model has [M, K].

    A model has no distillation where neither of its weights is positive, and lacks a privileged column where ε = 0 or
    the column is unknown in all rows of the batch; the losses of these are 0.
    """
    target, predicted = program.outputs_of(parts, batch.x, batch.z, workspace, plain=plain)
    assert target is not None
    return losses_of_outputs(program, target, predicted, batch, knobs)


def losses_of_outputs(
    program: Program, target: Tensor, predicted: Tensor | None, batch: Batch, knobs: Knobs
) -> tuple[Tensor, Tensor]:
    """`task_losses` from the raw outputs for the target [M, C, rows] and the privileged columns [M, Q, rows]."""
    each = [losses.mean_over_rows(_hard_losses(program, target, batch, knobs), batch.weights)]
    present = [torch.ones_like(knobs.hard, dtype=torch.bool)]
    if batch.teacher is not None:
        present.append((knobs.imitate > 0) | (knobs.privileged_teacher > 0))
        soft = losses.mean_over_rows(_soft_losses(program, target, batch, knobs), batch.weights)
        each.append(soft * present[-1])
    if predicted is None:
        return torch.stack(each, 1), torch.stack(present, 1)
    columns, known = privileged_losses(program, predicted, batch)
    known = known & (knobs.epsilon > 0)[:, None]
    return torch.cat([torch.stack(each, 1), columns * known], 1), torch.cat([torch.stack(present, 1), known], 1)


def _hard_losses(program: Program, output: Tensor, batch: Batch, knobs: Knobs) -> Tensor:
    if program.numeric:
        return losses.squared_error(output, batch.y)
    return losses.cross_entropy(output, _smoothed(program, batch, knobs))


def _soft_losses(program: Program, output: Tensor, batch: Batch, knobs: Knobs) -> Tensor:
    """Imitation of the teacher, or the TPD loss, whichever a model has: [M, rows]."""
    assert batch.teacher is not None
    if program.numeric:
        return losses.squared_error(output, batch.teacher)
    softened, soft = _softened(program, batch.teacher, knobs)
    imitation = losses.cross_entropy(output, soft)
    tpd = losses.teacher_privileged(output, softened, batch.y, knobs.repulsion)
    return torch.where((knobs.privileged_teacher > 0)[:, None], tpd, imitation)


def objective(
    program: Program, parts: list[Tensor], batch: Batch, knobs: Knobs, workspace: Workspace | None = None
) -> Tensor:
    """The training loss of every model [M].

    With C the target's loss and L_j those of the q privileged columns:
    fixed weights: C + ε mean_j L_j;
    learned: C/T² + ln T + mean_j [ε L_j/(2σ_j²) + ln σ_j], where a category has ε L_j/T_j² + ln T_j instead. The term
    of a column that does not count (ε = 0, or unknown in all rows) is 0: nothing would hold its ln σ.

    With two heads it is the sum of their losses, C(g_t(φ, z)) + w C(g_s(φ)), the latter without a gradient to φ. w = 1:
    it would only scale the gradient of g_s, which Adam undoes. g_s starts at 0, unlike in the papers: from random
    weights its loss rises at first, as φ moves away under it, and early stopping, which watches it, may end in epoch 1.
    """
    if program.two_heads:
        heads = program.both_heads(parts, batch, workspace)
        each = [losses.mean_over_rows(target_losses(program, head, batch, knobs), batch.weights) for head in heads]
        return each[0] + each[1]
    target, predicted = program.outputs_of(parts, batch.x, batch.z, workspace)
    if target is None:
        assert predicted is not None
        return privileged_losses(program, predicted, batch)[0].mean(1)
    fixed = losses.mean_over_rows(target_losses(program, target, batch, knobs), batch.weights)
    if predicted is None:
        return fixed
    columns, known = privileged_losses(program, predicted, batch)
    scalars = parts[-1]
    weighted = knobs.epsilon[:, None] * columns
    noisy = [
        losses.uncertainty(weighted[:, j], scalars[:, j], regression=not column.categorical)
        for j, column in enumerate(program.columns)
    ]
    counts = known & (knobs.epsilon[:, None] > 0)
    learned = losses.uncertainty(fixed, scalars[:, -1], regression=program.numeric)
    learned = learned + (torch.stack(noisy, 1) * counts).mean(1)
    return torch.where(knobs.learned > 0, learned, fixed + weighted.mean(1))


def monitored(
    program: Program, parts: list[Tensor], batch: Batch, knobs: Knobs, total: bool, workspace: Workspace | None = None
) -> Tensor:
    """What early stopping watches on the validation rows [M].

    total : the training loss itself (the papers' protocol); else the target's part of it, hard, soft and
        teacher-privileged as the method mixes them, so that learning Z longer never counts as progress; or the loss of
        the privileged columns in programs that predict nothing else.
    """
    if total:
        return objective(program, parts, batch, knobs, workspace)
    target, predicted = program.outputs_of(parts, batch.x, batch.z, workspace)
    if target is None:
        assert predicted is not None
        return privileged_losses(program, predicted, batch)[0].mean(1)
    return losses.mean_over_rows(target_losses(program, target, batch, knobs), batch.weights)
