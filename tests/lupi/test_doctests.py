"""The examples in docstrings run, and public classes say the shapes of what goes in and out."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lupi
from lupi.data.privileged_data import PrivilegedData
from lupi.engine.losses import Layout
from lupi.estimators.diagnosis import Diagnosis

#: Modules with examples -> at least so many statements in them.
MODULES = {
    "lupi.balancing": 1,
    "lupi.balancing.base": 5,
    "lupi.data.privileged_data": 4,
    "lupi.data.splits": 1,
    "lupi.engine.losses": 4,
    "lupi.engine.modules": 2,
    "lupi.estimators.diagnosis": 6,
    "lupi.estimators.distiller": 14,
    "lupi.estimators.predictors": 17,
    "lupi.estimators.search": 8,
    "lupi.evidence.calibration": 5,
    "lupi.evidence.differences": 2,
    "lupi.evidence.gain": 4,
    "lupi.methods.options": 4,
    "lupi.study.peers": 2,
    "lupi.study.run": 12,
}


def examples_of(module: ModuleType) -> list[doctest.DocTest]:
    return [example for example in doctest.DocTestFinder().find(module) if example.examples]


def test_modules__with_examples__are_all_listed() -> None:
    root = Path(lupi.__file__).parent
    files = [path for path in root.rglob("*.py") if ">>> " in path.read_text("utf-8")]
    names = {".".join(path.relative_to(root.parent).with_suffix("").parts) for path in files}
    assert {name.removesuffix(".__init__") for name in names} == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings__examples__run(name: str) -> None:
    examples = examples_of(importlib.import_module(name))
    runner = doctest.DocTestRunner()
    for example in examples:
        runner.run(example)
    assert runner.tries >= MODULES[name]
    assert runner.failures == 0


@pytest.mark.parametrize(
    "public",
    [*(getattr(lupi, name) for name in lupi.__all__), PrivilegedData, PrivilegedData.from_frame, Layout, Diagnosis],
    ids=lambda public: str(public.__qualname__),
)
def test_docstrings__of_public_classes__say_the_shapes_of_arrays(public: Any) -> None:
    lines = [line.strip() for line in public.__doc__.splitlines()]
    assert lines[lines.index("Shape") + 1] == "-----"
