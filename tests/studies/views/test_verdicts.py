"""Verdicts of studies whose results are made up so that the verdict is known."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from lupi.evidence import differences
from lupi.evidence.differences import corrected_t, holm
from lupi.evidence.gain import gain_interval
from lupi.evidence.leaks import Leak
from lupi.evidence.metric_table import COMPARED
from lupi.evidence.verdict import HELPS, HURTS, NO_EVIDENCE, NOT_THROUGH, UNKNOWN, VERDICTS
from lupi.settings import PLAIN, Setting
from studies.grid import console, markdown
from studies.views import verdicts
from studies.views.comparisons import comparisons, deciding_twins
from studies.views.settings import settings_of
from studies.views.verdicts import bounds_check, ranks
from tests.studies import frames

Floats = npt.NDArray[np.float64]
Arm = str | tuple[str, str]

FOLDS, ROWS = 5, 100
SHARE = 20 / 80
_OTHERS = ["auc", "log_loss", "balanced_log_loss", "brier", "mae", "r2"]


def results_of(
    arms: dict[Arm, Floats | list[float]], dataset: str = "one", setting: Setting = PLAIN, **columns: Any
) -> pd.DataFrame:
    """Records of the store: errors by method or (method, control), over the splits of five folds."""
    rows = []
    for arm, errors in arms.items():
        method, control = (arm, "none") if isinstance(arm, str) else arm
        rows += [
            {
                "dataset": dataset, "method": method, "control": control, "swept": setting.swept,
                "value": np.nan if setting.value is None else setting.value,
                "repeat": i // FOLDS, "fold": i % FOLDS, "n_train": ROWS - ROWS // FOLDS, "n_test": ROWS // FOLDS,
                "error": error, **dict.fromkeys(_OTHERS, None), **columns,
            }
            for i, error in enumerate(errors)
        ]  # fmt: skip
    return frames.results(rows)


def errors(mean: float, seed: int, splits: int = 20, spread: float = 0.01) -> Floats:
    """Errors of exactly this mean, each arm with noise of its own."""
    noise = np.random.default_rng(seed).normal(size=splits)
    return mean + spread * (noise - noise.mean()) / noise.std()


LOWER, UPPER = errors(0.30, 0), errors(0.10, 1)
BOUNDS: dict[Arm, Any] = {"lower": LOWER, "upper": UPPER}


def with_twins(method: str, mean: float, shuffled: float, noise: float, absent: float) -> dict[Arm, Any]:
    twins = {"shuffled": shuffled, "noise": noise, "absent": absent}
    seed = 10 + sum(map(ord, method))
    return {method: errors(mean, seed)} | {
        (method, name): errors(value, seed + 1 + i) for i, (name, value) in enumerate(twins.items())
    }


#: A method for every verdict.
STUDY = results_of(
    BOUNDS
    | with_twins("PFD", 0.20, 0.30, 0.28, 0.31)
    | with_twins("KT", 0.20, 0.198, 0.30, 0.30)
    | with_twins("KT-PFD", 0.305, 0.30, 0.30, 0.30)
    | with_twins("MT", 0.40, 0.30, 0.30, 0.30)
    | {"AUX": errors(0.20, 99)}
)
EXPECTED = {"PFD": HELPS, "KT": NOT_THROUGH, "KT-PFD": NO_EVIDENCE, "MT": HURTS, "AUX": UNKNOWN}


def row_of(results: pd.DataFrame, method: str, **where: Any) -> pd.Series:
    table = verdicts.verdicts(results, **where)
    return table[table["method"] == method].iloc[0]


def interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


# ---------------------------------------------------------------------- verdicts and their sentences


def test_verdicts__of_every_kind__are_given() -> None:
    table = verdicts.verdicts(STUDY)
    assert dict(zip(table["method"], table["verdict"], strict=True)) == EXPECTED
    assert (table["splits"] == 20).all()
    assert set(VERDICTS) == set(EXPECTED.values())


def test_verdicts__figures__are_those_of_the_statistics() -> None:
    table = verdicts.verdicts(STUDY).set_index("method")
    arms = {key: of["error"].to_numpy() for key, of in STUDY.groupby(["method", "control"])}
    tests = {name: corrected_t(LOWER - arms[name, "none"], SHARE) for name in EXPECTED}
    assert table["p"].tolist() == pytest.approx(holm([test.p for test in tests.values()]))
    for name, test in tests.items():
        row = table.loc[name]
        assert (row["difference"], row["low"], row["high"]) == pytest.approx((test.mean, test.low, test.high))
        assert row["detectable"] == pytest.approx(differences.detectable(test.standard_error, 19, 0.05 / 5))
        own, possible = LOWER - arms[name, "none"], LOWER - UPPER
        assert row["gain"] == pytest.approx(100 * own.mean() / possible.mean())
        assert (row["gain_low"], row["gain_high"]) == pytest.approx(gain_interval(own, possible, SHARE))
    twin = corrected_t(arms["KT", "shuffled"] - arms["KT", "none"], SHARE)
    found = table.loc["KT", ["worst_twin", "twin_difference", "twin_low", "twin_high"]].tolist()
    assert found[0] == "shuffled"
    assert found[1:] == pytest.approx([twin.mean, twin.low, twin.high])
    assert table.loc["PFD", "worst_twin"] == "noise"
    assert table.loc["AUX", ["worst_twin", "twin_difference", "p_all"]].isna().all()


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("PFD", ["PFD errs less than lower by 0.100 (95 % interval ", "hardest to beat noise: difference 0.080",
                 "the gain comes from the information."]),
        ("KT", ["KT errs less than lower by 0.100 (95 % interval ", "but its shuffled twin does as well (difference ",
                "-0.002, ", "the gain does not come from the information."]),
        ("KT-PFD", ["No evidence that KT-PFD differs from lower in error: difference -0.005 (95 % interval ",
                    "would have been found with a probability of 80 %."]),
        ("MT", ["MT errs more than lower by 0.100 (95 % interval "]),
        ("AUX", ["AUX errs less than lower by 0.100 (", "without control twins (placebo controls)"]),
    ],
)  # fmt: skip
def test_sentence__of_every_verdict__has_its_figures(method: str, parts: list[str]) -> None:
    row = row_of(STUDY, method)
    for part in parts:
        assert part in row["sentence"]
    low, high = (row["low"], row["high"]) if row["verdict"] != HURTS else (-row["high"], -row["low"])
    assert interval(low, high) in row["sentence"]
    if row["verdict"] in (HELPS, NOT_THROUGH):
        assert f", {interval(row['twin_low'], row['twin_high'])})" in row["sentence"]
    if row["verdict"] == NO_EVIDENCE:
        assert f"a true difference of {row['detectable']:.3f} would" in row["sentence"]
    assert "nan" not in row["sentence"]


def test_sentence__twin_with_half_of_the_gain__does_not_say_that_it_does_as_well() -> None:
    study = results_of(BOUNDS | with_twins("MT", 0.2, 0.25, 0.3, 0.3) | {("MT", "shuffled"): errors(0.25, 7, 20, 0.2)})
    row = row_of(study, "MT")
    assert row["verdict"] == NOT_THROUGH
    assert "is not shown to be better than its shuffled twin (difference 0.050, -" in row["sentence"]
    assert "does as well" not in row["sentence"]


def test_sentence__difference_that_holms_correction_takes_away__says_so() -> None:
    others = {name: errors(0.30, 50 + i) for i, name in enumerate(("GD", "PFD", "KT", "MT", "KT-PFD", "MT-PFD"))}
    row = row_of(results_of(BOUNDS | others | {"AUX": errors(0.255, 3, spread=0.03)}), "AUX")
    assert row["low"] > 0
    assert row["verdict"] == NO_EVIDENCE
    assert f"not enough for one of 7 methods (p {row['p']:.2g} after Holm's correction)" in row["sentence"]


def test_sentence__twins_beaten_but_not_among_so_many_methods__leaves_the_cause_open() -> None:
    many = [with_twins(name, 0.20, 0.20, 0.20, 0.20) for name in ("GD", "PFD", "KT", "MT", "KT-PFD", "MT-PFD")]
    arms = BOUNDS | {arm: of for each in many for arm, of in each.items()} | with_twins("AUX", 0.20, 0.30, 0.30, 0.30)
    row = row_of(results_of(arms | {("AUX", "noise"): errors(0.312, 3, spread=0.08)}), "AUX")
    assert row["twin_low"] > 0
    assert row["verdict"] == UNKNOWN
    assert row["p"] < 0.05 < row["p_all"]
    assert f"one of 7 methods (p {row['p_all']:.2g} after Holm's correction)" in row["sentence"]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1e-3, r"0\.000100 \(95 % interval 0\.0000\d\d to 0\.0001\d\d\)"), (1e4, r"1000 \(95 % interval \d+ to \d+\)")],
)
def test_sentence__decimals__follow_the_interval(scale: float, expected: str) -> None:
    """Errors need not be shares: a numeric target has units."""
    study = STUDY.assign(error=scale * STUDY["error"])
    assert re.search(expected, row_of(study, "AUX")["sentence"])


# ---------------------------------------------------------------------- which twins decide


def test_deciding_twins__weights__decide_where_no_z_is_predicted() -> None:
    information_free = ("shuffled", "noise", "absent")
    assert deciding_twins("TPD") == (*information_free, "unit-weights", "shuffled-weights")
    for method in ("PFD", "KT-TPD", "MT-TPD", "MT"):
        assert deciding_twins(method)[:3] == information_free
    for method in ("KT-TPD", "MT-TPD"):
        assert deciding_twins(method) == information_free


@pytest.mark.parametrize(("method", "expected"), [("TPD", NOT_THROUGH), ("MT-TPD", HELPS)])
def test_verdicts__weight_twin_does_as_well__decides_for_tpd_alone(method: str, expected: str) -> None:
    weights: dict[Arm, Any] = {(method, "unit-weights"): errors(0.2, 5)}
    study = results_of(BOUNDS | with_twins(method, 0.20, 0.30, 0.30, 0.30) | weights)
    assert row_of(study, method)["verdict"] == expected
    assert "unit-weights" in set(comparisons(study)["against"])  # reported in any case


# ---------------------------------------------------------------------- comparisons


def test_comparisons__rows__are_every_method_against_lower_and_its_twins() -> None:
    table = comparisons(STUDY)
    expected = [
        (method, against)
        for method in EXPECTED
        for against in (("lower",) if method == "AUX" else ("lower", "shuffled", "noise", "absent"))
    ]
    assert list(zip(table["method"], table["against"], strict=True)) == expected
    assert list(table.columns) == [
        "dataset", "swept", "value", "method", "against", "mean", "low", "high", "p", "detectable", "splits",
    ]  # fmt: skip
    row = table[(table["method"] == "PFD") & (table["against"] == "noise")].iloc[0]
    arms = {key: of["error"].to_numpy() for key, of in STUDY.groupby(["method", "control"])}
    test = corrected_t(arms["PFD", "noise"] - arms["PFD", "none"], SHARE)
    assert row[["mean", "low", "high", "p"]].tolist() == pytest.approx([test.mean, test.low, test.high, test.p])
    assert row["detectable"] == pytest.approx(differences.detectable(test.standard_error, 19, 0.05 / 5))


@pytest.mark.parametrize("metric", COMPARED)
def test_comparisons__any_metric__is_positive_where_the_method_is_better(metric: str) -> None:
    sign = -1.0 if metric in ("auc", "r2") else 1.0
    study = STUDY.assign(**{"error": np.nan, metric: sign * STUDY["error"]})
    table, expected = comparisons(study, metric), comparisons(STUDY)
    pd.testing.assert_frame_equal(table, expected)
    row = row_of(study, "PFD", metric=metric)
    assert row["verdict"] == HELPS
    assert row["gain"] == pytest.approx(50.0)
    more = {"auc": "a higher AUC", "r2": "a higher R²", "brier": "a lower Brier score", "mae": "a lower MAE"}
    if metric in more:
        assert f"PFD has {more[metric]} than lower by 0.100 (" in row["sentence"]


def test_comparisons__unknown_metric__raises() -> None:
    with pytest.raises(ValueError, match=r"metric must be one of error, auc, .*found 'accuracy'"):
        comparisons(STUDY, "accuracy")


def test_comparisons__splits_without_a_number__are_left_out_pair_by_pair() -> None:
    study = STUDY.copy()
    lost = (study["method"] == "PFD") & (study["control"] == "none") & (study["repeat"] == 0) & (study["fold"] < 3)
    study.loc[lost, "error"] = [np.nan, np.nan, np.inf]
    table = comparisons(study).set_index(["method", "against"])
    assert (table.loc["PFD", "splits"] == 17).all()
    assert (table.loc["KT", "splits"] == 20).all()
    own = study[(study["method"] == "PFD") & (study["control"] == "none")]["error"].to_numpy()
    test = corrected_t((LOWER - own)[3:], SHARE)
    assert table.loc[("PFD", "lower"), "p"] == pytest.approx(test.p)
    row = row_of(study, "PFD")
    assert row["verdict"] == HELPS
    assert row["sentence"].endswith(" Over 17 of 20 splits; in the others a number is missing.")
    assert row["gain"] == pytest.approx(100 * test.mean / (LOWER - UPPER)[3:].mean())


def test_verdicts__twin_without_numbers__leaves_the_cause_open() -> None:
    study = STUDY.copy()
    study.loc[(study["method"] == "PFD") & (study["control"] == "absent"), "error"] = np.nan
    row = row_of(study, "PFD")
    assert row["verdict"] == UNKNOWN
    assert "without a test against its twin absent" in row["sentence"]
    study.loc[study["control"] != "none", "error"] = np.nan
    assert "twin shuffled and noise and absent" in row_of(study, "PFD")["sentence"]


@pytest.mark.parametrize(("splits", "there"), [(1, "there is 1"), (0, "there are none")])
def test_verdicts__too_few_splits__is_a_row_that_says_so(splits: int, there: str) -> None:
    arms = {name: values[:1] if splits else [np.nan] for name, values in (BOUNDS | {"MT": errors(0.2, 2)}).items()}
    study = results_of(arms)
    row = row_of(study, "MT")
    assert row["verdict"] == NO_EVIDENCE
    assert row["sentence"] == f"MT: a test needs two splits in which both MT and lower have a number; {there}."
    assert row[["low", "high", "p", "gain", "detectable"]].isna().all()
    assert row["splits"] == splits
    assert np.isnan(row["difference"]) == (splits == 0)
    assert "–" in console(verdicts.grids(verdicts.verdicts(study), bounds_check(study, config())))
    with pytest.raises(ValueError, match="must be"):
        corrected_t([0.1], SHARE)


def test_verdicts__without_lower__say_so() -> None:
    study = results_of(with_twins("MT", 0.2, 0.3, 0.3, 0.3))
    row = row_of(study, "MT")
    assert (row["verdict"], row["splits"]) == (NO_EVIDENCE, 0)
    assert "the lower bound is not in the study" in row["sentence"]
    assert list(comparisons(study)["against"]) == ["shuffled", "noise", "absent"]
    assert bounds_check(study, config()) == {"one": []}


def test_verdicts__without_upper_or_where_it_is_no_better__have_no_gain() -> None:
    for bounds in ({"lower": LOWER}, {"lower": LOWER, "upper": errors(0.30, 77)}):
        row = row_of(results_of({**bounds, "MT": errors(0.2, 2)}), "MT")
        assert row[["gain", "gain_low", "gain_high"]].isna().all()


def test_verdicts__equal_differences_in_few_splits__are_no_proof() -> None:
    """Two folds that both gain one row: a t without variance would be sure."""
    row = row_of(results_of({"lower": [0.3, 0.4], "MT": [0.25, 0.35]}), "MT")
    assert row["p"] == 0.5
    assert row["verdict"] == NO_EVIDENCE
    assert row["sentence"].endswith("difference 0.050 in each of 2 splits, too few to tell.")
    assert row[["detectable", "low", "high"]].isna().all()
    same = row_of(results_of({"lower": [0.3, 0.4], "MT": [0.3, 0.4]}), "MT")
    assert same["p"] == 1.0
    assert same["sentence"].endswith("they do equally well in every split.")


def test_verdicts__nothing_to_judge__is_an_empty_table() -> None:
    table = verdicts.verdicts(results_of(BOUNDS))
    assert table.empty
    assert "verdict" in table
    assert comparisons(results_of(BOUNDS)).empty


# ---------------------------------------------------------------------- data sets and settings


def test_verdicts__data_sets_and_settings__are_families_of_their_own() -> None:
    swept = [
        results_of(with_twins("MT", mean, 0.3, 0.3, 0.3), setting=Setting("epsilon", value))
        for value, mean in ((10, 0.2), (2, 0.3), (0.25, 0.4))
    ]
    own = results_of(BOUNDS | with_twins("MT", 0.2, 0.3, 0.3, 0.3) | {"AUX": errors(0.2, 3)})
    study = pd.concat([own, *swept, STUDY.assign(dataset="two")])
    table = verdicts.verdicts(study)
    of_one = table[table["dataset"] == "one"]
    assert list(zip(settings_of(of_one), of_one["method"], of_one["verdict"], strict=True)) == [
        (PLAIN, "MT", HELPS), (PLAIN, "AUX", UNKNOWN),
        (("epsilon", 0.25), "MT", HURTS), (("epsilon", 2), "MT", NO_EVIDENCE), (("epsilon", 10), "MT", HELPS),
    ]  # fmt: skip
    alone = verdicts.verdicts(STUDY)
    of_two = table[table["dataset"] == "two"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_two.drop(columns="dataset"), alone.drop(columns="dataset"))
    # One method in the family of a swept value: its own p.
    found = comparisons(study).query("swept == 'epsilon' and value == 10 and against == 'lower'").iloc[0]
    assert of_one["p"].iloc[-1] == found["p"]
    assert of_one["gain"].iloc[-1] == pytest.approx(50.0)  # with the upper bound of the study's own options


def test_verdicts__twins_of_other_settings__do_not_stand_in() -> None:
    study = pd.concat([
        results_of(BOUNDS | with_twins("MT", 0.2, 0.2, 0.2, 0.2)),
        results_of({"MT": errors(0.2, 4)}, setting=Setting("epsilon", 2.0)),
    ])  # fmt: skip
    assert verdicts.verdicts(study)["verdict"].tolist() == [NOT_THROUGH, UNKNOWN]


def test_verdicts__setting_with_bounds_of_its_own__uses_them() -> None:
    arms = {"lower": errors(0.5, 8), "MT": errors(0.4, 9)}
    study = pd.concat([results_of(BOUNDS | {"MT": errors(0.2, 4)}), results_of(arms, setting=Setting("epochs", 30.0))])
    assert verdicts.verdicts(study)["difference"].tolist() == pytest.approx([0.1, 0.1])


def test_comparisons__fewer_training_rows_than_the_folds_have__correct_for_the_folds() -> None:
    """What splits share is set by the folds: 100 rows, 20 of them tested."""
    study = STUDY.assign(n_train=8)
    pd.testing.assert_frame_equal(comparisons(study), comparisons(STUDY))
    hold_out = STUDY[(STUDY["fold"] == 0)].assign(n_train=30, n_test=60)
    arms = {key: of["error"].to_numpy() for key, of in hold_out.groupby(["method", "control"])}
    test = corrected_t(arms["lower", "none"] - arms["PFD", "none"], 2.0)
    assert comparisons(hold_out)["p"].iloc[0] == pytest.approx(test.p)


# ---------------------------------------------------------------------- leaks


def config(classes: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    facts = {"classes": {"no": 50, "yes": 50} if classes is None else classes, "notes": [], "leaks": [], **more}
    return {"data": {"one": facts, "two": facts}, "options": {}}


@pytest.mark.parametrize(
    ("lower", "upper", "part"),
    [
        (0.30, 0.10, None),
        (0.30, 0.004, "upper, which sees the true Z, errs in 0.4 % of rows (lower in 30 %): X and Z all but determine"),
        (0.30, 0.02, "errs in 2 % of rows"),
        (0.02, 0.004, "errs in 0.4 % of rows"),
        (
            0.30,
            0.299,
            "It is not clear that upper, which sees the true Z, errs less than lower (difference 0.001, 95 % ",
        ),
        (
            0.30,
            0.40,
            "It is not clear that upper, which sees the true Z, errs less than lower (difference -0.100, 95 % ",
        ),
    ],
)
def test_bounds_check__bounds__say_what_z_is_worth(lower: float, upper: float, part: str | None) -> None:
    study = results_of({"lower": errors(lower, 0), "upper": errors(upper, 1, spread=0.002)})
    (notes,) = bounds_check(study, config()).values()
    if part is None:
        assert notes == []
    else:
        (note,) = notes
        assert part in str(note)
        assert isinstance(note, Leak) == ("determine" in str(note) or "of rows" in part)


def test_bounds_check__numeric_target__is_measured_against_the_lower_bound_alone() -> None:
    study = results_of({"lower": errors(0.004, 0, spread=1e-4), "upper": errors(0.003, 1, spread=1e-4)})
    assert bounds_check(study, {"data": {"one": {"classes": None}}}) == {"one": []}
    study = results_of({"lower": errors(400.0, 0), "upper": errors(3.0, 1)})
    (note,) = bounds_check(study, {"data": {"one": {"classes": None}}})["one"]
    assert "has an RMSE of 3 where lower has 400" in str(note)


def test_bounds_check__by_another_metric__goes_by_that_metric_alone() -> None:
    """Upper does not err less, but its log loss is lower beyond doubt, and the other way round."""
    study = results_of({"lower": errors(0.30, 0), "upper": errors(0.30, 1)})
    upper = study["method"] == "upper"
    better = study.assign(log_loss=np.where(upper, 0.2, 0.5) + study["error"] - 0.30)
    assert "errs less than" in str(bounds_check(better, config())["one"])
    assert bounds_check(better, config(), "log_loss") == {"one": []}
    (note,) = bounds_check(study.assign(auc=1.0 - study["error"]), config(), "auc")["one"]
    assert "has a higher AUC than lower" in str(note)
    (leak,) = bounds_check(study.assign(auc=np.where(upper, 0.99, 0.7)), config(), "auc")["one"]
    assert isinstance(leak, Leak)


def test_bounds_check__swept_settings__name_theirs() -> None:
    leaky = results_of({"lower": LOWER, "upper": errors(0.0, 1, spread=0.0)}, setting=Setting("epochs", 300.0))
    notes = bounds_check(pd.concat([results_of(BOUNDS), leaky, results_of(BOUNDS, "two")]), config())
    assert list(notes) == ["one", "two"]
    assert notes["two"] == []
    assert [str(note).split(":")[0] for note in notes["one"]] == ["At epochs=300"]


# ---------------------------------------------------------------------- ranks


def many_sets(sets: int = 6) -> pd.DataFrame:
    means = {"lower": 0.3, "PFD": 0.25, "MT": 0.2, "upper": 0.1}
    return pd.concat(
        results_of(
            {name: errors(mean + i / 100, 7 * i + j) for j, (name, mean) in enumerate(means.items())}, f"set {i}"
        )
        for i in range(sets)
    )


def test_ranks__same_order_everywhere__by_hand() -> None:
    """Friedman's statistic is D (k - 1) for one order of k methods in D data sets."""
    found = ranks(many_sets())
    assert found.mean.to_dict() == {"lower": 3.0, "PFD": 2.0, "MT": 1.0}  # upper sees Z: no competitor
    assert found.statistic == pytest.approx(12.0)
    assert found.p == pytest.approx(np.exp(-6.0))
    assert len(found.datasets) == 6
    assert found.left_out == ()


