"""`run`: trains all models of a study and returns its records; `splits_of`: the splits that it trains on.

`run` takes the design table for some splits of one data set, trains it in stages (teachers and regressors first, then
those who learn from them), one call of the engine each, and returns one record for every arm and split.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split, outer_splits, shrunken
from lupi.methods.design import CLASSICAL, design
from lupi.methods.misfits import check_methods
from lupi.methods.options import StudyOptions
from lupi.settings import PLAIN
from lupi.study.preparation import Fitting, Prepared
from lupi.study.records import Recorder
from lupi.study.stages import Progress, Trainer, stages
from lupi.study.tasks import TASKS

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Results:
    """The results of a study: one record (a dictionary) for every arm and split, and one for every split.

    model_epochs : epochs of all its networks together, those of inner teachers and regressors included.
    """

    records: list[dict[str, Any]]
    splits: list[dict[str, Any]]
    model_epochs: int = 0


def splits_of(data: PrivilegedData, options: StudyOptions, repeats: Iterable[int]) -> list[Split]:
    """The splits of some repeats of the cross-validation, and those of the learning curve made from them.

    >>> import numpy as np, pandas as pd
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> table = pd.DataFrame(x, columns=["a", "b", "lab"]).assign(ill=np.where(x.sum(1) > 0, "yes", "no"))
    >>> data = PrivilegedData.from_frame(table, "ill", name="ward", privileged=["lab"])
    >>> [(s.repeat, s.fold, len(s.train), len(s.test)) for s in splits_of(data, StudyOptions(folds=3), [0])]
    [(0, 0, 40, 20), (0, 1, 40, 20), (0, 2, 40, 20)]
    """
    plain = [
        split for repeat in repeats for split in outer_splits(data, options.folds, options.inner, repeat, options.seed)
    ]
    sizes = options.train_sizes
    return [*plain, *(shrunken(data, split, n, options.inner, options.seed) for n in sizes for split in plain)]


def run(
    data: PrivilegedData,
    options: StudyOptions,
    splits: Sequence[Split],
    progress: Progress | None = None,
    fitting: Fitting | None = None,
) -> Results:
    """Train all models of `options` on `splits` of `data`; sweeps on the plain splits alone.

    >>> import numpy as np, pandas as pd
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> table = pd.DataFrame(x, columns=["a", "b", "lab"]).assign(ill=np.where(x.sum(1) > 0, "yes", "no"))
    >>> data = PrivilegedData.from_frame(table, "ill", name="ward", privileged=["lab"])
    >>> options = StudyOptions(methods=("lower", "MT"), folds=3, epochs=2, twins=("shuffled",))
    >>> records = pd.DataFrame(run(data, options, splits_of(data, options, [0])).records)
    >>> records.groupby(["method", "control"], sort=False).size().to_dict()
    {('lower', 'none'): 3, ('MT', 'none'): 3, ('MT', 'shuffled'): 3}

    Shape
    -----
    In each record: prediction : [n_test, K] probabilities, or [n_test, 1] values of a numeric target; z_hat :
    [n_test, Q], None where the method predicts no Z.

    Parameters
    ----------
    progress : called with the number of models that were finished since the last call.
    fitting : what is asked beyond the options.

    Raises
    ------
    ValueError : where a method cannot learn this target, or nothing privileged is left to learn from.
    """
    check_methods(data, options)
    study, epochs = Results([], []), 0
    plain, sized = ([s for s in splits if (s.setting != PLAIN) is named] for named in (False, True))
    for part, chosen in ((plain, options), (sized, dataclasses.replace(options, sweeps=()))):
        if part:
            results = _run(data, chosen, part, progress, fitting)
            study.records.extend(results.records)
            study.splits.extend(results.splits)
            epochs += results.model_epochs
    return dataclasses.replace(study, model_epochs=epochs)


def _run(
    data: PrivilegedData,
    options: StudyOptions,
    splits: Sequence[Split],
    progress: Progress | None,
    fitting: Fitting | None,
) -> Results:
    start = time.perf_counter()
    table = design(options, len(splits))
    prepared = Prepared(data, options, splits, fitting)
    trainer, recorder, epochs = Trainer(prepared), Recorder(prepared), 0
    for rows, kind in stages(table):
        stage = rows["stage"].iloc[0]
        tasks = TASKS[stage](prepared, rows) if stage in TASKS else None
        engine, trained = trainer.train(rows, kind, progress, tasks)
        epochs += int(trained.epochs.sum())
        trainer.keep(rows, engine, trained)
        recorder.record(rows, engine, trained, trainer.predicted)
    rows = table[table["stage"] == CLASSICAL].reset_index(drop=True)
    if len(rows):
        recorder.record_fitted(rows, trainer.fit(rows, progress))
    log.debug("%s: %d models in %.2f s", data.name, len(table), time.perf_counter() - start)
    return Results(recorder.records, recorder.splits(), epochs)
