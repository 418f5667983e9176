"""Verdicts of a study: does the privileged information help, and is it the information that helps?

Views of the store like `summary`: every method is compared with the lower bound and with its control twins over the
same splits (`comparisons`), and `lupi.evidence` decides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.differences import holm
from lupi.evidence.gain import upper_is_better
from lupi.evidence.leaks import Leak, leak_of_bounds
from lupi.evidence.metric_table import METRICS
from lupi.evidence.ranks import friedman
from lupi.evidence.verdict import (
    Judgement,
    better_than_all,
    decimals,
    hardest_twin,
    interval,
    nothing_to_gain,
    number,
)
from lupi.methods.table import named
from lupi.methods.twins import NONE
from lupi.settings import PLAIN, Setting
from studies.grid import Grid
from studies.views import settings
from studies.views.comparisons import Judged, Losses, families, statistics


def verdicts(results: pd.DataFrame, metric: str = "error") -> pd.DataFrame:
    """The verdict of every method in every data set and setting.

    Parameters
    ----------
    results : `Store.results()`.
    metric : one of `metric_table.COMPARED`.

    Returns
    -------
    A row for every (dataset, swept, value, method): metric, verdict (one of `VERDICTS`), sentence, p (against
    lower, two-sided, by Holm's procedure over the methods of this data set and setting), p_all (against lower and all
    deciding twins, likewise), difference, low, high (to lower, positive where the method is better), gain, gain_low,
    gain_high (`lupi_gain` by this metric in %; NaN where it is not shown), detectable, splits, worst_twin (of the twins
    that decide the one that is hardest to beat), twin_difference, twin_low, twin_high.
    """
    rows = []
    for family in families(results, metric):
        tests = [judged.lower.test if judged.lower else None for judged in family]
        p = holm([np.nan if test is None else test.p for test in tests])
        p_all = holm([better_than_all(test, judged.deciding) for test, judged in zip(tests, family, strict=True)])
        for judged, adjusted, adjusted_all in zip(family, map(float, p), map(float, p_all), strict=True):
            rows.append(_row(judged, adjusted, adjusted_all))
    columns = [
        "dataset", "swept", "value", "method", "metric", "verdict", "sentence", "p", "p_all", "difference", "low",
        "high", "gain", "gain_low", "gain_high", "detectable", "splits", "worst_twin", "twin_difference", "twin_low",
        "twin_high",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).astype({"value": np.float64})


def _row(judged: Judged, adjusted: float, adjusted_all: float) -> dict[str, Any]:
    lower, deciding = judged.lower, judged.deciding
    judgement = Judgement(
        judged.method, lower, deciding, adjusted, adjusted_all, judged.compared, judged.losses.metric,
        _uses_z(judged.method),
    )  # fmt: skip
    hardest = hardest_twin(deciding)
    twin = deciding[hardest] if hardest else None
    gain = judged.losses.gain(judged.setting, judged.method)
    return {
        "dataset": judged.dataset, "swept": judged.setting.swept, "value": judged.setting.value,
        "method": judged.method,
        "metric": judged.losses.metric.name, "verdict": judgement.verdict, "sentence": judgement.sentence,
        "difference": lower.mean if lower else float("nan"), **statistics(lower.test if lower else None),
        "p": adjusted, "p_all": adjusted_all,
        "gain": gain.point, "gain_low": gain.low, "gain_high": gain.high,
        "detectable": judgement.detectable, "splits": lower.splits if lower else 0, "worst_twin": hardest,
        "twin_difference": twin.mean if twin else float("nan"), **statistics(twin, "twin_"),
    }  # fmt: skip


def _uses_z(method: str) -> bool:
    try:
        return named(method).uses_z
    except KeyError:  # a method of another version
        return True


# ---------------------------------------------------------------------- leaks


def bounds_check(
    results: pd.DataFrame, config: Mapping[str, Any], metric: str = "error"
) -> dict[str, list[Leak | str]]:
    """For every data set what its bounds say of Z, to be read before any verdict.

    - A `Leak` where the upper bound is all but perfect: a teacher on X and Z is then a copy of the target.
    - A sentence where the upper bound is not shown to be better than the lower, so that no LUPI gain is given.

    Parameters
    ----------
    results : `Store.results()`.
    config : `Store.config`; its data sets without classes have numeric targets.
    metric : one of `metric_table.COMPARED`.
    """
    notes: dict[str, list[Leak | str]] = {str(dataset): [] for dataset in results["dataset"].unique()}
    for dataset, of_set in results.groupby("dataset", sort=False):
        losses = Losses(of_set, metric)
        numeric = config["data"].get(str(dataset), {}).get("classes") is None
        for setting in losses.settings:
            note = _of_bounds(losses, setting, numeric) if losses.has(setting, "upper") else None
            if note is not None:
                notes[str(dataset)].append(_at(setting, note) if setting != PLAIN else note)
    return notes


def _at(setting: Setting, note: Leak | str) -> Leak | str:
    said = f"At {setting.text}: {note}"
    return dataclasses.replace(note, why=said) if isinstance(note, Leak) else said


def _of_bounds(losses: Losses, setting: Setting, numeric: bool) -> Leak | str | None:
    possible = losses.compare(setting, "upper", ("lower", NONE))
    lower, upper = losses.of(setting, "lower"), losses.of(setting, "upper")
    if possible is None or lower is None or upper is None or not possible.splits:
        return None
    usable, sign = np.isfinite(lower - upper), -1.0 if losses.metric.larger_is_better else 1.0
    leak = leak_of_bounds(
        sign * float(upper[usable].mean()), sign * float(lower[usable].mean()), losses.metric, numeric
    )
    return leak or (None if upper_is_better(possible) else nothing_to_gain(possible, losses.metric))


# ---------------------------------------------------------------------- ranks across data sets


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Methods across data sets.

    mean : mean rank of every method, 1 the best; lower among them, upper not, as it sees Z.
    statistic, p : Friedman's test that all rank alike.
    pairwise : [methods, methods] p values of Nemenyi's test, for a critical-difference diagram.
    datasets, left_out : those that were ranked, and those in which a method has no number.
    """

    mean: pd.Series
    statistic: float
    p: float
    pairwise: pd.DataFrame
    datasets: tuple[str, ...]
    left_out: tuple[str, ...]


