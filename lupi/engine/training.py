"""The engine: trains all models of a table that share one program as a single tensor program.

Models wait in a queue; a bounded number is active at a time, each with its own parameters, optimiser state, shuffles,
epoch count and early stopping. A model that stops leaves and a waiting one takes its place, so the tensors stay full
until the queue is empty. No model's result depends on which models were active beside it.
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
from lupi.engine import dropout, schedules
from lupi.engine.active import Active
from lupi.engine.batches import Batch, Knobs
from lupi.engine.capacity import width_of
from lupi.engine.models import Arrays, IndexSets, Models, Trained
from lupi.engine.network import Workspace
from lupi.engine.options import TrainingOptions
from lupi.engine.programs import Program
from lupi.engine.stored import StoredData
from lupi.engine.traces import Tracer
from lupi.engine.weighing import Weighing, scattered

_SHUFFLE, _BALANCE, _RANDOM = 1, 2, 3  # streams of a model's random numbers; programs have two of their own, 0 and 4
_BETA1, _EPS = 0.9, 1e-8  # Adam's defaults (Kingma and Ba, ICLR 2015)
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
    """Trains models of one program on one data set, and predicts with them.

    strategy : how the tasks of all models are weighed; None: as each model's own coefficients say.
    """

    def __init__(
        self,
        program: Program,
        arrays: Arrays,
        models: Models,
        options: TrainingOptions,
        strategy: Strategy | None = None,
    ) -> None:
        self.program, self.models, self.options = program, models, options
        self._workspace = Workspace() if torch.device(options.device).type == "cpu" else None
        self._data = StoredData(program, arrays, models, options, self._workspace)
        self._fit = self._data.indices(models.fit.padded.ravel())
        self._decays = bool((models.knobs["weight_decay"] > 0).any())
        self._smooths = bool((models.knobs["smoothing"] > 0).any())
        units = sum(network.n_dropped for network in program.networks)
        self._drops = units > 0 and bool((models.knob("dropout") > 0).any())
        self._weighing: Weighing | None = None
        if strategy is not None:
            self._weighing = Weighing(program, strategy, distils=self._data.distils, traced=options.trace)
        self.width = options.width or width_of(program, models, options, len(self.tasks))
        # Elementwise work gains from being fused; the products stay with the BLAS.
        self._objective = torch.compile(program.objective) if options.compile else program.objective
        self._update = torch.compile(_adam_update) if options.compile else _adam_update

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the strategy weighs; none without a strategy."""
        return () if self._weighing is None else self._weighing.tasks

    def take(self, which: npt.NDArray[np.intp]) -> Engine:
        """The same engine for the models at positions `which` alone."""
        part = copy.copy(self)
        part.models = self.models.take(which)
        return part

    # ------------------------------------------------------------------ training

    def train(self, progress: Callable[[int], None] | None = None) -> Trained:
        """Train every model to its own stopping point.

        progress : called after each epoch in which models stopped, with their number.
        """
        run = Run(self)
        while not run.finished:
            stopped = run.epoch()
            if progress is not None and stopped:
                progress(stopped)
        return run.result()

    def _admit(self, which: npt.NDArray[np.intp], parameters: Tensor | None = None) -> Active:
        """Fresh state for the models `which`; with `parameters`, state to predict with alone."""
        models, m = self.models.take(which), len(which)
        trains = parameters is None
        if parameters is None:
            parameters = self._data.tensor(self._initial(models))
        z_scale = models.z_scale * (models.z_of >= 0)[:, None]
        rates = self._data.tensor(self._rates(models) if trains else np.zeros((m, 0)))
        decayed = self._data.tensor(self.program.decayed[None])
        return Active(
            model=which,
            step=np.zeros(m, np.int64),
            epoch=np.zeros(m, np.int64),
            loss=np.full(m, np.inf),
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
            x_shift=self._data.tensor(-models.x_center * models.x_scale)[:, None, :],
            x_scale=self._data.tensor(models.x_scale)[:, None, :],
            z_shift=self._data.tensor(-models.z_center * z_scale)[:, None, :],
            z_scale=self._data.tensor(z_scale)[:, None, :],
            z_of=self._data.indices(models.z_of.clip(min=0))[:, None],
            teacher_of=self._data.indices(models.teacher_of.clip(min=0))[:, None],
            y_shift=self._data.tensor(-models.y_center * models.y_scale)[:, None, None],
            y_scale=self._data.tensor(models.y_scale)[:, None, None],
            knobs=self._data.tensor(np.stack([models.knobs[name] for name in _KNOBS], 1)),
            strategy_parameters={
                name: torch.as_tensor(value).to(self.options.device)
                for name, value in models.strategy_parameters.items()
            },
            class_weights=self._data.tensor(models.class_weights),
            random=self._data.tensor(self._random(models) if trains else np.zeros((m, 0))),
            rates=rates,
            decay=rates * decayed if rates.shape[1] else decayed.expand(m, -1),
            x_bound=self._data.tensor(np.zeros((m, 0)) if models.x_bound is None else models.x_bound)[:, None, :],
        )

    def _random(self, models: Models) -> npt.NDArray[np.float64]:
        """The same in every epoch, and whatever the other data rows are."""
        return rng.normal(rng.keys(models.seed, _RANDOM), self._data.n * self.program.n_random)

    def _rates(self, models: Models) -> npt.NDArray[np.float64]:
        """Factors of the learning rate of every parameter [M, P]; [M, 0] where all are 1."""
        program = self.program
        if program.rates is None and program.embeds is None:
            return np.zeros((len(models), 0))
        factors = np.ones((1, program.n_parameters)) if program.rates is None else program.rates[None]
        if program.embeds is None:
            return np.repeat(factors, len(models), 0)
        return np.asarray(factors * np.where(program.embeds, models.knob("embedding_rate")[:, None], 1.0))

    def _initial(self, models: Models) -> npt.NDArray[np.float64]:
        given = self.program.predicts_z | (models.z_of >= 0)  # z is predicted, or given
        return self.program.initial(models.seed, models.x_scale != 0, (models.z_scale != 0) & given[:, None])

    def _epoch(self, active: Active, tracer: Tracer | None) -> None:
        """One pass of every active model over its training rows, then the verdict of its validation rows."""
        sets, of = self.models.fit, self.models.fit_of[active.model]
        lengths = sets.lengths[of]
        order = self._shuffled(rng.keys(self.models.seed[active.model], _SHUFFLE, active.epoch), lengths)
        # Padding lies at the end of every list; its weight is zero.
        order += (of * sets.padded.shape[1]).astype(self._data.index)[:, None]
        index = self._fit.index_select(0, self._data.indices(order.ravel())).view(order.shape)
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
            active.balance = self._weighing.strategy.end_epoch(active.balance, active.strategy_parameters)
        if tracer is not None:
            tracer.end_epoch(active.model, active.epoch, active.stopped)
        self._judge(active)

    def _shuffled(self, key: rng.UInt64, lengths: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """A random order of its training rows for every model, by as many threads as torch has."""
        width = int(lengths.max())
        if len(key) * width < _WORTH_A_THREAD:
            return rng.permutations(key, lengths, self._data.longest).astype(self._data.index, copy=False)
        order = np.zeros((len(key), width), self._data.index)

        def fill(part: slice) -> None:
            drawn = rng.permutations(key[part], lengths[part], self._data.longest)
            order[part, : drawn.shape[1]] = drawn

        share = -(-len(key) // torch.get_num_threads())
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(fill, [slice(first, first + share) for first in range(0, len(key), share)]))
        return order

    def _step(self, active: Active, knobs: Knobs, index: Tensor, counts: npt.NDArray[np.int64]) -> None:
        batch = self._training_batch(active, index, counts)
        parts = self.program.leaves(active.parameters)
        loss = self._objective(parts, batch, knobs, self._workspace).sum()
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
        seed = rng.keys(self.models.seed[active.model], _BALANCE)
        weighed, state = weighing.step(
            active.parameters,
            batch,
            knobs,
            active.balance,
            active.strategy_parameters,
            seed,
            active.step,
            self._workspace,
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
                some.strategy_parameters,
                self._workspace,
            )
            state = scattered(state, due, learned)
        active.balance = state
        self._adam(active, weighed.gradient, moving)

    def _other_batch(self, active: Active, index: Tensor, lengths: npt.NDArray[np.int64], begin: int) -> Batch:
        """The data rows on which weights are learned: the batch after this one (the first after the last), or the
        validation rows of models that ask for them by the knob "held_out"."""
        size, m = self.options.batch_size, len(active.model)
        begins = np.where(begin < lengths, begin, 0)
        counts = np.minimum(lengths - begins, size)
        rows = index.gather(
            1, self._data.indices(begins)[:, None] + torch.arange(int(counts.max()), device=index.device)
        )
        held = (active.strategy_parameters["held_out"] > 0.5).cpu().numpy()
        if held.any():
            sets, of = self.models.validation, self.models.validation_of[active.model]
            counts = np.where(held, sets.lengths[of], counts)
            both = np.zeros((m, int(counts.max())), sets.padded.dtype)
            width = min(both.shape[1], rows.shape[1])
            both[:, :width] = rows[:, :width].cpu().numpy()
            both[held] = sets.padded[of[held], : both.shape[1]]
            rows = self._data.indices(both)
        return self._training_batch(active, rows, counts, drops=False)

    def _adam(self, active: Active, gradient: Tensor, moving: npt.NDArray[np.bool_]) -> None:
        """One step of Adam with decoupled weight decay; models that had no data in this step stay as they are."""
        beta2 = self.models.knob("beta2")[active.model]
        rate = moving * self._scheduled_rate(active)
        active.step += moving
        correction = np.sqrt(1.0 - beta2**active.step)
        with np.errstate(invalid="ignore"):  # 0/0 where a model has not moved yet
            corrected = np.where(moving, rate * correction / (1.0 - _BETA1**active.step), 0.0)
        alike = len(set(beta2.tolist())) == 1
        shares: list[Any] = [1.0 - _BETA1, 1.0 - float(beta2[0])]
        if not (alike and moving.all()):
            shares = [self._data.tensor((moving * share)[:, None]) for share in (1.0 - _BETA1, 1.0 - beta2)]
        minus_rate = self._data.tensor(-corrected[:, None])
        if self._decays:
            decay = self._data.tensor((-rate * self.models.knobs["weight_decay"][active.model])[:, None])
            active.parameters.mul_((decay * active.decay).add_(1.0))
        if active.rates.shape[1]:
            minus_rate = minus_rate * active.rates
        epsilon = self._data.tensor(_EPS * correction[:, None])
        self._update(active.parameters, active.mean, active.square, gradient, shares, epsilon, minus_rate)

    def _scheduled_rate(self, active: Active) -> npt.NDArray[np.float64]:
        """The learning rate of every model's next step [M]."""
        models, which = self.models, active.model
        steps = -(-models.fit.lengths[models.fit_of[which]] // self.options.batch_size) * models.knobs["epochs"][which]
        schedule = models.knob("schedule")[which].astype(np.intp)
        return models.knobs["lr"][which] * schedules.share(schedule, active.step / steps)

    def _slices(self, models: npt.NDArray[np.intp], sets: IndexSets, of: npt.NDArray[np.intp]) -> list[slice]:
        """Slices of the models at positions `models` that can read their data rows `sets` all at once."""
        size = max(_EVALUATION_ROWS // int(sets.lengths[of[models]].max(initial=1)), 1)
        return [slice(first, first + size) for first in range(0, len(models), size)]

    def _validate(self, active: Active) -> npt.NDArray[np.float64]:
        """The validation loss of every active model."""
        sets, of = self.models.validation, self.models.validation_of[active.model]
        counts = sets.lengths[of]
        batch = self._data.batch(active, self._data.indices(sets.padded[of, : int(counts.max())]), counts)
        parts, knobs = self.program.parts(active.parameters), self._knobs(active)
        total = self.options.monitor_total and self._weighing is None  # weights that change make no fair yardstick
        loss = self.program.monitored(parts, batch, knobs, total, self._workspace)
        return np.asarray(loss.cpu().double().numpy())

    @torch.no_grad()
    def _judge(self, active: Active) -> None:
        """Validate, remember the best weights, stop the models whose patience has run out."""
        parts = self._slices(active.model, self.models.validation, self.models.validation_of)
        loss = np.concatenate([self._validate(active.take(part)) for part in parts])
        running = ~active.stopped
        active.loss[running] = loss[running]
        better = running & (loss < active.best_loss)
        active.best_loss[better] = loss[better]
        active.best_epoch[better] = active.epoch[better]
        marked = running & (loss < active.mark_loss - self.options.min_delta)
        active.mark_loss[marked] = loss[marked]
        active.mark_epoch[marked] = active.epoch[marked]
        ends = active.epoch - active.mark_epoch >= self.options.patience
        ends = running & (ends | (active.epoch >= self.models.knobs["epochs"][active.model]))
        keep = np.flatnonzero(better if self.options.restore_best else ends)
        if len(keep):
            active.best[keep] = active.parameters[keep]
        active.stopped |= ends

    def _knobs(self, active: Active) -> Knobs:
        knobs = Knobs(*active.knobs.unbind(1))
        return knobs if self._smooths else dataclasses.replace(knobs, smoothing=None)

    def _training_batch(
        self, active: Active, index: Tensor, counts: npt.NDArray[np.int64], drops: bool = True
    ) -> Batch:
        """The data rows of a step, as the program wants them, and what dropout leaves of the networks."""
        batch = self._data.batch(active, index, counts)
        seed, rows = self.models.seed[active.model], index.shape[1]
        batch = self.program.training_batch(batch, seed, active.step, active.x_scale)
        if drops and self._drops:
            copies, at, keep = batch.x.shape[1] // rows, 0, list[Tensor | None]()
            units = [network.n_dropped for network in self.program.networks]
            probability, size = self.models.knob("dropout")[active.model], self.options.batch_size
            every = dropout.kept(seed, active.step, probability, sum(units), rows, size, batch.x, copies)
            for count in units:
                keep.append(every[:, at : at + count] if count else None)
                at += count
            batch.keep = tuple(keep)
        return batch

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
        each None where the program has no such output, and NaN beyond the length of a model's own set.
        """
        m, longest, program = len(self.models), sets.padded.shape[1], self.program
        target = torch.full((m, longest, program.outputs if program.predicts_target else 0), torch.nan).double()
        privileged = torch.full((m, longest, program.width if program.predicts_z else 0), torch.nan).double()
        for part in self._slices(np.arange(m), sets, of):
            which = np.arange(m)[part]
            active = self._admit(which, trained.parameters[part])
            counts = sets.lengths[of[which]]
            index = sets.padded[of[which], : int(counts.max())]
            z_index = None if z_row is None else self._data.indices(np.broadcast_to(z_row[which, None], index.shape))
            batch = self._data.batch(active, self._data.indices(index), counts, z_index)
            y, z = program.outputs_of(program.parts(active.parameters), batch.x, batch.z, self._workspace)
            beyond = (torch.arange(index.shape[1]) >= torch.as_tensor(counts)[:, None])[..., None]
            if y is not None:
                if program.numeric:
                    y = (y - active.y_shift) / active.y_scale
                target[part, : index.shape[1]] = y.mT.cpu().double().masked_fill(beyond, torch.nan)
            if z is not None:
                z = program.layout.read(z)
                privileged[part, : index.shape[1]] = z.mT.cpu().double().masked_fill(beyond, torch.nan)
        return (target if program.predicts_target else None), (privileged if program.predicts_z else None)


class Run:
    """A training under way. It may stop after any epoch, be kept as arrays, and go on elsewhere exactly as it would
    have.

    state : what `state()` of another run of the same engine returned; None: from the start.
    """

    def __init__(self, engine: Engine, state: dict[str, npt.NDArray[Any]] | None = None) -> None:
        self._engine = engine
        models, options, m = engine.models, engine.options, len(engine.models)
        parameters = torch.empty(m, engine.program.n_parameters, dtype=options.dtype, device=options.device)
        self._done = Trained(parameters, np.zeros(m, np.int64), np.zeros(m, np.int64), np.zeros(m), np.zeros(m))
        self._active: Active | None = None
        self._losses: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]] = []  # of each epoch
        self._seconds = 0.0
        self._tracer = Tracer() if options.trace and engine._weighing is not None else None
        # Models with equally many steps an epoch run together: none waits for another's last batches.
        self._queue = np.argsort(models.fit.lengths[models.fit_of], kind="stable")
        if state is not None:
            self._restore(state)

    @property
    def finished(self) -> bool:
        return not len(self._queue) and self._active is None

    def epoch(self) -> int:
        """Train all active models for an epoch; returns how many stopped."""
        start = time.perf_counter()
        engine, active = self._engine, self._active
        free = engine.width - (0 if active is None else len(active.model))
        if len(self._queue) and free:
            fresh = engine._admit(self._queue[:free])
            self._queue = self._queue[free:]
            active = fresh if active is None else active.joined(fresh)
        assert active is not None, "the run is finished"
        before = active.stopped.sum()
        running = ~active.stopped
        engine._epoch(active, self._tracer)
        self._losses.append((active.model[running], active.loss[running]))
        stopped = active.stopped.sum()
        self._active = self._release(active) if stopped and stopped * 8 >= len(active.model) else active
        self._seconds += time.perf_counter() - start
        return int(stopped - before)

    def _release(self, active: Active) -> Active | None:
        """Hand over the models that stopped; what is left stays active."""
        done, gone, stays = self._done, np.flatnonzero(active.stopped), np.flatnonzero(~active.stopped)
        models = active.model[gone]
        done.parameters[models] = active.best[gone]
        # A network whose validation loss was never finite has diverged: it has no weights to show.
        done.parameters[models[active.best_epoch[gone] == 0]] = torch.nan
        done.epochs[models] = active.epoch[gone]
        done.best_epoch[models] = active.best_epoch[gone]
        done.best_loss[models] = active.best_loss[gone]
        return active.take(stays) if len(stays) else None

    def result(self) -> Trained:
        """What became of the models, once `finished`."""
        done, models = self._done, self._engine.models
        read = done.epochs * models.fit.lengths[models.fit_of]
        done.seconds = self._seconds * read / read.sum()
        if self._tracer is not None:
            done.traces = self._tracer.result(len(models))
        which, losses = self._curves()
        order = np.argsort(which, kind="stable")  # the epochs of a model stay in their order
        done.curves = np.split(losses[order], np.cumsum(np.bincount(which, minlength=len(models)))[:-1])
        return done

    def _curves(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The models of all epochs, one after the other, and their validation losses."""
        if not self._losses:
            return np.zeros(0, np.intp), np.zeros(0)
        which, losses = zip(*self._losses, strict=True)
        return np.concatenate(which), np.concatenate(losses)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The run as plain arrays, to be kept between two epochs."""
        done = self._done
        arrays: dict[str, npt.NDArray[Any]] = {
            "queue": self._queue, "seconds": np.array(self._seconds), "done parameters": done.parameters.cpu().numpy(),
            "done epochs": done.epochs, "done best_epoch": done.best_epoch, "done best_loss": done.best_loss,
        }  # fmt: skip
        arrays["curve model"], arrays["curve loss"] = self._curves()
        if self._active is not None:
            arrays |= {f"active {name}": value for name, value in self._active.state().items()}
        if self._tracer is not None:
            arrays |= {f"trace {name}": value for name, value in self._tracer.state().items()}
        return {name: value.copy() for name, value in arrays.items()}

    def _restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        def of(prefix: str) -> dict[str, npt.NDArray[Any]]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        done = self._done
        self._queue, self._seconds = np.array(state["queue"]), float(state["seconds"])
        done.parameters.copy_(torch.as_tensor(np.array(state["done parameters"])))
        for name in ("epochs", "best_epoch", "best_loss"):
            getattr(done, name)[:] = state[f"done {name}"]
        self._losses = [(np.array(state["curve model"]), np.array(state["curve loss"]))]
        if active := of("active "):
            self._active = self._engine._admit(np.array(active["model"]))
            self._active.restore(active)
        if self._tracer is not None:
            self._tracer.restore(of("trace "))
