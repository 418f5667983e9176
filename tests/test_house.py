"""The layout: which package may import which, no circles, how many floors, what the root holds, the names of tests."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = ("MT_main", "MT_weightP", "DC_DR")
#: What the root holds: the files of the card, and packaging.
CARD = {
    *(f"{name}.py" for name in (*COMMANDS, "download_datasets", "datasets", "models", "utils")),
    *("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "mkdocs.yml"),
    *(f"requirements{kind}.txt" for kind in ("", "-test", "-docs", "-lower")),
}
#: Packages from the roof to the ground: a file imports from its own package and from those on lower lines only.
STOREYS = (
    ("root",),
    ("studies",),
    ("lupi.cli",),
    ("lupi.estimators",),
    ("lupi.study",),
    ("lupi.methods", "lupi.evidence"),
    ("lupi.engine", "lupi.data"),
    ("lupi.balancing",),
    ("lupi",),  # the leaves: columns, rng, settings
)
MOST_FLOORS = 12


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(path): path for pattern in ("*.py", "lupi/**/*.py", "studies/**/*.py") for path in ROOT.glob(pattern)
}


def package_of(module: str) -> str:
    """The storey that a module stands on."""
    first, *rest = module.split(".")
    if module == "lupi.__main__":  # which runs the command line
        return "lupi.cli"
    if first == "lupi":
        return f"lupi.{rest[0]}" if (ROOT / "lupi" / "/".join(rest[:1])).is_dir() and rest else "lupi"
    return "studies" if first == "studies" else "root"


def statements(node: ast.AST, typing: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports of a file, those within functions too; those for type checkers alone where `typing`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif typing or not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from statements(child, typing)


@functools.cache
def graph(typing: bool) -> dict[str, set[str]]:
    """module -> the modules of this repository that it imports."""
    arrows: dict[str, set[str]] = {module: set() for module in FILES}
    for module, path in FILES.items():
        if module == "lupi":  # the face of the library, which names its estimators and imports none of them
            continue
        for statement in statements(ast.parse(path.read_text("utf-8")), typing):
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            else:
                names = [f"{statement.module}.{alias.name}" for alias in statement.names]
            arrows[module] |= {name if name in FILES else name.rpartition(".")[0] for name in names}
        arrows[module] = {name for name in arrows[module] if name in FILES and name != module}
    return arrows


def is_face(module: str) -> bool:
    """Whether a file is a package's `__init__` that only names what the package has."""
    return FILES[module].name == "__init__.py" and only_passes_on(FILES[module])


def only_passes_on(path: Path) -> bool:
    """Whether a file holds nothing but imports, a docstring, and other names for what it imports."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute | ast.List | ast.Tuple))
        for node in ast.parse(path.read_text("utf-8")).body
    )


def longest_chain() -> list[str]:
    """The longest chain of imports that run, without the faces of packages."""

    @functools.cache
    def below(module: str) -> tuple[str, ...]:
        chain = max((below(name) for name in graph(typing=False)[module]), key=len, default=())
        return chain if is_face(module) else (module, *chain)

    return list(max(map(below, FILES), key=len))


def test_imports__between_packages__go_down() -> None:
    storey = {package: at for at, packages in enumerate(STOREYS) for package in packages}
    up = {
        f"{module} -> {name}"
        for module, names in graph(typing=True).items()
        for name in names
        if package_of(module) != package_of(name) and storey[package_of(module)] >= storey[package_of(name)]
    }
    assert up == set()


def test_imports__between_files__have_no_circle() -> None:
    graphlib.TopologicalSorter(graph(typing=True)).prepare()


def test_imports__that_run__have_no_circle() -> None:
    graphlib.TopologicalSorter(graph(typing=False)).prepare()


def test_imports__longest_chain__has_at_most_twelve_floors() -> None:
    assert len(longest_chain()) <= MOST_FLOORS, longest_chain()


def test_files__of_the_library_and_the_studies__do_not_merely_pass_on() -> None:
    files = [path for path in FILES.values() if path.parent != ROOT and path.name != "__init__.py"]
    assert len(files) > 50
    assert [path for path in files if only_passes_on(path)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_commands__of_the_card__stay_short(command: str) -> None:
    assert len(FILES[command].read_text("utf-8").splitlines()) < 150


def test_root__files_under_version_control__are_those_of_the_card_and_packaging() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout")
    assert {name for name in listed.stdout.splitlines() if "/" not in name and not name.startswith(".")} == CARD


def test_names__of_all_tests__say_unit_condition_and_outcome() -> None:
    names = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 800
    assert [name for name in names if "__" not in name] == []


def test_folders__of_the_tests__mirror_the_packages() -> None:
    packages = {package for packages in STOREYS for package in packages if package.startswith("lupi.")}
    assert {module for module in map(package_of, FILES) if module.startswith("lupi.")} == packages
    tested = {f"lupi.{path.parent.name}" for path in (ROOT / "tests" / "lupi").glob("*/test_*.py")}
    assert tested == packages
