"""The documentation: its blocks of code run and print what stands under them, its tables name what there is, and it is
built without a warning."""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import datasets
import download_datasets
from lupi.balancing import STRATEGIES
from lupi.cli.main import main as lupi_main
from lupi.evidence.verdict import VERDICTS
from lupi.methods.options import PROTOCOLS, StudyOptions
from lupi.methods.table import METHODS
from lupi.methods.twins import TWINS
from lupi.study.peers import PEERS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
MIRROR = Path(os.environ.get("LUPI_MIRROR", ROOT.parent / "shared" / "data"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDIES = ("MT_main.py", "MT_weightP.py", "DC_DR.py")
SMALL = shlex.split("--folds 2 --repeats 1 --inner-folds 2 --epochs 1 --regressor-layers 2 --classifier-layers 2")
PYTHON, BASH, OUTPUT = "python", "bash", "text"


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line where it begins."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    source = page.read_text(encoding="utf-8")
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [Block(found[1], found[2], source.count("\n", 0, found.start(2))) for found in fenced.finditer(source)]


def same(expected: str, found: str) -> bool:
    """Whether the words are the same, and the numbers nearly: other processors round differently."""
    number = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
    if number.sub("#", expected).split() != number.sub("#", found).split():
        return False
    pairs = zip(map(float, number.findall(expected)), map(float, number.findall(found)), strict=True)
    return all(abs(a - b) <= max(0.02, 0.05 * abs(a)) for a, b in pairs)


def sections(page: str) -> dict[str, str]:
    """The text under every heading of a page."""
    _, *parts = re.split(r"^#+ (.*)\n", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the rows of tables that begin with `a name`."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\| `([^`]+)` \| (.*) \|$", line):
            found[match[1]] = re.split(r" (?<!\\)\| ", match[2])
    return found


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder without tokens; what blocks enter into tables is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    tables: list[dict[str, Any]] = [METHODS, STRATEGIES, datasets.ENTRIES]
    kept = [dict(table) for table in tables]
    yield tmp_path
    for table, before in zip(tables, kept, strict=True):
        table.clear()
        table.update(before)


def run_command(line: str) -> None:
    """A command of the project, in small; one of make as a dry run. Those of the README run in its own tests."""
    if line in README:
        return
    program, *argv = shlex.split(line)
    if program == "make":
        subprocess.run(["make", "--dry-run", *argv], cwd=ROOT, capture_output=True, check=True)
        return
    assert program == "python", f"no command of this project: {line}"
    script, *argv = argv
    if script == "download_datasets.py":
        assert download_datasets.main(argv) == 0
        return
    if script == "-m":
        assert argv[0] == "lupi", f"no command of this project: {line}"
        quick = ["--preset", "fast", "--members", "3", "--epochs", "3"] if argv[1] == "fit" else []
        assert lupi_main([*argv[1:], *quick]) == 0
        return
    assert script in STUDIES, f"no command of this project: {line}"
    fetched = {name for name, entry in datasets.ENTRIES.items() if entry.forms} | {"all"}
    if fetched.intersection(argv):
        if not MIRROR.is_dir():
            return  # the files of these data sets are not on this machine
        argv += ["--data", str(MIRROR)]
    out = [] if "--out" in argv else ["--out", "out"]
    assert importlib.import_module(script.removesuffix(".py")).main([*argv, *SMALL, *out, "--force"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_docs__blocks_of_a_page__run_and_print_what_it_says(page: Path, workplace: Path) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None  # by the last block of Python
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.language == PYTHON:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * block.line + block.text, str(page), "exec"), scope)
            printed = out.getvalue()
        elif block.language == BASH:
            printed = None
            for line in block.text.replace("\\\n", " ").splitlines():
                run_command(line)
        elif block.language == OUTPUT:
            assert printed is None or same(block.text, printed), f"{where}: the block above prints\n{printed}"
        else:
            raise AssertionError(f"{where}: a block must be {PYTHON}, {BASH} or {OUTPUT}; found {block.language!r}")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_docs__example__prints_what_it_says(example: Path, workplace: Path) -> None:
    said = "\n".join(re.findall(r"^# > ?(.*)$", example.read_text(encoding="utf-8"), re.MULTILINE))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(example), run_name="__main__")
    assert same(said, out.getvalue()), out.getvalue()


def test_same__tells_words_and_numbers_apart() -> None:
    assert same("error 0.12\n  40 rows", "error   0.13 41 rows")
    assert not same("helps 0.12", "hurts 0.12")
    assert not same("error 0.12", "error 0.22")
    assert not same("a 1", "a 1 2")


# ---------------------------------------------------------------------- tables


def test_docs__methods__are_all_in_their_table() -> None:
    table = rows(sections("methods.md")["Methods"])
    assert list(table) == list(METHODS)
    for name, (_, defaults, paper) in table.items():
        method = METHODS[name]
        assert paper == method.paper
        assert ("ε" in defaults) == (method.privileged_task in ("joint", "shared"))
        if "ε" in defaults:
            assert f"ε = {method.epsilon:g}" in defaults
        assert ("β" in defaults) == (method.distillation == "teacher-privileged")
        assert ("λ" in defaults) == (method.distillation != "none" and method.model_family == "network")


def test_docs__strategies__are_all_in_their_tables() -> None:
    text = sections("methods.md")["Balancing strategies"]
    assert re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE) == [*STRATEGIES, *STRATEGIES]
    for name, strategy in STRATEGIES.items():
        assert f"| `{name}` | {strategy.family} | " in text
        knobs = ", ".join(f"{k.name} {k.default:g} in [{k.low:g}, {k.high:g}]" for k in strategy.knobs) or "–"
        assert f"| `{name}` | {knobs} | {strategy.assumes} | {strategy.paper} |" in text
    reference = (DOCS / "api.md").read_text(encoding="utf-8")
    for strategy in STRATEGIES.values():
        assert f"::: {type(strategy).__module__}.{type(strategy).__qualname__}\n" in reference


