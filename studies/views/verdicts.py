"""Verdicts of a study: does the privileged information help, and is it the information that helps?

Views of the store like `tables`: every method is compared with the lower bound and with its control twins over the same
splits (`comparisons`), and `lupi.evidence` decides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence import inference
from lupi.evidence.inference import ALPHA, Comparison
from lupi.methods.table import named
from lupi.methods.twins import NONE
from studies.grid import Grid
from studies.views.comparisons import METRICS, Judged, Losses, Metric, families, statistics


def verdicts(results: pd.DataFrame, metric: str = "error") -> pd.DataFrame:
    """The verdict of every method in every data set and setting.

    Parameters
    ----------
    results : `Store.results()`.
    metric : one of `METRICS`.

    Returns
    -------
    A row for every (dataset, setting, method): verdict (`evidence.VERDICTS`), sentence, p (against lower, two-sided, by
    Holm's procedure over the methods of this data set and setting), p_all (against lower and all deciding twins,
    likewise), difference, low, high (to lower, positive where the method is better), gain, gain_low, gain_high (LUPI
    gain by this metric in %; NaN where the upper bound is not clearly better than the lower), detectable, splits,
    worst_twin (of the twins that decide the one that is hardest to beat), twin_difference, twin_low, twin_high.
    """
    rows = []
    for family in families(results, metric):
        tests = [judged.lower.test if judged.lower else None for judged in family]
        p = inference.holm([np.nan if test is None else test.p for test in tests])
        p_all = inference.holm(
            [inference.better_than_all(test, judged.deciding) for test, judged in zip(tests, family, strict=True)]
        )
        for judged, adjusted, adjusted_all in zip(family, map(float, p), map(float, p_all), strict=True):
            rows.append(_row(judged, adjusted, adjusted_all, METRICS[metric]))
    columns = [
        "dataset", "setting", "method", "verdict", "sentence", "p", "p_all", "difference", "low", "high", "gain",
        "gain_low", "gain_high", "detectable", "splits", "worst_twin", "twin_difference", "twin_low", "twin_high",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _row(judged: Judged, adjusted: float, adjusted_all: float, metric: Metric) -> dict[str, Any]:
    lower, test = judged.lower, judged.lower.test if judged.lower else None
    found = inference.verdict(test, adjusted, judged.deciding, adjusted_all)
    if found == inference.UNKNOWN and not _uses_z(judged.method):
        found = inference.NOT_THROUGH
    worst = inference.hardest_twin(judged.deciding)
    twin = judged.twins[worst].test if worst else None
    gain = judged.losses.gain(judged.setting, judged.method)
    return {
        "dataset": judged.dataset, "setting": judged.setting, "method": judged.method,
        "verdict": found, "sentence": _sentence(judged, found, adjusted, adjusted_all, metric),
        "difference": lower.mean if lower else float("nan"), **statistics(test), "p": adjusted, "p_all": adjusted_all,
        **dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True)),
        "detectable": judged.detectable(lower) if lower else float("nan"), "splits": lower.splits if lower else 0,
        "worst_twin": worst, "twin_difference": twin.mean if twin else float("nan"), **statistics(twin, "twin_"),
    }  # fmt: skip


def _uses_z(method: str) -> bool:
    try:
        return named(method).uses_z
    except KeyError:  # a method of another version
        return True


def _sentence(judged: Judged, found: str, adjusted: float, adjusted_all: float, metric: Metric) -> str:
    """What a practitioner needs to know of a verdict, with the figures that it rests on."""
    lower, name = judged.lower, judged.method
    if lower is None:
        return f"{name}: the lower bound is not in the study, and nothing can be said without it."
    if lower.test is None:
        there = "there is 1" if lower.splits == 1 else "there are none"
        return f"{name}: a test needs two splits in which both {name} and lower have a number; {there}."
    if found == inference.NO_EVIDENCE:
        told = _no_evidence(judged, lower.test, adjusted, metric)
    elif found == inference.HURTS:
        told = f"{name} {_worse(metric)} lower by {_amount(lower.test, -1.0)}."
    else:
        through = _through(judged, found, lower.test, adjusted_all)
        told = f"{name} {_better(metric)} lower by {_amount(lower.test)}{through}."
    dropped = f" Over {lower.splits} of {lower.of} splits; in the others a number is missing."
    return told + (dropped if lower.splits < lower.of else "")


def _no_evidence(judged: Judged, test: Comparison, adjusted: float, metric: Metric) -> str:
    told = f"No evidence that {judged.method} differs from lower in {metric.name}"
    if test.standard_error == 0:
        amount = f"{_number(test.mean, 3)} in each of {test.df + 1} splits, too few to tell"
        return f"{told}: " + ("they do equally well in every split." if test.mean == 0 else f"difference {amount}.")
    told += f": difference {_amount(test)}"
    if test.p <= ALPHA:
        told += f", not enough for one of {judged.compared} methods (p {adjusted:.2g} after Holm's correction)"
    possible = inference.detectable(test.standard_error, test.df, judged.level)
    found = _number(possible, _decimals(test.low, test.high))
    return f"{told}; a true difference of {found} would have been found with a probability of 80 %."


def _through(judged: Judged, found: str, lower: Comparison, adjusted_all: float) -> str:
    """The second half of the sentence on a method that is better than lower: is it the information?"""
    twins = judged.deciding
    if not _uses_z(judged.method):
        return ", and it uses no privileged information: the gain does not come from there"
    if not twins:
        return ", but without control twins (--no-twins) it stays open whether the information is the cause"
    worst = inference.hardest_twin(twins)
    twin = twins[worst] if worst else None
    silent = " and ".join(control for control, test in twins.items() if test is None)
    if twin is None or (found == inference.UNKNOWN and silent):
        return f", but without a test against its twin {silent} it stays open whether the information is the cause"
    difference = "difference " + _interval(twin.mean, twin.low, twin.high, "{}, {} to {}")
    closest = f"than each of its twins ({', '.join(twins)}; hardest to beat {worst}: {difference})"
    if found == inference.HELPS:
        return f", and {closest}: the gain comes from the information"
    if found == inference.UNKNOWN:
        return (
            f", and {closest}, but not clearly enough for one of {judged.compared} methods (p {adjusted_all:.2g} after "
            "Holm's correction): it stays open whether the information is the cause"
        )
    if twin.mean <= lower.mean / 4:
        return f", but its {worst} twin does as well ({difference}): the gain does not come from the information"
    return (
        f", but is not shown to be better than its {worst} twin ({difference}): the gain cannot be put down to the "
        "information"
    )


def _better(metric: Metric) -> str:
    return metric.more if metric.larger_is_better else metric.less


def _worse(metric: Metric) -> str:
    return metric.less if metric.larger_is_better else metric.more


def _amount(test: Comparison, sign: float = 1.0) -> str:
    low, high = sorted((sign * test.low, sign * test.high))
    return _interval(sign * test.mean, low, high, "{} (95 % interval {} to {})")


def _interval(mean: float, low: float, high: float, form: str) -> str:
    """A difference and its 95 % interval, with the decimals that it deserves."""
    return form.format(*(_number(value, _decimals(low, high)) for value in (mean, low, high)))


def _decimals(low: float, high: float) -> int:
    """How many decimals an interval deserves: two digits of its half width, but three where that is below 1."""
    half = (high - low) / 2
    digits = 1 - int(np.floor(np.log10(half))) if half > 0 else 3
    return min(max(digits, 0 if half >= 1 else 3), 9)


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


# ---------------------------------------------------------------------- leaks


def leak_check(results: pd.DataFrame, config: Mapping[str, Any]) -> dict[str, list[str]]:
    """For every data set what to know of Z before any verdict is read, beside the notes of `config` on single columns.

    - The upper bound errs almost never: in less than 0.5 % of the rows, or less than a tenth as often as the lower
      (numeric targets: a tenth of its RMSE). A teacher on X and Z is then a copy of the target.
    - The upper bound is not shown to err less than the lower (corrected t, two-sided 5 %).

    Parameters
    ----------
    results : `Store.results()`.
    config : `Store.config`; its data sets without classes have numeric targets.
    """
    found: dict[str, list[str]] = {str(dataset): [] for dataset in results["dataset"].unique()}
    for dataset, of_set in results.groupby("dataset", sort=False):
        losses = Losses(of_set, "error")
        numeric = config["data"].get(str(dataset), {}).get("classes") is None
        for setting in losses.settings:
            if losses.has(setting, "upper"):
                told = _leaks(losses, setting, numeric)
                found[str(dataset)] += [f"At {setting}: {note}" if setting else note for note in told]
    return found


def _leaks(losses: Losses, setting: str, numeric: bool) -> list[str]:
    paired = losses.compare(setting, "upper", ("lower", NONE))
    lower, upper = losses.of(setting, "lower"), losses.of(setting, "upper")
    if paired is None or lower is None or upper is None or not paired.splits:
        return []
    usable = np.isfinite(lower - upper)
    low, high = float(upper[usable].mean()), float(lower[usable].mean())
    notes = []
    if low < 0.1 * high or (not numeric and low < 0.005):
        notes.append(_copy_of_target(low, high, numeric))
    elif paired.test is not None and not (paired.test.mean > 0 and paired.test.p <= ALPHA):
        notes.append(
            f"upper, which sees the true Z, is not shown to err less than lower (difference {_amount(paired.test)}): "
            "with these networks there is nothing to gain from Z."
        )
    return notes


def _copy_of_target(upper: float, lower: float, numeric: bool) -> str:
    if numeric:
        return (
            f"upper, which sees the true Z, has an RMSE of {upper:.3g} where lower has {lower:.3g}: X and Z all but "
            "determine the target. A teacher's predictions are the target itself: distillation has nothing to pass on "
            "that the target does not say. Would Z really be known before the target is?"
        )
    return (
        f"upper, which sees the true Z, errs in {100 * upper:.2g} % of rows (lower in {100 * lower:.3g} %): X and Z "
        "all but determine the target. A teacher's soft labels are then the labels, with nothing dark in them to "
        "transfer, and TPD's weights |logit t| are large in all rows. Would Z really be known before the target is?"
    )


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


def ranks(results: pd.DataFrame, metric: str = "error", setting: str = "") -> Ranks:
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
    every = list(table.columns)
    whole = table.dropna()
    if len(whole) < 2 or len(every) < 3:
        raise ValueError(
            "ranks across data sets need at least 2 data sets in which all methods have a number, and 3 methods; "
            f"found {len(whole)} of {len(table)} data sets and {len(every)} methods."
        )
    import scikit_posthocs  # which takes long to import

    test = inference.friedman(whole.to_numpy())
    return Ranks(
        mean=pd.Series(test.ranks, index=every, name="mean rank"),
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
LEGEND = (
    "Differences are lower (or twin) less method, turned so that positive speaks for the method: corrected resampled t "
    "over the shared splits, 95 % intervals. p: against lower, two-sided, Holm's correction over the methods. "
    "Detectable: true difference found with a probability of 80 %. LUPI gain: with Fieller's interval."
)


def grids(table: pd.DataFrame, leaks: Mapping[str, Sequence[str]] | None = None) -> list[Grid]:
    """Verdicts of every data set and setting: first its leaks, then the comparisons, then a sentence for every method.

    Leaks stand with the first setting of their data set. `legend` explains the cells.
    """
    shown: list[Grid] = []
    with_leaks: set[str] = set()
    for (dataset, setting), of_set in table.groupby(["dataset", "setting"], sort=False):
        title = f"{dataset}, {setting}" if setting else str(dataset)
        alerts = () if dataset in with_leaks else (leaks or {}).get(str(dataset), ())
        with_leaks.add(str(dataset))
        rows = [_cells(row) for _, row in of_set.iterrows()]
        shown.append(Grid.of(HEADINGS, rows, title, tuple(of_set["sentence"]), alerts))
    return shown


def legend(table: pd.DataFrame) -> str:
    """What the cells of `grids` mean."""
    alike = any((table[low] == table[high]).any() for low, high in (("low", "high"), ("twin_low", "twin_high")))
    return f"{LEGEND} {_ALIKE}" if alike else LEGEND


_ALIKE = (
    "A dash for the interval: the difference is the same in every split, so that nothing tells how sure it is; its p "
    "is that of the sign test, which asks only in how many splits the method is better."
)


def _cells(row: pd.Series) -> list[str]:
    decimals = _decimals(row["low"], row["high"])
    gain = [f"{row[name]:.0f}" for name in ("gain", "gain_low", "gain_high")]
    return [
        str(row["method"]),
        _or_dash(row["difference"], row["low"], row["high"]),
        "–" if pd.isna(row["p"]) else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
        "–" if pd.isna(row["detectable"]) else _number(row["detectable"], decimals),
        "–" if pd.isna(row["gain"]) else f"{gain[0]} ({gain[1]} to {gain[2]})",
        "–" if pd.isna(row["worst_twin"]) else str(row["worst_twin"]),
        _or_dash(row["twin_difference"], row["twin_low"], row["twin_high"]),
        str(row["verdict"]),
    ]


def _or_dash(mean: float, low: float, high: float) -> str:
    if pd.isna(mean):
        return "–"
    if low == high:  # the same in every split: an interval of no width would look like certainty
        return f"{_number(mean, 3)} (–)"
    return _number(mean, 3) if pd.isna(low) else _interval(mean, low, high, "{} ({} to {})")
