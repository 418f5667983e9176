"""Simulated data sets: made from a seed, always available.

`simulate_icr` makes two tables in the format of Kaggle's "ICR - Identifying Age-Related Conditions" from aggregate
facts of the real ones (`icr_schema.json`), for use where the real files, which may not be redistributed, are not there.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lupi.data import dates
from studies.sources import icr

LEVELS = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
"""The levels of the quantiles in `icr_schema.json`."""

VERSION = 2
"""The version of the simulation: another one gives other rows of the same seed. 1 was additive (a linear model won)."""

# What the schema does not say. Chosen so that common learners stand in the order, and at about the distances, in which
# they stand on the real files, in the median over seeds: benchmarks/icr_simulated.py prints both. One pair stays the
# other way round: the log loss of a plain MLP is above that of a logistic regression.
CONDITIONS = (
    ("CR", "DU", "EH", "FD ", "DF", "BC", "AR", "FL"),
    ("AB", "BN", "DI", "CD ", "FE", "FI", "EB", "DL"),
    ("BQ", "AF", "AM", "BP", "EE", "CC"),
    ("GL", "DE", "GF", "DA", "DH"),
)
"""The features that follow each hidden condition, the first of them closely: those whose correlation with the class is
the largest. The others tell of the class only what the schema's correlation demands, most of them next to nothing."""
CONDITION_SHARE = 0.65  # of the rows that meet a condition; the conditions are independent of one another
RISK = {"all": 0.95, "all but one": 0.03, "fewer": 0.0005}  # of class 1, by the number of conditions that a row meets
CONDITION_GAP = 1.8  # from the threshold to the middle of either side of it
WITHIN = 0.6  # standard deviation of either side
FIRST_LOADING = 0.97  # correlation of a feature's score with its condition, before the class enters
OTHER_LOADING = 0.65
SEVERITY_NOISE = 0.5  # in units of the distance between the rows that meet all conditions and the others
CANDIDATES = 30  # rows drawn for each that is kept, so that there are enough of both classes

# What else moves a feature's score, in standard deviations of its own noise.
FACTORS = 5
CONDITION_FACTOR_LOADING = 0.1
FACTOR_LOADING = 2.5  # of the irrelevant features: many are nearly monotone functions of one another
GREEK_EFFECT = 0.5
GREEK_SHARE = 0.2  # of the features that a level of a greek, or the date, has an effect on
UNKNOWN_DATE_EFFECT = 2.0  # rows of unknown date lie apart

# Rows of class 1 by Beta and Delta. The facts (Beta by class, Delta by class, Beta by Delta) leave one thing open:
# whether the only row of Beta C and Delta A is of class 0, as here, or of class 1.
CLASS_1_BY_BETA_AND_DELTA = {
    ("A", "A"): 8,
    ("B", "A"): 15,
    ("B", "B"): 39,
    ("C", "B"): 15,
    ("C", "C"): 20,
    ("C", "D"): 11,
}


