"""The estimate of a dry run, on studies whose costs are known."""

import numpy as np
import pandas as pd
import pytest

from lupi.data.privileged_data import PrivilegedData
from lupi.methods.options import StudyOptions
from lupi.study import run as studying
from studies import discovery, estimate
from studies.estimate import Work, duration, prices

_CALL, _MODEL, _EPOCH = 0.4, 2e-3, 1.5e-4  # seconds: of an epoch of few models, of a model, of an epoch of a model


class Study:
    """A study of 60 models a fold, whose models need epochs of a known law; an epoch of few models costs as much as one
    of many, and every model costs something before its first epoch."""

    def __init__(self, mean: float, call: float = _CALL) -> None:
        self.mean, self.call, self.longest_run = mean, call, 0.0

    def needs(self, folds: int) -> np.ndarray:
        return np.random.default_rng(0).gamma(4.0, self.mean / 4.0, size=60 * folds).round() + 1

    def work(self, folds: int, most: int) -> Work:
        needs = self.needs(folds)
        trained = np.minimum(needs, most)
        active = (trained[:, None] > np.arange(trained.max())).sum(0)
        seconds = _MODEL * len(needs) + float((self.call / 100 + _EPOCH * active).sum())
        self.longest_run = max(self.longest_run, seconds)
        return Work(seconds, float(trained.sum()), float((trained < most).mean()))


@pytest.mark.parametrize("mean", [8.0, 60.0, 150.0])
def test_prices__costs_of_a_model_an_epoch_and_a_call__are_told_apart(mean: float) -> None:
    study = Study(mean)
    found = prices(study.work, 60, folds=50, rows=768, most=1000)
    assert found.seconds == pytest.approx(study.work(50, 1000).seconds, rel=0.15)
    assert found.epoch == pytest.approx(_EPOCH, rel=0.2)
    assert found.epochs == pytest.approx(study.needs(50).mean(), rel=0.1)


def test_prices__few_epochs_allowed__are_not_exceeded() -> None:
    study = Study(60.0)
    found = prices(study.work, 60, folds=50, rows=768, most=3)
    assert found.epochs == 3
    assert found.seconds == pytest.approx(study.work(50, 3).seconds, rel=0.15)


def test_prices__study_of_hours__is_not_trained_to_its_end() -> None:
    study = Study(60.0, call=300.0)
    found = prices(study.work, 60, folds=50, rows=200_000, most=1000)
    longest = study.longest_run
    assert longest < 90.0
    assert found.epochs == pytest.approx(study.needs(50).mean(), rel=0.6)


def test_prices__the_whole_study_is_in_the_first_chunk__is_what_was_measured() -> None:
    study = Study(60.0)
    assert prices(study.work, 60, 3, 768, 1000).seconds == pytest.approx(study.work(3, 1000).seconds)


def test_estimate__discovery__is_what_its_rounds_take(data: PrivilegedData, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def discover(of: PrivilegedData, options: StudyOptions, splits: list, k: int) -> None:
        clock[0] += 1000.0 * len(splits) * (1 + options.epochs)

    monkeypatch.setattr(discovery.discovery, "discover", discover)
    monkeypatch.setattr(discovery.time, "perf_counter", lambda: clock[0])
    options = StudyOptions(methods=("lower",), twins=(), folds=2, repeats=3, epochs=2)
    assert discovery.estimate([data], options, 1).endswith(" models more: about 5.0 hours.")


def test_estimate__sweep_of_epochs__counts_its_models(data: PrivilegedData, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    trained = studying.run

    def run(of: PrivilegedData, options: StudyOptions, splits: list, *more: object) -> studying.Results:
        results = trained(of, options, splits)
        clock[0] += results.model_epochs
        return results

    monkeypatch.setattr(estimate, "run", run)
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    options = StudyOptions(methods=("lower",), folds=2, repeats=1, epochs=8, patience=9, sweeps=(("epochs", (2, 4)),))
    assert estimate.of_study(data, options).seconds == pytest.approx(28.0)  # two folds of 8, 2 and 4 epochs


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 seconds"), (4.21, "4.2 seconds"), (72.0, "72 seconds"), (126.0, "2.1 minutes"), (3000.0, "50 minutes"),
     (9000.0, "2.5 hours")],
)  # fmt: skip
def test_duration__is_told_to_two_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def data(table: pd.DataFrame) -> PrivilegedData:
    return PrivilegedData.from_frame(table, "y", name="t", privileged=["z"])
