"""Curves of a study against a swept value: views of its store, for plots, tables and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lupi.evidence.differences import corrected_t, share_tested
from lupi.evidence.errors import agreement
from lupi.evidence.metric_table import Metric, compared_by
from lupi.methods.table import named, place
from lupi.settings import PLAIN, TRAIN_SIZE, Setting, number_text, sweeps
from studies.grid import Grid
from studies.views import settings

#: Of a record (a row of the store's results), every quantity that a curve shows beside the metric -> its value; NaN
#: where it has none.
_QUANTITIES: dict[str, Callable[[pd.Series], float]] = {
    "privileged error": lambda record: _first(record["z_mae"], record["z_error"]),
    "learned σ": lambda record: _mean_of(record["learned"], "sigma"),
    "learned T": lambda record: _mean_of(record["learned"], "temperature"),
    "effective weight ε/(2σ²)": lambda record: record["effective_weight"],
}


def titles() -> dict[str, str]:
    """What can be swept -> its name for people."""
    return {**{name: sweep.title for name, (sweep, _) in sweeps().items()}, TRAIN_SIZE: "training rows"}


def swept(results: pd.DataFrame) -> list[str]:
    """Names of what the study swept, in the order of `titles`."""
    names = set(results["swept"])
    return [name for name in titles() if name in names]


def curves(
    results: pd.DataFrame, splits: pd.DataFrame, config: dict, dataset: str, name: str, metric: str = "error"
) -> pd.DataFrame:
    """One sweep of one data set, for `figures.sweep`: a row for every quantity, line and swept value.

    The first quantities are the metric, and how much better the line is than lower by it.

    Columns: quantity, line (a method, or "<method>, shuffled Z"), method, control, value, mean, low, high (95 %
    interval of the mean over splits, corrected for the training rows that they share).
    """
    of_set = results[results["dataset"] == dataset]
    arms = _at_values(of_set, config, name)
    compared = compared_by(metric)
    arms = arms.assign(lower=_of_lower(arms, of_set, metric))
    arms = arms.assign(effective_weight=[_effective_weight(record, config, name) for _, record in arms.iterrows()])
    shares = _shares(arms, of_set, splits[splits["dataset"] == dataset])
    test_share = share_tested(*(of_set[column] for column in ("repeat", "fold", "n_test", "n_train")))
    rows = []
    names = arms[["method", "control"]].drop_duplicates().itertuples(index=False, name=None)
    for method, control in sorted(names, key=lambda arm: place(arm[0])):
        of_line = arms[(arms["method"] == method) & (arms["control"] == control)]
        for value, records in of_line.groupby("value"):
            values = _by_metric(records, compared)
            values |= {
                quantity: [of(record) for _, record in records.iterrows()] for quantity, of in _QUANTITIES.items()
            }
            values |= {f"agreement: {group}": shares[group].loc[records.index].tolist() for group in shares}
            rows += [
                {"quantity": quantity, "line": _line(method, control), "method": method, "control": control,
                 "value": value, **_interval(of_splits, test_share)}
                for quantity, of_splits in values.items()
            ]  # fmt: skip
    table = pd.DataFrame(rows)
    shown = table.groupby("quantity")["mean"].transform(lambda mean: mean.notna().any())
    places = {quantity: i for i, quantity in enumerate(dict.fromkeys(table["quantity"]))}
    return table[shown].sort_values("quantity", key=lambda column: column.map(places), kind="stable", ignore_index=True)


def drawings(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """What to draw of the curves of one sweep: (method, its part of the table), or all of it ("") where that is clear.

    Up to three methods share a figure with the bounds; more of them get one each, in which the bounds come again.
    """
    bounds = table["method"].isin(["lower", "upper"])
    methods = list(dict.fromkeys(table.loc[~bounds, "method"]))
    if len(methods) <= 3:
        return [("", table)]
    return [(method, table[bounds | (table["method"] == method)]) for method in methods]


def _at_values(of_set: pd.DataFrame, config: dict, name: str) -> pd.DataFrame:
    """The arms of a sweep with their swept value. The study's own value is one of them where it sweeps its budget."""
    shown = of_set[of_set["control"].isin(["none", "shuffled"])]
    arms = shown[shown["swept"] == name]
    if name not in ("epochs", TRAIN_SIZE):
        return arms
    plain = shown[settings.at(shown)]
    whole = config["options"]["epochs"] if name == "epochs" else plain["n_train"].mean()
    return pd.concat([arms, plain.assign(value=float(whole))], ignore_index=True)


def _split_keys(frame: pd.DataFrame) -> list[tuple[Setting, int, int]]:
    """(setting, repeat, fold) of every row."""
    return list(zip(settings.settings_of(frame), frame["repeat"], frame["fold"], strict=True))


def _by_metric(records: pd.DataFrame, metric: Metric) -> dict[str, Sequence[float]]:
    """The metric of records [splits], and how much better they are than lower."""
    own, lower = (records[column].to_numpy(dtype=np.float64) for column in (metric.name, "lower"))
    if metric.larger_is_better:
        return {metric.title: own, f"its {metric.title} less lower's": own - lower}
    return {metric.title: own, f"{metric.title} of lower − its own": lower - own}


