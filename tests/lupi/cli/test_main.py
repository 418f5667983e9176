"""From a table to a model without code: `python -m lupi fit`, `predict`, `show`."""

from __future__ import annotations

import inspect
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.cli import parsing, scores
from lupi.cli.main import _EPILOG, COMMANDS, FIT_OPTIONS, OF_STUDIES, main
from lupi.data.privileged_data import PrivilegedData
from lupi.evidence import metrics
from lupi.settings import HYPER_PARAMETERS
from tests.conftest import Command, runner

ROOT = Path(__file__).parents[3]
QUICK = "--preset fast --members 3 --epochs 3"
FIT = f"fit train.csv --drop Id --privileged lab grade {QUICK} --out s.lupi"
ROWS = 90


def patients() -> pd.DataFrame:
    """Numbers and a category with missing cells, a date, two privileged columns, a class and a number as targets."""
    draw = np.random.default_rng(0)
    lab = draw.normal(size=ROWS)
    table = pd.DataFrame(lab[:, None] + draw.normal(size=(ROWS, 3)), columns=list("abc"))
    table.insert(0, "Id", [f"{row:03d}" for row in range(ROWS)])
    table["ward"] = draw.choice(["01", "A2", "B3"], ROWS)
    table["seen"] = pd.Timestamp("2020-01-15") + pd.to_timedelta(draw.integers(0, 300, ROWS), "D")
    table.loc[::7, "a"], table.loc[::9, "ward"] = np.nan, None
    table["lab"], table["grade"] = lab, np.where(lab > 0, "high", "low")
    table["state"] = np.where(lab + 0.5 * draw.normal(size=ROWS) > 0, "ill", "well")
    table["dose"] = lab**2 + 0.1 * draw.normal(size=ROWS)
    return table


