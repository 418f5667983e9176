"""The store: what goes in comes out, nothing is ever half there, and no other folder is harmed."""

import copy
import json
import math
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.store import FORMAT, Store, versions

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "command": "python MT_main.py",
    "options": {"seed": 0, "methods": ["lower"], "lr": 1e-3},
    "device": "cpu",
    "versions": {"lupi": "1"},
    "data": {"one": {"rows": 4, "sha256": "aa"}},
}
metric = st.floats() | st.none()


def record(fold: int = 0, **more: Any) -> dict[str, Any]:
    return {"method": "MT", "repeat": 0, "fold": fold, "n_train": 4, "n_test": 2, "privileged": ["z"], **more}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(**parts: Any) -> dict[str, Any]:
    """CONFIG with other values in its parts."""
    config = copy.deepcopy(CONFIG)
    for part, value in parts.items():
        config[part] = {**config[part], **value} if isinstance(config[part], dict) else value
    return config


@given(error=metric, auc=metric, seconds=st.floats(0, 1e6), seed=st.integers(0, 2**32 - 1))
def test_results__any_metrics__come_back_exactly(
    error: float | None, auc: float | None, seconds: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = np.random.default_rng(seed)
    prediction, z_hat = draw.random((2, 3)).astype(np.float32), draw.random((2, 1)).astype(np.float32)
    z_each = {"z": float(draw.random())}
    put = record(error=error, auc=np.float64(auc) if auc is not None else None, prediction=prediction, z_hat=z_hat)
    folder = tmp_path_factory.mktemp("store")
    with Store(folder, CONFIG) as results:
        results.add("one", [0, 1], 7, seconds, [{**put, "z_each": z_each, "seconds": seconds}])
    with Store(folder, CONFIG) as results:
        (row,) = results.results().to_dict("records")
        assert results.repeats() == {("one", 0), ("one", 1)}
        assert results.seconds() == seconds
    for name, value in (("error", error), ("auc", auc)):
        if value is None or math.isnan(value):
            assert pd.isna(row[name])
        else:
            assert row[name] == value
    assert (row["dataset"], row["method"], row["control"], row["privileged"]) == ("one", "MT", "none", ["z"])
    assert row["z_each"] == z_each
    assert row["seconds"] == seconds
    np.testing.assert_array_equal(row["prediction"], prediction)
    np.testing.assert_array_equal(row["z_hat"], z_hat)


def test_results__arms_without_predictions_of_z__have_none(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as results:
        results.add("one", [0], 1, 0.0, [record(0), record(1, z_hat=np.ones((2, 2)))])
        found = results.results()
    assert found["z_hat"].map(type).tolist() == [type(None), np.ndarray]
    assert found["z_each"].isna().all()


def test_add__record_that_cannot_be_written__leaves_nothing_of_its_chunk(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as results:
        with pytest.raises(sqlite3.IntegrityError):
            results.add("one", [0], 2, 1.0, [record(0), record(0)])
        assert results.repeats() == set()
        assert results.results().empty
        results.add("one", [0], 2, 1.0, [record(0)])
        assert results.repeats() == {("one", 0)}


def test_add__chunk_that_another_process_wrote__stays(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as first, Store(tmp_path, CONFIG) as second:
        first.add("one", [0], 2, 1.0, [record(error=0.25)])
        second.add("one", [0], 2, 5.0, [record(error=0.5)])
        assert second.results()["error"].tolist() == [0.25]
        assert second.seconds() == 1.0


def test_add__killed_between_its_two_writes__leaves_nothing_of_its_chunk(tmp_path: Path) -> None:
    """SIGKILL when the records are in and the chunk is not yet said to be finished."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from studies.store import Store
results = Store(Path({str(tmp_path)!r}), {CONFIG!r})
results._database.execute("PRAGMA cache_size = 1")  # so that the records reach the file before the commit
record = dict(method="MT", repeat=0, n_train=4, n_test=2, privileged=["z"])
results.add("one", [0], 1, 1.0, [dict(record, fold=0)])
def die(statement):
    if statement.startswith("INSERT INTO chunks"):
        os.kill(os.getpid(), signal.SIGKILL)
results._database.set_trace_callback(die)
results.add("one", [1], 300, 1.0, [dict(record, repeat=1, fold=fold, z_each="x" * 200) for fold in range(300)])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "study.sqlite-journal").exists(), "killed before anything was at stake"
    with Store(tmp_path, CONFIG) as results:
        assert results.repeats() == {("one", 0)}
        assert len(results.results()) == 1
        results.add("one", [1], 1, 1.0, [record(0, repeat=1)])
        assert len(results.results()) == 2


# ---------------------------------------------------------------------- the folder


def test_store__new_folder__keeps_its_config_and_is_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    with Store(folder, CONFIG) as results:
        assert not results.finished
        results.finish()
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == {"format": FORMAT, **CONFIG}
    with Store(folder, CONFIG) as results:
        assert results.finished


def test_store__same_study_by_another_command__keeps_the_first_command(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG):
        pass
    with Store(tmp_path, changed(command="python MT_main.py --config same.toml")) as results:
        assert results.config == {"format": FORMAT, **CONFIG}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (changed(options={"seed": 1}), "seed 0 there, 1 now"),
        (changed(options={"methods": ["lower", "MT"]}), r'methods \["lower"\] there, \["lower", "MT"\] now'),
        (changed(options={"fresh": 2}), "fresh null there, 2 now"),
        (changed(device="cuda"), 'device "cpu" there, "cuda" now'),
        (changed(versions={"lupi": "2"}), 'version of lupi "1" there, "2" now'),
        (changed(data={"one": {"rows": 4, "sha256": "bb"}}), 'sha256 of one "aa" there, "bb" now'),
        (changed(data={"two": {"rows": 5}}), "rows of two null there, 5 now"),
        (changed(options={"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}), r"c null there, 3 now \(and 2 more\)"),
    ],
)
def test_store__another_study__is_refused_and_left_alone(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as results:
        results.add("one", [0], 1, 1.0, [record()])
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"holds another study: .*{message}.*another --out, or .* --force"):
        Store(tmp_path, other)
    assert contents(tmp_path) == before


def test_store__force__deletes_what_a_study_wrote_and_nothing_else(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as results:
        results.add("one", [0], 1, 1.0, [record()])
        results.finish()
    (tmp_path / "figures").mkdir()
    for name in ("table.csv", "figures/old.pdf", "notes.txt"):
        (tmp_path / name).write_text("mine")
    with Store(tmp_path, changed(options={"seed": 1}), force=True) as results:
        assert not results.finished
        assert results.results().empty
        assert results.config["options"]["seed"] == 1
    assert set(contents(tmp_path)) == {"config.json", "study.sqlite", "notes.txt"}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"name": "my web page"}'},
        {"config.json": "[1, 2]"},
        {"config.json": '{"command": '},
        {"table.csv": "a,b\n1,2\n"},
        {"study.sqlite": "not a study"},
    ],
    ids=["config of something else", "a list", "half a config", "a table", "a database"],
)
def test_store__files_that_are_no_study__are_never_touched(files: dict[str, str], force: bool, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"--out: .* holds {next(iter(files))}.*nothing in it was changed"):
        Store(tmp_path, CONFIG, force=force)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("force", [False, True])
def test_store__out_is_a_file_or_lies_in_one__is_refused(force: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="must be a folder; found a file"):
        Store(tmp_path / "file", CONFIG, force=force)
    with pytest.raises(ValueError, match="cannot be written: Not a directory"):
        Store(tmp_path / "file" / "sub", CONFIG, force=force)
    assert contents(tmp_path) == {"file": b"mine"}


def test_store__database_that_is_none__says_so_and_force_mends_it(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG):
        pass
    (tmp_path / "study.sqlite").write_text("no database " * 100)
    with pytest.raises(ValueError, match=r"study.sqlite cannot be used: .*not a database.*--force"):
        Store(tmp_path, CONFIG)
    with Store(tmp_path, CONFIG, force=True) as results:
        assert results.results().empty


def test_versions__name_what_computes() -> None:
    found = versions()
    assert {"lupi", "python", "torch", "numpy", "pandas", "scikit-learn"} <= set(found)
    assert found["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]


# ---------------------------------------------------------------------- settings and formats


def test_store__values_that_differ_in_the_last_digit__are_records_of_their_own(tmp_path: Path) -> None:
    values = [0.1234567, 0.1234568, np.nextafter(0.1234568, 1.0)]
    put = [record(), *({**record(), "swept": "epsilon", "value": value} for value in values)]
    with Store(tmp_path, CONFIG) as results:
        results.add("one", [0], 1, 1.0, put)
        read = results.results()
    assert read["swept"].tolist() == ["", "epsilon", "epsilon", "epsilon"]
    assert np.isnan(read["value"].iloc[0])
    assert read["value"].tolist()[1:] == values


def test_store__record_of_the_same_split_twice__is_refused(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG) as results, pytest.raises(sqlite3.IntegrityError):
        results.add("one", [0], 1, 1.0, [record(), record()])


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("form", "named"), [({}, "format 1"), ({"format": FORMAT + 1}, f"format {FORMAT + 1}")])
def test_store__study_of_another_format__says_who_wrote_it_and_how_to_start_over(
    tmp_path: Path, form: dict[str, int], named: str, finished: bool
) -> None:
    written = {**CONFIG, "versions": {"lupi": "0.0.9"}, **form}
    (tmp_path / "config.json").write_text(json.dumps(written), encoding="utf-8")
    if finished:
        (tmp_path / "DONE").touch()
    with pytest.raises(ValueError, match=rf"{named}, written by lupi 0.0.9.*format {FORMAT}.*--out.*--force"):
        Store(tmp_path, CONFIG)
    with Store(tmp_path, CONFIG, force=True) as results:
        assert results.config["format"] == FORMAT
        assert not results.finished


def test_peers__come_back_exactly_and_the_first_stays(tmp_path: Path) -> None:
    prediction = np.random.default_rng(0).random((2, 3)).astype(np.float32)
    put = {"dataset": "one", "peer": "linear", "repeat": 0, "fold": 1, "version": "1.9", "n_train": 4, "n_test": 2,
           "seconds": 0.5, "error": 1 / 3, "prediction": prediction}  # fmt: skip
    with Store(tmp_path, CONFIG) as results:
        assert results.peers().empty
        results.add_peer(put)
        results.add_peer({**put, "error": 0.9})
        results.add_peer({**put, "fold": 0})
    with Store(tmp_path, CONFIG) as results:
        first, second = results.peers().to_dict("records")
    assert (first["fold"], second["fold"]) == (0, 1)
    assert second["error"] == 1 / 3
    assert second["auc"] is None or math.isnan(second["auc"])
    np.testing.assert_array_equal(second["prediction"], prediction)
