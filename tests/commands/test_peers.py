"""--peers: their rows in tables, store and report, going on where they were, and packages that fail."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lupi.study.run
from lupi.study import peers
from tests.conftest import Command

QUICK = "--preset paper --folds 2 --inner-folds 2 --repeats 1 --epochs 2 --device cpu -l_reg 4 -l_clas 4"
STUDY = f"--csv t.csv --target y --privileged z --methods lower upper MT {QUICK} --out out"


@pytest.fixture
def study(command: Command, table: pd.DataFrame) -> Command:
    """The command in a folder with t.csv."""
    table.to_csv("t.csv", index=False)
    return command


def stored() -> pd.DataFrame:
    with sqlite3.connect("out/study.sqlite") as database:
        return pd.read_sql_query("SELECT * FROM peers ORDER BY peer, fold", database)


def counting(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[[str, int], bool] = lambda peer, fold: False
) -> list[str]:
    """The names of the peers that are fitted, one an entry; some of which fail."""
    fitted: list[str] = []
    record = peers.record

    def watched(data: Any, options: Any, split: Any, peer: peers.Peer) -> dict[str, Any]:
        fitted.append(peer.name)
        if fails(peer.name, split.fold):
            raise OSError("its library is broken")
        return record(data, options, split, peer)

    monkeypatch.setattr(peers, "record", watched)
    return fitted


def test_peers__are_in_table_store_figure_and_report(study: Command) -> None:
    done = study(f"{STUDY} --peers linear HistGradientBoosting --metric log_loss")
    assert done.status == 0
    table = pd.read_csv("out/table.csv")
    assert list(table[table["group"] == "peers"]["method"]) == ["linear", "HistGradientBoosting"]
    kept = stored()
    assert len(kept) == 4
    means = kept.groupby("peer")["log_loss"].mean()
    assert table.set_index("method")["log_loss"]["linear"] == pytest.approx(means["linear"], rel=1e-12)
    (sentence,) = re.findall(r"^  (.* (?:every peer|every student), the best of which .*)$", done.out, re.MULTILINE)
    report, markdown = (Path("out") / name for name in ("report.html", "table.md"))
    for text in (report.read_text(encoding="utf-8"), markdown.read_text(encoding="utf-8")):
        assert sentence.split(":")[0] in text
        assert "Peers, references that see X alone: linear is logistic regression" in text
    assert "peer: HistGradientBoosting" in done.out
    assert "Peers: models of other makers on X alone" in markdown.read_text(encoding="utf-8")
    verdicts = pd.read_csv("out/verdicts.csv")
    assert list(verdicts["method"]) == ["MT"]  # a peer gets no verdict


def test_peers__numeric_target__are_compared_by_its_error(study: Command, table: pd.DataFrame) -> None:
    table.assign(y=table.z + 0.1 * table.a).to_csv("t.csv", index=False)
    done = study(f"{STUDY} --peers linear random-forest")
    assert done.status == 0
    rows = pd.read_csv("out/table.csv").query("group == 'peers'")
    assert rows[["error", "mae", "r2"]].notna().all(axis=None)


def test_peers__study_without_them__keeps_its_other_results(study: Command) -> None:
    study(f"{STUDY} --peers linear")
    with_peers = pd.read_csv("out/table.csv")
    study(f"{STUDY} --force")
    without = pd.read_csv("out/table.csv")
    assert set(without["group"]) == {"methods"}
    columns = [name for name in without.columns if not name.startswith("seconds")]
    pd.testing.assert_frame_equal(with_peers[with_peers["group"] == "methods"][columns], without[columns])


def test_peers__asked_for_later__are_added_and_nothing_is_trained_again(
    study: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    study(STUDY)
    fitted = counting(monkeypatch)
    monkeypatch.setattr(lupi.study.run, "run", None)
    assert study(f"{STUDY} --peers linear").status == 0
    first = stored()
    assert study(f"{STUDY} --peers linear random-forest").status == 0
    assert fitted == ["linear"] * 2 + ["random-forest"] * 2
    pd.testing.assert_frame_equal(stored().query("peer == 'linear'"), first)
    assert "peer: linear" in study(STUDY).out  # what the folder holds is shown, asked for or not
    assert len(fitted) == 4


def test_peers__one_that_fails__is_named_and_tried_again(
    study: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fitted = counting(monkeypatch, lambda peer, fold: peer == "linear" and fold == 1)
    done = study(f"{STUDY} --peers linear random-forest")
    assert done.status == 0
    assert "t: linear failed in repeat 0, fold 1: its library is broken" in caplog.messages
    assert list(stored()["peer"]) == ["linear", "random-forest", "random-forest"]
    assert pd.read_csv("out/table.csv").set_index("method")["splits"]["linear"] == 1
    fitted.clear()
    study(f"{STUDY} --peers linear random-forest")
    assert fitted == ["linear"]


def test_peers__not_installed__are_named_in_one_line(
    study: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peers.Peer, "version", property(lambda peer: "1" if peer.package == "scikit-learn" else None))
    assert study(f"{STUDY} --peers --dry-run").status == 0
    (line,) = [message for message in caplog.messages if "not installed" in message]
    assert line.startswith("peers that are not installed are left out: LightGBM, CatBoost, RealMLP, TabM. ")
    assert "pip install 'lupi[peers]'" in line


@pytest.mark.parametrize(
    ("asked", "said"),
    [("xgboost", "no peer is called 'xgboost'; there are linear, random-forest"),
     ("CatBoost TabM", "--peers: none of CatBoost, TabM is installed. Install lupi\\[peers\\], or choose")],
)  # fmt: skip
def test_peers__none_that_can_be_had__is_said_before_anything_is_written(
    asked: str, said: str, study: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers.Peer, "version", property(lambda peer: None))
    done = study(f"{STUDY} --peers {asked}")
    assert done.status == 2
    assert re.search(said, done.err)
    assert not Path("out").exists()


def test_dry_run__peers__are_counted(study: Command) -> None:
    done = study(f"{STUDY} --repeats 3 --peers linear random-forest --dry-run")
    assert f"--peers fits {2 * 2 * 3} models more." in done.out