def test_ranks__nemenyi__is_the_studentized_range_of_rank_differences() -> None:
    from scipy import stats

    found = ranks(many_sets())
    assert list(found.pairwise.index) == list(found.pairwise.columns) == list(found.mean.index)
    q = abs(found.mean["lower"] - found.mean["MT"]) / np.sqrt(3 * 4 / (6 * 6)) * np.sqrt(2)
    assert found.pairwise.loc["lower", "MT"] == pytest.approx(stats.studentized_range.sf(q, 3, np.inf), abs=1e-6)
    assert (np.diag(found.pairwise) == 1).all()


def test_ranks__metric_where_more_is_better__ranks_the_largest_first() -> None:
    study = many_sets()
    assert ranks(study.assign(auc=-study["error"]), "auc").mean.to_dict() == ranks(study).mean.to_dict()


def test_ranks__data_set_without_a_number__is_left_out() -> None:
    study = many_sets()
    study.loc[(study["dataset"] == "set 2") & (study["method"] == "MT"), "error"] = np.nan
    study = study[~((study["dataset"] == "set 4") & (study["method"] == "PFD"))]
    found = ranks(study)
    assert found.datasets == ("set 0", "set 1", "set 3", "set 5")
    assert found.left_out == ("set 2", "set 4")


def test_ranks__too_little__raises() -> None:
    few = many_sets()
    for study in (many_sets(1), few[few["method"] != "PFD"], few.assign(error=np.nan)):
        with pytest.raises(ValueError, match="need at least 2 data sets"):
            ranks(study)