def ranks(results: pd.DataFrame, metric: str = "error", setting: Setting = PLAIN) -> Ranks:
    """Ranks of the methods over data sets: Friedman's test and Nemenyi's (Demšar, JMLR 7, 2006).

    A method counts in a data set by its mean over the splits in which all methods have a number.

    Raises
    ------
    ValueError : for fewer than two data sets or three methods.
    """
    means: dict[str, dict[str, float]] = {}
    for dataset, of_set in results.groupby("dataset", sort=False):
        losses = Losses(of_set, metric)
        arms = {name: losses.of(setting, name) for name in ("lower", *losses.methods(setting))}
        there = {name: arm for name, arm in arms.items() if arm is not None}
        usable = np.isfinite(list(there.values())).all(0)
        means[str(dataset)] = {name: float(np.mean(arm, where=usable)) for name, arm in there.items() if usable.any()}
    table = pd.DataFrame(means).T
    methods = list(table.columns)
    whole = table.dropna()
    if len(whole) < 2 or len(methods) < 3:
        raise ValueError(
            "ranks across data sets need at least 2 data sets in which all methods have a number, and 3 methods; "
            f"found {len(whole)} of {len(table)} data sets and {len(methods)} methods."
        )
    import scikit_posthocs  # which takes long to import

    test = friedman(whole.to_numpy())
    return Ranks(
        mean=pd.Series(test.ranks, index=methods, name="mean rank"),
        statistic=test.statistic,
        p=test.p,
        pairwise=scikit_posthocs.posthoc_nemenyi_friedman(whole),
        datasets=tuple(map(str, whole.index)),
        left_out=tuple(map(str, table.index.difference(whole.index, sort=False))),
    )


# ---------------------------------------------------------------------- forms


#: Columns of a table of verdicts, and what they are.
HEADINGS = ["method", "difference (95 %)", "p", "detectable", "LUPI gain % (95 %)", "hardest twin", "to it (95 %)",
             "verdict"]  # fmt: skip


def legend(table: pd.DataFrame) -> str:
    """What the columns of a table of verdicts are."""
    metric = METRICS[table["metric"].iloc[0] if len(table) else "error"]
    sides = ["lower", "the method"]
    first, second = reversed(sides) if metric.larger_is_better else sides
    return (
        f"Difference = {metric.title} of {first} − {metric.title} of {second}; positive means the method is better. To "
        "it: likewise, with the hardest twin in place of lower (a twin is a placebo control: the same method without "
        "the information). Intervals: corrected resampled t over the shared splits. p: against lower, two-sided, "
        "Holm's correction over the methods. `helps` requires every comparison to be significant: with lower and with "
        "each twin. Detectable: true difference found with a probability of 80 %. LUPI gain: with Fieller's interval; "
        "shown where upper is clearly better than lower."
    ) + (_ALIKE if (table["p"].notna() & table["low"].isna()).any() else "")


_ALIKE = (
    " A dash for an interval: the difference is the same in every split, so that nothing tells how sure it is; its p "
    "is that of the sign test, which asks only in how many splits the method is better."
)


def grids(table: pd.DataFrame, leaks: Mapping[str, Sequence[str]] | None = None) -> list[Grid]:
    """Verdicts of every data set and setting: first its leaks, then the comparisons, then a sentence for every method.

    Leaks stand with the first setting of their data set. `legend` explains the cells.
    """
    shown: list[Grid] = []
    with_leaks: set[str] = set()
    for setting, (dataset,), of_set in settings.groups(table, "dataset"):
        title = settings.title(str(dataset), setting)
        alerts = () if dataset in with_leaks else (leaks or {}).get(str(dataset), ())
        with_leaks.add(str(dataset))
        rows = [_cells(row) for _, row in of_set.iterrows()]
        shown.append(Grid.of(HEADINGS, rows, title, tuple(of_set["sentence"]), alerts))
    return shown


def _cells(row: pd.Series) -> list[str]:
    places = decimals(row["low"], row["high"])
    gain = [f"{row[name]:.0f}" for name in ("gain", "gain_low", "gain_high")]
    return [
        str(row["method"]),
        difference(row["difference"], row["low"], row["high"]),
        "–" if pd.isna(row["p"]) else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
        "–" if pd.isna(row["detectable"]) else number(row["detectable"], places),
        "–" if pd.isna(row["gain"]) else f"{gain[0]} ({gain[1]} to {gain[2]})",
        "–" if pd.isna(row["worst_twin"]) else str(row["worst_twin"]),
        difference(row["twin_difference"], row["twin_low"], row["twin_high"]),
        str(row["verdict"]),
    ]


def difference(mean: float, low: float, high: float) -> str:
    """A difference and its interval as a cell of a table."""
    if pd.isna(mean):
        return "–"
    if pd.isna(low):  # the same in every split: nothing tells how sure it is
        return f"{number(mean, 3)} (–)"
    return interval(mean, low, high, "{} ({} to {})")
