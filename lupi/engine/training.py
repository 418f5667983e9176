"""The engine: trains all rows of a table that share one program as a single tensor program.

Rows wait in a queue; a bounded number is active at a time, each with its own parameters, optimiser state, shuffles,
epoch count and early stopping. A row that stops leaves and a waiting one takes its place, so the tensors stay full
until the queue is empty. No row's result depends on which rows were active beside it.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lupi import rng
from lupi.balancing.base import Strategy, merge
from lupi.engine import masking
from lupi.engine.active import Active
from lupi.engine.losses import category_probabilities
from lupi.engine.mlp import Workspace
from lupi.engine.objective import Batch, Knobs, Program, monitored, objective
from lupi.engine.options import TrainingOptions
from lupi.engine.rows import Arrays, IndexSets, Rows, Trained
from lupi.engine.traces import Tracer
from lupi.engine.weighing import Weighing, leaves, scattered

_INITIAL, _SHUFFLE, _BALANCE, _RANDOM, _MASK = range(5)  # streams of a row's random numbers
_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8  # Adam's defaults (Kingma and Ba, ICLR 2015)
_INITIAL_LOG_VARIANCE = 0.1  # of ln σ² and ln T², as in the papers' code
_WORTH_A_THREAD = 1_000_000  # entries of the shuffles below which starting a thread costs more than it saves
_EVALUATION_ROWS = 65536  # data rows read at once outside training, all models together: what a cache holds


_KNOBS = [field.name for field in dataclasses.fields(Knobs)]


def _adam_update(
    parameters: Tensor,
    mean: Tensor,
    square: Tensor,
    gradient: Tensor,
    shares: list[Any],
    epsilon: Tensor,
    minus_rate: Tensor,
) -> None:
    """Adam's moments and parameters [M, P] in place; `gradient` is used up."""
    mean.lerp_(gradient, shares[0])
    square.lerp_(gradient.square_(), shares[1])
    denominator = torch.sqrt(square, out=gradient).add_(epsilon)
    parameters.addcmul_(torch.div(mean, denominator, out=denominator), minus_rate)


