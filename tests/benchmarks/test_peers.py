"""The comparison with peers: its sets, its scores, and that peers are fitted once."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import peers as benchmark
from benchmarks.peers import BALANCED, MAIN, SETS, Absent, finder, read

QUICK = ("--sets", "iris", "sk_diabetes", "breast_cancer", "--peers", "linear", "--arguments", "epochs=2")


def run(folder: Path, *more: str) -> None:
    benchmark.main([*QUICK, "--rows", "200", "--data", str(folder), "--cache", str(folder / "peers.csv"),
                    "--out", str(folder / "peers.md"), *more])  # fmt: skip


def test_main__given_twice__fits_the_peers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    first = (tmp_path / "peers.csv").read_text("utf-8")
    assert len(pd.read_csv(tmp_path / "peers.csv")) == 3 * 5 + 5  # the binary set has the balanced log loss beside it
    monkeypatch.setattr(benchmark.peers, "fit", None)
    run(tmp_path)
    assert (tmp_path / "peers.csv").read_text("utf-8") == first
    page = (tmp_path / "peers.md").read_text("utf-8")
    assert "| mean rank |" in page
    assert "## Balanced log loss of the binary sets" in page
    assert "| lower, epochs=2 | linear |" in page


def test_main__preset_of_estimators_without_any__is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        def get_params(self) -> dict[str, Any]:
            return {"method": "lower"}

    monkeypatch.setattr(benchmark, "PrivilegedClassifier", Plain)
    with pytest.raises(SystemExit, match="no presets; leave it out"):
        run(tmp_path, "--arguments", "--preset", "best")


def test_own_models__preset_that_estimators_have__is_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    class Preset:
        def get_params(self) -> dict[str, Any]:
            return {"preset": "best", "members": 1}

    monkeypatch.setattr(benchmark, "PrivilegedClassifier", Preset)
    assert benchmark.own_models(["fast", "best"], {"members": 5}) == {
        "lower, fast, members=5": {"preset": "fast", "members": 5},
        "lower, best, members=5": {"preset": "best", "members": 5},
    }


def test_main__files_that_are_not_there__are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--sets", "iris", "diabetes")
    assert "left out: diabetes" in capsys.readouterr().err


def test_read__more_rows_than_asked_for__keeps_the_classes_in_proportion(tmp_path: Path) -> None:
    data = read("digits", finder(tmp_path), 500)
    assert len(data.X) == len(data.y) == 500
    assert data.classes == 10
    assert np.ptp(np.bincount(data.y)) <= 3
    assert sorted(np.concatenate([test for _, test in data.folds])) == list(range(500))


def test_read__file_anywhere_in_the_folder__is_found(tmp_path: Path) -> None:
    with pytest.raises(Absent):
        read("diabetes", finder(tmp_path), 3000)
    (tmp_path / "deep").mkdir()
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"]).assign(y=[0, 1] * 20)
    frame.to_csv(tmp_path / "deep" / "diabetes.csv.gz", index=False)
    assert read("diabetes", finder(tmp_path), 3000).X.shape == (40, 2)


def test_digest__other_rows__is_another(tmp_path: Path) -> None:
    find = finder(tmp_path)
    assert read("iris", find, 3000).digest == read("iris", find, 3000).digest
    assert read("digits", find, 500).digest != read("digits", find, 501).digest


def test_scores__binary__divides_the_prior_out(tmp_path: Path) -> None:
    data = read("breast_cancer", finder(tmp_path), 3000)
    train, test = data.folds[0]
    prior = np.bincount(data.y[train]) / len(train)
    found = benchmark.scores(data, 0, np.tile(prior, (len(test), 1)))
    assert found[BALANCED] == pytest.approx(np.log(2))  # who knows the prior alone knows nothing
    assert found[MAIN] == pytest.approx(-np.log(prior[data.y[test]]).mean())


def test_scores__number__is_in_units_of_the_variance(tmp_path: Path) -> None:
    data = read("sk_diabetes", finder(tmp_path), 3000)
    off = data.y[data.folds[0][1]] + data.y.std()
    assert benchmark.scores(data, 0, off[:, None])[MAIN] == pytest.approx(1.0)


def test_sets__at_least_twelve__some_with_numbers() -> None:
    assert len(SETS) >= 12
    assert 3 <= sum(numeric for numeric, _ in SETS.values()) < len(SETS)
