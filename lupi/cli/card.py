"""The model card of a saved student, as Markdown: data, method and why, scores, calibration, columns, versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.cli.scores import FOLDS, Scores

Student = PrivilegedClassifier | PrivilegedRegressor

_TITLES = {"log_loss": "log loss", "error": "error", "balanced_log_loss": "balanced log loss", "rmse": "RMSE",
           "mae": "MAE", "r2": "R²"}  # fmt: skip
_MOST_LEVELS = 12


def scored(kind: str, name: str, scores: Scores | None, seconds: float) -> dict[str, Any]:
    """A row of the scores that a card keeps; `kind` is "student" or "peer"."""
    return {"kind": kind, "name": name, "scores": scores, "seconds": seconds}


def summary(student: Student, file: str) -> str:
    """What `fit` says of the student that it has saved."""
    table = _score_table(student.card_["scores"])
    return f"{student.why_}\n\n{table}\n\n{file} has it; its model card: python -m lupi show {file}\n"


def render(student: Student, file: str) -> str:
    """The card. An estimator that Python code has saved has no facts of its data, and its card says so."""
    facts = getattr(student, "card_", None)
    parts = [f"# Model card: {file}", _opening(student, facts)]
    if facts:
        parts += ["## Data", _data(facts)]
        parts += [f"- Warning: {warning}" for warning in facts["warnings"]]
    parts += ["## Method", _method(student, facts)]
    if student.scores_:
        parts.append(_table(["method", "out-of-fold loss"], [[n, _number(v)] for n, v in student.scores_.items()]))
    if facts:
        parts += ["## Out-of-fold scores", _score_table(facts["scores"]), _how_scored(student, facts["scores"])]
    if isinstance(student, PrivilegedClassifier):
        parts += ["## Calibration", _calibration(student)]
    parts += ["## Columns", _column_table(facts["columns"] if facts else _columns(student))]
    if facts:
        parts += ["## Versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items()) + "."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(student: Student, facts: dict[str, Any] | None) -> str:
    if facts is None:
        return f"A {type(student).__name__} that was saved without facts of its data; `python -m lupi fit` keeps them."
    data = facts["data"]
    what = f"the class `{data['target']}`" if data["classes"] else f"the number `{data['target']}`"
    regular = [column for column in facts["columns"] if column["role"] == "regular"]
    return f"Predicts {what} from {_count(len(regular), 'column')}. Fitted on {facts['date']} (UTC)."


def _data(facts: dict[str, Any]) -> str:
    data = facts["data"]
    rows = [["table", data["table"]], ["rows", data["rows"]]]
    if data["privileged_table"]:
        rows.append(["privileged table", f"{data['privileged_table']}, joined on {data['on']}"])
    roles = [column["role"] for column in facts["columns"]]
    rows.append(["columns", f"{roles.count('regular')} regular, {roles.count('privileged')} privileged"])
    if data["classes"]:
        counts = ", ".join(f"{name}: {count}" for name, count in data["classes"])
        rows.append([f"classes of {data['target']}", counts])
    else:
        low, mean, high = map(_number, data["span"])
        rows.append([data["target"], f"{low} to {high}, mean {mean}"])
    if data["dropped"]:
        rows.append(["left out", ", ".join(data["dropped"])])
    rows += [["read otherwise", note] for note in data["notes"]]
    return _table(["data", ""], rows)


def _method(student: Student, facts: dict[str, Any] | None) -> str:
    asked = dict(facts["options"]) if facts else {}
    shown = [f"preset {student.preset}", *(f"{name} {_value(value)}" for name, value in asked.items())]
    seed = f", seed {facts['data']['seed']}" if facts else ""
    options = ", ".join(dict.fromkeys(shown)) + seed
    return f"`{student.method_}`. Why: {student.why_}\n\nOptions: {options}. Epochs trained: at most {student.n_iter_}."


def _score_table(rows: Sequence[dict[str, Any]]) -> str:
    """The scores of the student and its peers, a row each."""
    names = next((list(row["scores"]) for row in rows if row["scores"]), [])
    head = ["model", *(_TITLES[name] for name in names), "seconds"]
    body = [
        [
            f"student ({row['name']})" if row["kind"] == "student" else row["name"],
            *(_number(row["scores"][name]) if row["scores"] else "-" for name in names),
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    return _table(head, body)


def _how_scored(student: Student, rows: Sequence[dict[str, Any]]) -> str:
    lines = ["Seconds are those of all fits."]
    if rows[0]["scores"]:
        lines.append(
            "Student: on the training rows, by members that did not fit on them. The same rows stopped the training, "
            "chose the method where it was auto, and fitted the temperature; new rows may score a little worse."
        )
    else:
        lines.append("The student has no out-of-fold predictions, as it was fitted without bagging.")
    if len(rows) > 1:
        lines.append(
            f"Peers: on the same rows, by cross-validation in {FOLDS} folds, with the defaults of their makers and "
            "without the privileged columns."
        )
    if isinstance(student, PrivilegedClassifier):
        lines.append("The balanced log loss weighs classes alike; odds are divided by the classes' frequencies first.")
        if student.target_prior == "balanced":
            lines.append(
                "The student's probabilities are for classes of equal frequency (target_prior balanced): log loss and "
                "error suffer where the classes of the table are not."
            )
    return " ".join(lines)


def _calibration(student: PrivilegedClassifier) -> str:
    found = student.calibration_
    if not found:
        return "Probabilities are not calibrated."
    return (
        f"One temperature for all, {_number(found['temperature'])}, fitted on out-of-fold predictions. Expected "
        f"calibration error there: {_number(found['before'])} before, {_number(found['after'])} after."
    )


def _columns(student: Student) -> list[dict[str, Any]]:
    """What an estimator knows of its columns."""
    roles = (("regular", student._student["features"]), ("privileged", student._student["privileged"]))
    return [
        {
            "name": feature["name"], "role": role, "kind": "number" if feature["levels"] is None else "category",
            "levels": feature["levels"], "span": None, "missing": None, "date": None,
        }
        for role, features in roles
        for feature in features
    ]  # fmt: skip


def _column_table(columns: Sequence[dict[str, Any]]) -> str:
    body = [
        [column["name"], column["role"], column["kind"], _contents(column), "-" if missing is None else missing]
        for column in columns
        for missing in [column["missing"]]
    ]
    return _table(["column", "role", "kind", "levels or range", "missing cells"], body)


def _contents(column: dict[str, Any]) -> str:
    levels = column["levels"]
    if levels is not None:
        more = f" and {len(levels) - _MOST_LEVELS} more" if len(levels) > _MOST_LEVELS else ""
        return ", ".join(levels[:_MOST_LEVELS]) + more
    span = f"{_number(column['span'][0])} to {_number(column['span'][1])}" if column["span"] else ""
    return span + (f" days since {column['date'][1]} ({column['date'][0]})" if column["date"] else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of Markdown whose columns are as wide in the file as on the page."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in [head, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _number(value: float) -> str:
    return f"{value:.4g}"


def _value(value: Any) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
