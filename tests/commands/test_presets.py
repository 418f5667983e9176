"""The commands under the default preset, on studies small enough for a test."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import DC_DR
import MT_main
import MT_weightP
from tests.conftest import Command, runner

TABLE = "--csv t.csv --target y --privileged z --out out --device cpu"
SMALL = "--folds 2 --repeats 1 --members 3 --epochs 4 -l_reg 4 -l_clas 4"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pd.DataFrame) -> Iterator[None]:
    """A folder with t.csv, in which some cells are missing."""
    monkeypatch.chdir(tmp_path)
    table.assign(b=table["b"].where(table.index % 7 > 0)).to_csv("t.csv", index=False)
    yield
    logging.captureWarnings(False)


@pytest.fixture
def study(workplace: None, capsys: pytest.CaptureFixture[str]) -> Command:
    return runner(MT_main.main, capsys)


def read() -> pd.DataFrame:
    return pd.read_csv("out/table.csv")


def test_main__default_preset__is_recorded_and_gives_numbers(study: Command) -> None:
    done = study(f"{TABLE} {SMALL} --methods lower upper PFD KT MT-TPD AUX")
    assert done.status == 0, done.err
    found = read()
    assert {"lower", "upper", "PFD", "KT", "MT-TPD", "AUX"} == set(found["method"])
    assert {"none", "shuffled"} <= set(found["control"])
    assert found[["error", "auc", "balanced_log_loss"]].notna().all(axis=None)
    options = json.loads(Path("out/config.json").read_text(encoding="utf-8"))["options"]
    assert (options["bagging"], options["members"], options["scaling"]) == (True, 3, "robust")


def test_main__fast_preset_of_a_number__gives_numbers(study: Command) -> None:
    table = pd.read_csv("t.csv")
    table.assign(y=table["z"] + 0.1 * table["a"]).to_csv("t.csv", index=False)
    done = study(f"{TABLE} {SMALL} --preset fast --methods lower PFD KT MT --no-twins")
    assert done.status == 0, done.err
    assert read()[["error", "mae", "r2"]].notna().all(axis=None)


def test_main__two_members__are_enough(study: Command) -> None:
    done = study(f"{TABLE} {SMALL} --members 2 --methods lower PFD --no-twins")
    assert done.status == 0, done.err
    assert read()["error"].between(0, 1).all()


def test_main__again__is_finished_and_says_the_same(study: Command) -> None:
    line = f"{TABLE} {SMALL} --methods lower MT --no-twins"
    assert study(line).out == study(line).out
    assert study(f"{line} --preset paper").status == 2, "another recipe is another study"


@pytest.mark.slow
def test_main__discovery_under_the_default_preset__runs_to_its_table(study: Command) -> None:
    done = study(f"{TABLE} {SMALL} --methods lower MT --no-twins --discover 2")
    assert done.status == 0, done.err
    found = pd.read_csv("out/discovery.csv")
    assert np.isfinite(found["usefulness"]).all()
    assert "useful" in done.out
    dry = study(f"{TABLE} {SMALL} --methods lower MT --no-twins --discover 2 --dry-run")
    assert "--discover 2 trains" in dry.out


@pytest.mark.slow
def test_dc_dr__default_preset__explains_errors(workplace: None, capsys: pytest.CaptureFixture[str]) -> None:
    done = runner(DC_DR.main, capsys)(f"{TABLE} {SMALL} --methods MT KT")
    assert done.status == 0, done.err
    assert Path("out/figures/DC-DR-t-MT-z.png").exists()


@pytest.mark.slow
def test_weights__default_preset__sweeps(workplace: None, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--methods MT-TPD --epsilons 0.5 2 --fixed-epsilons --imitations 0 1 --repulsions --temperatures"
    done = runner(MT_weightP.main, capsys)(f"{TABLE} {SMALL} {line}")
    assert done.status == 0, done.err
    assert {"epsilon", "imitation"} <= set(read()["swept"].dropna())
