"""The study command from end to end: bad input, what it writes, and what interruptions leave behind."""

import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lupi.methods.design
import lupi.study.run
from lupi.methods.design import chunks_of
from lupi.methods.options import StudyOptions
from studies import store
from studies.views import summary
from tests.conftest import Command

ROOT = Path(__file__).resolve().parents[2]
OWN = (str(ROOT / "lupi"), str(ROOT / "studies"))
QUICK = "--preset paper --folds 2 --inner-folds 2 --repeats 1 --epochs 2 --device cpu -l_reg 4 -l_clas 4"
TABLE = "--csv t.csv --target y --privileged z"
STUDY = f"{TABLE} --methods lower upper KT MT-TPD {QUICK}"
FILES = {
    "study.sqlite", "config.json", "table.csv", "table.md", "table.tex", "verdicts.csv", "report.html", "DONE",
    "figures/t-effects.png", "figures/t-effects.pdf",
}  # fmt: skip


@pytest.fixture
def study(command: Command, table: pd.DataFrame) -> Command:
    """The command in a folder with t.csv."""
    table.to_csv("t.csv", index=False)
    return command


def files(folder: Path | str = ".") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def figures(folder: Path | str) -> pd.DataFrame:
    """table.csv as text, less what a clock says."""
    read = pd.read_csv(Path(folder) / "table.csv", dtype=str)
    return read.drop(columns=["seconds", "seconds_std"])


def records(folder: Path | str) -> list[tuple[Any, ...]]:
    """All that the store holds, less what a clock says."""
    with sqlite3.connect(Path(folder) / "study.sqlite") as database:
        cursor = database.execute("SELECT * FROM results ORDER BY dataset, method, repeat, fold")
        names = [column[0] for column in cursor.description]
        return [tuple(v for name, v in zip(names, row, strict=True) if name != "seconds") for row in cursor]


# ---------------------------------------------------------------------- bad input

Change = Callable[[pd.DataFrame], pd.DataFrame]


def as_it_is(table: pd.DataFrame) -> pd.DataFrame:
    return table


