"""Every method of a study against the lower bound and against its control twins, paired over the same splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.evidence import inference
from lupi.evidence.inference import ALPHA, Comparison, corrected_t
from lupi.methods.table import named, place
from lupi.methods.twins import CONTROLS, NONE, takes_all_out

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a metric of the store reads in a sentence, and whether more of it is better."""

    name: str
    less: str
    more: str
    larger_is_better: bool = False


def _metric(name: str, larger_is_better: bool = False) -> Metric:
    return Metric(name, f"has a lower {name} than", f"has a higher {name} than", larger_is_better)


#: Metrics that methods can be compared by: columns of the store.
METRICS = {
    "error": Metric("error", "errs less than", "errs more than"),
    "auc": _metric("AUC", True),
    "log_loss": _metric("log loss"),
    "balanced_log_loss": _metric("balanced log loss"),
    "brier": _metric("Brier score"),
    "mae": _metric("MAE"),
    "r2": _metric("R²", True),
}

_BOUNDS = ("lower", "upper")


@dataclasses.dataclass(frozen=True)
class Paired:
    """A method against another arm over the splits in which both have a number.

    mean : of the differences, positive where the method is better; NaN without such splits.
    test : None where these splits are fewer than two.
    splits, of : how many there are, of how many.
    """

    mean: float
    test: Comparison | None
    splits: int
    of: int


class Losses:
    """The results of one data set by one metric, turned so that less is better: a column for every arm."""

    def __init__(self, of_set: pd.DataFrame, metric: str) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}; found {metric!r}.")
        values = of_set[metric].astype(np.float64) * (-1.0 if METRICS[metric].larger_is_better else 1.0)
        arm, split = ["setting", "method", "control"], ["repeat", "fold"]
        table = of_set.assign(loss=values.where(np.isfinite(values))).set_index([*split, *arm])["loss"].unstack(arm)
        self._arms: dict[Any, Floats] = {key: table[key].to_numpy(dtype=np.float64) for key in table}
        self.test_share = _test_share(of_set)
        self.settings = sorted(of_set["setting"].unique(), key=_setting_order)

    def has(self, setting: str, method: str, control: str = NONE) -> bool:
        return (setting, method, control) in self._arms

    def methods(self, setting: str) -> list[str]:
        """Methods to judge in a setting, in the order of the table of methods."""
        names = {method for s, method, control in self._arms if s == setting and control == NONE}
        return sorted(names - set(_BOUNDS), key=place)

    def of(self, setting: str, method: str, control: str = NONE) -> Floats | None:
        """Losses [splits]; a bound that was not trained in a swept setting is that of the study's own options."""
        if not self.has(setting, method, control) and method in _BOUNDS:
            setting = ""
        return self._arms[setting, method, control] if self.has(setting, method, control) else None

    def compare(self, setting: str, method: str, against: tuple[str, str]) -> Paired | None:
        """`method` against another (method, control); None where one of them was not trained."""
        own, other = self.of(setting, method), self.of(setting, *against)
        if own is None or other is None:
            return None
        differences = other - own
        usable = differences[np.isfinite(differences)]
        mean = float(usable.mean()) if len(usable) else float("nan")
        test = _test(usable, self.test_share) if len(usable) > 1 else None
        return Paired(mean, test, len(usable), len(differences))

    def gain(self, setting: str, method: str) -> tuple[float, float, float]:
        """LUPI gain in % and its 95 % interval; NaN where the upper bound is not clearly better than the lower."""
        nothing = (float("nan"),) * 3
        arms = [self.of(setting, name) for name in ("lower", method, "upper")]
        if any(arm is None for arm in arms):
            return nothing
        lower, own, upper = np.array(arms)[:, np.isfinite(np.array(arms)).all(0)]
        if len(lower) < 2:
            return nothing
        low, high = inference.gain_interval(lower - own, lower - upper, self.test_share)
        return (100.0 * float((lower - own).mean() / (lower - upper).mean()), low, high) if low <= high else nothing


def _test(differences: Floats, test_share: float) -> Comparison:
    """The corrected t; where the differences are all equal and not 0, the sign test in its place.

    Counts over few splits are equal by accident: of two folds with 30 rows each, in one null study of ten. A t without
    variance would be sure of them.
    """
    test = corrected_t(differences, test_share)
    return dataclasses.replace(test, p=0.5**test.df) if test.standard_error == 0 and test.mean != 0 else test


