"""The README's commands and example run, and its tables name what there is."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import download_datasets
from lupi.balancing import STRATEGIES
from lupi.evidence.verdict import VERDICTS
from lupi.methods.table import METHODS
from lupi.methods.twins import TWINS
from studies.sources import simulated
from tests.docs.test_docs import same

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MIRROR = Path(os.environ.get("LUPI_MIRROR", ROOT.parent / "shared" / "data"))
COMMANDS = sorted(
    set(
        re.findall(
            r"python ((?:MT_main|MT_weightP|DC_DR)\.py [^`#\n]+?|download_datasets\.py[^`#\n]*?)\s*(?=[`#\n])", README
        )
    )
)
SMALL = shlex.split(
    "--folds 2 --repeats 1 --inner-folds 2 --epochs 1 --regressor-layers 2 --classifier-layers 2 --out out"
)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without data or tokens, with the tables that the README's own-data commands read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    train, greeks = simulated.simulate_icr()
    train.to_csv("train.csv", index=False)
    greeks.to_csv("greeks.csv", index=False)
    return tmp_path


def test_readme__commands__are_there() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("download")])
def test_readme__study_command__runs(command: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, *argv = shlex.split(command)
    if "y" in argv:  # the sketch of a table of one's own: y, a and b stand for its columns
        argv = ["--csv", "train.csv", "--target", "Class", "--privileged", "AB", "--drop", "Id", "--categorical", "EJ"]
    elif "icr" not in argv and "--csv" not in argv:
        if not MIRROR.is_dir():
            pytest.skip(f"needs the published files in {MIRROR} (set LUPI_MIRROR to a folder that has them)")
        argv += ["--data", str(MIRROR)]
    assert importlib.import_module(script.removesuffix(".py")).main([*argv, *SMALL]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5
    assert (workplace / "out" / "DONE").exists()


def test_readme__download_commands__run_without_a_token(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "download_datasets.py icr" in COMMANDS
    assert download_datasets.main(["icr"]) == 0
    assert "kaggle.com" in capsys.readouterr().out
    assert download_datasets.main(["--list"]) == 0


def test_readme__python_example__prints_what_stands_below_it() -> None:
    ((example, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert README.count("```python") == 1
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same(printed, done.stdout)


def test_readme__length__is_that_of_two_screens() -> None:
    assert len(README.splitlines()) <= 120


def test_readme__links__lead_to_files() -> None:
    links = set(re.findall(r"\]\(([^)#]+)", README))
    assert len(links) > 8
    for link in links:
        assert (ROOT / link).is_file(), link


def test_readme__make_targets__exist() -> None:
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)


def test_readme__methods__are_all_in_its_table() -> None:
    section = README[README.index("## Methods") : README.index("## Layout")]
    assert re.findall(r"^\| \[`([\w+-]+)`\]", section, re.MULTILINE) == list(METHODS)
    for method in METHODS.values():
        assert f"| [`{method.name}`](docs/methods.md#methods) | {method.purpose} |" in README


def _grid(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


TEXTS = {"README.md": README, **{page.name: page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("*.md"))}}


def _strategies(text: str) -> dict[str, list[str]]:
    """The rows of the table of strategies in a text, by their first cell; none where it has no such table."""
    rows = {cells[0]: cells for cells in _grid(text) if len(cells) == 7}
    return {name: cells for name, cells in rows.items() if name.startswith("`")} if "`equal`" in rows else {}


def test_strategies__texts__have_their_table() -> None:
    assert [name for name, text in TEXTS.items() if _strategies(text)]


@pytest.mark.parametrize("text", [name for name, text in TEXTS.items() if _strategies(text)])
def test_strategies__every_one__has_a_row_with_its_measured_cost_and_its_test(text: str) -> None:
    rows = _strategies(TEXTS[text])
    assert list(rows) == [f"`{name}`" for name in STRATEGIES]
    measured = {cells[0]: cells for cells in _grid((ROOT / "results/benchmarks/balancing.md").read_text("utf-8"))}
    for name, strategy in STRATEGIES.items():
        _, family, paper, assumes, cost, place, test = rows[f"`{name}`"]
        module = type(strategy).__module__.rpartition(".")[2]
        assert (family, paper, assumes) == (strategy.family, strategy.paper, strategy.assumes)
        assert cost == measured[name][2]
        assert (place, test) == (f"`{module}.{type(strategy).__name__}`", f"`test_{module}.py`")
        assert type(strategy).__name__ in (ROOT / "tests/lupi/balancing" / test.strip("`")).read_text("utf-8")


def test_readme__verdicts_and_twins__are_all_there_are() -> None:
    section = README[README.index("| verdict |") : README.index("## Why does the student")]
    assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == set(VERDICTS)
    for control in TWINS:
        assert f"`{control}`" in README