def simulate_icr(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate Kaggle's train.csv and greeks.csv: the same aggregate facts, no row of the real data.

    Exact: names, order and kinds of the columns, rows, classes, missing cells, level by class counts of EJ and of the
    four categorical greeks, Beta by Delta, the number, range and format of the dates. Within what 617 rows allow: each
    feature's quantiles, share at the minimum and Spearman correlation with the class. Invented: how the features depend
    on one another, on the greeks and on the date, and how the greeks, but for Beta and Delta, depend on one another
    (within a class they do not).

    A row is of class 1 where, but for noise, it meets all of four hidden conditions: a conjunction, to which trees come
    nearer than sums of features. Half of the features follow one condition each, rising or falling steeply across its
    threshold. A feature is the schema's quantile function of the rank of a score, so that scales and tails are the real
    ones. The score is the sum of the condition, effects of the greeks and of the date on some of the features, common
    factors, noise, and as much of a severity, which all features share, as gives the correlation with the class. Given
    the class, the greeks are independent of the conditions: to predict them adds little to predicting the class.

    Returns
    -------
    train : DataFrame [617, 58]: Id, 56 features, Class.
    greeks : DataFrame [617, 6]: Id, Alpha, Beta, Gamma, Delta, Epsilon (text: month/day/year, or Unknown).
    """
    schema = icr.schema()
    n = schema["rows"]
    rng = np.random.default_rng([seed, n, VERSION])
    y, all_met, conditions = _classes(schema["class"]["0"], schema["class"]["1"], rng)
    ids = np.array([f"{number:012x}" for number in rng.choice(2**48, n, replace=False)], dtype=object)
    greeks = _greeks(schema, y, rng)
    severity = all_met + SEVERITY_NOISE * rng.standard_normal(n)
    scores = _scores(_behind(greeks, y), conditions, schema["features"], rng)
    features: dict[str, np.ndarray] = {}
    for score, (name, facts) in zip(scores, schema["features"].items(), strict=True):
        if isinstance(facts, dict):
            features[name] = _levels_by_class(facts, y, rng)
        else:
            missing, share, correlation, *quantiles = facts
            seen = rng.permutation(n)[missing:]
            ordered = _ordered_values(len(seen), share, quantiles)
            features[name] = np.full(n, np.nan)
            features[name][seen] = _correlated(ordered, score[seen], severity[seen], y[seen], correlation)
    return pd.DataFrame({"Id": ids, **features, "Class": y}), pd.DataFrame({"Id": ids, **greeks})


def _classes(zeros: int, ones: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes [n = zeros + ones], whether a row meets all conditions [n], the conditions' scores [conditions, n]."""
    shape = (len(CONDITIONS), CANDIDATES * (zeros + ones))
    met = rng.random(shape) < CONDITION_SHARE
    scores = CONDITION_GAP * np.where(met, 1.0, -1.0) + WITHIN * rng.standard_normal(shape)
    scores = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    short_of = len(CONDITIONS) - met.sum(axis=0)
    risk = np.select([short_of == 0, short_of == 1], [RISK["all"], RISK["all but one"]], RISK["fewer"])
    drawn = rng.random(shape[1]) < risk
    kept = rng.permutation(np.concatenate([np.flatnonzero(~drawn)[:zeros], np.flatnonzero(drawn)[:ones]]))
    return drawn[kept].astype(np.int64), short_of[kept] == 0, scores[:, kept]


def _levels_by_class(counts: Mapping[str, Sequence[int]], y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Levels [n] in random order with the exact counts {level: (rows, rows of class 1)}."""
    drawn = np.empty(len(y), dtype=object)
    rows, ones = np.array(list(counts.values())).T
    for code, of_class in ((0, rows - ones), (1, ones)):
        drawn[y == code] = rng.permutation(np.repeat(np.array(list(counts), dtype=object), of_class))
    return drawn


def _greeks(schema: Mapping[str, Any], y: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The five greeks [n], as texts."""
    pairs = {
        beta + delta: (rows, CLASS_1_BY_BETA_AND_DELTA.get((beta, delta), 0))
        for beta, by_delta in schema["beta_by_delta"].items()
        for delta, rows in by_delta.items()
    }
    beta_delta = _levels_by_class(pairs, y, rng)
    return {
        "Alpha": _levels_by_class(schema["greeks"]["Alpha"], y, rng),
        "Beta": np.array([pair[0] for pair in beta_delta], dtype=object),
        "Gamma": _levels_by_class(schema["greeks"]["Gamma"], y, rng),
        "Delta": np.array([pair[1] for pair in beta_delta], dtype=object),
        "Epsilon": _dates(schema["epsilon"], y, rng),
    }


def _dates(facts: Mapping[str, Any], y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dates [n] as Kaggle writes them; rows of class 1 are never Unknown."""
    first, last = (datetime.date.fromisoformat(facts[key]).toordinal() for key in ("first", "last"))
    unknown = rng.permutation(np.flatnonzero(y == 0))[: facts["unknown_rows"]]
    known = np.setdiff1d(np.arange(len(y)), unknown)
    between = rng.choice(np.arange(first + 1, last), facts["distinct_dates"] - 2, replace=False)
    distinct = np.concatenate([[first, last], between])
    days = np.concatenate([distinct, rng.choice(distinct, len(known) - len(distinct))])
    drawn = [datetime.date.fromordinal(int(day)) for day in rng.permutation(days)]
    texts = np.full(len(y), "Unknown", dtype=object)
    texts[known] = [f"{date.month}/{date.day}/{date.year}" for date in drawn]
    return texts


def _behind(greeks: Mapping[str, np.ndarray], y: np.ndarray) -> np.ndarray:
    """What the features depend on beside the class, [n, columns]: the greeks' levels and the date, less class means."""
    levels = [greeks[greek] == level for greek in icr.GREEKS[:-1] for level in np.unique(greeks[greek].astype(str))]
    unknown = greeks["Epsilon"] == "Unknown"
    days, _ = dates.days(pd.Series(greeks["Epsilon"]), "month/day/year")
    date = ((days - days.mean()) / days.std()).fillna(0.0)
    behind = np.stack([*levels, UNKNOWN_DATE_EFFECT * unknown, date], axis=1).astype(np.float64)
    for code in (0, 1):
        behind[y == code] -= behind[y == code].mean(axis=0)
    return behind


def _scores(
    behind: np.ndarray, conditions: np.ndarray, features: Mapping[str, Any], rng: np.random.Generator
) -> np.ndarray:
    """Scores of about unit variance, [features, n], before the class enters."""
    n, columns = behind.shape
    condition_of = {name: number for number, names in enumerate(CONDITIONS) for name in names}
    follows = np.array([name in condition_of for name in features])
    touched = rng.random((len(features), columns)) < GREEK_SHARE
    effects = GREEK_EFFECT * rng.standard_normal((len(features), columns)) * touched
    loadings = rng.standard_normal((len(features), FACTORS))
    loadings *= np.where(follows, CONDITION_FACTOR_LOADING, FACTOR_LOADING)[:, None]
    common = loadings @ rng.standard_normal((FACTORS, n))
    scores: np.ndarray = effects @ behind.T + common + rng.standard_normal((len(features), n))
    scores /= scores.std(axis=1, keepdims=True)
    for score, (name, facts) in zip(scores, features.items(), strict=True):
        if name in condition_of:
            number = condition_of[name]
            loading = FIRST_LOADING if name == CONDITIONS[number][0] else OTHER_LOADING
            correlation = facts[2]
            score *= np.sqrt(1 - loading**2)
            score += np.sign(correlation) * loading * conditions[number]
    return scores


def _correlated(
    ordered: np.ndarray, score: np.ndarray, severity: np.ndarray, y: np.ndarray, correlation: float
) -> np.ndarray:
    """The values `ordered` [n], put in the order of `score` plus as much `severity` as gives this Spearman correlation
    with the class, as nearly as n rows allow."""
    ranks = pd.Series(ordered).rank().to_numpy()

    def places(effect: float) -> np.ndarray:
        order: np.ndarray = np.argsort(np.argsort(score + effect * severity))
        return order

    def excess(effect: float) -> float:
        return float(np.corrcoef(ranks[places(effect)], y)[0, 1]) - correlation

    low, high = -8.0, 8.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    nearest = min(low, high, key=lambda effect: abs(excess(effect)))
    values: np.ndarray = ordered[places(nearest)]
    return values


def _ordered_values(n: int, share: float, quantiles: Sequence[float]) -> np.ndarray:
    """n ascending values with these quantiles at `LEVELS` (all positive) and this share of them at the minimum.

    Between two quantiles the logarithm is linear in the rank; above the last but one it is cubic: the extremes are few.
    """
    position = np.arange(n) / (n - 1)
    tail = LEVELS[-2]
    beyond = np.clip((position - tail) / (1 - tail), 0.0, None)
    position = np.where(beyond > 0, tail + (1 - tail) * beyond**3, position)
    at_minimum = (max(1, round(share * n)) - 1) / (n - 1)
    above = at_minimum < LEVELS
    knots = np.concatenate([[at_minimum], LEVELS[above]])
    logs = np.log(np.concatenate([quantiles[:1], np.array(quantiles)[above]]))
    values: np.ndarray = np.exp(np.interp(position, knots, logs)).round(6).clip(quantiles[0], quantiles[-1])
    return values