def test_docs__peers__are_all_in_their_table() -> None:
    found = rows(sections("studies.md")["Peers: is a student worth deploying?"])
    assert list(found) == list(PEERS)
    assert [needs for _, needs in found.values()] == [f"`{peer.package}`" for peer in PEERS.values()]


def test_docs__defaults__are_those_of_the_options() -> None:
    options = StudyOptions()
    text = sections("methods.md")["Symbols"]
    named = dict(re.findall(r"`(\w+)`,? (\([\d, ]+\)|[\d.]+)", text))
    named["epochs"] = re.findall(r"`epochs` at most (\d+)", text)[0]
    assert len(named) >= 10
    for name, value in named.items():
        default = PROTOCOLS["strict"].patience if name == "patience" else getattr(options, name)
        assert str(default).removesuffix(".0") == value, name


def test_docs__twins_and_verdicts__are_all_there_are() -> None:
    text = sections("choosing.md")
    assert list(rows(text["Why shuffled twins?"])) == list(TWINS)
    for name, what in TWINS.items():
        assert f"| `{name}` | {what} |".replace("|logit t|", r"\|logit t\|") in text["Why shuffled twins?"]
    assert set(rows(text["What a verdict means"])) == set(VERDICTS)


def test_docs__protocols__are_those_of_the_code() -> None:
    text = sections("design.md")["Protocols"]
    strict, paper = PROTOCOLS["strict"], PROTOCOLS["paper"]
    assert f"| {strict.patience}, {strict.min_delta:.0e} | {paper.patience}, {paper.min_delta:g} |" in text.replace(
        "1e-4", "1e-04"
    )


# ---------------------------------------------------------------------- the site


@pytest.mark.slow
def test_docs__site__is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("needs MkDocs: pip install -r requirements-docs.txt")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    for name in [*(f"{page.stem}.html" for page in PAGES), *(f"examples/{each.stem}.html" for each in EXAMPLES)]:
        assert tmp_path / "site" / name in pages
    reference = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert "<li><code>members</code>: networks whose predictions are averaged.</li>" in reference
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]*\ssrc=\"?(?:https?:)?//", text), page
        assert not re.search(r"<link[^>]*rel=\"?(?:stylesheet|preconnect|preload)[^>]*href=\"?(?:https?:)?//", text), (
            page
        )