@pytest.fixture
def lupi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`python -m lupi` in a folder with train.csv and new.csv."""
    monkeypatch.chdir(tmp_path)
    table = patients()
    table.to_csv("train.csv", index=False)
    new().to_csv("new.csv", index=False)
    yield runner(main, capsys)
    logging.captureWarnings(False)


def new() -> pd.DataFrame:
    """Rows to predict, in another order of rows and columns, without the privileged columns and targets."""
    return patients()[["seen", "ward", "c", "b", "a", "Id"]].iloc[30:10:-1]


def as_fitted(table: pd.DataFrame) -> pd.DataFrame:
    """The columns as the estimator was given them: dates as days since the first of train.csv."""
    first = patients()["seen"].min()
    return table[["a", "b", "c", "ward"]].assign(seen=(table["seen"] - first).dt.days.astype(float))


# ---------------------------------------------------------------------- fit, show, predict


def test_round_trip__classes__is_that_of_the_estimator(lupi: Command, caplog: pytest.LogCaptureFixture) -> None:
    told = lupi(f"{FIT} --target state --drop Id dose --method MT --seed 3")
    assert (told.status, Path("s.lupi").exists()) == (0, True), told.err
    assert "MT: as asked." in told.out
    assert "seen holds dates (year-month-day)" in caplog.text

    table = patients()
    twin = PrivilegedClassifier(method="MT", preset="fast", members=3, epochs=3, random_state=3)
    twin.fit(as_fitted(table), table["state"], privileged=table[["lab", "grade"]])
    assert lupi("predict s.lupi new.csv --privileged --keep Id --out p.csv").out == ""
    predicted = pd.read_csv("p.csv", dtype={"Id": str})
    assert predicted.columns.tolist() == [
        "Id", "prediction", "probability of ill", "probability of well", "predicted lab", "predicted grade"
    ]  # fmt: skip
    X = as_fitted(new())
    assert predicted["Id"].tolist() == new()["Id"].tolist()
    np.testing.assert_allclose(predicted.iloc[:, 2:4], twin.predict_proba(X), rtol=1e-12)
    assert predicted["prediction"].tolist() == twin.predict(X).tolist()
    np.testing.assert_allclose(predicted["predicted lab"], twin.predict_privileged(X)["lab"], rtol=1e-12)
    assert predicted["predicted grade"].tolist() == twin.predict_privileged(X)["grade"].tolist()


def test_round_trip__numbers__has_a_card_with_their_scores(lupi: Command) -> None:
    assert lupi(f"{FIT} --target dose --drop Id state").status == 0
    student = PrivilegedRegressor.load("s.lupi")
    table = patients()
    (row,) = student.card_["scores"]
    expected = metrics.regression(student.oof_prediction_, table["dose"].to_numpy())
    assert row["scores"] == {"rmse": expected["error"], "mae": expected["mae"], "r2": expected["r2"]}
    shown = lupi("show s.lupi").out
    assert "Predicts the number `dose` from 5 columns." in shown
    assert f"| student ({student.method_}) | {expected['error']:.4g}" in shown
    assert "| linear" not in shown
    assert "## Calibration" not in shown
    printed = lupi("predict s.lupi new.csv").out
    assert printed.splitlines()[0] == "prediction"
    np.testing.assert_allclose(
        np.array(printed.split()[1:], dtype=float), student.predict(as_fitted(new())), rtol=1e-12
    )


@pytest.mark.slow
def test_show__student_with_peers__has_all_facts_of_its_data(lupi: Command) -> None:
    assert lupi(f"{FIT} --target state --drop Id dose --peers --lr 0.02").status == 0
    shown = lupi("show s.lupi").out
    student = PrivilegedClassifier.load("s.lupi")
    counts = patients()["state"].value_counts()
    for fact in (
        "# Model card: s.lupi", "Predicts the class `state` from 5 columns.", "5 regular, 2 privileged",
        f"ill: {counts['ill']}, well: {counts['well']}", "| left out", "Id, dose", f"`{student.method_}`. Why: ",
        student.why_, "preset fast, members 3, epochs 3, lr 0.02, seed 0", "days since 2020-01-", "01, A2, B3",
        f"One temperature for all, {student.calibration_['temperature']:.4g}", "scikit-learn", "torch",
        f"ward | regular | category | 01, A2, B3 | {patients()['ward'].isna().sum()}",
    ):  # fmt: skip
        assert " ".join(fact.split()) in " ".join(shown.split()), fact
    for name, loss in student.scores_.items():
        assert f"| {name:<6} | {loss:.4g}" in shown
    rows = {row["name"]: row["scores"] for row in student.card_["scores"]}
    assert set(rows) == {student.method_, *scores.OF_SCIKIT_LEARN}
    codes = (patients()["state"] == "well").to_numpy().astype(np.int64)
    expected = metrics.classification(student.oof_proba_, codes, np.bincount(codes) / ROWS)
    assert rows[student.method_] == {name: expected[name] for name in ("log_loss", "error", "balanced_log_loss")}


@pytest.mark.slow
def test_peers__every_row__is_predicted_by_a_model_that_did_not_see_it() -> None:
    """A forest on row numbers learns its rows by heart, and knows nothing of the others."""
    draw = np.random.default_rng(0)
    X, y = pd.DataFrame({"row": draw.permutation(200).astype(float)}), np.arange(200) % 2
    data = PrivilegedData("rows", X, pd.DataFrame(index=X.index), y, ("no", "yes"))
    (forest,) = scores.check_peers(["random-forest"], data)
    found = scores.of_peer(forest, data, 0, "cpu")
    assert found is not None
    assert found[0]["error"] > 0.35
    assert found[1] > 0


def test_balanced_prior__scores__take_the_frequencies_out_once(lupi: Command) -> None:
    assert lupi(f"{FIT} --target state --drop Id dose --method lower --target-prior balanced").status == 0
    student = PrivilegedClassifier.load("s.lupi")
    codes = (patients()["state"] == "well").to_numpy().astype(np.int64)
    balanced = metrics.classification(student.oof_proba_, codes)["balanced_log_loss"]
    assert student.card_["scores"][0]["scores"]["balanced_log_loss"] == balanced
    assert "classes of equal frequency" in lupi("show s.lupi").out


def test_two_tables__privileged_ones__are_joined(lupi: Command) -> None:
    table = patients()
    table[["Id", "a", "b", "c", "state"]].to_csv("train.csv", index=False)
    table[["Id", "lab", "grade"]].iloc[::-1].to_csv("lab.csv", index=False)
    options = f"--target state --privileged-file lab.csv --on Id --method PFD {QUICK} --out s.lupi"
    assert lupi(f"fit train.csv {options}").status == 0
    student = PrivilegedClassifier.load("s.lupi")
    assert student.privileged_names_in_.tolist() == ["lab", "grade"]
    assert student.feature_names_in_.tolist() == ["a", "b", "c"]
    assert "lab.csv, joined on Id" in lupi("show s.lupi").out


def test_marks__of_fit__are_those_of_predict(lupi: Command) -> None:
    for name, table in (("train.csv", patients()), ("new.csv", new())):
        table.to_csv(name, index=False, sep=";", decimal=",", na_rep="?")
    marks = "--sep ';' --decimal , --na-values '?'"
    assert lupi(f"{FIT} --target state --drop Id dose --method lower {marks}").status == 0
    by_default = lupi("predict s.lupi new.csv").out
    new().to_csv("plain.csv", index=False)
    assert by_default == lupi("predict s.lupi plain.csv --sep , --decimal . --na-values nothing").out
    assert by_default.count("\n") == 21


def test_categories__that_look_like_numbers_in_the_new_table__are_those_of_fit(lupi: Command) -> None:
    assert lupi(f"{FIT} --target state --drop Id dose --method lower").status == 0
    rows = new().assign(ward="01")
    rows.to_csv("ones.csv", index=False)
    assert pd.read_csv("ones.csv")["ward"].eq(1).all()
    expected = PrivilegedClassifier.load("s.lupi").predict_proba(as_fitted(rows))[:, 0]
    printed = lupi("predict s.lupi ones.csv").out.splitlines()[1:]
    np.testing.assert_allclose([float(line.split(",")[1]) for line in printed], expected, rtol=1e-12)


def test_whole_numbers__as_labels__come_back_as_they_were(lupi: Command) -> None:
    table = patients()
    table.assign(state=np.where(table["state"] == "ill", 7, 3)).to_csv("train.csv", index=False)
    assert lupi(f"{FIT} --target state --drop Id dose --method lower").status == 0
    printed = lupi("predict s.lupi train.csv").out.splitlines()  # target and privileged columns are ignored
    assert printed[0] == "prediction,probability of 3,probability of 7"
    assert {line.partition(",")[0] for line in printed[1:]} == {"3", "7"}


def test_identifiers__that_are_kept__stay_as_they_are_written(lupi: Command) -> None:
    assert lupi(f"{FIT} --target state --drop Id dose --method lower").status == 0
    rows = new().assign(Id=["NA", "1.50", *[f"{i:02d}" for i in range(18)]])
    rows.to_csv("new.csv", index=False)
    kept = lupi("predict s.lupi new.csv --keep Id").out.splitlines()[1:]
    assert [line.partition(",")[0] for line in kept] == rows["Id"].tolist()


def test_config__toml__gives_the_student_of_the_command_line(lupi: Command) -> None:
    Path("fit.toml").write_text(
        'target = "state"\nprivileged = ["lab"]\ndrop = ["Id", "dose", "grade"]\nmethod = "lower"\npreset = "fast"\n'
        "members = 3\nepochs = 3\nclassifier-layers = [8]\n",
        encoding="utf-8",
    )
    assert lupi("fit train.csv --config fit.toml --out a.lupi").status == 0
    line = f"--target state --privileged lab --drop Id dose grade --method lower --classifier-layers 8 {QUICK}"
    assert lupi(f"fit train.csv {line} --out b.lupi").status == 0
    assert lupi("predict a.lupi new.csv").out == lupi("predict b.lupi new.csv").out


def test_leak__privileged_column_of_the_target__is_warned_of_in_the_card(
    lupi: Command, caplog: pytest.LogCaptureFixture
) -> None:
    table = patients()
    table.assign(grade=table["state"].map({"ill": "x", "well": "y"}) + (table["a"] > 0).astype(str)).to_csv(
        "train.csv", index=False
    )
    assert lupi(f"{FIT} --target state --drop Id dose --method lower").status == 0
    assert "grade determines the target" in caplog.text
    assert "- Warning: The privileged column grade determines the target" in lupi("show s.lupi").out


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "fit needs a table"),
        ("train.csv --target state", "fit needs --out"),
        ("absent.csv --target state --out s.lupi", "the table: there is no file absent.csv."),
        ("train.csv --out s.lupi", "the table needs --target: one of Id, a, b, c, ward"),
        ("train.csv --target state --drop Id --out s.lupi", "--privileged must name the columns"),
        ("train.csv --target stat --privileged lab --drop Id --out s.lupi", "Did you mean"),
        ("train.csv --target state --privileged lab --drop Id --out no/s.lupi", "there is no folder no"),
        ("train.csv --target state --privileged lab --drop Id --out .", "--out must be a file; . is a folder"),
        ("train.csv --target state --privileged lab --drop Id --out train.csv", "must not be a file that is read"),
        (
            "train.csv --target dose --privileged lab --drop Id --out s.lupi --label-smoothing .1",
            "must go with classes",
        ),
        ("train.csv --target state --privileged lab --drop Id --out s.lupi --method GDD", "GDD"),
        ("train.csv --target state --privileged lab --drop Id --out s.lupi --lr -1", "lr must"),
        ("train.csv --target state --privileged lab --drop Id --out s.lupi --peers nobody", "no peer is called"),
        ("train.csv --target state --privileged lab --drop Id --out s.lupi --device nope", "device 'nope' cannot be"),
        ("train.csv --target state --folds 3", "unrecognized arguments: --folds 3"),
    ],
)
def test_fit__what_does_not_fit__is_one_line_and_no_file(line: str, message: str, lupi: Command) -> None:
    before = Path("train.csv").read_bytes()
    told = lupi(f"fit {line}")
    assert told.status == 2
    (error,) = [part for part in told.err.splitlines() if "error:" in part]
    assert message in error
    assert told.err.splitlines()[-1] == error
    assert (sorted(path.name for path in Path().iterdir()), Path("train.csv").read_bytes()) == (
        ["new.csv", "train.csv"],
        before,
    )


def test_fit__stray_text_among_numbers__is_named_with_row_and_flag(lupi: Command) -> None:
    table = patients().astype({"a": object})
    table.loc[2, "a"] = "?"
    table.to_csv("train.csv", index=False)
    message = "column 'a' must be numeric; found '?' in row 3. If such cells are missing: --na-values '?'."
    assert message in lupi(f"{FIT} --target state").err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_fit__stopped_in_training__leaves_the_old_file_and_no_other(
    stop: type[BaseException], lupi: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training(*_: object) -> None:
        raise stop("stopped")

    Path("s.lupi").write_text("the old one", encoding="utf-8")
    monkeypatch.setattr("lupi.estimators.base.train", training)
    told = lupi(f"{FIT} --target state --drop Id dose")
    assert told.status == (130 if stop is KeyboardInterrupt else 2)
    assert ("Nothing was written." in told.err) == (stop is KeyboardInterrupt)
    assert Path("s.lupi").read_text(encoding="utf-8") == "the old one"
    assert sorted(path.name for path in Path().iterdir()) == ["new.csv", "s.lupi", "train.csv"]


@pytest.fixture
def fitted(lupi: Command) -> Command:
    assert lupi(f"{FIT} --target state --drop Id dose --method lower").status == 0
    return lupi


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["a", "ward"]), "it lacks 'a', 'ward', and has 'seen', 'c', 'b', 'Id'."),
        (lambda t: t.assign(b="x"), "column 'b' has 'x' in row 1 and in 19 more rows"),
        (lambda t: t.assign(b=["1.5"] * 19 + ["?"]), "column 'b' has '?' in row 20. Columns of numbers"),
        (lambda t: t.assign(seen="15.1.2020"), "seen must be year-month-day or Unknown; found '15.1.2020'."),
        (lambda t: t.iloc[:0], "must have rows to predict"),
    ],
)
def test_predict__table_that_does_not_fit__says_what_it_lacks(change, message: str, fitted: Command) -> None:  # type: ignore[no-untyped-def]
    change(new()).to_csv("wrong.csv", index=False)
    told = fitted("predict s.lupi wrong.csv --out p.csv")
    assert (told.status, told.out) == (2, "")
    assert message in told.err
    assert not Path("p.csv").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("predict", "predict needs a student"),
        ("predict s.lupi", "predict needs a table"),
        ("predict none.lupi new.csv", "there is no file none.lupi"),
        ("predict new.csv new.csv", "new.csv: expected a file that lupi saved"),
        ("predict s.lupi new.csv --out new.csv", "must not be a file that is read"),
        ("predict s.lupi new.csv --out s.lupi", "must not be a file that is read"),
        ("predict s.lupi new.csv --privileged", "s.lupi holds lower, which does not. Fit one with --method MT"),
        ("predict s.lupi new.csv --keep id", "has no column 'id'"),
        ("show", "show needs a student"),
        ("show new.csv", "new.csv: expected a file that lupi saved"),
        ("fot", "there is no command 'fot'; there are fit, predict, show."),
    ],
)
def test_commands__bad_usage__is_one_line_and_status_2(line: str, message: str, fitted: Command) -> None:
    saved = Path("s.lupi").read_bytes()
    told = fitted(line)
    assert (told.status, told.out) == (2, "")
    assert message in told.err
    assert told.err.count("\n") == 1
    assert Path("s.lupi").read_bytes() == saved


# ---------------------------------------------------------------------- estimators saved in Python


def test_card__of_another_fit__does_not_survive_it(fitted: Command) -> None:
    student = PrivilegedClassifier.load("s.lupi")
    assert student.card_["data"]["rows"] == ROWS
    table = patients()
    student.fit(table[["a", "b"]], table["state"])
    assert not hasattr(student, "card_")


def test_student_saved_in_python__is_shown_and_predicts(lupi: Command) -> None:
    table = patients()
    student = PrivilegedClassifier(method="lower", preset="fast", members=3, epochs=3, random_state=0)
    student.set_params(privileged_columns=["lab"]).fit(table[["a", "lab", "b"]], table["state"])
    student.save("python.lupi")
    shown = lupi("show python.lupi")
    assert (shown.status, "saved without facts of its data" in shown.out) == (0, True)
    printed = lupi("predict python.lupi new.csv").out.splitlines()[1:]
    expected = student.predict_proba(new()[["a", "b"]])[:, 0]
    np.testing.assert_allclose([float(line.split(",")[1]) for line in printed], expected, rtol=1e-12)
    nameless = PrivilegedClassifier(method="lower", preset="fast", members=3, epochs=3)
    nameless.fit(table[["b", "c"]].to_numpy(), table["state"]).save("nameless.lupi")
    assert "columns with names; found one without" in lupi("predict nameless.lupi new.csv").err


# ---------------------------------------------------------------------- options


@pytest.mark.parametrize("estimator", [PrivilegedClassifier, PrivilegedRegressor])
def test_fit_options__hyper_parameters__are_those_of_the_estimators(estimator: type) -> None:
    offered = {option.name for option in FIT_OPTIONS["hyper-parameters"]} - {"seed"}
    parameters = set(inspect.signature(PrivilegedClassifier).parameters) & set(HYPER_PARAMETERS)
    assert offered == parameters
    assert set(HYPER_PARAMETERS) - OF_STUDIES - {"seed"} == parameters
    assert set(inspect.signature(estimator).parameters) & OF_STUDIES == set()


def test_examples__of_help_and_readme__are_lines_that_can_be_read() -> None:
    texts = _EPILOG + (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"python -m lupi (\w+ [^`#\n]+)", texts)
    assert len(lines) == 6
    for line in lines:
        name, *arguments = shlex.split(line)
        given = parsing.given("", arguments, COMMANDS[name].options)
        assert given["student" if name != "fit" else "table"] in ("student.lupi", "train.csv")


def test_help__of_every_command__imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lupi.cli.main import main\nmain(['--help'])\n"
        "try: main([sys.argv[1], '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    for name, command in COMMANDS.items():
        done = subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"
        assert f"usage: python -m lupi {name} " in done.stdout
        for options in command.options.values():
            for option in options:
                assert option.positional or f"--{option.name.replace('_', '-')}" in done.stdout


@pytest.mark.slow
def test_module__run_as_a_command__ends_with_its_status() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lupi", "show", "none.lupi"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "lupi show: error: there is no file none.lupi.\n")
