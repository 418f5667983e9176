"""Why a student errs: who agrees with whom, which errors its predicted Z caused, and what a better ẑ would mend.

Views of the store, for DC_DR.py and the report. Where student and teacher err both, the teacher has no better to offer.
Where the student errs alone, the error was *caused* by the privileged prediction if the teacher itself would change its
class on the way from z to ẑ (DR beyond DC), and is the student's *own* if not. These three kinds are all its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi import causes
from lupi.controls import NONE
from lupi.losses import Column
from lupi.methods import METHODS
from lupi.metrics import mean_and_std

Grid = list[list[str]]
_KEYS = ["repeat", "fold"]

JOINT = "all columns"  # the straight way from z to ẑ


def explicable(results: pd.DataFrame, splits: pd.DataFrame, config: Mapping[str, Any], dataset: str) -> list[str]:
    """The methods of a data set whose errors can be explained."""
    trained = set(results.loc[results["dataset"] == dataset, "method"])
    if not config["data"][dataset]["classes"] or "upper" not in trained:
        return []
    predicts = [name for name, method in METHODS.items() if method.privileged_task != "none" and name in trained]
    return [name for name in predicts if _by_split(results, splits, dataset, name)]


def agreement(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """Shares in % of each group of `causes.AGREEMENT` for every split: columns against ("upper", "lower"), rows ("all",
    "with a DC"), count, repeat, fold and one for every group. "lower" only where it was trained."""
    found = []
    for split, student, others in _by_split(results, splits, dataset, method):
        has_dc = _has_dc(split)
        for against, other in others.items():
            for rows, chosen in (("all", np.ones(len(student), bool)), ("with a DC", has_dc)):
                shares = causes.agreement(student[chosen], other[chosen], split["truth"][chosen].astype(np.int64))
                told = {"against": against, "rows": rows, "count": int(chosen.sum())}
                found.append({**told, **{key: split[key] for key in _KEYS}, **shares})
    return pd.DataFrame(found)


def kinds_of_error(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """How many errors of the student are of which kind, for every split and cause: columns cause (a privileged column,
    or `JOINT`), rows, errors, both (the teacher errs too), caused, own, no_change (rows whose class no value in the
    observed range, or on the way to ẑ, changes)."""
    arms = _arms(results, dataset, method).set_index(_KEYS)
    found = []
    for split, student, others in _by_split(results, splits, dataset, method):
        truth, teacher = split["truth"].astype(np.int64), others["upper"]
        errs, alone = student != truth, (student != truth) & (teacher == truth)
        arm = arms.loc[tuple(split[key] for key in _KEYS)]
        for cause, reached, changes in _reached(split, arm):
            found.append({
                "cause": cause, **{key: split[key] for key in _KEYS}, "rows": len(truth), "errors": int(errs.sum()),
                "both": int((errs & ~alone).sum()), "caused": int((alone & reached).sum()),
                "own": int((alone & ~reached).sum()), "no_change": int((~changes).sum()),
            })  # fmt: skip
    return pd.DataFrame(found)


def mendable(results: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """Error of every split: columns repeat, fold, lower, upper (where trained), student, halved (its ẑ half as far from
    z) and oracle (the true z in place of ẑ; both NaN where the student does not read ẑ)."""
    arm = _arms(results, dataset, method).set_index(_KEYS)
    named = {"student": "error", "halved": "halved_error", "oracle": "oracle_error"}
    table = pd.DataFrame({name: arm[column].astype(float) for name, column in named.items()})
    for bound in ("upper", "lower"):
        table.insert(0, bound, _arms(results, dataset, bound).set_index(_KEYS)["error"].reindex(table.index))
    return table.reset_index()


# ---------------------------------------------------------------------- what they are made of


def _arms(results: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """The records of a method at the study's own setting."""
    own = (results["control"] == NONE) & (results["setting"] == "")
    return results[own & (results["dataset"] == dataset) & (results["method"] == method)]


