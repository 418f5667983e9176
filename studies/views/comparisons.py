"""Every method of a study against the lower bound and against its control twins, paired over the same splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.evidence.differences import ALPHA, Comparison, Paired, compare, share_tested
from lupi.evidence.gain import Gain, lupi_gain
from lupi.evidence.metric_table import compared_by
from lupi.evidence.verdict import detectable_difference
from lupi.methods.table import named, place
from lupi.methods.twins import NONE, TWINS, takes_all_out
from lupi.settings import PLAIN, Setting
from studies.views import settings

Floats = npt.NDArray[np.float64]

_BOUNDS = ("lower", "upper")


class Losses:
    """The results of one data set by one metric, turned so that less is better: a column for every arm."""

    def __init__(self, of_set: pd.DataFrame, metric: str) -> None:
        self.metric = compared_by(metric)
        values = of_set[metric].astype(np.float64) * (-1.0 if self.metric.larger_is_better else 1.0)
        losses = of_set.assign(loss=values.where(np.isfinite(values)))
        splits = pd.MultiIndex.from_frame(of_set[["repeat", "fold"]].drop_duplicates()).sort_values()
        self._arms: dict[tuple[Setting, str, str], Floats] = {}
        for setting, (method, control), arm in settings.groups(losses, "method", "control"):
            by_split = arm.set_index(["repeat", "fold"])["loss"]  # which refuses two records of one split
            self._arms[setting, method, control] = by_split.reindex(splits).to_numpy(dtype=np.float64)
        self.test_share = share_tested(*(of_set[name] for name in ("repeat", "fold", "n_test", "n_train")))
        self.settings = sorted({setting for setting, _, _ in self._arms}, key=lambda setting: setting.place)

    def has(self, setting: Setting, method: str, control: str = NONE) -> bool:
        return (setting, method, control) in self._arms

    def methods(self, setting: Setting) -> list[str]:
        """Methods to judge in a setting, in the order of the table of methods."""
        names = {method for s, method, control in self._arms if s == setting and control == NONE}
        return sorted(names - set(_BOUNDS), key=place)

    def of(self, setting: Setting, method: str, control: str = NONE) -> Floats | None:
        """Losses [splits]; a bound that was not trained in a swept setting is that of the study's own options."""
        if not self.has(setting, method, control) and method in _BOUNDS:
            setting = PLAIN
        return self._arms[setting, method, control] if self.has(setting, method, control) else None

    def compare(self, setting: Setting, method: str, against: tuple[str, str]) -> Paired | None:
        """`method` against another (method, control); None where one of them was not trained."""
        own, other = self.of(setting, method), self.of(setting, *against)
        if own is None or other is None:
            return None
        return compare(other - own, self.test_share)

    def gain(self, setting: Setting, method: str) -> Gain:
        """LUPI gain by the metric (`lupi_gain`); not shown where one of the three was not trained."""
        lower, own, upper = (self.of(setting, name) for name in ("lower", method, "upper"))
        if lower is None or own is None or upper is None:
            return Gain()
        return lupi_gain(lower, own, upper, self.test_share)


def deciding_twins(method: str) -> tuple[str, ...]:
    """The twins that a method must beat to be said to help: those in which nothing of Z is left."""
    try:
        described = named(method)
    except KeyError:
        return ()
    return tuple(control for control in TWINS if takes_all_out(described, control))


@dataclasses.dataclass(frozen=True)
class Judged:
    """One method in one setting of a data set: its comparisons, and the level of the first step of Holm's procedure."""

    dataset: str
    setting: Setting
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
                twins = {control: losses.compare(setting, name, (name, control)) for control in TWINS}
                there = {control: paired for control, paired in twins.items() if paired is not None}
                family.append(Judged(str(dataset), setting, name, lower[name], there, losses, level, compared))
            if family:
                yield family


def comparisons(results: pd.DataFrame, metric: str = "error") -> pd.DataFrame:
    """Every method against the lower bound and against each of its twins, over the splits in which both have a number.

    Parameters
    ----------
    results : `Store.results()`.
    metric : one of `metric_table.COMPARED`.

    Returns
    -------
    A row for every (dataset, swept, value, method, against): against ("lower" or the name of the twin), mean (of the
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
                    "dataset": judged.dataset, "swept": judged.setting.swept, "value": judged.setting.value,
                    "method": judged.method, "against": against, "mean": paired.mean, **statistics(paired.test),
                    "detectable": detectable_difference(paired, judged.level), "splits": paired.splits,
                })  # fmt: skip
    columns = ["dataset", "swept", "value", "method", "against", "mean", "low", "high", "p", "detectable", "splits"]
    return pd.DataFrame(rows, columns=columns).astype({"value": np.float64})


def statistics(test: Comparison | None, prefix: str = "") -> dict[str, float]:
    return {prefix + name: float("nan") if test is None else getattr(test, name) for name in ("low", "high", "p")}
