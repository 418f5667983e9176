"""What is installed: the library alone, typed, without the commands."""

import ast
import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree, which building would litter."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "lupi", copy / "lupi", ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "wheels",
        ".",
    ]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (copy / "wheels").glob("*.whl")
    return found


def test_wheel__holds_every_file_of_the_library_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lupi").rglob("*.py")}
    assert names == {*there, "lupi/py.typed"}


@pytest.mark.slow
def test_wheel__imported_from_elsewhere__works_without_the_commands(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import numpy as np, lupi\n"
        f"assert lupi.__file__.startswith({str(tmp_path)!r}), lupi.__file__\n"
        "from lupi import PrivilegedClassifier, PrivilegedRegressor, PrivilegedSearchCV\n"
        "Z = np.random.default_rng(0).normal(size=(60, 1)); X = Z + np.random.default_rng(1).normal(size=(60, 2))\n"
        "y = Z[:, 0] + np.random.default_rng(2).normal(size=60) > 0\n"
        "print(PrivilegedClassifier(random_state=0, epochs=2).fit(X, y, privileged=Z).predict(X).shape)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(60,)"


def test_import__takes_nothing_with_it() -> None:
    code = "import sys, lupi; print(sorted({'torch', 'numpy', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_library__imports_its_requirements_alone() -> None:
    named = {requirement.partition(">")[0].replace("-", "_") for requirement in PROJECT["project"]["dependencies"]}
    named = {"sklearn" if name == "scikit_learn" else name for name in named}
    lazy = {"torchjd", "onnx", "matplotlib"}  # extras, imported where they are used
    found = set()
    for path in (ROOT / "lupi").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    assert found - set(sys.stdlib_module_names) - {"lupi"} <= named | lazy


def test_least_versions__are_those_that_are_tested() -> None:
    tested = dict(
        line.split("==") for line in (ROOT / "requirements-lower.txt").read_text("utf-8").splitlines() if "==" in line
    )
    for requirement in PROJECT["project"]["dependencies"]:
        name, _, least = requirement.partition(">=")
        assert tested[name].startswith(least), f"{requirement} is not what requirements-lower.txt has"


def test_public_names__are_documented() -> None:
    lupi = importlib.import_module("lupi")
    for name in lupi.__all__:
        assert getattr(lupi, name).__doc__
