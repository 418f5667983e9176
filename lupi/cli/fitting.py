"""`fit`: a student from a table, saved with the facts of its model card."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import lupi
from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.cli import card, scores, tables
from lupi.cli.errors import check_out
from lupi.data.privileged_data import PrivilegedData
from lupi.estimators.checks import usable_device
from lupi.evidence.leaks import leaks_of_columns
from lupi.settings import HYPER_PARAMETERS

log = logging.getLogger("lupi")

_TABLE = "the table"
_PLAIN = "lower"
_PACKAGES = ("torch", "numpy", "scikit-learn")


def fit(given: Mapping[str, Any], values: dict[str, Any]) -> str:
    """Train a student on a table, save it, and say what it became.

    given : the options that were given; values : all options, by name.

    Raises
    ------
    ValueError : for options and tables that do not fit. No file is written then, and none after an interrupt.
    """
    path, out = _paths(values)
    table = tables.read(path, _TABLE, values)
    for note in table.notes:
        log.warning("%s", note)
    if not table.privileged and values["method"] != _PLAIN:
        raise ValueError(
            "--privileged must name the columns that are known in training only (or --privileged-file their table); "
            f"found none. Without any: --method {_PLAIN}, the plain network."
        )
    data = PrivilegedData.from_frame(
        table.frame, values["target"], name=path.name, privileged=table.privileged,
        categorical=[*values["categorical"], *table.texts], drop=table.drop, notes=table.notes,
    )  # fmt: skip
    leaks = [str(leak) for leak in leaks_of_columns(data.determining_columns() if table.privileged else ())]
    for leak in leaks:
        log.warning("%s: %s", data.name, leak)
    student = _estimator(given, values, data)
    peers = [] if values["peers"] is None else scores.check_peers(values["peers"], data)
    device = usable_device(values["device"])
    log.info("%s: %d rows, %d columns and %d privileged ones", path, len(data.y), data.X.shape[1], data.Z.shape[1])
    start = time.perf_counter()
    Z = table.frame[table.privileged] if table.privileged else None
    student.fit(table.frame[list(data.X.columns)], _labels(table.frame[values["target"]], data), privileged=Z)
    seconds = time.perf_counter() - start
    scored = [card.scored("student", student.method_, scores.of_student(student, data), seconds)]
    for peer in peers:
        found = scores.of_peer(peer, data, values["seed"], device)
        if found:
            scored.append(card.scored("peer", peer.name, *found))
    student.card_ = {
        "data": _data_facts(path, values, data, table), "columns": _column_facts(table, data),
        "reading": {name: values[name] for name in ("sep", "decimal", "na_values")},
        "options": _asked(given), "scores": scored, "warnings": leaks, "versions": _versions(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
    student.save(out)
    return card.summary(student, out.name)


def _paths(values: dict[str, Any]) -> tuple[Path, Path]:
    """The table, and the file of the student: checked before anything is trained."""
    if not values["table"]:
        raise ValueError("fit needs a table: python -m lupi fit train.csv --target y --privileged a b --out FILE.")
    if not values["out"]:
        raise ValueError("fit needs --out, the file that keeps the student, such as --out student.lupi.")
    path, out = Path(values["table"]), Path(values["out"])
    check_out(out, [path, *([Path(values["privileged_file"])] if values["privileged_file"] else [])])
    return path, out


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the estimator that were asked for."""
    names = {*HYPER_PARAMETERS, "method", "preset", "balance", "device"} - {"seed"}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in names}


def _estimator(
    given: Mapping[str, Any], values: dict[str, Any], data: PrivilegedData
) -> PrivilegedClassifier | PrivilegedRegressor:
    """The estimator for the target, with the options as its parameters."""
    kind = PrivilegedRegressor if data.classes is None else PrivilegedClassifier
    asked = _asked(given)
    of_classes = [f"--{name.replace('_', '-')}" for name in asked if name not in kind._get_param_names()]
    if of_classes:
        raise ValueError(
            f"{' and '.join(of_classes)} must go with classes; the target {values['target']!r} is a number. Leave out "
            f"the option, or read the target as classes: --categorical {values['target']}."
        )
    here = [column for column in dict.fromkeys(values["categorical"]) if column in (*data.X.columns, *data.Z.columns)]
    return kind(**asked, categorical=here or "auto", random_state=values["seed"])


def _labels(column: pd.Series, data: PrivilegedData) -> npt.NDArray[Any]:
    """The target [n]: numbers, or labels as the table has them, whole numbers or text."""
    if data.classes is None:
        return data.y
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and (column == column.round()).all():
        whole: npt.NDArray[Any] = column.to_numpy(dtype=np.int64)
        return whole
    labels: npt.NDArray[Any] = np.array(data.classes, dtype=object)[data.y]
    return labels


def _data_facts(path: Path, values: dict[str, Any], data: PrivilegedData, table: tables.Table) -> dict[str, Any]:
    second = values["privileged_file"]
    notes = [note.replace(str(path), path.name) for note in table.notes]  # a card tells no folders
    notes = [note.replace(second, Path(second).name) for note in notes] if second else notes
    counts = None
    if data.classes is not None:  # a list, since the names of classes are anything
        found = np.bincount(data.y, minlength=len(data.classes)).tolist()
        counts = [[name, count] for name, count in zip(data.classes, found, strict=True)]
    span = None if counts else [float(data.y.min()), float(data.y.mean()), float(data.y.max())]
    return {
        "table": path.name, "privileged_table": Path(second).name if second else None, "on": values["on"],
        "rows": len(data.y), "target": values["target"], "classes": counts, "span": span,
        "dropped": [column for column in table.drop if column in table.frame.columns], "notes": notes,
        "seed": values["seed"],
    }  # fmt: skip


def _column_facts(table: tables.Table, data: PrivilegedData) -> list[dict[str, Any]]:
    """What each column is, regular ones first.

    text : whether its cells are text in the file; date : how dates are written, and the first, for days since then.
    """
    facts = []
    for role, columns in (("regular", data.X), ("privileged", data.Z)):
        for name, values in columns.items():
            column, how = table.frame[name], table.dates.get(str(name))
            categorical = isinstance(values.dtype, pd.CategoricalDtype)
            facts.append({
                "name": str(name), "role": role, "kind": "category" if categorical else "number",
                "levels": [str(level) for level in values.cat.categories] if categorical else None,
                "span": None if categorical else [float(values.min()), float(values.max())],
                "missing": int(column.isna().sum()),
                "text": pd.api.types.infer_dtype(column, skipna=True) == "string",
                "date": None if how is None else [how[0], how[1].date().isoformat()],
            })  # fmt: skip
    return facts


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"lupi": lupi.__version__, **found, "Python": platform.python_version()}