BAD_INPUT: dict[str, tuple[Change, str, str]] = {
    "no such target": (as_it_is, "--csv t.csv --target Class", "no column named 'Class' to be target.*'a', 'b'"),
    "privileged is the target": (as_it_is, "--csv t.csv --target y --privileged y", "'y' cannot be privileged"),
    "privileged copies the target": (lambda t: t.assign(z=9 - t.y), TABLE, "'z' is the target itself"),
    "constant column": (lambda t: t.assign(a=1), TABLE, r"'a' has the same value \(1.0\) in every row; drop it"),
    "missing column": (lambda t: t.assign(a=np.nan), TABLE, "'a' is missing in every row; drop it"),
    "infinite value": (lambda t: t.replace({"z": {t.z[0]: np.inf}}), TABLE, "'z' has 1 infinite values.*replace them"),
    "one class": (lambda t: t.assign(y=1), TABLE, "at least two classes; found only '1'"),
    "missing target": (lambda t: t.assign(y=t.y.where(t.index > 2)), TABLE, "missing in 3 of 60. Remove these rows"),
    "few rows": (lambda t: t[:9], f"{TABLE} --folds 5", "5 folds need at least 10 rows; found 9. Use fewer"),
    "rare class": (
        lambda t: t.assign(y=(t.index < 4) * 1),
        f"{TABLE} --folds 5",
        "5 folds need at least 5 rows of every class; class '1' has 4. Use fewer folds.*merge or drop",
    ),
    "few rows for inner folds": (
        lambda t: t[:12],
        f"{TABLE} --folds 2 --inner-folds 5",
        "5 inner folds need at least 10 training rows; 2 folds leave 6. Use fewer inner folds",
    ),
    "unknown data set": (as_it_is, "--dataset icrr", "no data set is named 'icrr'; there are .*Did you mean 'icr'"),
    "unknown method": (as_it_is, f"{TABLE} --methods MTT", "no method is called 'MTT'; there are lower"),
    "column twice": (lambda t: t.set_axis(["a", "a", "z", "y"], axis=1), TABLE, "t.csv must differ; found twice: a"),
    "text": (
        lambda t: t.assign(a=t.a.astype(str).where(t.index != 2, "n/k")),
        TABLE,
        "'a' must be numeric; found 'n/k' in row 3. If such cells are missing: --na-values n/k.*--categorical a",
    ),
    "nothing to choose": (lambda t: t[["a", "y"]], "--csv t.csv --target y", "Name the privileged columns"),
    "TPD of a number": (lambda t: t.assign(y=t.a - t.z), f"{TABLE} --methods lower TPD", "TPD need.* classes"),
    "unknown option": (as_it_is, f"{TABLE} --epoch 3", "unrecognized arguments: --epoch 3"),
    "out of range": (as_it_is, f"{TABLE} --imitation 2", r"imitation must lie in \[0, 1\]; found 2.0"),
    "out is a file": (as_it_is, f"{TABLE} --out t.csv", "--out: t.csv must be a folder; found a file"),
    "out is a file, force": (as_it_is, f"{TABLE} --out t.csv --force", "--out: t.csv must be a folder; found a file"),
    "out in a file": (as_it_is, f"{TABLE} --out t.csv/results", "t.csv/results cannot be written: Not a directory"),
    "no files of a data set": (as_it_is, "--dataset diabetes", "download_datasets.py diabetes"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_INPUT)
def test_bad_input__one_line_status_2_and_nothing_written(bad: str, table: pd.DataFrame, study: Command) -> None:
    change, line, message = BAD_INPUT[bad]
    change(table).to_csv("t.csv", index=False)
    before = files()
    done = study(f"--preset paper --epochs 2 --repeats 1 --device cpu {line}")
    assert done.status == 2
    assert done.err.startswith("MT_main.py: error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert re.search(message, done.err), done.err
    assert files() == before


def test_defect__is_no_bad_input(study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(lupi.study.run, "run", broken)
    with pytest.raises(RuntimeError, match="a defect of this program"):
        study(STUDY)


# ---------------------------------------------------------------------- what is written


def test_study__writes_its_files_and_prints_its_table(study: Command) -> None:
    done = study(f"{STUDY} --out out --seed 5")
    assert done.status == 0
    assert set(files("out")) == FILES
    assert list(figures("out")["method"].unique()) == ["lower", "upper", "KT", "MT-TPD"]
    markdown = (Path("out") / "table.md").read_text(encoding="utf-8")
    fingerprint = json.loads((Path("out") / "config.json").read_text(encoding="utf-8"))["data"]["t"]["sha256"]
    for part in ("Protocol strict", "seed 5", f"sha256 {fingerprint[:16]}", "--out out --seed 5", "Privileged: z."):
        assert part in done.out
        assert part in markdown
    for name, version in store.versions().items():
        assert f"{name} {version}" in done.out


def test_config_json__holds_what_decides_the_results(study: Command) -> None:
    study(f"{STUDY} --out out --seed 5 --lr 0.01")
    config = json.loads((Path("out") / "config.json").read_text(encoding="utf-8"))
    assert config["options"]["seed"] == 5
    assert config["options"]["lr"] == 0.01
    assert config["options"]["batch_size"] == 128
    assert config["device"] == "cpu"
    assert config["versions"] == store.versions()
    assert config["data"]["t"]["rows"] == 60
    assert "--lr 0.01" in config["command"]


def test_table__is_made_of_the_stores_records_at_full_precision(study: Command) -> None:
    study(f"{STUDY} --out out")
    with sqlite3.connect("out/study.sqlite") as database:
        found = pd.read_sql_query("SELECT * FROM results", database)
    table = pd.read_csv("out/table.csv").set_index(["method", "control"])
    assert len(found) == (4 + 3 + 5) * 2  # four methods, the twins of KT and of MT-TPD
    for metric in ("error", "auc", "balanced_log_loss", "z_mae"):
        means = found.groupby(["method", "control"])[metric].mean()[table.index]
        np.testing.assert_allclose(table[metric], means, rtol=1e-12)
    for prediction, n in zip(found["prediction"], found["n_test"], strict=True):
        np.testing.assert_allclose(np.frombuffer(prediction, "<f4").reshape(n, 2).sum(1), 1.0, rtol=1e-6)


def test_seed__same_gives_the_same_table_and_another_does_not(study: Command) -> None:
    for folder, seed in (("one", 1), ("again", 1), ("other", 2)):
        assert study(f"{STUDY} --seed {seed} --out {folder}").status == 0
    assert records("one") == records("again")
    pd.testing.assert_frame_equal(figures("one"), figures("again"))
    assert not figures("one")["balanced_log_loss"].isin(figures("other")["balanced_log_loss"]).any()


@pytest.mark.parametrize("methods", ["AFM", "MT --no-twins", "upper"])
def test_study__without_lower__ends_with_its_report(study: Command, methods: str) -> None:
    """Nothing can be compared with what is not there."""
    done = study(f"{TABLE} {QUICK} --methods {methods} --out out")
    assert done.status == 0, done.err
    assert (Path("out") / "DONE").exists()


def test_missing_privileged_cells__are_no_obstacle(table: pd.DataFrame, study: Command) -> None:
    table.assign(z=table.z.where(table.index % 3 > 0)).to_csv("t.csv", index=False)
    assert study(f"{TABLE} {QUICK} --methods all --out out").status == 0
    assert figures("out")["error"].astype(float).between(0, 1).all()


def test_numeric_target__has_its_own_metrics(table: pd.DataFrame, study: Command) -> None:
    table.assign(y=table.z + 0.1 * table.a).to_csv("t.csv", index=False)
    assert study(f"{TABLE} {QUICK} --methods lower upper PFD MT --out out").status == 0
    found = figures("out")
    assert found[["error", "mae", "r2"]].notna().all(axis=None)
    assert found[["auc", "balanced_log_loss"]].isna().all(axis=None)


def test_numeric_target__default_methods__are_those_that_need_no_classes(
    table: pd.DataFrame, study: Command, caplog: pytest.LogCaptureFixture
) -> None:
    table.assign(y=table.z + 0.1 * table.a).to_csv("t.csv", index=False)
    assert study(f"{TABLE} {QUICK} --out out").status == 0
    assert {"lower", "PFD", "MT", "AUX"} <= set(figures("out")["method"])
    assert not any("TPD" in method for method in figures("out")["method"])
    assert any("TPD, KT-TPD, MT-TPD need classes" in message for message in caplog.messages)


def test_multiclass_target__and_categories__are_no_obstacle(table: pd.DataFrame, study: Command) -> None:
    levels = np.resize(["low", "middle", "high"], 60)
    table.assign(y=levels, b=levels[::-1], z=table.z > 0).to_csv("t.csv", index=False)
    assert study(f"{TABLE} {QUICK} --methods all --categorical b z --out out").status == 0
    assert figures("out")[["error", "auc"]].notna().all(axis=None)


def test_privileged_file__gives_the_table_of_one_file(table: pd.DataFrame, study: Command) -> None:
    ids = [f"{i:03}" for i in range(len(table))]
    table.assign(id=ids).drop(columns="z").to_csv("first.csv", index=False)
    table.assign(id=ids)[["id", "z"]][::-1].to_csv("second.csv", index=False)
    two = "--csv first.csv --target y --privileged-file second.csv --on id"
    assert study(f"{two} --methods lower MT {QUICK} --out two").status == 0
    assert study(f"{TABLE} --methods lower MT {QUICK} --out one").status == 0
    pd.testing.assert_frame_equal(figures("two").drop(columns="dataset"), figures("one").drop(columns="dataset"))


def test_config_file__gives_the_study_of_the_command_line(study: Command) -> None:
    Path("c.toml").write_text(
        'csv = "t.csv"\ntarget = "y"\nprivileged = ["z"]\nmethods = ["lower", "MT"]\nfolds = 2\ninner-folds = 2\n'
        'preset = "paper"\nrepeats = 1\nepochs = 2\ndevice = "cpu"\nregressor_layers = 4\nclassifier_layers = 4\n'
    )
    assert study("--config c.toml --out a").status == 0
    assert study(f"{TABLE} --methods lower MT {QUICK} --out b").status == 0
    assert records("a") == records("b")


def test_simulated_icr__says_so_everywhere(command: Command, caplog: pytest.LogCaptureFixture) -> None:
    done = command(f"--dataset icr --methods lower MT {QUICK}")
    assert done.status == 0
    (folder,) = Path("results").iterdir()
    assert folder.name.startswith("icr-simulated")
    says = "these rows are not the Kaggle ICR data"
    words, table, *_ = done.out.split("\n\n")
    assert words == summary.WORDS
    assert table.startswith("icr-simulated\n")
    assert says in done.out
    for form in ("table.md", "table.tex"):
        assert says in (folder / form).read_text(encoding="utf-8")
    assert set(pd.read_csv(folder / "table.csv")["dataset"]) == {"icr-simulated"}
    assert any("icr-simulated instead" in message for message in caplog.messages)


def test_leak__privileged_column_that_determines_the_target__is_named(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("--dataset icr-simulated --preset paper --methods lower --epochs 2 --dry-run").status == 0
    assert any("Gamma determines the target" in message for message in caplog.messages)


def test_leak__of_a_column__is_data_in_the_config_and_stands_before_the_verdicts(
    study: Command, table: pd.DataFrame
) -> None:
    table.assign(code=10 * table.y.eq(table.y[0]) + np.arange(len(table)) % 3).to_csv("t.csv", index=False)
    done = study("--csv t.csv --target y --privileged code z --methods lower MT --folds 2 --inner-folds 2 --repeats 1 "
                 "--preset paper --epochs 2 --device cpu --out out")  # fmt: skip
    assert done.status == 0
    config = json.loads((Path("out") / "config.json").read_text(encoding="utf-8"))
    (leak,) = config["data"]["t"]["leaks"]
    assert leak["columns"] == ["code"]
    assert config["data"]["t"]["notes"] == []
    assert done.out.count(leak["why"]) == 2  # under the table and above the verdicts
    assert leak["why"] in (Path("out") / "report.html").read_text(encoding="utf-8")


def test_metric__other_than_the_error__is_used_throughout_and_in_how_to_repeat_it(study: Command) -> None:
    line = f"{TABLE} --methods lower upper MT {QUICK} --out out"
    first = study(line)
    again = study(f"{line} --metric log_loss")  # nothing is trained again, and all tables are by another metric
    assert again.status == 0
    heading = next(line for line in again.out.splitlines() if line.startswith("method"))
    assert heading.split()[:3] == ["method", "log", "loss"]
    assert "log loss  true Z  shuffled" in again.out
    assert "Difference = log loss of lower − log loss of the method" in again.out
    assert "errs" not in again.out.split("Difference =")[0].split("\n\nt\n")[1]
    report = (Path("out") / "report.html").read_text(encoding="utf-8")
    for text in (again.out, report, (Path("out") / "table.md").read_text(encoding="utf-8")):
        assert "--out out --metric log_loss" in text
    assert set(pd.read_csv("out/table.csv")["metric"]) == {"log_loss"}
    assert study(line).out == first.out


@pytest.mark.parametrize("name", ["mae", "r2"])
def test_metric__that_the_target_does_not_have__is_told_before_anything_is_written(study: Command, name: str) -> None:
    done = study(f"{TABLE} --methods lower MT {QUICK} --out out --metric {name}")
    assert done.status == 2
    assert f"--metric {name}: the target of t is a class; choose one of error, auc, log_loss" in done.err
    assert not Path("out").exists()


def test_dry_run__tells_the_size_and_writes_nothing(study: Command) -> None:
    before = files()
    done = study(f"{STUDY} --repeats 3 --dry-run")
    assert done.status == 0
    assert files() == before
    heading, _, row, total, place = done.out.splitlines()
    assert place.startswith("Results would lie in ")
    # Of each of 2 folds: 4 arms and 7 twins (KT has shuffled and noise of its own, as its third is lower; MT-TPD five),
    # 2 teachers each on the true, shuffled and noisy Z and on X alone, 3 regressors each on the three versions of Z.
    assert row.split()[:3] == ["t", "60", str(3 * 2 * (4 + 7 + 4 * 2 + 3 * 3))]
    assert "models" in heading
    assert re.search(r"In all about [\d.]+ (seconds|minutes|hours) of training", total), total


# ---------------------------------------------------------------------- once more


def never(*_: Any) -> None:
    raise AssertionError("a finished study was trained again")


def test_finished_study__again__trains_nothing_and_gives_the_same_table(
    study: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study(f"{STUDY} --out out")
    before = files("out")
    monkeypatch.setattr(lupi.study.run, "run", never)
    again = study(f"{STUDY} --out out")
    assert (again.status, again.out) == (0, first.out)
    assert files("out") == before


def test_finished_study__tables_deleted__are_made_again(study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    study(f"{STUDY} --out out")
    before = files("out")
    for name in ("table.csv", "table.md", "table.tex"):
        (Path("out") / name).unlink()
    monkeypatch.setattr(lupi.study.run, "run", never)
    study(f"{STUDY} --out out")
    assert files("out") == before


def test_another_option_in_the_same_folder__is_refused_until_forced(study: Command) -> None:
    study(f"{STUDY} --out out")
    before = files("out")
    done = study(f"{STUDY} --epochs 3 --out out")
    assert done.status == 2
    assert (
        "out holds another study: epochs 2 there, 3 now. Choose another --out, or start over with --force" in done.err
    )
    assert files("out") == before
    assert study(f"{STUDY} --epochs 3 --out out --force").status == 0
    assert set(figures("out")["epochs"]) == {"3.0"}


def test_other_rows_in_the_same_folder__are_refused(study: Command, table: pd.DataFrame) -> None:
    study(f"{STUDY} --out out")
    table.assign(a=table.a + 1).to_csv("t.csv", index=False)
    done = study(f"{STUDY} --out out")
    assert done.status == 2
    assert "sha256 of t" in done.err


def test_force__starts_over(study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    study(f"{STUDY} --out out")
    before = records("out")
    calls, real = [], lupi.study.run.run
    monkeypatch.setattr(lupi.study.run, "run", lambda *arguments: calls.append(1) or real(*arguments))
    assert study(f"{STUDY} --out out --force").status == 0
    assert calls == [1]
    assert records("out") == before


# ---------------------------------------------------------------------- interruptions

MANY = (
    "--preset paper --methods lower upper PFD KT MT-TPD AUX --no-twins --folds 2 --inner-folds 2 --members 80 "
    "--epochs 4 --device cpu -l_reg 4 -l_clas 4"
)
MANY_OPTIONS = StudyOptions(
    methods=("lower", "upper", "PFD", "KT", "MT-TPD", "AUX"), twins=(), folds=2, inner_folds=2, members=80
)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeat of `MANY` is a chunk."""
    monkeypatch.setattr(lupi.methods.design, "_MODELS_A_CHUNK", 1000)


SMALL_CHUNKS = (
    "import sys, lupi.methods.design, MT_main; lupi.methods.design._MODELS_A_CHUNK = 1000; sys.exit(MT_main.main())"
)


def chunks_at(repeats: int) -> int:
    return len(chunks_of(StudyOptions(**{**vars(MANY_OPTIONS), "repeats": repeats}), rows=60))


@pytest.mark.slow
def test_interrupt__keeps_finished_chunks_and_the_same_command_goes_on(
    study: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, small_chunks: None
) -> None:
    caplog.set_level(logging.INFO)
    line = f"{TABLE} {MANY} --repeats 3"
    assert chunks_at(3) == 3
    assert study(f"{line} --out whole").status == 0
    calls, real = [], lupi.study.run.run

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(lupi.study.run, "run", interrupted)
    done = study(f"{line} --out out")
    assert done.status == 130
    assert "interrupted. What was finished is kept; the same command goes on from there" in done.err
    assert set(files("out")) == {"study.sqlite", "config.json"}
    with sqlite3.connect("out/study.sqlite") as database:
        assert database.execute("SELECT first_repeat FROM chunks").fetchall() == [(0,), (1,)]

    assert study(f"{line} --out out").status == 0
    assert len(calls) == 4, "a finished chunk was trained again"
    models = 2 * 80 * (6 + 2 + 3)  # a repeat: 2 folds of 80 members of 6 arms, 2 teachers and 3 regressors
    assert f"going on: {2 * models} of {3 * models} models are there" in caplog.messages
    assert records("out") == records("whole")
    pd.testing.assert_frame_equal(figures("out"), figures("whole"))


#: Runs the study with small chunks until so many of the toolkit's functions were called, then kills itself.
KILLED = f"""
import os, signal, sys
left = int(sys.argv.pop(1))
def die(frame, event, argument):
    global left
    left -= event == "call" and frame.f_code.co_filename.startswith({OWN!r})
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(die)
{SMALL_CHUNKS}
"""


def calls_at_chunks(study: Command, line: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many of the toolkit's functions an undisturbed study had called when it wrote each of its chunks."""
    calls, at = 0, []

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(OWN)

    add = store.Store.add
    monkeypatch.setattr(store.Store, "add", lambda *arguments: (at.append(calls), add(*arguments))[1])
    sys.setprofile(count)
    try:
        assert study(line).status == 0
    finally:
        sys.setprofile(None)
    return at


@pytest.mark.slow
def test_main__killed_five_times__ends_with_the_table_of_an_undisturbed_study(
    study: Command, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at calls of functions that a seeded generator chooses, so that a failure can be repeated."""
    repeats = 14
    assert chunks_at(repeats) >= 12, "too few chunks to be killed between"
    line = f"{TABLE} {MANY} --repeats {repeats}"
    at = calls_at_chunks(study, f"{line} --out whole", monkeypatch)
    chunk = (at[-1] - at[0]) / (len(at) - 1)
    start, draw = at[0] - chunk, np.random.default_rng(17)
    # First while it starts; then at any moment of some chunk after the one in which it was killed before.
    kills = [draw.uniform(0, start), *(start + chunk * draw.uniform(1.0, 2.5, size=4))]
    for calls in kills:
        command = [sys.executable, "-c", KILLED, str(int(calls)), *line.split(), "--out", "killed"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not Path("killed/DONE").exists()
    with sqlite3.connect("killed/study.sqlite") as database:
        (kept,) = database.execute("SELECT COUNT(*) FROM chunks").fetchone()
    assert 4 <= kept < chunks_at(repeats)
    assert study(f"{line} --out killed").status == 0
    assert set(files("killed")) == set(files("whole")) == FILES
    pd.testing.assert_frame_equal(figures("killed"), figures("whole"))
    assert records("killed") == records("whole")
