"""Tables of one's own: what kind each column is, dates, separators, marks of missing cells, and what is said first."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi.data.privileged_data import PrivilegedData
from studies.options import GROUPS
from studies.parsing import parse
from studies.sources import icr, simulated
from studies.sources.own_table import CHOSEN
from tests.conftest import Command
from utils import load_data

QUICK = "--preset paper --folds 2 --inner-folds 2 --repeats 1 --epochs 2 --device cpu -l_reg 2 -l_clas 2 --out out"
ICR = "--csv train.csv --target Class --privileged-file greeks.csv --on Id"
SAID_FIRST = CHOSEN.format(where="in every training fold")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(line: str) -> PrivilegedData:
    (data,) = load_data(parse("", line.split(), GROUPS))
    return data


def write(table: pd.DataFrame, **changes: Any) -> None:
    """t.csv: the small table with changed columns, two of whose cells are missing."""
    table.assign(**changes).to_csv("t.csv", index=False)


# ---------------------------------------------------------------------- the files of ICR as Kaggle publishes them


@pytest.fixture
def icr_files(workplace: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, greeks = simulated.simulate_icr()
    assert list(train.columns) == ["Id", *icr.schema()["features"], "Class"]
    assert list(greeks.columns) == ["Id", "Alpha", "Beta", "Gamma", "Delta", "Epsilon"]
    train.to_csv("train.csv", index=False)
    greeks.to_csv("greeks.csv", index=False)
    return train, greeks


@pytest.mark.parametrize("categorical", ["--categorical EJ Beta Gamma Delta", ""], ids=["as the README", "by type"])
def test_icr_in_two_files__study__runs_and_reads_every_column(
    categorical: str, icr_files: tuple[pd.DataFrame, pd.DataFrame], command: Command
) -> None:
    icr_files[0].to_csv("train.csv", index=False)  # `command` has gone to a folder of its own
    icr_files[1].to_csv("greeks.csv", index=False)
    done = command(f"{ICR} {categorical} --methods lower MT {QUICK}")
    assert done.status == 0
    assert "train" in done.out
    config = json.loads(Path("out/config.json").read_text(encoding="utf-8"))
    assert config["data"]["train"]["privileged"] == ["Alpha", "Beta", "Gamma", "Delta", "Epsilon"]
    note = "Epsilon holds dates (month/day/year), read as days since 2012-05-17; its 144 cells 'Unknown' are missing."
    assert note in done.out
    assert note.replace("'", "&#x27;") in Path("out/report.html").read_text(encoding="utf-8").replace("&#39;", "&#x27;")


def test_icr_in_two_files__columns__are_those_of_the_data_set(
    icr_files: tuple[pd.DataFrame, pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lupi"):
        data = load(ICR)
    expected = icr.to_privileged(*icr_files, name="icr")
    pd.testing.assert_frame_equal(data.X, expected.X)
    pd.testing.assert_frame_equal(data.Z, expected.Z)
    assert "train: text columns, read as categories: EJ, Alpha, Beta, Gamma, Delta" in caplog.messages


def test_icr_in_two_files__privileged_columns_named__others_need_not_be_readable(
    icr_files: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    icr_files[1].assign(Epsilon="some time").to_csv("greeks.csv", index=False)
    assert list(load(f"{ICR} --privileged Beta Delta --categorical Gamma").Z.columns) == ["Beta", "Delta"]
    assert list(load(f"{ICR} --drop Epsilon").Z.columns) == ["Alpha", "Beta", "Gamma", "Delta"]


# ---------------------------------------------------------------------- what nobody should guess


def test_own_table__stray_texts__are_named_with_row_column_and_flag(table: pd.DataFrame) -> None:
    texts = table.a.astype(str)
    texts[[3, 7]] = "?"
    texts[20] = "n.d."
    write(table, a=texts, b=table.b.astype(str).where(table.index != 11, "?"))
    with pytest.raises(ValueError, match=r"^t.csv: column 'a' must be numeric; found '\?' in row 4") as error:
        load("--csv t.csv --target y --privileged z")
    message = str(error.value)
    assert "'?' in row 4 and no number in 2 more, as 'n.d.', and so in 'b' ('?' in row 12)." in message
    assert "--na-values '?' n.d." in message
    assert "--categorical a b" in message
    data = load("--csv t.csv --target y --privileged z --na-values ? n.d.")
    assert np.flatnonzero(data.X["a"].isna()).tolist() == [3, 7, 20]
    assert np.flatnonzero(data.X["b"].isna()).tolist() == [11]
    assert load("--csv t.csv --target y --privileged z --categorical b --drop a").X["b"].nunique() == 60


def test_own_table__all_problems_of_both_files__are_told_at_once(table: pd.DataFrame) -> None:
    ids = [f"i{i}" for i in range(60)]
    strays = table.a.astype(str).where(table.index != 5, "?")
    table.assign(id=ids, who=ids, where=ids, a=strays).drop(columns="z").to_csv("t.csv", index=False)
    pd.DataFrame({"id": ids, "z": table.z, "remark": ids}).to_csv("second.csv", index=False)
    with pytest.raises(ValueError, match="--drop remark") as error:
        load("--csv t.csv --target y --privileged-file second.csv --on id")
    message = str(error.value)
    for part in ("t.csv: ", "'?' in row 6", "--categorical who where", "--drop who where", " second.csv: "):
        assert part in message
    assert "\n" not in message


def test_own_table__stray_text_in_the_target__is_no_class(table: pd.DataFrame) -> None:
    write(table, y=table.y.astype(str).where(table.index != 9, "?"))
    with pytest.raises(ValueError, match=r"column 'y' must be numeric; found '\?' in row 10.*--categorical y"):
        load("--csv t.csv --target y --privileged z")
    assert load("--csv t.csv --target y --privileged z --categorical y").classes == ("0", "1", "?")


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (np.resize(["red", "green"], 60), "category"),
        (np.resize([f"level {i}" for i in range(20)], 60), "category"),
        (np.resize([f"level {i}" for i in range(21)], 60), "many"),
        (np.array([f"name {i}" for i in range(60)]), "many"),
        (np.resize(["none", "few", "10 or more", "7"], 60), "category"),
    ],
    ids=["two levels", "twenty", "twenty-one", "names", "one number among texts"],
)
def test_own_table__text__is_a_category_where_its_levels_are_few(
    texts: np.ndarray, kind: str, table: pd.DataFrame
) -> None:
    write(table, text=texts)
    if kind == "category":
        levels = load("--csv t.csv --target y --privileged z").X["text"].cat.categories
        assert set(levels) == set(texts)
    else:
        with pytest.raises(ValueError, match=r"'text' \(\d\d different.*--categorical text\. .*--drop text"):
            load("--csv t.csv --target y --privileged z")


# ---------------------------------------------------------------------- dates


@pytest.mark.parametrize("way", ["%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y"])
def test_own_table__dates__are_days_since_the_first(way: str, table: pd.DataFrame) -> None:
    dates = pd.date_range("2020-02-01", periods=60)
    written = pd.Series(dates.strftime(way), dtype=object).where(table.index != 4, "Unknown")
    write(table, seen=written)
    data = load("--csv t.csv --target y --privileged z")
    expected = np.arange(60.0)
    expected[4] = np.nan
    np.testing.assert_array_equal(data.X["seen"], expected)
    assert "read as days since 2020-02-01; its 1 cells 'Unknown' are missing." in data.notes[0]


@pytest.mark.parametrize(
    "texts",
    [
        [f"{1 + i % 12}/{1 + i % 11}/2020" for i in range(60)],
        [f"2020-01-{1 + i % 28:02} 12:30" for i in range(60)],
        [f"2020-02-{1 + i:02}" for i in range(60)],
    ],
    ids=["day or month", "with a time", "no such day"],
)
def test_own_table__dates_that_can_be_read_in_two_ways_or_none__are_left_to_the_user(
    texts: list[str], table: pd.DataFrame
) -> None:
    write(table, seen=texts)
    with pytest.raises(ValueError, match="--drop seen"):
        load("--csv t.csv --target y --privileged z")


# ---------------------------------------------------------------------- separators, decimal marks, names


@pytest.mark.parametrize(("mark", "flag"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_own_table__other_separator__is_named_with_its_flag(mark: str, flag: str, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False, sep=mark)
    with pytest.raises(ValueError, match=r"separated by commas; found only 'a.*") as error:
        load("--csv t.csv --target y --privileged z")
    assert str(error.value).endswith(f"--sep {flag}")
    for asked in {mark: [mark], "\t": ["tab", "\\t"]}[mark]:
        arguments = ["--csv", "t.csv", "--target", "y", "--privileged", "z", "--sep", asked]
        (data,) = load_data(parse("", arguments, GROUPS))
        pd.testing.assert_series_equal(data.X["a"], table["a"])


def test_own_table__decimal_commas__are_named_and_read(table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False, sep=";", decimal=",")
    with pytest.raises(ValueError, match=r"column 'a' must be numeric.*and so in 'b'.*commas: --decimal ,"):
        load("--csv t.csv --target y --privileged z --sep ;")
    data = load("--csv t.csv --target y --privileged z --sep ; --decimal ,")
    pd.testing.assert_series_equal(data.X["b"], table["b"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--sep ::", "--sep must be one character, or tab; found '::'"),
        ("--decimal x", "--decimal must be a point or a comma; found 'x'"),
        ("--sep , --decimal ,", "--sep and --decimal must differ; found ',' for both"),
        ("--sep ;", "separated by semicolons; found only 'a,b,z,y'. Are they separated by commas. --sep ','"),
    ],
)
def test_own_table__marks_that_cannot_be__are_refused(flags: str, message: str, table: pd.DataFrame) -> None:
    write(table)
    with pytest.raises(ValueError, match=message):
        load(f"--csv t.csv --target y --privileged z {flags}")


def test_own_table__bytes_that_are_no_text__say_how_to_save_it() -> None:
    Path("t.csv").write_bytes(b"a,y\n\xe9,1\n")
    with pytest.raises(ValueError, match="Save it as CSV in UTF-8"):
        load("--csv t.csv --target y")


def test_own_table__name__is_that_of_the_file_unless_told_otherwise(table: pd.DataFrame) -> None:
    write(table)
    assert load("--csv t.csv --target y --privileged z").name == "t"
    assert load("--csv t.csv --target y --privileged z --name patients").name == "patients"
    with pytest.raises(ValueError, match="--name would describe a table of your own, but there is no --csv"):
        load("--name patients")


# ---------------------------------------------------------------------- no privileged column


def test_own_table__no_privileged_column__is_said_first_and_in_the_notes(
    table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    write(table, level=np.resize(["x", "y"], 60), seen=pd.date_range("2020", periods=60).strftime("%Y-%m-%d"))
    with caplog.at_level(logging.INFO, logger="lupi"):
        data = load("--csv t.csv --target y")
    assert caplog.messages[0] == data.notes[0] == SAID_FIRST
    assert "over all rows" in load("--csv t.csv --target y --protocol paper").notes[0]
    assert not load("--csv t.csv --target y --privileged z --drop seen").notes


def test_own_table__no_privileged_column__stands_under_the_table_and_in_the_report(
    table: pd.DataFrame, command: Command
) -> None:
    write(table)
    done = command(f"--csv t.csv --target y --methods lower MT {QUICK}")
    assert done.status == 0
    assert SAID_FIRST in done.out
    assert SAID_FIRST in Path("out/report.html").read_text(encoding="utf-8")