def _by_split(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> list[tuple[Any, ...]]:
    """(record of the split, classes of the student [n], those of upper and lower by name) of every split in which all
    have finite predictions."""
    arms = {name: _arms(results, dataset, name).set_index(_KEYS)["prediction"] for name in (method, "upper", "lower")}
    found = []
    for _, split in splits[(splits["dataset"] == dataset) & (splits["setting"] == "")].iterrows():
        key = tuple(split[k] for k in _KEYS)
        predictions = {name: of_method[key] for name, of_method in arms.items() if key in of_method.index}
        if split["change"] is None or any(np.isnan(p).any() for p in predictions.values()):
            continue
        classes = {name: p.argmax(1) for name, p in predictions.items()}
        found.append((split, classes[method], {name: classes[name] for name in ("upper", "lower") if name in classes}))
    return found


def _columns(split: pd.Series) -> list[Column]:
    return [Column(c["name"], c["start"], c["width"], c["levels"] is not None) for c in split["columns"]]


def _has_dc(split: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether some value of some column changes the teacher's class [n]."""
    parts = causes.unpack(split["change"], _columns(split))
    changes = [
        (parts[c.name] == 1.0).any(1) if c.categorical else (~np.isnan(parts[c.name])).any(1) for c in _columns(split)
    ]
    return np.asarray(np.any(changes, axis=0))


def _reached(split: pd.Series, arm: pd.Series) -> list[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """(cause, whether ẑ reaches the teacher's change [n], whether there is one [n]) of every column, and jointly."""
    parts, z, z_hat = causes.unpack(split["change"], _columns(split)), split["z"], arm["z_hat"]
    found = []
    for column in _columns(split):
        change = parts[column.name]
        if column.categorical:
            level = z_hat[:, column.span].argmax(1)
            found.append((column.name, change[np.arange(len(level)), level] == 1.0, (change == 1.0).any(1)))
        else:
            dr = z_hat[:, column.start].astype(np.float64) - z[:, column.start]
            found.append((column.name, causes.beyond(change, dr), (~np.isnan(change)).any(1)))
    if len(found) > 1 and arm["crossing"] is not None:
        crosses = ~np.isnan(arm["crossing"][:, 0])
        found.append((JOINT, crosses, crosses))
    return found


# ---------------------------------------------------------------------- for people


Told = tuple[str, Grid, list[str]]
"""Title, rows of cells with headings first, and sentences."""


def grids(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> list[Told]:
    """The tables of one method: means ± standard deviation over splits."""
    return [
        _agreement_grid(agreement(results, splits, dataset, method), method),
        _errors_grid(kinds_of_error(results, splits, dataset, method), method),
        _mendable_grid(mendable(results, dataset, method), method),
    ]


def _spread(values: pd.Series, decimals: int) -> str:
    mean, std = mean_and_std(values.to_numpy(dtype=np.float64))
    if np.isnan(mean):
        return "–"
    return f"{mean:.{decimals}f}" + ("" if np.isnan(std) else f" ± {std:.{decimals}f}")


def _agreement_grid(table: pd.DataFrame, method: str) -> Told:
    grid = [["teacher", "rows", "a split", *(f"{group} %" for group in causes.AGREEMENT)]]
    for (against, rows), part in table.groupby(["against", "rows"], sort=False):
        shares = [_spread(part[group], 1) for group in causes.AGREEMENT]
        grid.append([str(against), str(rows), f"{part['count'].mean():.0f}", *shares])
    note = (
        "Student, teacher and truth on test rows; lower in the teacher's place shows what Z changed. A row has a DC "
        "where some value of a privileged column in its observed range changes the teacher's class."
    )
    return f"{method}: agreement", grid, [note]


def _errors_grid(table: pd.DataFrame, method: str) -> Told:
    headings = ["privileged", "errors a split", "caused by ẑ %", "the student's own %", "teacher errs too %"]
    grid, notes = [[*headings, "rows without a change %"]], []
    for cause, part in table.groupby("cause", sort=False):
        errors = part[part["errors"] > 0]
        shares = [_spread(100 * errors[kind] / errors["errors"], 1) for kind in ("caused", "own", "both")]
        grid.append(
            [str(cause), _spread(part["errors"], 1), *shares, _spread(100 * part["no_change"] / part["rows"], 1)]
        )
        total, caused = int(part["errors"].sum()), int(part["caused"].sum())
        if total:
            notes.append(
                f"{cause}: {caused} of {total} errors of {method} ({100 * caused / total:.1f} %) were caused by its "
                "privileged prediction: the teacher, right at z, would change its class on the way to ẑ."
            )
    if METHODS[method].privileged_task == "shared":
        notes.append(f"The target of {method} does not read ẑ: of it this only says how the teacher would fare with it.")
    return f"{method}: causes of its errors", grid, notes


def _mendable_grid(table: pd.DataFrame, method: str) -> Told:
    names = {
        "lower": "lower", "student": method, "halved": f"{method}, ẑ half as far from z",
        "oracle": f"{method}, true z for ẑ", "upper": "upper",
    }  # fmt: skip
    grid = [["", "error"], *([told, _spread(table[name], 3)] for name, told in names.items() if name in table)]
    if table["oracle"].isna().all():
        return f"{method}: what a better ẑ would mend", grid, [f"The target of {method} does not read ẑ."]
    student, oracle = table["student"].mean(), table["oracle"].mean()
    verb = "fall" if oracle < student else "rise" if oracle > student else "stay"
    note = f"With the true z in place of ẑ the error of {method} would {verb} from {student:.3f} to {oracle:.3f}: "
    note += "a better prediction of z is worth that much to this student, as it was trained."
    return f"{method}: what a better ẑ would mend", grid, [note]