def test_ranks__critical_difference_diagram__takes_them() -> None:
    """What the figures draw from."""
    import matplotlib
    import matplotlib.pyplot as plt
    import scikit_posthocs

    matplotlib.use("agg")
    found = ranks(many_sets())
    figure, axes = plt.subplots()
    assert scikit_posthocs.critical_difference_diagram(found.mean, found.pairwise, ax=axes)
    plt.close(figure)


# ---------------------------------------------------------------------- forms

LEAKS = {"one": ["Z is a copy of the target."]}


def study_of_two() -> pd.DataFrame:
    single = results_of({name: values[:1] for name, values in (BOUNDS | {"MT": LOWER}).items()}, "two")
    return verdicts.verdicts(
        pd.concat([STUDY, results_of({"MT": errors(0.2, 4)}, setting=Setting("epsilon", 2.0)), single])
    )


def test_console__table__is_aligned_and_leaks_come_first() -> None:
    table = study_of_two()
    parts = console(verdicts.grids(table, LEAKS)).split("\n\n")
    assert [part.splitlines()[0] for part in parts] == ["one", "one, epsilon=2", "two"]
    assert verdicts.legend(table).startswith(
        "Difference = error of lower − error of the method; positive means the method is better."
    )
    first = parts[0].splitlines()
    assert first[1] == "  Z is a copy of the target."
    assert "copy of the target" not in "".join(parts[1:])
    grid = first[2 : 4 + len(EXPECTED)]
    assert len({len(line) for line in grid}) == 1
    assert [line.split()[0] for line in grid[2:]] == list(EXPECTED)
    for sentence in table["sentence"]:
        assert f"  {sentence}" in console(verdicts.grids(table))
    assert "nan" not in console(verdicts.grids(table))