def _of_lower(arms: pd.DataFrame, of_set: pd.DataFrame, metric: str) -> list[Any]:
    """For every arm the metric of the lower bound in its split: of its own setting, or else of the study's."""
    lower = of_set[(of_set["method"] == "lower") & (of_set["control"] == "none")]
    values = dict(zip(_split_keys(lower), lower[metric], strict=True))
    return [
        values.get((setting, repeat, fold), values.get((PLAIN, repeat, fold), float("nan")))
        for setting, repeat, fold in _split_keys(arms)
    ]


def _line(method: str, control: str) -> str:
    return method if control == "none" else f"{method}, {control} Z"


def _effective_weight(record: pd.Series, config: dict, name: str) -> float:
    """Weight of the loss of a privileged number: ε/(2σ²) where σ is learned, else ε; mean over columns."""
    method = named(record["method"])
    if method.privileged_task not in ("joint", "shared"):
        return float("nan")
    own = config["options"]["epsilon"]
    epsilon = record["value"] if name in ("epsilon", "fixed_epsilon") else method.epsilon if own is None else own
    if not isinstance(record["learned"], dict):
        return float(epsilon)
    return float(np.mean([epsilon / (2.0 * sigma**2) for sigma in record["learned"]["sigma"].values()]))


def _shares(arms: pd.DataFrame, of_set: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Agreement of student, teacher (the upper bound) and truth in % for every arm; no columns without a teacher."""
    upper = of_set[(of_set["method"] == "upper") & (of_set["control"] == "none")]
    teachers = dict(zip(_split_keys(upper), upper["prediction"], strict=True))
    truths = dict(zip(_split_keys(splits), splits["truth"], strict=True))
    if not teachers or of_set["r2"].notna().any():
        return pd.DataFrame(index=arms.index)
    rows = {}
    for own, (index, record) in zip(_split_keys(arms), arms.iterrows(), strict=True):
        plain = (PLAIN, record["repeat"], record["fold"])
        teacher = teachers[own] if own in teachers else teachers[plain]
        truth = truths[own] if own in truths else truths[plain]
        rows[index] = agreement(record["prediction"].argmax(1), teacher.argmax(1), truth.astype(np.int64))
    return pd.DataFrame.from_dict(rows, orient="index")


def _interval(values: Sequence[float], test_share: float) -> dict[str, float]:
    finite = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=np.float64)
    mean = float(finite.mean()) if len(finite) else float("nan")
    if len(finite) < 2:
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    test = corrected_t(finite, test_share)
    return {"mean": mean, "low": test.low, "high": test.high}


def _first(*values: float) -> float:
    return next((value for value in values if value is not None and np.isfinite(value)), float("nan"))


def _mean_of(learned: object, name: str) -> float:
    value = learned.get(name) if isinstance(learned, dict) else None
    if value is None:
        return float("nan")
    return float(np.mean(list(value.values()))) if isinstance(value, dict) else float(value)


def absorbed(table: pd.DataFrame, results: pd.DataFrame) -> list[str]:
    """For every method, how much of a sweep of ε on a learned weight is left in the effective weight: one sentence."""
    weights = table[
        (table["quantity"] == "effective weight ε/(2σ²)") & (table["control"] == "none") & (table["value"] > 0)
    ]
    sentences = []
    for method, of_method in weights.groupby("method", sort=False):
        ends = of_method.sort_values("value").iloc[[0, -1]]
        if len(of_method) < 2 or not (ends["mean"] > 0).all():
            continue
        (small, large), (first, last) = ends["value"], ends["mean"]
        swept_arms = results[(results["method"] == method) & (results["swept"] == "epsilon")]
        asked, got = large / small, last / first
        verdict = (
            "the learned σ absorbs ε"
            if got < asked**0.25
            else "the learned σ, which absorbs ε in the end, has had too few steps; --patience and --lr give it more"
        )
        sentences.append(
            f"{method}: ε {asked:.3g} times as large ({number_text(small)} to {number_text(large)}) makes the "
            f"effective weight of the privileged task {got:.3g} times as large ({first:.3g} to {last:.3g}) after some "
            f"{swept_arms['epochs'].mean():.0f} epochs: {verdict}."
        )
    return sentences


_SHORT = {
    "agreement: all agree": "all agree %",
    "agreement: student errs alone": "student errs %",
    "agreement: both err": "both err %",
    "agreement: student right, teacher wrong": "teacher errs %",
}


def grid(table: pd.DataFrame, title: str = "") -> Grid:
    """The means of the curves of one sweep: a row for every method and value, a column for every quantity."""
    wide = table.pivot_table(index=["line", "value"], columns="quantity", values="mean", sort=False)
    rows = [
        [f"{line}, {number_text(value)}", *("–" if pd.isna(mean) else f"{mean:.3g}" for mean in row)]
        for (line, value), row in zip(wide.index.to_list(), wide.to_numpy(), strict=True)
    ]
    return Grid.of(["", *(_SHORT.get(str(name), str(name)) for name in wide.columns)], rows, title)
