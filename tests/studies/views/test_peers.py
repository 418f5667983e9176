"""Peers beside the methods: who stands best, by how much, and in which words."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi.evidence.differences import compare, holm
from studies.grid import console
from studies.views import comparisons, peers, summary
from studies.views.peers import standings
from tests.studies import frames

SPLITS = [(repeat, fold) for repeat in range(2) for fold in range(3)]
NOISE = np.array([0.01, -0.02, 0.015, 0.0, 0.02, -0.01])


def scored(**means: float) -> pd.DataFrame:
    """Methods by name with such an error; every one varies over the splits in its own way."""
    rows = [
        {"dataset": "one", "method": name, "control": "none", "swept": "", "value": np.nan, "repeat": repeat,
         "fold": fold, "n_train": 40, "n_test": 20, "error": mean + np.roll(NOISE, k)[s], "auc": 1 - mean,
         "seconds": 0.5, "privileged": ["z"]}
        for k, (name, mean) in enumerate(means.items()) for s, (repeat, fold) in enumerate(SPLITS)
    ]  # fmt: skip
    return frames.results(rows)


def of_peers(**means: float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {"dataset": "one", "peer": name, "version": "1.2", "repeat": repeat, "fold": fold, "n_train": 40, "n_test": 20,
         "seconds": 3.0, "error": mean + np.roll(NOISE, -k)[s], "auc": 1 - mean, "prediction": None}
        for k, (name, mean) in enumerate(means.items(), 1) for s, (repeat, fold) in enumerate(SPLITS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


RESULTS = scored(lower=0.3, upper=0.1, MT=0.25, PFD=0.28)


def test_standings__peers_and_students__are_ordered_by_their_means() -> None:
    (standing,) = standings(RESULTS, of_peers(linear=0.4, CatBoost=0.2))
    assert standing.student == "MT"  # not upper, which sees the true Z
    assert standing.peers == ("CatBoost", "linear")
    assert standing.differences["linear"].mean == pytest.approx(0.15)
    assert standing.differences["CatBoost"].mean == pytest.approx(-0.05)


def test_standings__lower_best_of_all__is_the_best_student() -> None:
    (standing,) = standings(scored(lower=0.2, MT=0.3), of_peers(linear=0.4))
    assert standing.student == "lower"


def test_standings__p__is_holms_over_the_peers() -> None:
    given = of_peers(linear=0.27, CatBoost=0.2)
    (standing,) = standings(RESULTS, given)
    student = RESULTS[RESULTS["method"] == "MT"]["error"].to_numpy()
    alone = [
        compare(given[given["peer"] == name]["error"].to_numpy() - student, 20 / 40).test.p for name in standing.peers
    ]
    np.testing.assert_allclose(list(standing.p.values()), holm(alone))


def test_standings__metric_where_larger_is_better__turns() -> None:
    (standing,) = standings(RESULTS, of_peers(linear=0.4, CatBoost=0.2), "auc")
    assert standing.peers == ("CatBoost", "linear")
    assert standing.differences["CatBoost"].mean == pytest.approx(-0.05)


def test_standings__split_without_a_number__counts_for_nobody() -> None:
    given = of_peers(linear=0.24, CatBoost=0.2)
    given.loc[(given["peer"] == "linear") & (given["fold"] == 0), "error"] = np.nan
    (standing,) = standings(RESULTS, given)
    assert standing.differences["linear"].splits == 4
    assert standing.differences["CatBoost"].splits == 6


def test_standings__peer_that_failed_throughout__is_left_out() -> None:
    given = of_peers(linear=0.24, CatBoost=np.nan)
    (standing,) = standings(RESULTS, given)
    assert standing.peers == ("linear",)


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        (0.1, r"^CatBoost errs less than lower and every student, the best of which is MT: by 0\.150 \(95 % interval "
              r"0\.\d+ to 0\.\d+\), p = .*\. If all that counts is the prediction, deploy CatBoost\.$"),
        (0.245, r"^CatBoost errs less than lower and every student.*not significant: neither is shown to be better\.$"),
        (0.255, r"^MT errs less than every peer, the best of which is CatBoost.*not significant: neither is shown"),
        (0.4, r"^MT errs less than every peer, the best of which is CatBoost: by 0\.150 \(95 % interval 0\.\d+ to "
              r"0\.\d+\), p = [\d.e-]+\.$"),
    ],
)  # fmt: skip
def test_sentence__best_student_and_best_peer__says_who_is_better_and_how_surely(peer: float, said: str) -> None:
    (standing,) = standings(RESULTS, of_peers(CatBoost=peer, linear=0.5))
    assert pd.Series([standing.sentence]).str.contains(said).all(), standing.sentence


def test_sentence__same_in_every_split__is_as_good() -> None:
    given = of_peers(CatBoost=0.25)
    given["error"] = RESULTS[RESULTS["method"] == "MT"]["error"].to_numpy()
    (standing,) = standings(RESULTS, given)
    assert standing.sentence == "MT, the best student, is as good as CatBoost, the best peer."


def test_comparisons__peers__are_held_against_lower_as_methods_are() -> None:
    given = of_peers(CatBoost=0.2)
    frame = peers.comparisons(standings(RESULTS, given))
    assert list(frame.columns) == list(comparisons.comparisons(RESULTS).columns)
    expected = compare(RESULTS[RESULTS["method"] == "lower"]["error"].to_numpy() - given["error"].to_numpy(), 20 / 40)
    assert frame["mean"].item() == pytest.approx(expected.mean)
    assert frame["low"].item() == pytest.approx(expected.test.low)


def test_summary__peers__stand_below_the_methods_in_a_group_of_their_own() -> None:
    table = summary.summary(RESULTS, "error", of_peers(CatBoost=0.2, linear=0.4))
    assert list(table["method"]) == ["lower", "upper", "PFD", "MT", "linear", "CatBoost"]
    assert list(table["group"]) == ["methods"] * 4 + ["peers"] * 2
    assert table.set_index("method").loc["CatBoost", "error"] == pytest.approx(0.2 + NOISE.mean())
    assert table.set_index("method").loc["CatBoost", "seconds"] == 3.0
    (grid, *twins) = summary.grids(table, {"one": []})
    assert [row[0] for row in grid.rows][-2:] == ["peer: linear", "peer: CatBoost"]
    assert twins == []


def test_grids__peers_and_best_student__with_the_sentence() -> None:
    given = of_peers(CatBoost=0.2, linear=0.4)
    found = standings(RESULTS, given)
    (grid,) = peers.grids(found, summary.summary(RESULTS, "error", given))
    assert [row[0] for row in grid.rows] == ["CatBoost", "linear", "best student: MT"]
    assert grid.rows[0][3].startswith("-0.05")
    assert grid.notes == (found[0].sentence,)
    assert found[0].sentence in console([grid])


def test_notes__peers__are_described_with_their_versions() -> None:
    given = of_peers(CatBoost=0.2)
    given.loc[0, "version"] = "1.3"
    assert peers.notes(given) == {
        "one": ["Peers, references that see X alone: CatBoost is ordered boosting of symmetric trees (catboost 1.2, "
                "1.3)."]
    }  # fmt: skip


@pytest.mark.parametrize(("metric", "said"), [("error", "error of the peer − error of the best"),
                                              ("auc", "AUC of the best student − AUC of the peer")])  # fmt: skip
def test_legend__direction__is_that_of_the_metric(metric: str, said: str) -> None:
    assert said in peers.legend(metric)
