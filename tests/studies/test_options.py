"""Options: the command line, the authors' short flags, the config file, and where the results go."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import utils
from lupi.methods import presets
from lupi.methods.options import PROTOCOLS, StudyOptions
from lupi.methods.table import GROUPS as METHOD_GROUPS
from lupi.methods.table import METHODS, PAPER_METHODS, STANDARD_METHODS
from lupi.settings import HYPER_PARAMETERS
from studies.folders import results_folder
from studies.options import GROUPS, Option, study_options
from studies.parsing import parse
from studies.progress import defects_show
from utils import load_data

ROOT = Path(__file__).resolve().parents[2]
EVERY = {option.name: option for options in GROUPS.values() for option in options}


def values_of(*arguments: str) -> dict[str, Any]:
    return parse("", arguments, GROUPS)


def options_of(*arguments: str) -> StudyOptions:
    return study_options(values_of(*arguments, "--device", "cpu"))


# ---------------------------------------------------------------------- command line


def test_parse__nothing__gives_the_default_preset() -> None:
    assert options_of() == StudyOptions(**presets.values_of("best"))
    values = values_of()
    assert values["preset"] == presets.DEFAULT == "best"
    untouched = set(EVERY) - set(presets.PRESETS["best"]) - {"preset"}
    assert {name: values[name] for name in untouched} == {name: EVERY[name].default for name in untouched}


def test_preset_paper__gives_the_librarys_defaults() -> None:
    """What the commands trained before there were presets."""
    assert options_of("--preset", "paper") == StudyOptions()
    expected = {name: option.default for name, option in EVERY.items()} | {"preset": "paper", "portfolio": ()}
    assert values_of("--preset", "paper") == expected


@pytest.mark.parametrize("preset", ["best", "fast"])
def test_preset__options_given_beside_it__win_for_all_members(preset: str) -> None:
    options = options_of("--preset", preset, "--members", "3", "--dropout", "0.4", "--epochs", "7", "--no-tangent")
    recipe = presets.values_of(preset)
    assert (options.members, options.dropout, options.epochs, options.tangent) == (3, 0.4, 7, False)
    assert options.activation == recipe["activation"] == "silu"
    assert len(options.portfolio) == len(recipe["portfolio"])
    names = {name for entry in recipe["portfolio"] for name, _ in entry}
    assert "dropout" in names
    assert {name for entry in options.portfolio for name, _ in entry} == names - {"dropout"}


def test_preset__of_a_config_file__is_read_as_on_the_command_line(tmp_path: Path) -> None:
    values = from_config(tmp_path, 'preset = "fast"\nbatch_size = 32\n')
    assert values == values_of("--preset", "fast", "--batch-size", "32") | {"config": values["config"]}
    assert study_options(values).members == 5


def test_preset__several_epochs__are_a_sweep_below_the_most() -> None:
    options = options_of("--epochs", "3", "9")
    assert (options.epochs, options.sweeps) == (9, (("epochs", (3,)),))
    assert options.bagging


def test_protocol_paper__implies_the_preset_paper() -> None:
    assert values_of("--protocol", "paper")["preset"] == "paper"
    assert options_of("--protocol", "paper") == StudyOptions(protocol="paper")
    assert values_of("--protocol", "strict")["preset"] == "best"


def test_protocol_paper__with_a_preset_that_bags__says_that_they_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="bagging is a matter of the strict protocol"):
        options_of("--protocol", "paper", "--preset", "best")


def test_preset__one_member__says_that_bagging_needs_more() -> None:
    with pytest.raises(ValueError, match="members must be at least 2"):
        options_of("--members", "1")
    assert options_of("--members", "1", "--no-bagging", "--calibration", "none").members == 1


def test_preset__unknown__names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"--preset.*'finest'.*best.*fast.*paper"):
        values_of("--preset", "finest")


def test_options__every_field_of_a_study__has_one_option() -> None:
    fields = [option.field for option in EVERY.values() if option.field]
    assert len(set(fields)) == len(fields)
    assert set(fields) | {"architecture", "device", "width", "sweeps", "portfolio"} == {
        field.name for field in dataclasses.fields(StudyOptions)
    }
    assert all(option.help for option in EVERY.values())


def test_parse__authors_short_flags__are_the_long_ones() -> None:
    short = "-dataset wine -l_reg 8 4 -l_clas 16 -epo 7 -bs 64 -vs 0.3 -pat 9 -iter 2"
    long = (
        "--dataset wine --regressor-layers 8 4 --classifier-layers 16 --epochs 7 --batch-size 64 "
        "--validation-fraction 0.3 --patience 9 --repeats 2"
    )
    assert values_of(*short.split()) == values_of(*long.split()) != values_of()
    assert options_of("--preset", "paper", *short.split()) == StudyOptions(
        regressor_layers=(8, 4), classifier_layers=(16,), epochs=7, batch_size=64, validation_fraction=0.3,
        patience=9, repeats=2,
    )  # fmt: skip


def test_parse__no_layers__is_a_linear_network() -> None:
    assert options_of("-l_clas").classifier_layers == ()


def test_study_options__patience__defaults_to_that_of_the_protocol() -> None:
    for name, rules in PROTOCOLS.items():
        assert options_of("--preset", "paper", "--protocol", name).training().patience == rules.patience
        assert options_of("--protocol", name, "--patience", "3").training().patience == 3


@pytest.mark.parametrize(
    ("named", "arms"),
    [
        ("all", list(METHODS)),
        ("paper", list(PAPER_METHODS)),
        ("standard", list(STANDARD_METHODS)),
        ("baselines", list(METHOD_GROUPS["baselines"])),
        ("mt lower MT", ["MT", "lower"]),
    ],
)
def test_study_options__methods__by_group_or_name_in_any_case(named: str, arms: list[str]) -> None:
    assert [method.name for method in options_of("--methods", *named.split()).weighed_methods] == arms


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--epochs many", "--epochs.*'many'"),
        ("--epochs 1.5", "--epochs.*'1.5'"),
        ("--lr fast", "--lr.*'fast'"),
        ("--protocol lax", "--protocol.*'lax'.*strict.*paper"),
        ("--class-weight odd", "--class-weight: must be balanced or none"),
        ("--epoch 3", "unrecognized arguments: --epoch 3"),
        ("--seed", "--seed.*expected one argument"),
    ],
)
def test_parse__bad_usage__one_line_that_names_the_option(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        values_of(*line.split())
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("All options: --help.")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--folds 1", "folds must .* at least 2; found 1"),
        ("--lr nan", "lr must lie between 0 and inf; found nan"),
        ("--validation-fraction 1", "validation_fraction must lie between 0 and 1; found 1.0"),
        ("--imitation 2", r"imitation must lie in \[0, 1\]; found 2.0"),
        ("--methods", "--methods needs a name: lower, upper"),
        ("--methods MTT", "no method is called 'MTT'; there are lower, upper"),
        ("--device abacus", "--device: 'abacus' cannot be used here .*Use auto or cpu"),
    ],
)
def test_study_options__out_of_range__says_what_is_allowed(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_options(values_of(*line.split()))


def shown(value: Any) -> str:
    """As --help has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_help__names_every_option_and_its_defaults_under_both_presets() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "MT_main.py", "--help"], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    words = [word.rstrip(",") for word in done.stdout.split()]
    for name, option in EVERY.items():
        assert "--" + name.replace("_", "-") in words
        assert all(alias in done.stdout for alias in option.aliases)
    said = " ".join(done.stdout.split())
    assert f"(default: {StudyOptions().folds})" in said
    for name, value in presets.PRESETS["best"].items():
        if name != "portfolio":
            best, paper = (shown(v) for v in (value, HYPER_PARAMETERS[name].default))
            assert f"(default: {best}; paper: {paper})" in said or f"5 (paper) (default: {best})" in said, name
    assert "(default: best, and paper with --protocol paper)" in said


