"""Peers: what they are given, that they never see Z, that they leave no trace, and that absent ones are named."""

import importlib
import logging
import random
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lupi.data.privileged_data import PrivilegedData
from lupi.methods.options import StudyOptions
from lupi.study import peers
from lupi.study.peers import PEERS, Request
from lupi.study.run import splits_of
from tests.conftest import small_table

OWN = ("linear", "random-forest", "HistGradientBoosting")
OTHERS = tuple(name for name in PEERS if name not in OWN)
OPTIONS = StudyOptions(folds=3, inner_folds=2)


def mixed(rows: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers and a category that follow three classes, both with missing cells."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, rows)
    number = y + 0.3 * draw.normal(size=rows)
    level = np.array(["low", "[middle]", 'h"igh'])[y]
    number[::10] = np.nan
    category = pd.Categorical(np.where(np.arange(rows) % 9 == 0, None, level))
    return pd.DataFrame({"a number": number, "class:of it": category, "noise": draw.normal(size=rows)}), y


def fitted(name: str, seed: int = 0, **change: Any) -> np.ndarray:
    X, y = mixed()
    return peers.fit(PEERS[name], X[:90], y[:90], 3, seed=seed).predict(X[90:].assign(**change))


# ---------------------------------------------------------------------- fitting


@pytest.mark.parametrize("name", OWN)
def test_fit__classes_with_categories_and_missing_cells__are_learned(name: str) -> None:
    probability = fitted(name)
    assert probability.shape == (30, 3)
    np.testing.assert_allclose(probability.sum(1), 1.0)
    assert (probability.argmax(1) == mixed()[1][90:]).mean() > 0.8


@pytest.mark.parametrize("name", OWN)
def test_fit__number__is_learned_in_its_own_unit(name: str) -> None:
    X, y = mixed()
    target = 1e4 + 1e3 * y
    predicted = peers.fit(PEERS[name], X[:90], target[:90], None, seed=0).predict(X[90:])
    assert predicted.shape == (30, 1)
    assert np.mean((predicted[:, 0] - target[90:]) ** 2) < 0.3 * target.var()


@pytest.mark.parametrize("name", OTHERS)
def test_fit__peer_of_another_package__learns_the_same(name: str) -> None:
    if PEERS[name].version is None:
        pytest.skip(f"needs {PEERS[name].package}, which the extra lupi[peers] installs")
    probability = fitted(name)
    np.testing.assert_allclose(probability.sum(1), 1.0, rtol=1e-5)
    assert (probability.argmax(1) == mixed()[1][90:]).mean() > 0.8


@pytest.mark.parametrize("name", OWN)
def test_fit__class_absent_from_the_rows__has_probability_zero(name: str) -> None:
    X, y = mixed()
    probability = peers.fit(PEERS[name], X[y != 1], y[y != 1], 3, seed=0).predict(X)
    assert (probability[:, 1] == 0).all()
    np.testing.assert_allclose(probability.sum(1), 1.0)


@pytest.mark.parametrize("name", OWN)
def test_fit__level_that_no_training_row_has__is_predicted_for(name: str) -> None:
    X, y = mixed()
    known = (X["class:of it"] != "low").to_numpy()
    probability = peers.fit(PEERS[name], X[known], y[known], 3, seed=0).predict(X[~known])
    assert np.isfinite(probability).all()


@pytest.mark.parametrize("name", OWN)
def test_fit__category_of_many_levels__is_taken(name: str) -> None:
    levels = np.arange(600) % 300
    X = pd.DataFrame({"many": pd.Categorical(levels.astype(str)), "a": np.random.default_rng(0).normal(size=600)})
    assert np.isfinite(peers.fit(PEERS[name], X, (levels > 150) * 1, 2, seed=0).predict(X)).all()


@pytest.mark.parametrize("name", ["linear", "random-forest"])
def test_fit__missing_number__is_the_median_of_the_training_rows(name: str) -> None:
    median = mixed()[0][:90]["a number"].median()
    np.testing.assert_array_equal(fitted(name, **{"a number": np.nan}), fitted(name, **{"a number": median}))


def test_fit__seed__decides_the_forest() -> None:
    np.testing.assert_array_equal(fitted("random-forest", seed=1), fitted("random-forest", seed=1))
    assert (fitted("random-forest", seed=1) != fitted("random-forest", seed=2)).any()


# ---------------------------------------------------------------------- packages of others


class Loud:
    """A model of another package, which seeds, sets threads, says and keeps what it was given."""

    given: dict[str, Any]
    frame: pd.DataFrame

    def __init__(self, **given: Any) -> None:
        type(self).given = given

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "Loud":
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        torch.set_num_threads(2)
        logging.getLogger("pytorch_lightning.loud").warning("still heard")
        logging.getLogger("pytorch_lightning.loud").info("no tips")
        logging.getLogger("lupi").info("a line of progress")
        type(self).frame, self.classes_ = X, np.unique(y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


CLASSES = {"LightGBM": "LGBMClassifier", "CatBoost": "CatBoostClassifier", "RealMLP": "RealMLP_TD_Classifier",
           "TabM": "TabM_D_Classifier"}  # fmt: skip


def pretend(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The package of a peer, with one model in it."""
    package = types.SimpleNamespace(**{CLASSES[name]: Loud})
    asked = importlib.import_module
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda module: package if module in (PEERS[name].package, "pytorch_lightning") else asked(module),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LightGBM", {"random_state": 7, "n_jobs": 3}),
        ("CatBoost", {"random_state": 7, "thread_count": 3, "cat_features": ["x1"], "allow_writing_files": False}),
        ("RealMLP", {"random_state": 7, "n_threads": 3, "n_cv": 5, "device": "cpu"}),
        ("TabM", {"random_state": 7, "n_threads": 3, "device": "cpu"}),
    ],
)
def test_fit__package_of_another_maker__is_given_seed_threads_and_categories(
    name: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, name)
    X, y = mixed()
    probability = peers.fit(PEERS[name], X, y, 3, seed=7, threads=3).predict(X)
    assert probability.shape == (120, 3)
    assert expected.items() <= Loud.given.items()
    read, missing = Loud.frame, X["class:of it"].isna()
    assert list(read.columns) == ["x0", "x1", "x2"]
    assert read["x0"].isna().any() == (PEERS[name].reads != "imputed")
    assert read["x1"].isna().any() == (PEERS[name].reads == "native")
    if PEERS[name].reads != "native":
        assert set(read["x1"][missing]) == {"missing"}
    assert isinstance(read["x1"].dtype, pd.CategoricalDtype) == (PEERS[name].reads != "texts")


def test_fit__package_that_seeds_and_talks__leaves_all_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch, "CatBoost")
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "pytorch_lightning.loud")
    X, y = mixed()

    def states() -> tuple[Any, ...]:
        drawn = np.random.get_state()[1]  # noqa: NPY002
        return random.getstate(), drawn.tolist(), torch.get_rng_state().tolist(), torch.get_num_threads()

    before = states()
    peers.fit(PEERS["CatBoost"], X, y, 3, seed=0)
    assert states() == before
    assert [record.message for record in caplog.records] == ["still heard", "a line of progress"]
    logging.getLogger("pytorch_lightning.loud").info("heard again")
    assert caplog.records[-1].message == "heard again"


def test_installed__package_that_is_not_there__is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"scikit-learn": "1.9", "catboost": "1.2"}

    def version(package: str) -> str:
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(importlib.metadata, "version", version)
    there, absent = peers.installed()
    assert [peer.name for peer in there] == [*OWN, "CatBoost"]
    assert [peer.name for peer in absent] == ["LightGBM", "RealMLP", "TabM"]
    assert PEERS["CatBoost"].version == "1.2"


def test_select__names__are_those_of_the_table_in_its_order() -> None:
    assert [peer.name for peer in peers.select(["catboost", "Linear"])] == ["linear", "CatBoost"]
    assert [peer.name for peer in peers.select()] == list(PEERS)
    with pytest.raises(ValueError, match=r"no peer is called 'xgboost'; there are linear, .*TabM"):
        peers.select(["linear", "xgboost"])


def test_peers__defaults__are_their_makers() -> None:
    request = Request(numeric_target=False, categories=(), seed=0, threads=1, device="cpu")
    boosting = PEERS["HistGradientBoosting"].make(request)
    changed = {name for name, value in boosting.get_params().items() if value != type(boosting)().get_params()[name]}
    assert changed == {"random_state"}


# ---------------------------------------------------------------------- in a study


def ward(privileged: list[str]) -> PrivilegedData:
    return PrivilegedData.from_frame(small_table(), "y", name="ward", privileged=privileged)


@pytest.mark.parametrize("name", OWN)
def test_record__another_z__changes_nothing(name: str) -> None:
    table = small_table()
    other = PrivilegedData.from_frame(table.assign(z=table.z**3 + 7), "y", name="ward", privileged=["z"])
    (first, *_) = splits_of(ward(["z"]), OPTIONS, [0])
    one, two = (peers.record(data, OPTIONS, first, PEERS[name]) for data in (ward(["z"]), other))
    np.testing.assert_array_equal(one["prediction"], two["prediction"])


def test_record__column_chosen_in_the_fold__is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    data, given, fit = ward([]), [], peers.fit

    def watched(peer: Any, X: pd.DataFrame, *arguments: Any, **named: Any) -> Any:
        given.append(list(X.columns))
        return fit(peer, X, *arguments, **named)

    monkeypatch.setattr(peers, "fit", watched)
    for split in splits_of(data, OPTIONS, [0]):
        peers.record(data, OPTIONS, split, PEERS["linear"])
    assert given == [["a", "b"]] * 3  # z is the one that tells most of y


def test_record__scores__are_those_of_its_prediction_on_the_test_rows() -> None:
    data = ward(["z"])
    split = splits_of(data, OPTIONS, [1])[2]
    record = peers.record(data, OPTIONS, split, PEERS["linear"])
    truth = data.y[split.test]
    assert (record["repeat"], record["fold"], record["n_train"], record["n_test"]) == (1, 2, 40, 20)
    assert record["error"] == (record["prediction"].argmax(1) != truth).mean()
    assert record["log_loss"] == pytest.approx(-np.log(record["prediction"][np.arange(20), truth]).mean())
    assert record["version"] == PEERS["linear"].version
    assert record["seconds"] > 0


def test_record__seed_of_the_study__decides_the_forest() -> None:
    data = ward(["z"])
    (split, *_) = splits_of(data, OPTIONS, [0])
    other = StudyOptions(folds=3, inner_folds=2, seed=1)
    forests = [peers.record(data, options, split, PEERS["random-forest"])["prediction"]
               for options in (OPTIONS, OPTIONS, other)]  # fmt: skip
    np.testing.assert_array_equal(forests[0], forests[1])
    assert (forests[0] != forests[2]).any()