def test_legend__metric_where_more_is_better__is_the_method_less_lower() -> None:
    by_auc = verdicts.verdicts(STUDY.assign(auc=-STUDY["error"]), "auc")
    assert verdicts.legend(by_auc).startswith("Difference = AUC of the method − AUC of lower; positive means")
    assert verdicts.legend(verdicts.verdicts(results_of(BOUNDS))).startswith("Difference = error of lower")


def test_markdown__rows__have_as_many_cells_as_the_heading() -> None:
    table = study_of_two()
    text = markdown(verdicts.grids(table, LEAKS))
    sections = text.split("## ")[1:]
    assert [section.splitlines()[0] for section in sections] == ["one", "one, epsilon=2", "two"]
    assert sections[0].splitlines()[2] == "- Z is a copy of the target."
    for section in sections:
        cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
        assert len({len(row) for row in cells}) == 1
        assert all(re.fullmatch(r" -+:? ", cell) for cell in cells[1])
    for name in ("verdict", "sentence"):
        assert all(value in text for value in table[name])
    assert "nan" not in text


def test_forms__cells__are_the_figures_of_the_table() -> None:
    table = study_of_two()
    row = table[table["method"] == "PFD"].iloc[0]
    (line,) = [line for line in markdown(verdicts.grids(table)).splitlines() if line.startswith("| PFD ")]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "PFD", f"0.100 ({interval(row['low'], row['high'])})", "< 0.001", f"{row['detectable']:.3f}",
        f"50 ({row['gain_low']:.0f} to {row['gain_high']:.0f})", "noise",
        f"0.080 ({interval(row['twin_low'], row['twin_high'])})", HELPS,
    ]  # fmt: skip


def test_grids__same_difference_in_every_split__has_a_dash_for_its_interval_and_the_legend_says_why() -> None:
    table = study_of_two()
    assert "sign test" not in verdicts.legend(table)
    alike = table.assign(low=np.nan, high=np.nan)
    for row in verdicts.grids(alike)[0].rows:
        assert row[1].endswith(" (–)")
    assert "sign test" in verdicts.legend(alike)