def test_help__terminal_without_greek_letters__is_shown_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "MT_main.py", "--help"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"? in [0, 1]" in done.stdout


def test_help__imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['MT_main.py', '--help']; sys.path.insert(0, {str(ROOT)!r})\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print([m for m in ('torch', 'pandas', 'numpy', 'sklearn', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------------- config file


def toml(settings: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def from_config(tmp_path: Path, text: str, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return values_of(*arguments, "--config", str(path))


def any_value(option: Option) -> st.SearchStrategy[Any]:
    if isinstance(option.default, bool):
        return st.just(True)
    if option.choices:
        one = st.sampled_from(option.choices)
        return st.lists(one, max_size=3) if option.many else one
    text = st.sampled_from(["a", "b c", "λ=2", 'quoted "x"', "back\\slash"])
    plain: dict[Any, st.SearchStrategy[Any]] = {int: st.integers(0, 10**6), float: st.floats(0, 1e6)}
    if option.name == "class_weight":
        text = st.sampled_from(["balanced", "none"])
    one = plain.get(option.type, text)
    return st.lists(one, max_size=3) if option.many else one


settings_of_a_study = st.fixed_dictionaries(
    {}, optional={name: any_value(option) for name, option in EVERY.items() if name != "config"}
)


@given(settings=settings_of_a_study)
def test_config__any_settings__are_those_of_the_command_line(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    arguments: list[str] = []
    for name, value in settings.items():
        arguments.append("--" + name.replace("_", "-"))
        if value is not True:
            arguments += map(str, value if isinstance(value, list) else [value])
    path = tmp_path_factory.mktemp("config") / "study.toml"
    path.write_text(toml(settings), encoding="utf-8")
    config = {"config": str(path)}
    assert values_of(*arguments, "--config", str(path)) == values_of(*arguments) | config
    assert values_of("--config", str(path)) == values_of(*arguments) | config


def test_config__command_line__wins(tmp_path: Path) -> None:
    values = from_config(tmp_path, 'folds = 3\nepochs = 4\nmethods = ["MT"]\n', "--epochs", "9", "--methods", "KT")
    assert (values["folds"], values["epochs"], values["methods"]) == (3, [9], ["KT"])


def test_config__spelling__with_hyphens_and_single_values_for_lists(tmp_path: Path) -> None:
    values = from_config(tmp_path, 'batch-size = 5\ndataset = "wine"\nlr = 1\n')
    assert (values["batch_size"], values["dataset"]) == (5, ["wine"])
    assert isinstance(values["lr"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foldss = 3", "sets 'foldss', which is no option. Did you mean folds"),
        ("[study]\nfolds = 3", "sets 'study', which is no option"),
        ('config = "other.toml"', "sets 'config', which is no option"),
        ('folds = "3"', "folds must be a whole number; found '3'"),
        ("folds = 3.0", "folds must be a whole number; found 3.0"),
        ("folds = true", "folds must be a whole number; found True"),
        ("folds = [3]", r"folds must be a whole number; found \[3\]"),
        ('lr = "fast"', "lr must be a number; found 'fast'"),
        ("compile = 1", "compile must be true or false; found 1"),
        ("dataset = 3", r"dataset must be text in quotes \(or a list\); found 3"),
        ('methods = ["MT", 3]', "methods must be text in quotes.*found .*'MT', 3"),
        ("regressor_layers = [20, 2.5]", "regressor_layers must be a whole number .or a list"),
        ('protocol = "lax"', "protocol must be one of strict, paper; found 'lax'"),
        ('class_weight = "odd"', "class_weight must be balanced or none; found 'odd'"),
        ("folds = ", "is not TOML: Invalid value"),
    ],
)
def test_config__wrong__says_where_and_what_is_allowed(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--config: .*study.toml.*{message}"):
        from_config(tmp_path, text)


def test_config__unreadable__says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--config: there is no file .*none\.toml"):
        values_of("--config", str(tmp_path / "none.toml"))
    with pytest.raises(ValueError, match=r"--config: .* cannot be read: Is a directory"):
        values_of("--config", str(tmp_path))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not TOML"):
        values_of("--config", str(tmp_path / "bytes.toml"))


# ---------------------------------------------------------------------- data sets and tables of one's own


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--dataset icrr", "no data set is named 'icrr'; there are .*Did you mean 'icr'"),
        ("--dataset", "--dataset needs a name: phishing.*or all"),
        ("--target y --drop a", "--target and --drop would describe a table of your own, but there is no --csv"),
        ("--csv t.csv --dataset wine", "--csv and --dataset exclude each other"),
        ("--csv t.csv", "--csv needs --target: one of a, b, z, y"),
        ("--csv none.csv --target y", "--csv: there is no file none.csv"),
        ("--csv . --target y", "--csv: . cannot be read: Is a directory"),
        ("--csv t.csv --target y --on a", "--privileged-file and --on.*need each other"),
        ("--csv t.csv --target y --privileged-file t.csv", "--privileged-file and --on.*need each other"),
    ],
)
def test_load_data__wrong_request__says_how_to_ask(
    line: str, message: str, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table.to_csv("t.csv", index=False)
    with pytest.raises(ValueError, match=message):
        load_data(values_of(*line.split()))


def test_load_data__named_twice__is_loaded_once(tmp_path: Path) -> None:
    """icr without its files is icr-simulated."""
    line = f"--data {tmp_path} --dataset breast_cancer icr icr-simulated breast_cancer icr"
    assert [data.name for data in load_data(values_of(*line.split()))] == ["breast_cancer", "icr-simulated"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a,y\n1,2,0\n2,1,1\n", "columns of t.csv must differ; found twice: a"),
        ("a;b;y\n1;2;0\n", "separated by commas; found only 'a;b;y'"),
        (",a,y\n0,5,0\n1,6,1\n", "every column of t.csv needs a name.*'Unnamed: 0'.*--drop"),
        ("a,b,y\n1,2,0,7\n2,1,1,8\n", "rows of t.csv have more cells than its header, which has 3"),
        ("a,b,y\n1,2,0,7\n2,1,1\n", "rows of t.csv have more cells than its header, which has 3"),
        ("a,b,y\n1,2,0\n2,1,1,8\n", "cannot be read as CSV: .*line 3"),
        ("", "cannot be read as CSV"),
        ("a,b,y\n", "t: the table has no rows"),
    ],
    ids=["twice", "semicolons", "no name", "all rows long", "first row long", "one row long", "empty", "header only"],
)
def test_own_table__malformed_file__is_not_mended_in_silence(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_data(values_of("--csv", "t.csv", "--target", "y"))


def test_own_table__column_without_a_name__can_be_dropped(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table.to_csv("t.csv")
    (data,) = load_data(values_of("--csv", "t.csv", "--target", "y", "--drop", "Unnamed: 0"))
    assert list(data.X.columns) == ["a", "b", "z"]


class TestTwoFiles:
    """--privileged-file and --on."""

    LINE = ("--csv", "first.csv", "--target", "y", "--privileged-file", "second.csv", "--on", "id")

    @pytest.fixture
    def load(self, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Write a table and its privileged columns, in another order, with these ids; load them."""
        monkeypatch.chdir(tmp_path)

        def load(ids: list[str], others: list[str] | None = None) -> Any:
            others = ids if others is None else others
            first = table.drop(columns="z")[: len(ids)].assign(id=ids)
            second = pd.DataFrame({"id": others, "z": table.z[: len(others)]})[::-1]
            first.to_csv("first.csv", index=False)
            second.to_csv("second.csv", index=False)
            (data,) = load_data(values_of(*self.LINE))
            return data

        return load

    @pytest.mark.parametrize(
        "style",
        ["{}", "{:05}", "{}e5", "id {}", "{}.0", "0x{:x}"],
    )
    def test_rows__are_joined_by_id_as_it_is_written(self, style: str, load: Any, table: pd.DataFrame) -> None:
        data = load([style.format(i) for i in range(60)])
        assert list(data.X.columns) == ["a", "b"]
        assert data.Z["z"].tolist() == table.z.tolist()

    def test_ids__that_are_equal_as_numbers_only__are_different(self, load: Any, table: pd.DataFrame) -> None:
        ids = [str(i) for i in range(58)] + ["007", "1.0"]
        assert load(ids).Z["z"].tolist() == table.z.tolist()

    def test_ids__numbers_in_one_file_and_text_in_the_other__are_compared_as_text(
        self, load: Any, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
    ) -> None:
        data = load([str(i) for i in range(60)], [str(i) for i in range(50)] + ["A7"])
        assert data.Z["z"][:50].tolist() == table.z[:50].tolist()
        assert data.Z["z"][50:].isna().all()
        assert "second.csv: 1 of 51 rows have no partner and are not used" in caplog.messages
        assert "first.csv: 10 of 60 rows have no partner; their privileged cells are missing" in caplog.messages

    @pytest.mark.parametrize(
        ("ids", "others", "message"),
        [
            (["1", "1", "2"], ["1", "2"], "'id' must name every row once; first.csv repeats it in 1 rows"),
            (["1", "2"], ["1", "2", "2", "2"], "second.csv repeats it in 2 rows"),
            (["1", "", "2"], ["1", "2"], "first.csv leaves it empty in 1 rows"),
            (["1", "2"], ["01", "02"], "no value of 'id' is in both tables.* '1', second.csv has '02'"),
        ],
        ids=["repeated", "repeated in the second", "empty", "none in common"],
    )
    def test_ids__that_cannot_join__are_refused(
        self, ids: list[str], others: list[str], message: str, load: Any
    ) -> None:
        with pytest.raises(ValueError, match=f"--on: .*{message}"):
            load(ids, others)

    def test_columns_of_both__must_be_dropped_first(self, tmp_path: Path, table: pd.DataFrame, load: Any) -> None:
        load([str(i) for i in range(60)])
        pd.read_csv("second.csv").assign(a=1.0, w=2.0).to_csv("second.csv", index=False)
        with pytest.raises(ValueError, match="both tables have a; rename in one, or --drop from both"):
            load_data(values_of(*self.LINE))
        (data,) = load_data(values_of(*self.LINE, "--drop", "a", "w"))
        assert (list(data.X.columns), list(data.Z.columns)) == (["b"], ["z"])

    def test_key__absent_from_one__is_named_with_the_columns_there_are(self, load: Any, table: pd.DataFrame) -> None:
        load([str(i) for i in range(60)])
        table.to_csv("first.csv", index=False)
        with pytest.raises(ValueError, match=r"'id' must be a column of both tables; first\.csv has a, b, z, y"):
            load_data(values_of(*self.LINE))


# ---------------------------------------------------------------------- names


def folder_of(table: pd.DataFrame, tmp_path: Path, *arguments: str) -> Path:
    table.to_csv(tmp_path / "my table.csv", index=False)
    values = values_of("--csv", str(tmp_path / "my table.csv"), "--target", "y", "--device", "cpu", *arguments)
    return results_folder(values, load_data(values), study_options(values), StudyOptions())


def test_results_folder__depends_on_options_and_data_that_decide_results(table: pd.DataFrame, tmp_path: Path) -> None:
    plain = folder_of(table, tmp_path)
    assert plain.parts[0] == "results"
    assert plain.name.startswith("my-table-")
    assert folder_of(table, tmp_path, "--force", "--dry-run") == plain
    others = [
        folder_of(table, tmp_path, "--seed", "1"),
        folder_of(table, tmp_path, "--privileged", "z"),
        folder_of(table.assign(a=table.a + 1), tmp_path),
    ]
    assert len({plain, *others}) == 4
    assert folder_of(table, tmp_path, "--out", "elsewhere") == Path("elsewhere")


def test_results_folder__named_data_sets__stand_in_its_name(tmp_path: Path) -> None:
    values = values_of("--dataset", "breast_cancer", "icr-simulated", "--device", "cpu")
    data, usual = load_data(values), options_of()
    assert results_folder(values, data, study_options(values), usual) == Path("results/breast_cancer-icr-simulated")
    values["repeats"] = 3
    changed = results_folder(values, data, study_options(values), usual)
    assert changed.name.startswith("breast_cancer-icr-simulated-")


# ---------------------------------------------------------------------- how a command ends


def test_errors_to_exit__bad_input__is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, utils.errors_to_exit("it"):
        raise ValueError("wrong.")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "it: error: wrong.\n"


def test_errors_to_exit__defect__shows_where_it_arose(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="a defect of this program") as error:  # noqa: SIM117
        with utils.errors_to_exit("it"), defects_show():
            raise ValueError("shapes differ")
    assert str(error.value.__cause__) == "shapes differ"
    with pytest.raises(KeyError), utils.errors_to_exit("it"):
        raise KeyError("x")


def test_errors_to_exit__interrupt__is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, utils.errors_to_exit("it"):
        raise KeyboardInterrupt
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