class Engine:
    """Trains rows of one program on one data set, and predicts with them.

    strategy : how the tasks of all rows are weighed; None: as each row's own coefficients say.
    """

    def __init__(
        self,
        program: Program,
        arrays: Arrays,
        rows: Rows,
        options: TrainingOptions,
        strategy: Strategy | None = None,
    ) -> None:
        self.program, self.rows, self.options = program, rows, options

        def stored(values: Tensor) -> Tensor:
            return values.to(options.device, options.dtype).contiguous()

        self._x, self._y, self._z = stored(arrays.x), stored(arrays.y), stored(arrays.z).flatten(0, 1)
        self._teacher = None if arrays.teacher is None else stored(arrays.teacher).flatten(0, 1)
        self._codes = None if arrays.codes is None else arrays.codes.to(options.device)
        self._sample_weight = None if arrays.sample_weight is None else stored(arrays.sample_weight)
        self._n = len(self._x)
        self._most = self._n if arrays.most is None else arrays.most
        entries = max(len(self._z), 0 if self._teacher is None else len(self._teacher), rows.fit.padded.size, self._n)
        self._index = np.int32 if entries < 2**31 else np.int64
        self._fit = self._indices(rows.fit.padded.ravel())
        self._decays = bool((rows.knobs["weight_decay"] > 0).any())
        self._incomplete = bool(self._x.isnan().any())
        self._reads_z = program.kind != "target" or bool((rows.z_of >= 0).any())
        self._workspace = Workspace() if torch.device(options.device).type == "cpu" else None
        self._weighs_classes = self._codes is not None and bool((rows.class_weights != 1).any())
        self._smooths = bool((rows.knobs["smoothing"] > 0).any())
        self._weighing: Weighing | None = None
        if strategy is not None:
            distils = arrays.teacher is not None
            self._weighing = Weighing(program, strategy, distils=distils, traced=options.trace)
        # Elementwise work gains from being fused; the products stay with the BLAS.
        self._objective = torch.compile(objective) if options.compile else objective
        self._update = torch.compile(_adam_update) if options.compile else _adam_update

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the strategy weighs; none without a strategy."""
        return () if self._weighing is None else self._weighing.tasks

    def take(self, which: npt.NDArray[np.intp]) -> Engine:
        """The same engine for the rows at positions `which` alone."""
        part = copy.copy(self)
        part.rows = self.rows.take(which)
        return part

    # ------------------------------------------------------------------ training

    def train(self, progress: Callable[[int], None] | None = None) -> Trained:
        """Train every row to its own stopping point.

        progress : called after each epoch in which rows stopped, with their number.
        """
        run = Run(self)
        while not run.finished:
            stopped = run.epoch()
            if progress is not None and stopped:
                progress(stopped)
        return run.result()

    def _tensor(self, values: npt.NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.options.device, self.options.dtype)

    def _indices(self, values: npt.NDArray[Any]) -> Tensor:
        return torch.as_tensor(values.astype(self._index, copy=False)).to(self.options.device)

    def _admit(self, which: npt.NDArray[np.intp], parameters: Tensor | None = None) -> Active:
        """Fresh state for the rows `which`; with `parameters`, state to predict with alone."""
        rows, m = self.rows.take(which), len(which)
        trains = parameters is None
        if parameters is None:
            parameters = self._tensor(self._initial(rows))
        z_scale = rows.z_scale * (rows.z_of >= 0)[:, None]
        return Active(
            row=which,
            step=np.zeros(m, np.int64),
            epoch=np.zeros(m, np.int64),
            best_loss=np.full(m, np.inf),
            best_epoch=np.zeros(m, np.int64),
            mark_loss=np.full(m, np.inf),
            mark_epoch=np.zeros(m, np.int64),
            stopped=np.zeros(m, np.bool_),
            parameters=parameters,
            best=parameters.clone() if trains else parameters,
            mean=torch.zeros_like(parameters) if trains else parameters,
            square=torch.zeros_like(parameters) if trains else parameters,
            balance={} if self._weighing is None or not trains else self._weighing.start(m, self.options.device),
            x_shift=self._tensor(-rows.x_center * rows.x_scale)[:, None, :],
            x_scale=self._tensor(rows.x_scale)[:, None, :],
            z_shift=self._tensor(-rows.z_center * z_scale)[:, None, :],
            z_scale=self._tensor(z_scale)[:, None, :],
            z_of=self._indices(rows.z_of.clip(min=0))[:, None],
            teacher_of=self._indices(rows.teacher_of.clip(min=0))[:, None],
            y_shift=self._tensor(-rows.y_center * rows.y_scale)[:, None, None],
            y_scale=self._tensor(rows.y_scale)[:, None, None],
            knobs=self._tensor(np.stack([rows.knobs[name] for name in _KNOBS], 1)),
            values={name: torch.as_tensor(value).to(self.options.device) for name, value in rows.values.items()},
            class_weights=self._tensor(rows.class_weights),
            random=self._tensor(self._random(rows) if trains else np.zeros((m, 0))),
        )

    def _random(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The same in every epoch, and whatever the other data rows are."""
        return rng.normal(rng.keys(rows.seed, _RANDOM), self._n * self.program.n_random)

    def _initial(self, rows: Rows) -> npt.NDArray[np.float64]:
        sees_x = rows.x_scale != 0
        sees_z = (rows.z_scale != 0) & ((rows.z_of >= 0)[:, None] | (self.program.kind == "chained"))
        pieces = []
        visible_of = self.program.visible(sees_x, sees_z)
        for role, network, visible in zip(self.program.roles, self.program.networks, visible_of, strict=True):
            pieces.append(network.initial(rng.keys(rows.seed, _INITIAL, role), visible))
        if self.program.two_heads:  # see `objective`
            pieces[1][:] = 0.0
        return np.concatenate([*pieces, np.full((len(rows), self.program.n_scalars), _INITIAL_LOG_VARIANCE)], 1)

    def _epoch(self, active: Active, tracer: Tracer | None) -> None:
        """One pass of every active row over its training rows, then the verdict of its validation rows."""
        sets, of = self.rows.fit, self.rows.fit_of[active.row]
        lengths = sets.lengths[of]
        order = self._shuffled(rng.keys(self.rows.seed[active.row], _SHUFFLE, active.epoch), lengths)
        # Padding lies at the end of every row; its weight is zero.
        order += (of * sets.padded.shape[1]).astype(self._index)[:, None]
        index = self._fit.index_select(0, self._indices(order.ravel())).view(order.shape)
        knobs = self._knobs(active)
        size = self.options.batch_size
        for begin in range(0, index.shape[1], size):
            counts = np.clip(lengths - begin, 0, size)
            here = index[:, begin : begin + size]
            if self._weighing is None:
                self._step(active, knobs, here, counts)
            else:
                self._weighed_step(active, knobs, index, lengths, begin, tracer)
        active.epoch += ~active.stopped
        if self._weighing is not None:
            active.balance = self._weighing.strategy.end_epoch(active.balance, active.values)
        if tracer is not None:
            tracer.end_epoch(active.row, active.epoch, active.stopped)
        self._judge(active)

    def _shuffled(self, key: rng.UInt64, lengths: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """A random order of its training rows for every model, by as many threads as torch has."""
        width = int(lengths.max())
        if len(key) * width < _WORTH_A_THREAD:
            return rng.permutations(key, lengths, self._most).astype(self._index, copy=False)
        order = np.zeros((len(key), width), self._index)

        def fill(part: slice) -> None:
            found = rng.permutations(key[part], lengths[part], self._most)
            order[part, : found.shape[1]] = found

        share = -(-len(key) // torch.get_num_threads())
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(fill, [slice(first, first + share) for first in range(0, len(key), share)]))
        return order

    def _step(self, active: Active, knobs: Knobs, index: Tensor, counts: npt.NDArray[np.int64]) -> None:
        batch = self._training_batch(active, index, counts)
        parts = leaves(self.program, active.parameters)
        loss = self._objective(self.program, parts, batch, knobs, self._workspace).sum()
        gradients = torch.autograd.grad(loss, parts)
        gradient = gradients[0] if len(gradients) == 1 else torch.cat(gradients, 1)
        self._adam(active, gradient, counts > 0)

    def _weighed_step(
        self,
        active: Active,
        knobs: Knobs,
        index: Tensor,
        lengths: npt.NDArray[np.int64],
        begin: int,
        tracer: Tracer | None,
    ) -> None:
        """A step on the rows from `begin` of the epoch's order `index`, its tasks weighed by the strategy."""
        assert self._weighing is not None
        weighing, size = self._weighing, self.options.batch_size
        counts = np.clip(lengths - begin, 0, size)
        moving = counts > 0
        batch = self._training_batch(active, index[:, begin : begin + size], counts)
        seed = rng.keys(self.rows.seed[active.row], _BALANCE)
        weighed, state = weighing.step(
            active.parameters, batch, knobs, active.balance, active.values, seed, active.step, self._workspace
        )
        if not moving.all():
            state = merge(active.balance, state, torch.as_tensor(moving, device=self.options.device))
        if tracer is not None:
            tracer.add(weighed.weights, weighed.step, moving)
        due = weighing.due(active.step, moving)
        if len(due):
            some = active.take(due)
            learned = weighing.learn(
                some.parameters,
                batch.take(due),
                self._knobs(some),
                self._other_batch(some, index[due], lengths[due], begin + size),
                weighed.take(due),
                {name: value[due] for name, value in state.items()},
                some.values,
                self._workspace,
            )
            state = scattered(state, due, learned)
        active.balance = state
        self._adam(active, weighed.gradient, moving)

    def _other_batch(self, active: Active, index: Tensor, lengths: npt.NDArray[np.int64], begin: int) -> Batch:
        """The data rows on which weights are learned: the batch after this one (the first after the last), or the
        validation rows of models that ask for them by the knob "held_out"."""
        size, m = self.options.batch_size, len(active.row)
        begins = np.where(begin < lengths, begin, 0)
        counts = np.minimum(lengths - begins, size)
        rows = index.gather(1, self._indices(begins)[:, None] + torch.arange(int(counts.max()), device=index.device))
        held = (active.values["held_out"] > 0.5).cpu().numpy()
        if held.any():
            sets, of = self.rows.validation, self.rows.validation_of[active.row]
            counts = np.where(held, sets.lengths[of], counts)
            both = np.zeros((m, int(counts.max())), sets.padded.dtype)
            width = min(both.shape[1], rows.shape[1])
            both[:, :width] = rows[:, :width].cpu().numpy()
            both[held] = sets.padded[of[held], : both.shape[1]]
            rows = self._indices(both)
        return self._training_batch(active, rows, counts)

    def _adam(self, active: Active, gradient: Tensor, moving: npt.NDArray[np.bool_]) -> None:
        """One step of Adam with decoupled weight decay; rows that had no data in this step stay as they are."""
        knobs = self.rows.knobs
        active.step += moving
        correction = np.sqrt(1.0 - _BETA2**active.step)
        with np.errstate(invalid="ignore"):  # 0/0 where a row has not moved yet
            rate = np.where(moving, knobs["lr"][active.row] * correction / (1.0 - _BETA1**active.step), 0.0)
        shares: list[Any] = [1.0 - _BETA1, 1.0 - _BETA2]
        if not moving.all():
            shares = [self._tensor(moving[:, None] * share) for share in shares]
        if self._decays:
            decay = moving * knobs["lr"][active.row] * knobs["weight_decay"][active.row]
            weights = active.parameters[:, : self.program.n_parameters - self.program.n_scalars]
            weights.mul_(self._tensor(1.0 - decay[:, None]))
        epsilon, minus_rate = self._tensor(_EPS * correction[:, None]), self._tensor(-rate[:, None])
        self._update(active.parameters, active.mean, active.square, gradient, shares, epsilon, minus_rate)

    def _slices(self, rows: npt.NDArray[np.intp], sets: IndexSets, of: npt.NDArray[np.intp]) -> list[slice]:
        """Slices of the models `rows` that can read their data rows `sets` all at once."""
        size = max(_EVALUATION_ROWS // int(sets.lengths[of[rows]].max(initial=1)), 1)
        return [slice(first, first + size) for first in range(0, len(rows), size)]

    def _validate(self, active: Active) -> npt.NDArray[np.float64]:
        """The validation loss of every row."""
        sets, of = self.rows.validation, self.rows.validation_of[active.row]
        counts = sets.lengths[of]
        batch = self._batch(active, self._indices(sets.padded[of, : int(counts.max())]), counts)
        parts, knobs = self.program.parts(active.parameters), self._knobs(active)
        total = self.options.monitor_total and self._weighing is None  # weights that change make no fair yardstick
        loss = monitored(self.program, parts, batch, knobs, total, self._workspace)
        return np.asarray(loss.cpu().double().numpy())

    @torch.no_grad()
    def _judge(self, active: Active) -> None:
        """Validate, remember the best weights, stop the rows whose patience has run out."""
        parts = self._slices(active.row, self.rows.validation, self.rows.validation_of)
        loss = np.concatenate([self._validate(active.take(part)) for part in parts])
        running = ~active.stopped
        better = running & (loss < active.best_loss)
        active.best_loss[better] = loss[better]
        active.best_epoch[better] = active.epoch[better]
        marked = running & (loss < active.mark_loss - self.options.min_delta)
        active.mark_loss[marked] = loss[marked]
        active.mark_epoch[marked] = active.epoch[marked]
        ends = active.epoch - active.mark_epoch >= self.options.patience
        ends = running & (ends | (active.epoch >= self.rows.knobs["epochs"][active.row]))
        keep = np.flatnonzero(better if self.options.restore_best else ends)
        if len(keep):
            active.best[keep] = active.parameters[keep]
        active.stopped |= ends

    # ------------------------------------------------------------------ batches

    def _knobs(self, active: Active) -> Knobs:
        knobs = Knobs(*active.knobs.unbind(1))
        return knobs if self._smooths else dataclasses.replace(knobs, smoothing=None)

    def _training_batch(self, active: Active, index: Tensor, counts: npt.NDArray[np.int64]) -> Batch:
        """The data rows of a step; masked programs read them again, masked by each model's own seed and step."""
        batch = self._batch(active, index, counts)
        if self.program.kind != "masked":
            return batch
        key = rng.keys(self.rows.seed[active.row], _MASK, active.step)
        hidden = masking.hidden(key, index.shape[1], len(self.program.columns))
        varies = active.x_scale != 0
        return masking.masked(batch, self.program.columns, torch.as_tensor(hidden).to(index.device), varies)

    def _batch(
        self, active: Active, index: Tensor, counts: npt.NDArray[np.int64], z_index: Tensor | None = None
    ) -> Batch:
        """Gather and standardise the data rows `index` [M, rows]; the first `counts` of each model are real.

        z_index : [M, rows], to read z from other data rows.
        """
        m, rows = index.shape
        flat = index.reshape(-1)
        padding = None
        if counts.min() < rows:
            padding = torch.arange(rows, device=index.device) >= self._indices(counts)[:, None]
        x = self._read(self._x, flat, "x").view(m, rows, -1)
        x = torch.addcmul(active.x_shift, x, active.x_scale, out=x)
        if self._incomplete:
            x.nan_to_num_(nan=0.0)
        y = self._read(self._y, flat, "y").view(m, rows, -1).mT
        teacher = None
        if self._teacher is not None:
            place = (active.teacher_of * self._n + index).reshape(-1)
            teacher = self._read(self._teacher, place, "teacher").view(m, rows, -1).mT
        if self.program.numeric:
            y = torch.addcmul(active.y_shift, y, active.y_scale)
            teacher = None if teacher is None else torch.addcmul(active.y_shift, teacher, active.y_scale)
        z = self._privileged(active, index if z_index is None else z_index, padding) if self._reads_z else None
        random = active.random.gather(1, index.long())[:, None] if active.random.shape[1] else None
        own = None if self._sample_weight is None else self._sample_weight[flat].view(m, rows)
        weights = self._weights(active, flat, counts, padding, own, (m, rows))
        return Batch(x, z, y, teacher, weights, random, own)

    def _privileged(self, active: Active, index: Tensor, padding: Tensor | None) -> Tensor:
        place = (active.z_of * self._n + index).reshape(-1)
        z = self._read(self._z, place, "z").view(*index.shape, -1)
        z = torch.addcmul(active.z_shift, z, active.z_scale, out=z)
        if not self.program.predicts_z:
            z.nan_to_num_(nan=0.0)
        elif padding is not None:
            z.masked_fill_(padding[:, :, None], torch.nan)
        return z.mT

    def _weights(
        self,
        active: Active,
        flat: Tensor,
        counts: npt.NDArray[np.int64],
        padding: Tensor | None,
        own: Tensor | None,
        shape: tuple[int, int],
    ) -> Tensor | None:
        """Weights [M, rows] that average over the real rows, times their `own`; None where all count the same."""
        if padding is None and not self._weighs_classes and own is None:
            return None
        each = self._tensor(1.0 / np.maximum(counts, 1))[:, None].expand(shape)
        if padding is not None:
            each = each.masked_fill(padding, 0.0)
        if self._weighs_classes:
            assert self._codes is not None
            each = each * active.class_weights.gather(1, self._codes[flat].view(shape))
        return each if own is None else each * own

    def _read(self, source: Tensor, flat: Tensor, slot: str) -> Tensor:
        """source[flat], in kept memory on a CPU."""
        if source.shape[1] == 1:  # five times faster without the second axis
            return source.squeeze(1).index_select(0, flat)
        if self._workspace is None:
            return source.index_select(0, flat)
        out = self._workspace.empty(slot, (len(flat), source.shape[1]), source)
        return torch.index_select(source, 0, flat, out=out)

    # ------------------------------------------------------------------ prediction

    @torch.no_grad()
    def predict(
        self, trained: Trained, sets: IndexSets, of: npt.NDArray[np.intp], z_row: npt.NDArray[np.intp] | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Outputs for the data rows `sets` (which of them: `of` [M]).

        z_row : [M], one data row for every model, from which it reads z whatever row it predicts for.

        Returns
        -------
        target : [M, longest, C] log-odds, logits or values, and
        privileged : [M, longest, Q] standardised values, and probabilities of the levels of a category;
        each None where the program has no such output, and NaN beyond the length of a row's own set.
        """
        m, longest, program = len(self.rows), sets.padded.shape[1], self.program
        target = torch.full((m, longest, program.outputs if program.kind != "privileged" else 0), torch.nan).double()
        privileged = torch.full((m, longest, program.width if program.predicts_z else 0), torch.nan).double()
        for part in self._slices(np.arange(m), sets, of):
            which = np.arange(m)[part]
            active = self._admit(which, trained.parameters[part])
            counts = sets.lengths[of[which]]
            index = sets.padded[of[which], : int(counts.max())]
            z_index = None if z_row is None else self._indices(np.broadcast_to(z_row[which, None], index.shape))
            batch = self._batch(active, self._indices(index), counts, z_index)
            y, z = program.outputs_of(program.parts(active.parameters), batch.x, batch.z, self._workspace)
            beyond = (torch.arange(index.shape[1]) >= torch.as_tensor(counts)[:, None])[..., None]
            if y is not None:
                if program.numeric:
                    y = (y - active.y_shift) / active.y_scale
                target[part, : index.shape[1]] = y.mT.cpu().double().masked_fill(beyond, torch.nan)
            if z is not None:
                z = category_probabilities(z, program.columns)
                privileged[part, : index.shape[1]] = z.mT.cpu().double().masked_fill(beyond, torch.nan)
        return (None if program.kind == "privileged" else target), (privileged if program.predicts_z else None)


class Run:
    """A training under way. It may stop after any epoch, be kept as arrays, and go on elsewhere exactly as it would
    have.

    state : what `state()` of another run of the same engine returned; None: from the start.
    """

    def __init__(self, engine: Engine, state: dict[str, npt.NDArray[Any]] | None = None) -> None:
        self._engine = engine
        rows, options, m = engine.rows, engine.options, len(engine.rows)
        parameters = torch.empty(m, engine.program.n_parameters, dtype=options.dtype, device=options.device)
        self._done = Trained(parameters, np.zeros(m, np.int64), np.zeros(m, np.int64), np.zeros(m), np.zeros(m))
        self._active: Active | None = None
        self._seconds = 0.0
        self._tracer = Tracer() if options.trace and engine._weighing is not None else None
        # Rows with equally many steps an epoch run together: none waits for another's last batches.
        self._queue = np.argsort(rows.fit.lengths[rows.fit_of], kind="stable")
        if state is not None:
            self._restore(state)

    @property
    def finished(self) -> bool:
        return not len(self._queue) and self._active is None

    def epoch(self) -> int:
        """Train all active rows for an epoch; returns how many stopped."""
        start = time.perf_counter()
        engine, active = self._engine, self._active
        free = engine.options.width - (0 if active is None else len(active.row))
        if len(self._queue) and free:
            fresh = engine._admit(self._queue[:free])
            self._queue = self._queue[free:]
            active = fresh if active is None else active.joined(fresh)
        assert active is not None, "the run is finished"
        before = active.stopped.sum()
        engine._epoch(active, self._tracer)
        stopped = active.stopped.sum()
        self._active = self._release(active) if stopped and stopped * 8 >= len(active.row) else active
        self._seconds += time.perf_counter() - start
        return int(stopped - before)

    def _release(self, active: Active) -> Active | None:
        """Hand over the rows that stopped; what is left stays active."""
        done, gone, stays = self._done, np.flatnonzero(active.stopped), np.flatnonzero(~active.stopped)
        rows = active.row[gone]
        done.parameters[rows] = active.best[gone]
        # A network whose validation loss was never finite has diverged: it has no weights to show.
        done.parameters[rows[active.best_epoch[gone] == 0]] = torch.nan
        done.epochs[rows] = active.epoch[gone]
        done.best_epoch[rows] = active.best_epoch[gone]
        done.best_loss[rows] = active.best_loss[gone]
        return active.take(stays) if len(stays) else None

    def result(self) -> Trained:
        """What became of the rows, once `finished`."""
        done, rows = self._done, self._engine.rows
        read = done.epochs * rows.fit.lengths[rows.fit_of]
        done.seconds = self._seconds * read / read.sum()
        if self._tracer is not None:
            done.traces = self._tracer.result(len(rows))
        return done

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The run as plain arrays, to be kept between two epochs."""
        done = self._done
        found: dict[str, npt.NDArray[Any]] = {
            "queue": self._queue, "seconds": np.array(self._seconds), "done parameters": done.parameters.cpu().numpy(),
            "done epochs": done.epochs, "done best_epoch": done.best_epoch, "done best_loss": done.best_loss,
        }  # fmt: skip
        if self._active is not None:
            found |= {f"active {name}": value for name, value in self._active.state().items()}
        if self._tracer is not None:
            found |= {f"trace {name}": value for name, value in self._tracer.state().items()}
        return {name: value.copy() for name, value in found.items()}

    def _restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        def of(prefix: str) -> dict[str, npt.NDArray[Any]]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        done = self._done
        self._queue, self._seconds = np.array(state["queue"]), float(state["seconds"])
        done.parameters.copy_(torch.as_tensor(np.array(state["done parameters"])))
        for name in ("epochs", "best_epoch", "best_loss"):
            getattr(done, name)[:] = state[f"done {name}"]
        if active := of("active "):
            self._active = self._engine._admit(np.array(active["row"]))
            self._active.restore(active)
        if self._tracer is not None:
            self._tracer.restore(of("trace "))
