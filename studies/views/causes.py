"""Why a student errs: who agrees with whom, which errors its predicted Z caused, and what a better ẑ would mend.

Views of the store, for DC_DR.py and the report; `lupi.evidence.errors` says what is what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.evidence import errors
from lupi.evidence.errors import JOINT
from lupi.evidence.metrics import mean_and_std
from lupi.methods.table import named, place
from lupi.methods.twins import NONE
from lupi.settings import PLAIN
from studies.grid import Grid
from studies.views import settings

_KEYS = ["repeat", "fold"]

#: Columns of a frame of points; z, z_hat, dc and dr in standard deviations, z_raw and z_hat_raw in the column's units.
POINTS = ("dataset", "swept", "value", "method", "column", "repeat", "fold", "row", "z", "z_hat", "z_raw", "z_hat_raw",
          "dc", "dr", "teacher", "student", "truth", "agreement")  # fmt: skip


def explicable(results: pd.DataFrame, splits: pd.DataFrame, config: Mapping[str, Any], dataset: str) -> list[str]:
    """The methods of a data set whose errors can be explained."""
    trained = set(results.loc[results["dataset"] == dataset, "method"])
    if not config["data"][dataset]["classes"] or "upper" not in trained:
        return []
    predicts = [name for name in sorted(trained, key=place) if named(name).predicts_z]
    return [name for name in predicts if _by_split(results, splits, dataset, name)]


def agreement(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """Shares in % of each group of `errors.AGREEMENT` for every split: columns against ("upper", "lower"), rows ("all",
    "with a DC"), count, repeat, fold and one for every group. "lower" only where it was trained.

    Raises
    ------
    ValueError : where the errors of this method cannot be explained: it is not in the study or predicts no Z, the upper
        bound is not in the study, the target is a number.
    """
    records = []
    for split, student, others in _explained(results, splits, dataset, method):
        has_dc = _has_dc(split)
        for against, other in others.items():
            for rows, chosen in (("all", np.ones(len(student), bool)), ("with a DC", has_dc)):
                shares = errors.agreement(student[chosen], other[chosen], split["truth"][chosen].astype(np.int64))
                record = {"against": against, "rows": rows, "count": int(chosen.sum())}
                records.append({**record, **{key: split[key] for key in _KEYS}, **shares})
    return pd.DataFrame(records)


def kinds_of_error(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """How many errors of the student are of which kind, for every split and cause: columns cause (a privileged column,
    or `JOINT`), rows, errors, both (the teacher errs too), caused, own, no_change (rows whose class no value in the
    observed range, or on the way to ẑ, changes), unknown (rows whose true value is missing in the column, or in all).
    ValueError as for `agreement`."""
    arms = _arms(results, dataset, method).set_index(_KEYS)
    records = []
    for split, student, others in _explained(results, splits, dataset, method):
        truth, arm = split["truth"].astype(np.int64), arms.loc[tuple(split[key] for key in _KEYS)]
        unknown = _unknown(split)
        for cause, reached, changes in _reached(split, arm):
            records.append({
                "cause": cause, **{key: split[key] for key in _KEYS},
                **errors.kinds_of_error(student, others["upper"], truth, reached),
                "no_change": int((~changes).sum()), "unknown": int(unknown[cause].sum()),
            })  # fmt: skip
    return pd.DataFrame(records)


def levels(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """A row for every test row and categorical privileged column: repeat, fold, row, column, true (level; NaN:
    missing), predicted (the level of largest probability), changing (the levels that, in place of the true one, change
    the teacher's class), changes (whether the predicted one is among them). ValueError as for `agreement`."""
    arms = _arms(results, dataset, method).set_index(_KEYS)
    frames = []
    for split, _, _ in _explained(results, splits, dataset, method):
        columns = split["columns"]
        z_hat, parts = arms.loc[tuple(split[key] for key in _KEYS), "z_hat"], errors.unpack(split["change"], columns)
        for column in columns:
            if not column.categorical:
                continue
            names, flips = np.array(column.levels, dtype=object), parts[column.name] == 1.0
            true, predicted = split["z"][:, column.span], z_hat[:, column.span].argmax(1)
            known = ~np.isnan(true[:, 0])
            frames.append(pd.DataFrame({
                **{key: split[key] for key in _KEYS}, "row": split["rows"], "column": column.name,
                "true": np.where(known, names[np.nan_to_num(true).argmax(1)], None), "predicted": names[predicted],
                "changing": [tuple(names[flipping]) for flipping in flips],
                "changes": flips[np.arange(len(flips)), predicted],
            }))  # fmt: skip
    if frames:
        return pd.concat(frames, ignore_index=True)
    return pd.DataFrame(columns=[*_KEYS, "row", "column", "true", "predicted", "changing", "changes"])


def mendable(results: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """Error of every split: columns repeat, fold, lower, upper (where trained), student, halved (its ẑ half as far from
    z) and oracle (the true z in place of ẑ; both NaN where the student does not read ẑ). ValueError as above."""
    _check(results, dataset, method)
    arm = _arms(results, dataset, method).set_index(_KEYS)
    sources = {"student": "error", "halved": "halved_error", "oracle": "oracle_error"}
    table = pd.DataFrame({name: arm[column].astype(float) for name, column in sources.items()})
    for bound in ("upper", "lower"):
        table.insert(0, bound, _arms(results, dataset, bound).set_index(_KEYS)["error"].reindex(table.index))
    return table.reset_index()


# ---------------------------------------------------------------------- points


def points(
    results: pd.DataFrame, splits: pd.DataFrame, config: Mapping[str, Any], *, repeat: int | None = 0
) -> pd.DataFrame:
    """A row for every test row, method that predicts Z, and numeric privileged column: DC, DR, and who is right.

    results, splits, config : of a store. Data sets without classes, and splits without `change`, give no points.
    repeat : of which repeat (None: all of them, so that a row of the data set shows once for each).

    Returns
    -------
    Columns `POINTS`: dc (NaN: no change anywhere in the observed range), dr = z_hat - z; teacher, student, truth
    (names of classes), agreement (one of `errors.AGREEMENT`).
    """
    chosen = splits if repeat is None else splits[splits["repeat"] == repeat]
    keys = ["dataset", "repeat", "fold"]
    own = results[(results["control"] == NONE) & results["prediction"].notna()]
    by_split = {(setting, *key): arms for setting, key, arms in settings.groups(own, *keys)}
    frames: list[pd.DataFrame] = []
    for setting, (_, split) in zip(settings.settings_of(chosen), chosen.iterrows(), strict=True):
        arms = by_split.get((setting, *split[keys]))
        classes = config["data"].get(split["dataset"], {}).get("classes")
        if arms is None or not classes or split["change"] is None:
            continue
        upper = arms[arms["method"] == "upper"]
        if upper.empty:  # in a swept setting that leaves the teacher as it is
            key = (PLAIN, *split[keys])
            upper = by_split[key][by_split[key]["method"] == "upper"] if key in by_split else upper
        if upper.empty:
            continue
        teacher = upper["prediction"].iloc[0].argmax(1)
        frames += [_points_of(split, arm, teacher, list(classes)) for _, arm in arms[arms["z_hat"].notna()].iterrows()]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(POINTS))
    points = pd.concat(frames)
    datasets, methods = list(config["data"]), sorted(points["method"].unique(), key=place)
    order = {name: i for i, name in enumerate([*datasets, *methods])}
    by = ["dataset", "method"]
    return points.sort_values(by, key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _points_of(split: pd.Series, arm: pd.Series, teacher: npt.NDArray[np.intp], classes: Sequence[str]) -> pd.DataFrame:
    """Points of one split and method, with z and ẑ in the units of their columns too."""
    student, truth = arm["prediction"].argmax(1), np.asarray(split["truth"]).astype(np.intp)
    columns = split["columns"]
    points = errors.points(columns, split["change"], split["z"], arm["z_hat"], (student, teacher, truth), classes)
    origin, unit = (
        points["column"].map({column.name: getattr(column, name) for column in columns}).astype(np.float64)
        for name in ("origin", "unit")
    )
    return points.assign(
        dataset=split["dataset"], swept=split["swept"], value=split["value"], method=arm["method"],
        repeat=split["repeat"], fold=split["fold"], row=np.asarray(split["rows"])[points["at"].to_numpy(dtype=np.intp)],
        z_raw=origin + unit * points["z"], z_hat_raw=origin + unit * points["z_hat"],
    )[list(POINTS)]  # fmt: skip


# ---------------------------------------------------------------------- what they are made of


def _arms(results: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    """The records of a method at the study's own setting."""
    own = (results["control"] == NONE) & settings.at(results)
    return results[own & (results["dataset"] == dataset) & (results["method"] == method)]


def _by_split(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> list[tuple[Any, ...]]:
    """(record of the split, classes of the student [n], those of upper and lower by name) of every split in which all
    have finite predictions."""
    arms = {name: _arms(results, dataset, name).set_index(_KEYS)["prediction"] for name in (method, "upper", "lower")}
    explained = []
    for _, split in splits[(splits["dataset"] == dataset) & settings.at(splits)].iterrows():
        key = tuple(split[k] for k in _KEYS)
        predictions = {name: of_method[key] for name, of_method in arms.items() if key in of_method.index}
        if split["change"] is None or any(np.isnan(p).any() for p in predictions.values()):
            continue
        classes = {name: p.argmax(1) for name, p in predictions.items()}
        others = {name: classes[name] for name in ("upper", "lower") if name in classes}
        explained.append((split, classes[method], others))
    return explained


def _check(results: pd.DataFrame, dataset: str, method: str) -> None:
    """Raise ValueError where the errors of a method cannot be explained."""
    trained = results[(results["dataset"] == dataset) & (results["control"] == NONE)]
    names = list(dict.fromkeys(trained["method"]))
    if method not in names:
        there = ", ".join(names) or "none: there is no such data set"
        raise ValueError(f"{dataset}: {method} is not among the methods of the study; there are {there}.")
    if not named(method).predicts_z:
        able = ", ".join(name for name in names if named(name).predicts_z) or "none of the study"
        raise ValueError(f"{dataset}: {method} predicts no Z whose error could explain its own; those that do: {able}.")
    if "upper" not in names:
        raise ValueError(f"{dataset}: errors are explained by the teacher, which is not in the study; add upper.")
    if _arms(results, dataset, "upper")["prediction"].iloc[0].shape[1] == 1:
        raise ValueError(f"{dataset}: DC and DR need classes, and the target is a number.")


def _explained(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> list[tuple[Any, ...]]:
    """`_by_split`; ValueError where there is nothing to explain, or nothing to explain it by."""
    _check(results, dataset, method)
    explained = _by_split(results, splits, dataset, method)
    if not explained:
        raise ValueError(f"{dataset}: in no split have {method} and the bounds all a number: their networks diverged.")
    return explained


def _unknown(split: pd.Series) -> dict[str, npt.NDArray[np.bool_]]:
    """Whether the true value is missing [n], of every column, and of all."""
    missing = {column.name: np.isnan(split["z"][:, column.start]) for column in split["columns"]}
    return {**missing, JOINT: np.all(list(missing.values()), axis=0)}


def _has_dc(split: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether some value of some column changes the teacher's class [n]."""
    columns = split["columns"]
    parts = errors.unpack(split["change"], columns)
    return np.asarray(np.any([errors.has_change(column, parts[column.name]) for column in columns], axis=0))


def _reached(split: pd.Series, arm: pd.Series) -> list[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """(cause, whether ẑ reaches the teacher's change [n], whether there is one [n]) of every column, and jointly."""
    columns = split["columns"]
    parts = errors.unpack(split["change"], columns)
    causes = [
        (
            column.name,
            errors.reached(column, parts[column.name], split["z"], arm["z_hat"]),
            errors.has_change(column, parts[column.name]),
        )
        for column in columns
    ]
    if len(columns) > 1 and arm["crossing"] is not None:
        crosses = errors.crosses(arm["crossing"])
        causes.append((JOINT, crosses, crosses))
    return causes


# ---------------------------------------------------------------------- for people


def grids(results: pd.DataFrame, splits: pd.DataFrame, dataset: str, method: str) -> list[Grid]:
    """The tables of one method: means ± standard deviation over splits."""
    name = f"{dataset}, {method}"
    return [
        _agreement_grid(agreement(results, splits, dataset, method), name),
        _errors_grid(kinds_of_error(results, splits, dataset, method), name, method),
        *_levels_grid(levels(results, splits, dataset, method), name, method),
        _mendable_grid(mendable(results, dataset, method), name, method),
    ]


def _spread(values: pd.Series, decimals: int) -> str:
    mean, std = mean_and_std(values.to_numpy(dtype=np.float64))
    if np.isnan(mean):
        return "–"
    return f"{mean:.{decimals}f}" + ("" if np.isnan(std) else f" ± {std:.{decimals}f}")


def _agreement_grid(table: pd.DataFrame, name: str) -> Grid:
    headings, cells = ["teacher", "rows", "rows a split", *(f"{group} %" for group in errors.AGREEMENT)], []
    for (against, rows), part in table.groupby(["against", "rows"], sort=False):
        shares = [_spread(part[group], 1) for group in errors.AGREEMENT]
        cells.append([str(against), str(rows), f"{part['count'].mean():.0f}", *shares])
    note = (
        "Student, teacher and truth on test rows; lower in the teacher's place shows what Z changed. A row has a DC "
        "where some value of a privileged column in its observed range changes the teacher's class."
    )
    return Grid.of(headings, cells, f"{name}: agreement", [note])


def _errors_grid(table: pd.DataFrame, name: str, method: str) -> Grid:
    headings = ["privileged", "errors a split", "caused by ẑ %", "the student's own %", "teacher errs too %",
                "rows without a change %"]  # fmt: skip
    cells, notes = [], []
    reads = named(method).privileged_task != "shared"
    for cause, part in table.groupby("cause", sort=False):
        with_errors = part[part["errors"] > 0]
        shares = [_spread(100 * with_errors[kind] / with_errors["errors"], 1) for kind in ("caused", "own", "both")]
        without = "–" if cause == JOINT else _spread(100 * part["no_change"] / part["rows"], 1)
        cells.append([str(cause), _spread(part["errors"], 1), *shares, without])
        total, caused, unknown = (int(part[name].sum()) for name in ("errors", "caused", "unknown"))
        if total:
            of_all = f"{cause}: {caused} of {total} errors of {method} ({100 * caused / total:.1f} %)"
            how = "were caused by its privileged prediction: the teacher" if reads else "lie where the teacher"
            notes.append(f"{of_all} {how}, right at z, would change its class on the way to ẑ.")
        if unknown:
            notes.append(f"{cause}: the true value of {unknown} of {part['rows'].sum()} test rows is unknown; their "
                         "errors count as the student's own, unless the teacher errs too.")  # fmt: skip
    notes.append(
        "The teacher is the judge here; what the student itself would do with a better ẑ is in the last table."
        if reads
        else f"The target of {method} does not read ẑ: its errors cannot come from it. What is called caused here "
        "says only how the teacher would fare with this ẑ."
    )
    return Grid.of(headings, cells, f"{name}: causes of its errors", notes)


def _levels_grid(table: pd.DataFrame, name: str, method: str) -> list[Grid]:
    """What each level of the categorical columns would do; no table where there are none."""
    headings = [
        "privileged", "level", "rows with this level %", "rows where switching to this level flips the teacher %",
        "rows of other levels predicted as this one %", "of these, the teacher flips in %",
    ]  # fmt: skip
    cells, notes = [], []
    for column, part in table[table["true"].notna()].groupby("column", sort=False):
        changing = {level for levels in part["changing"] for level in levels}
        for level in sorted({*part["true"], *part["predicted"], *changing}):
            given = part[part["true"] != level]
            would = given["changing"].map(lambda names, level=level: level in names).astype(float)
            wrong = given["predicted"] == level
            splits = [given[key] for key in _KEYS]
            by_split = [
                100.0 * share
                for share in (
                    (part["true"] == level).astype(float).groupby([part[key] for key in _KEYS]).mean(),
                    would.groupby(splits).mean(),
                    wrong.astype(float).groupby(splits).mean(),
                    given.loc[wrong, "changes"].astype(float).groupby([key[wrong] for key in splits]).mean(),
                )
            ]
            cells.append([str(column), str(level), *(_spread(share, 1) for share in by_split)])
        some, missed = int((part["changing"].map(len) > 0).sum()), part[part["predicted"] != part["true"]]
        notes.append(
            f"{column}: in {some} of {len(part)} test rows some other level would change the teacher's class; {method} "
            f"predicts a wrong level in {len(missed)}, which changes it in {int(missed['changes'].sum())}."
        )
    return [Grid.of(headings, cells, f"{name}: levels that flip the teacher", notes)] if notes else []


def _mendable_grid(table: pd.DataFrame, name: str, method: str) -> Grid:
    title = f"{name}: what a better ẑ would mend"
    lines = {
        "lower": "lower", "student": method, "halved": f"{method}, ẑ half as far from z",
        "oracle": f"{method}, true z for ẑ", "upper": "upper",
    }  # fmt: skip
    cells = [[label, _spread(table[column], 3)] for column, label in lines.items() if column in table]
    if table["oracle"].isna().all():
        return Grid.of(["", "error"], cells, title, [f"The target of {method} does not read ẑ."])
    student, oracle = table.dropna(subset=["student", "oracle"])[["student", "oracle"]].mean()
    note = f"With the true z in place of ẑ the error of {method} would "
    if f"{student:.3f}" == f"{oracle:.3f}":
        note += f"stay at {student:.3f}: a better prediction of z is worth nothing to this student, as it was trained."
    elif oracle < student:
        note += f"fall from {student:.3f} to {oracle:.3f}: that is what a perfect prediction of z is worth to this "
        note += "student, as it was trained."
    else:
        note += f"rise from {student:.3f} to {oracle:.3f}: this student, as it was trained, is used to its own ẑ."
    return Grid.of(["", "error"], cells, title, [note])
