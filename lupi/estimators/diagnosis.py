"""What a study of one method on one table says: does the information help, and why does the student err?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.columns import Column
from lupi.data.privileged_data import PrivilegedData
from lupi.evidence import causes, inference
from lupi.evidence.inference import ALPHA, Comparison
from lupi.methods.options import StudyOptions
from lupi.methods.table import Method
from lupi.methods.twins import NONE, takes_all_out
from lupi.study.preparation import Fitting
from lupi.study.run import run, splits_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

_KEYS = ["repeat", "fold"]
_POINTS = ("column", "repeat", "fold", "row", "z", "z_hat", "dc", "dr", "student", "teacher", "truth", "agreement")
_KINDS = ("repeat", "fold", "rows", "errors", "both", "caused", "own")


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """A cross-validated study of a method beside its bounds and its control twins.

    Attributes
    ----------
    method : its name.
    records : a row for every arm and split, with metrics, predictions and ẑ (see `study.run`).
    splits : a row for every split: its test rows, and where the teacher changes its class there.
    verdict : one of `evidence.VERDICTS`.
    sentence : what the verdict rests on.
    lower, upper, error : mean error of the bounds and of the method (of numbers: RMSE).
    gain : LUPI gain in % with its 95 % interval; NaN where `upper` is not clearly better than `lower`.
    leaks : privileged columns that determine the class: a teacher that sees one is a copy of the labels.
    classes : names of the classes; None for a number.
    """

    method: str
    records: pd.DataFrame
    splits: pd.DataFrame
    verdict: str
    sentence: str
    lower: float
    upper: float
    error: float
    gain: tuple[float, float, float]
    leaks: tuple[str, ...]
    classes: tuple[str, ...] | None
    _tests: dict[str, Comparison | None]

    def __str__(self) -> str:
        leaks = f" Privileged columns that determine the class: {', '.join(self.leaks)}." if self.leaks else ""
        return f"{self.verdict}: {self.sentence}{leaks}"

    @property
    def dc(self) -> Floats:
        """Distance to change of the points of `points()`; NaN: no value in the observed range changes the class."""
        return self.points()["dc"].to_numpy(dtype=np.float64)

    @property
    def dr(self) -> Floats:
        """Distance to real, ẑ - z, of the points of `points()`."""
        return self.points()["dr"].to_numpy(dtype=np.float64)

    def arms(self) -> pd.DataFrame:
        """Mean and standard deviation over splits of every metric: a row for every method and twin."""
        numbers = [name for name in _METRICS if name in self.records]
        return self.records.groupby(["method", "control"], sort=False)[numbers].agg(["mean", "std"])

    def comparisons(self) -> pd.DataFrame:
        """Lower and every twin less the method, by error: mean (positive where the method is better), low, high (95 %
        interval, corrected resampled t), p (two-sided); NaN where no test can be made."""
        rows = [
            {"against": name, **{key: np.nan if test is None else getattr(test, key) for key in _TESTED}}
            for name, test in self._tests.items()
        ]
        return pd.DataFrame(rows, columns=["against", *_TESTED])

    def points(self) -> pd.DataFrame:
        """A row for every test row and numeric privileged column: z, ẑ, DC and DR in standard deviations, who is right.

        Empty where the target is a number, or the method predicts no Z.
        """
        found = [point for arm, split, teacher in self._explained() for point in self._points_of(arm, split, teacher)]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(_POINTS))

    def errors(self) -> pd.DataFrame:
        """The student's errors of every split by kind: the teacher errs too (both), on the way from z to ẑ the teacher
        itself changes its class (caused by the prediction of z), or not (own). Empty as `points`."""
        found = []
        for arm, split, teacher in self._explained():
            student, truth = arm["prediction"].argmax(1), np.asarray(split["truth"])
            errs, alone = student != truth, (student != truth) & (teacher == truth)
            reached = ~np.isnan(np.asarray(arm["crossing"], dtype=np.float64)[:, 0])
            counts = (len(truth), errs.sum(), (errs & ~alone).sum(), (alone & reached).sum(), (alone & ~reached).sum())
            found.append(dict(zip(_KINDS, (arm["repeat"], arm["fold"], *map(int, counts)), strict=True)))
        return pd.DataFrame(found, columns=list(_KINDS))

    def draw(self) -> Figure:
        """A figure: differences to lower and to the twins, and DR against DC where there are points."""
        from matplotlib.figure import Figure as NewFigure

        points = self.points()
        figure = NewFigure(figsize=(11.0 if len(points) else 6.0, 4.0), layout="constrained")
        axes = figure.subplots(1, 2 if len(points) else 1, squeeze=False)[0]
        table = self.comparisons()
        places = np.arange(len(table))[::-1]
        reach = np.abs(table[["low", "high"]].to_numpy().T - table["mean"].to_numpy())
        axes[0].errorbar(table["mean"], places, xerr=reach, fmt="o", capsize=3)
        axes[0].axvline(0.0, color="grey", linewidth=1)
        axes[0].set_yticks(places, table["against"])
        axes[0].set_xlabel(f"error of it less that of {self.method} (95 %)")
        axes[0].set_title(self.verdict)
        if len(points):
            for group, of_group in points.groupby("agreement", sort=False):
                axes[1].scatter(of_group["dc"], of_group["dr"], s=10, alpha=0.6, label=str(group))
            axes[1].axline((0.0, 0.0), slope=1.0, color="grey", linewidth=1)
            axes[1].set(xlabel="DC", ylabel="DR", title=", ".join(points["column"].unique()))
            axes[1].legend()
        return figure

    # ------------------------------------------------------------------ what these are made of

    def _explained(self) -> list[tuple[pd.Series, pd.Series, npt.NDArray[np.intp]]]:
        """(record of the method, record of the split, classes of the teacher) of every split that has all."""
        if self.classes is None:
            return []
        own = self.records[self.records["control"] == NONE].set_index("method")
        uppers = own.loc[["upper"]].set_index(_KEYS)["prediction"]
        splits = self.splits.set_index(_KEYS)
        found = []
        for _, arm in own.loc[[self.method]].iterrows():
            key = (arm["repeat"], arm["fold"])
            split, teacher = splits.loc[key], uppers.loc[key]
            finite = np.isfinite(arm["prediction"]).all() and np.isfinite(teacher).all()
            if arm["z_hat"] is not None and split["change"] is not None and finite:
                found.append((arm, split, teacher.argmax(1)))
        return found

    def _points_of(self, arm: pd.Series, split: pd.Series, teacher: npt.NDArray[np.intp]) -> list[pd.DataFrame]:
        names = np.array(self.classes, dtype=object)
        student, truth = arm["prediction"].argmax(1), np.asarray(split["truth"])
        agreement = np.array(causes.AGREEMENT, dtype=object)[causes.agreement_of(student, teacher, truth)]
        columns = [Column(c["name"], c["start"], c["width"], c["levels"] is not None) for c in split["columns"]]
        change, found = causes.unpack(split["change"], columns), []
        for column in columns:
            if column.categorical:
                continue
            z, z_hat = split["z"][:, column.start], arm["z_hat"][:, column.start]
            found.append(pd.DataFrame({
                "column": column.name, "repeat": arm["repeat"], "fold": arm["fold"], "row": split["rows"],
                "z": z, "z_hat": z_hat, "dc": causes.nearest(change[column.name]), "dr": z_hat - z,
                "student": names[student], "teacher": names[teacher], "truth": names[truth], "agreement": agreement,
            }))  # fmt: skip
        return found


_METRICS = ("error", "auc", "log_loss", "balanced_log_loss", "brier", "mae", "r2", "z_mae", "z_error", "epochs")
_TESTED = ("mean", "low", "high", "p")


def diagnosed(data: PrivilegedData, options: StudyOptions, fitting: Fitting) -> Diagnosis:
    """The study of `options`, whose methods are lower, upper and the one that is judged."""
    found = run(data, options, splits_of(data, options, range(options.repeats)), fitting=fitting)
    records = pd.DataFrame(found.arms)
    method = options.arms[-1]
    error = records.set_index([*_KEYS, "method", "control"])["error"].astype(np.float64).unstack(["method", "control"])
    share = float((records["n_test"] / records["n_train"]).mean())
    twins = [str(control) for control in records["control"].unique() if control != NONE]
    against = {"lower": ("lower", NONE)} | {control: (method.name, control) for control in twins}
    tests = {name: _test(error[key] - error[method.name, NONE], share) for name, key in against.items()}
    verdict, sentence = _said(method, tests)
    bounds = {name: error[name, NONE].to_numpy() for name in ("lower", "upper", method.name)}
    means = {name: float(np.mean(values)) for name, values in bounds.items()}
    return Diagnosis(
        method=method.name,
        records=records,
        splits=pd.DataFrame(found.splits),
        verdict=verdict,
        sentence=sentence,
        lower=means["lower"],
        upper=means["upper"],
        error=means[method.name],
        gain=_gain(bounds["lower"] - bounds[method.name], bounds["lower"] - bounds["upper"], share),
        leaks=tuple(data.determining_columns()),
        classes=data.classes,
        _tests=tests,
    )


def _test(differences: pd.Series, share: float) -> Comparison | None:
    """The corrected t; where the differences are all equal and not 0, the sign test in its place."""
    usable = differences.to_numpy(dtype=np.float64)
    usable = usable[np.isfinite(usable)]
    if len(usable) < 2:
        return None
    test = inference.corrected_t(usable, share)
    return dataclasses.replace(test, p=0.5**test.df) if test.standard_error == 0 and test.mean != 0 else test


def _gain(gained: Floats, possible: Floats, share: float) -> tuple[float, float, float]:
    usable = np.isfinite(gained) & np.isfinite(possible)
    if usable.sum() < 2:
        return (float("nan"),) * 3
    low, high = inference.gain_interval(gained[usable], possible[usable], share)
    share_of_possible = 100.0 * float(gained[usable].mean() / possible[usable].mean()) if low <= high else float("nan")
    return share_of_possible, low, high


def _said(method: Method, tests: dict[str, Comparison | None]) -> tuple[str, str]:
    """The verdict on the only method of a study, and its sentence."""
    lower = tests["lower"]
    twins = {name: test for name, test in tests.items() if name != "lower" and takes_all_out(method, name)}
    if lower is None:
        return inference.NO_EVIDENCE, "a test needs two splits in which the method and lower have a number."
    verdict = inference.verdict(lower, lower.p, twins, inference.better_than_all(lower, twins))
    amount = f"by {abs(lower.mean):.3g} (95 % interval {_interval(lower)})"
    if verdict == inference.NO_EVIDENCE:
        possible = inference.detectable(lower.standard_error, lower.df, ALPHA)
        return verdict, (
            f"{method.name} is not told apart from lower: difference {lower.mean:.3g} (95 % interval "
            f"{_interval(lower)}); a true one of {possible:.3g} would have been found with a probability of 80 %."
        )
    if verdict == inference.HURTS:
        return verdict, f"{method.name} errs more than lower {amount}."
    worst = inference.hardest_twin(twins)
    twin = None if worst is None else twins[worst]
    if twin is None:
        return verdict, f"{method.name} errs less than lower {amount}; without control twins the cause stays open."
    told = f"{worst} (difference {twin.mean:.3g}, {_interval(twin)})"
    rest = {
        inference.HELPS: f"and less than each of its twins, of which the hardest to beat is {told}: the gain comes "
        "from the information.",
        inference.NOT_THROUGH: f"but is not shown to be better than its twin {told}: the gain cannot be put down to "
        "the information.",
    }
    return verdict, f"{method.name} errs less than lower {amount}, " + rest.get(verdict, "but the cause stays open.")


def _interval(test: Comparison) -> str:
    return f"{test.low:.3g} to {test.high:.3g}"
