"""`Diagnosis`: a study of one method on one table, with its verdict, comparisons, and points of DC and DR."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.data.privileged_data import PrivilegedData
from lupi.evidence import errors
from lupi.evidence.differences import Comparison, Paired, compare, share_tested
from lupi.evidence.gain import Gain, lupi_gain
from lupi.evidence.leaks import Leak, leaks_of_columns
from lupi.evidence.metric_table import METRICS
from lupi.evidence.verdict import Judgement, better_than_all
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


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """A cross-validated study of a method beside its bounds and its control twins (placebo controls).

    >>> from lupi import PrivilegedClassifier
    >>> draw = np.random.default_rng(0)
    >>> X, lab = draw.normal(size=(60, 2)), draw.normal(size=60)
    >>> model = PrivilegedClassifier(epochs=2, random_state=0)
    >>> diagnosis = model.diagnose(X, X.sum(1) + lab > 0, lab, folds=3, repeats=1)
    >>> diagnosis.comparisons()["against"].tolist()[:2]
    ['lower', 'shuffled']
    >>> len(diagnosis.points())  # a point for every test row, as the one privileged column is a number
    60

    Shape
    -----
    dc, dr : [P], for the P rows of `points()`.

    Attributes
    ----------
    method : its name.
    records : a row for every method or twin and split, with metrics, predictions and ẑ (see `study.run`).
    splits : a row for every split: its test rows, and where the teacher changes its class there.
    verdict : one of `lupi.evidence.verdict.VERDICTS`.
    sentence : what the verdict rests on.
    lower, upper, error : mean error of the bounds and of the method (of numbers: RMSE).
    gain : LUPI gain in % (point, low, high: its 95 % interval); NaN where it is not shown (`lupi.evidence.gain`).
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
    gain: Gain
    leaks: tuple[Leak, ...]
    classes: tuple[str, ...] | None
    _paired: dict[str, Paired]

    def __str__(self) -> str:
        names = ", ".join(name for leak in self.leaks for name in leak.columns)
        leaks = f" Privileged columns that determine the class: {names}." if names else ""
        return f"{self.verdict}: {self.sentence}{leaks}"

    @property
    def dc(self) -> Floats:
        """Distance to change of the points of `points()`; NaN: no value in the observed range changes the class."""
        return self.points()["dc"].to_numpy(dtype=np.float64)

    @property
    def dr(self) -> Floats:
        """Distance to real, ẑ - z, of the points of `points()`."""
        return self.points()["dr"].to_numpy(dtype=np.float64)

    def summary(self) -> pd.DataFrame:
        """Mean and standard deviation over splits of every metric: a row for every method and twin."""
        numbers = [name for name in METRICS if name in self.records]
        return self.records.groupby(["method", "control"], sort=False)[numbers].agg(["mean", "std"])

    def comparisons(self) -> pd.DataFrame:
        """Error of lower, and of every twin, − error of the method: mean (positive where the method is better), low,
        high (95 % interval, corrected resampled t), p (two-sided); NaN where no test can be made."""
        rows = [
            {"against": name, **{key: getattr(paired.test, key, np.nan) for key in _TESTED}}
            for name, paired in self._paired.items()
        ]
        return pd.DataFrame(rows, columns=["against", *_TESTED])

    def points(self) -> pd.DataFrame:
        """A row for every test row and numeric privileged column: z, ẑ, DC and DR in standard deviations, who is right.

        Empty where the target is a number, or the method predicts no Z.
        """
        frames = [self._points_of(arm, split, teacher) for arm, split, teacher in self._explained()]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(_POINTS))

    def errors(self) -> pd.DataFrame:
        """The student's errors of every split by kind: the teacher errs too (both), on the way from z to ẑ the teacher
        itself changes its class (caused by the prediction of z), or not (own). Empty as `points`."""
        rows = [
            {key: arm[key] for key in _KEYS}
            | errors.kinds_of_error(
                arm["prediction"].argmax(1), teacher, np.asarray(split["truth"]), errors.crosses(arm["crossing"])
            )
            for arm, split, teacher in self._explained()
        ]
        return pd.DataFrame(rows, columns=[*_KEYS, *errors.KINDS])

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
        axes[0].set_xlabel(f"error of it − error of {self.method} (95 %)")
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
        explained = []
        for _, arm in own.loc[[self.method]].iterrows():
            key = (arm["repeat"], arm["fold"])
            split, teacher = splits.loc[key], uppers.loc[key]
            finite = np.isfinite(arm["prediction"]).all() and np.isfinite(teacher).all()
            if arm["z_hat"] is not None and split["change"] is not None and finite:
                explained.append((arm, split, teacher.argmax(1)))
        return explained

    def _points_of(self, arm: pd.Series, split: pd.Series, teacher: npt.NDArray[np.intp]) -> pd.DataFrame:
        classes = arm["prediction"].argmax(1), teacher, np.asarray(split["truth"])
        columns = split["columns"]
        points = errors.points(columns, split["change"], split["z"], arm["z_hat"], classes, self.classes or ())
        rows = np.asarray(split["rows"])[points["at"].to_numpy(dtype=np.intp)]
        return points.assign(repeat=arm["repeat"], fold=arm["fold"], row=rows)[list(_POINTS)]


_TESTED = ("mean", "low", "high", "p")


def diagnosed(data: PrivilegedData, options: StudyOptions, fitting: Fitting) -> Diagnosis:
    """The study of `options`, whose methods are lower, upper and the one that is judged."""
    study = run(data, options, splits_of(data, options, range(options.repeats)), fitting=fitting)
    records = pd.DataFrame(study.records)
    method = options.weighed_methods[-1]
    error = records.set_index([*_KEYS, "method", "control"])["error"].astype(np.float64).unstack(["method", "control"])
    share = share_tested(*(records[name] for name in (*_KEYS, "n_test", "n_train")))
    twins = [str(control) for control in records["control"].unique() if control != NONE]
    against = {"lower": ("lower", NONE)} | {control: (method.name, control) for control in twins}
    paired = {name: compare(error[key] - error[method.name, NONE], share) for name, key in against.items()}
    judgement = _judged(method, paired)
    lower, upper, own = (error[name, NONE].to_numpy() for name in ("lower", "upper", method.name))
    return Diagnosis(
        method=method.name,
        records=records,
        splits=pd.DataFrame(study.splits),
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        lower=float(np.mean(lower)),
        upper=float(np.mean(upper)),
        error=float(np.mean(own)),
        gain=lupi_gain(lower, own, upper, share),
        leaks=leaks_of_columns(data.determining_columns()),
        classes=data.classes,
        _paired=paired,
    )


def _judged(method: Method, paired: dict[str, Paired]) -> Judgement:
    """The method as the only one of its family, so that no p needs a correction."""
    lower = paired["lower"]
    twins: dict[str, Comparison | None] = {
        name: comparison.test for name, comparison in paired.items() if name != "lower" and takes_all_out(method, name)
    }
    p = float("nan") if lower.test is None else lower.test.p
    return Judgement(method.name, lower, twins, p, better_than_all(lower.test, twins), uses_z=method.uses_z)