def _test_share(of_set: pd.DataFrame) -> float:
    """Mean n_test / n_train of the splits, where n_train is all rows of the training folds.

    A study on fewer training rows than the folds have shares no more of its rows between splits for that.
    """
    splits = of_set.groupby(["repeat", "fold"]).agg({"n_test": "first", "n_train": "max"})
    rows = splits.groupby("repeat")["n_test"].transform("sum")
    training = np.maximum(rows - splits["n_test"], splits["n_train"])
    return float((splits["n_test"] / training).mean())


def _setting_order(setting: str) -> tuple[str, float, str]:
    """By what is swept, then by its value as a number."""
    swept, _, value = setting.rpartition("=")
    try:
        return swept, float(value), ""
    except ValueError:
        return swept, -np.inf, value


def deciding_twins(method: str) -> tuple[str, ...]:
    """The twins that a method must beat to be said to help: those in which nothing of Z is left."""
    try:
        described = named(method)
    except KeyError:
        return ()
    return tuple(control for control in CONTROLS if takes_all_out(described, control))


@dataclasses.dataclass(frozen=True)
class Judged:
    """One method in one setting of a data set: its comparisons, and the level of the first step of Holm's procedure."""

    dataset: str
    setting: str
    method: str
    lower: Paired | None
    twins: dict[str, Paired]
    losses: Losses
    level: float
    compared: int

    @property
    def deciding(self) -> dict[str, Comparison | None]:
        deciding = deciding_twins(self.method)
        return {name: paired.test for name, paired in self.twins.items() if name in deciding}

    def detectable(self, paired: Paired) -> float:
        """NaN where no variance tells."""
        if paired.test is None or paired.test.standard_error == 0:
            return float("nan")
        return inference.detectable(paired.test.standard_error, paired.test.df, self.level)


def families(results: pd.DataFrame, metric: str) -> Iterator[list[Judged]]:
    """For every data set and setting the methods that are judged together."""
    for dataset, of_set in results.groupby("dataset", sort=False):
        losses = Losses(of_set, metric)
        for setting in losses.settings:
            names = losses.methods(setting)
            lower = {name: losses.compare(setting, name, ("lower", NONE)) for name in names}
            compared = sum(paired is not None and paired.test is not None for paired in lower.values())
            level = ALPHA / max(compared, 1)
            family = []
            for name in names:
                twins = {control: losses.compare(setting, name, (name, control)) for control in CONTROLS}
                there = {control: paired for control, paired in twins.items() if paired is not None}
                family.append(Judged(str(dataset), setting, name, lower[name], there, losses, level, compared))
            if family:
                yield family


def comparisons(results: pd.DataFrame, metric: str = "error") -> pd.DataFrame:
    """Every method against the lower bound and against each of its twins, over the splits in which both have a number.

    Parameters
    ----------
    results : `Store.results()`.
    metric : one of `METRICS`.

    Returns
    -------
    A row for every (dataset, setting, method, against): against ("lower" or the name of the twin), mean (of the
    differences, positive where the method is better, whatever the metric), low, high (95 % interval), p (two-sided, of
    this comparison alone), detectable (true difference that would be found in 80 % of such studies at the level α /
    number of methods), splits. Statistics are NaN where fewer than two splits can be used.
    """
    rows = []
    for judged in (judged for family in families(results, metric) for judged in family):
        pairs = {"lower": judged.lower, **judged.twins}
        for against, paired in pairs.items():
            if paired is not None:
                rows.append({
                    "dataset": judged.dataset, "setting": judged.setting, "method": judged.method, "against": against,
                    "mean": paired.mean, **statistics(paired.test),
                    "detectable": judged.detectable(paired), "splits": paired.splits,
                })  # fmt: skip
    columns = ["dataset", "setting", "method", "against", "mean", "low", "high", "p", "detectable", "splits"]
    return pd.DataFrame(rows, columns=columns)


def statistics(test: Comparison | None, prefix: str = "") -> dict[str, float]:
    return {prefix + name: float("nan") if test is None else getattr(test, name) for name in ("low", "high", "p")}
