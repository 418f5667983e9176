"""How long a study will take: what `--dry-run` prints, measured by parts of the study itself.

A study takes its time in three ways: what every model costs however long it trains (data, predictions, records), what
an epoch of a model costs where many train side by side, and the end of a training, when few models are left and none
shares its cost. Each is measured by itself, on this machine, as busy as it is.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lupi.data.privileged_data import PrivilegedData
from lupi.methods.design import chunks_of, models_of
from lupi.methods.options import StudyOptions
from lupi.study.run import run, splits_of

_FEW, _MORE = 1, 5  # epochs of two short runs, whose difference is the price of an epoch
_WIDE = 2e6  # models times data rows of the short runs: as many as fill the engine
_MODELS = 150  # of which the epochs are counted, at least
_PATIENCE = 45.0  # seconds that counting them may take


class Work(NamedTuple):
    """What a run of a part of a study took.

    epochs : of all its models together.
    stopped : the share of models that stopped before the last epoch that they were allowed.
    """

    seconds: float
    epochs: float
    stopped: float


#: The work of so many folds, with at most so many epochs.
Measure = Callable[[int, int], Work]


@dataclasses.dataclass(frozen=True)
class Prices:
    """What a study costs.

    seconds : all of it. fixed : seconds of a model, whatever its epochs. epoch : seconds of an epoch of a model among
    many. epochs : of a model, in the mean.
    """

    seconds: float
    fixed: float
    epoch: float
    epochs: float


def prices(measure: Measure, models_a_fold: float, folds: int, rows: int, most: int, chunks: int = 1) -> Prices:
    """What a study of `folds` folds costs.

    Two runs of many models tell by their difference what an epoch costs, and with it what is paid whatever the epochs;
    a run of few models to their own end tells how many epochs a model trains, and what the end of a training costs.

    rows : of the data. most : epochs that a model may train. chunks : in how many parts the study is trained.
    """
    here = -(-folds // chunks)
    few_folds = min(-(-_MODELS // max(int(models_a_fold), 1)), here)
    many_folds = min(max(int(_WIDE / (models_a_fold * rows)), few_folds), here)
    measure(few_folds, _FEW)  # the first run of a process pays for much that no other pays for
    short, longer = measure(many_folds, _FEW), measure(many_folds, min(_MORE, most))
    epoch = max(longer.seconds - short.seconds, 0.0) / max(longer.epochs - short.epochs, 1.0)
    fixed = max(short.seconds - short.epochs * epoch, 0.0) / (many_folds * models_a_fold)
    counted = few_folds * models_a_fold
    trial = measure(few_folds, min(_MORE, most))
    whole = trial
    if most > _MORE:
        affordable = int(_PATIENCE / (trial.seconds / _MORE))
        cap = min(most, max(affordable, 4 * _MORE))
        whole = measure(few_folds, cap)
    mean = whole.epochs / counted
    if most > _MORE and cap < most and whole.stopped < 1:
        mean = min(mean + _epochs_beyond(cap, whole.stopped, counted), most)
    to_the_end = whole.seconds + max(mean * counted - whole.epochs, 0.0) * epoch
    others = (folds - chunks * few_folds) * models_a_fold
    return Prices(chunks * to_the_end + others * (fixed + epoch * mean), fixed, epoch, mean)


def _epochs_beyond(cap: int, stopped: float, models: float) -> float:
    """Epochs beyond `cap` of a model in the mean, where a share `stopped` needs fewer: by Weibull's law of shape 2, as
    wide (half its mean) as the epochs of early stopping usually are."""
    shortest = -math.log1p(-max(stopped, 0.5 / models))
    scale = cap / math.sqrt(shortest)
    return scale * math.sqrt(math.pi) / 2 * math.erfc(cap / scale)


def duration(seconds: float) -> str:
    """For people, to two digits: "4.2 seconds", "13 minutes", "2.5 hours"."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{1 if seconds < 10 * length else 0}f} {unit}"
    return f"{seconds:.{1 if seconds < 10 else 0}f} seconds"


def of_study(data: PrivilegedData, options: StudyOptions) -> Prices:
    """What the study of a data set costs."""
    # Models that sweep the epochs differ from the others in nothing else.
    plain = dataclasses.replace(options, sweeps=tuple(sweep for sweep in options.sweeps if sweep[0] != "epochs"))
    size, folds = models_of(plain) / options.folds, options.folds * options.repeats

    def measure(count: int, epochs: int) -> Work:
        short = dataclasses.replace(plain, epochs=epochs)
        splits = [
            split
            for split in splits_of(data, short, range(-(-count // options.folds)))
            if split.repeat * options.folds + split.fold < count
        ]
        start = time.perf_counter()
        results = run(data, short, splits)
        seconds = time.perf_counter() - start
        trained = [record["epochs"] for record in results.records if np.isfinite(record["epochs"])]
        return Work(seconds, results.model_epochs, float(np.mean([n < epochs for n in trained])) if trained else 1.0)

    chunks = len(chunks_of(options, len(data.y)))
    found = prices(measure, size, folds, len(data.y), options.epochs, chunks)
    values = [value for name, swept in options.sweeps if name == "epochs" for value in swept]
    each = (models_of(options) - models_of(plain)) * options.repeats / max(len(values), 1)
    more = sum(each * (found.fixed + found.epoch * min(found.epochs, value)) for value in values)
    return dataclasses.replace(found, seconds=found.seconds + more)
