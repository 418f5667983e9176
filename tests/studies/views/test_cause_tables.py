"""Why a student errs, from records whose causes are known row by row."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi.columns import Column
from lupi.evidence.errors import AGREEMENT
from studies.views import causes
from tests.studies import frames

NAN = np.nan
COLUMNS = [
    Column("a", 0, 1, origin=10.0, unit=4.0),
    Column("b", 1, 3, True, ("u", "v", "w")),
]
U, V, W, MISSING = [1, 0, 0], [0, 1, 0], [0, 0, 1], [NAN] * 3
# student, teacher, truth; lower; z and ẑ of a; changes of a below and above; z and ẑ of b; which levels of b change the
# teacher; where it changes on the straight way from z to ẑ.
ROWS: list[tuple[Any, ...]] = [
    (1, 0, 0, 0, 0.0, 1.0, NAN, 0.5, U, [0.8, 0.1, 0.1], [0, 0, 0], 0.6),  # caused by a
    (1, 0, 0, 1, 2.0, 2.2, NAN, 0.5, U, [0.3, 0.4, 0.3], [0, 1, 0], NAN),  # caused by b
    (0, 0, 1, 1, 0.0, -2.0, -1.0, NAN, V, [0.1, 0.1, 0.8], [0, 0, 0], 1.0),  # the teacher errs too
    (1, 1, 1, 1, 0.3, 0.3, NAN, NAN, W, [0.2, 0.2, 0.6], [0, 0, 0], NAN),  # all agree
    (1, 0, 1, 0, NAN, 0.1, NAN, NAN, V, [0.2, 0.7, 0.1], [1, 0, 1], NAN),  # the student is right alone
    (1, 0, 0, 0, NAN, 0.1, NAN, NAN, MISSING, [0.2, 0.7, 0.1], MISSING, NAN),  # its own, as z is unknown
    (1, 0, 0, 0, 0.0, -9.0, NAN, 0.5, U, [0.6, 0.2, 0.2], [0, 1, 1], NAN),  # its own
]
CALM: list[tuple[Any, ...]] = [(0, 0, 0, 0, 0.0, 0.0, NAN, NAN, U, [0.8, 0.1, 0.1], [0, 0, 0], NAN)] * 2
ERRORS = {"lower": 0.4, "upper": 0.1, "MT": 0.3, "AUX": 0.3}


def sure(codes: list[int]) -> np.ndarray:
    """Probabilities of classes by their codes."""
    return 0.1 + 0.8 * np.eye(2)[codes]


def records(rows: list[tuple[Any, ...]], repeat: int, number: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Records of the arms of one split, and of the split."""
    p, t, r, low, z_a, hat_a, below, above, z_b, hat_b, flips, crossing = (
        list(each) for each in zip(*rows, strict=True)
    )
    key = {"dataset": "one", "swept": "", "value": np.nan, "repeat": repeat, "fold": 0}
    arms = [
        {
            **key, "method": method, "control": "none", "prediction": sure(codes), "error": ERRORS[method],
            "z_hat": np.column_stack([hat_a, hat_b]) if predicts else None,
            "crossing": np.array(crossing, dtype=np.float32)[:, None] if predicts else None,
            "oracle_error": 0.2 if method == "MT" else None, "halved_error": 0.25 if method == "MT" else None,
        }
        for method, codes, predicts in (("lower", low, 0), ("upper", t, 0), ("MT", p, 1), ("AUX", p, 1))
    ]  # fmt: skip
    split = {
        **key, "rows": number + np.arange(len(rows)), "truth": np.array(r, dtype=np.float64),
        "z": np.column_stack([z_a, z_b]).astype(np.float32), "columns": COLUMNS,
        "change": np.column_stack([below, above, flips]).astype(np.float32),
    }  # fmt: skip
    return arms, split


def stored() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and splits: one split of all cases, one in which nobody errs; and records that do not belong to them."""
    made = [records(ROWS, 0, 100), records(CALM, 1, 200)]
    results = frames.results([arm for arms, _ in made for arm in arms])
    splits = frames.splits([split for _, split in made])
    wrong = results["prediction"].map(lambda probability: 1.0 - probability)
    strangers = [
        results.assign(control="shuffled", prediction=wrong),
        results.assign(swept="epsilon", value=5.0, prediction=wrong),
        results.assign(dataset="two", prediction=wrong),
    ]
    others = [splits.assign(swept="epsilon", value=5.0), splits.assign(dataset="two")]
    return pd.concat([*strangers, results], ignore_index=True), pd.concat([*others, splits], ignore_index=True)


CONFIG = {"data": {"one": {"classes": {"no": 6, "yes": 3}}, "two": {"classes": None}}}


def kinds(cause: str, repeat: int = 0) -> dict[str, int]:
    table = causes.kinds_of_error(*stored(), "one", "MT")
    (found,) = table[(table["cause"] == cause) & (table["repeat"] == repeat)].to_dict("records")
    return found


# ---------------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("cause", "caused", "own", "no_change", "unknown"),
    [("a", 1, 3, 3, 2), ("b", 1, 3, 4, 1), (causes.JOINT, 1, 3, 5, 1)],
)
def test_kinds_of_error__every_case__is_what_its_row_says(
    cause: str, caused: int, own: int, no_change: int, unknown: int
) -> None:
    found = kinds(cause)
    assert found["rows"] == 7
    assert found["errors"] == 5
    assert found["both"] == 1
    assert (found["caused"], found["own"]) == (caused, own)
    assert found["both"] + found["caused"] + found["own"] == found["errors"]
    assert (found["no_change"], found["unknown"]) == (no_change, unknown)


def test_kinds_of_error__split_without_errors__has_none_of_any_kind() -> None:
    for cause in ("a", "b", causes.JOINT):
        found = kinds(cause, repeat=1)
        assert [found[name] for name in ("errors", "both", "caused", "own", "unknown")] == [0] * 5


def test_kinds_of_error__one_column__has_no_joint_row() -> None:
    results, splits = stored()
    narrow = splits.assign(columns=[COLUMNS[:1]] * len(splits), change=splits["change"].map(lambda c: c[:, :2]))
    assert set(causes.kinds_of_error(results, narrow, "one", "MT")["cause"]) == {"a"}


def test_agreement__shares_of_all_rows_and_of_those_with_a_change() -> None:
    table = causes.agreement(*stored(), "one", "MT").set_index(["against", "rows", "repeat"])
    assert table.loc[("upper", "all", 0), list(AGREEMENT)].tolist() == pytest.approx(
        [100 / 7, 400 / 7, 100 / 7, 100 / 7]
    )
    # Rows 0, 1, 2 and 6 by a, row 4 by b.
    assert table.loc[("upper", "with a DC", 0), "count"] == 5
    assert table.loc[("upper", "with a DC", 0), list(AGREEMENT)].tolist() == pytest.approx([0, 60, 20, 20])
    # Lower is right in rows 0, 2, 3, 5 and 6, wrong in 1 (as the student) and in 4 (where the student is right).
    assert table.loc[("lower", "all", 0), list(AGREEMENT)].tolist() == pytest.approx(
        [100 / 7, 400 / 7, 100 / 7, 100 / 7]
    )
    assert table.loc[("upper", "all", 1), list(AGREEMENT)].tolist() == [100, 0, 0, 0]
    assert table.loc[("upper", "with a DC", 1), "count"] == 0
    assert table.loc[("upper", "with a DC", 1), list(AGREEMENT)].isna().all()


def test_agreement__without_lower__is_against_upper_alone() -> None:
    results, splits = stored()
    table = causes.agreement(results[results["method"] != "lower"], splits, "one", "MT")
    assert set(table["against"]) == {"upper"}


def test_levels__every_row_of_every_category() -> None:
    table = causes.levels(*stored(), "one", "MT")
    assert table["column"].unique().tolist() == ["b"]
    assert table["row"].tolist() == [100, 101, 102, 103, 104, 105, 106, 200, 201]
    assert table["true"].fillna("missing").tolist() == ["u", "u", "v", "w", "v", "missing", "u", "u", "u"]
    assert table["predicted"].tolist() == ["u", "v", "w", "w", "v", "v", "u", "u", "u"]
    assert table["changing"].tolist() == [(), ("v",), (), (), ("u", "w"), (), ("v", "w"), (), ()]
    assert table["changes"].tolist() == [False, True, *[False] * 7]


def test_mendable__errors_of_every_split() -> None:
    table = causes.mendable(stored()[0], "one", "MT")
    assert table.to_dict("records") == [
        {"repeat": repeat, "fold": 0, "lower": 0.4, "upper": 0.1, "student": 0.3, "halved": 0.25, "oracle": 0.2}
        for repeat in (0, 1)
    ]


def test_diverged_arm__its_split_is_left_out() -> None:
    results, splits = stored()
    at = results.index[(results["method"] == "upper") & (results["repeat"] == 1)]
    results.loc[at, "prediction"] = pd.Series([np.full((2, 2), NAN)] * len(at), index=at)
    assert set(causes.kinds_of_error(results, splits, "one", "MT")["repeat"]) == {0}
    assert set(causes.agreement(results, splits, "one", "MT")["repeat"]) == {0}


# ---------------------------------------------------------------------- for people


def test_grids__hold_the_figures_and_sentences() -> None:
    grids = {grid.title: grid for grid in causes.grids(*stored(), "one", "MT")}
    assert list(grids) == [
        "one, MT: agreement", "one, MT: causes of its errors", "one, MT: levels that flip the teacher",
        "one, MT: what a better ẑ would mend",
    ]  # fmt: skip
    assert all(note.endswith(".") for grid in grids.values() for note in grid.notes)
    grid = grids["one, MT: causes of its errors"]
    assert grid.rows[0] == ("a", "2.5 ± 3.5", "20.0", "60.0", "20.0", "71.4 ± 40.4")  # of the split that has errors
    assert grid.rows[2][0] == causes.JOINT
    assert grid.rows[2][-1] == "–"
    assert grid.notes[0].startswith("a: 1 of 5 errors of MT (20.0 %) were caused by its privileged prediction")
    assert "a: the true value of 2 of 9 test rows is unknown" in grid.notes[1]
    grid = grids["one, MT: levels that flip the teacher"]
    # v: true in 2 of 6 known rows; of the other 4 it changes 2 and is predicted in 1, which it changes.
    assert grid.rows[1] == ("b", "v", "16.7 ± 23.6", "25.0 ± 35.4", "12.5 ± 17.7", "100.0")
    assert grid.notes == (
        "b: in 3 of 8 test rows some other level would change the teacher's class; MT predicts a wrong level in 2, "
        "which changes it in 1.",
    )
    grid = grids["one, MT: what a better ẑ would mend"]
    assert [row[1] for row in grid.rows] == [f"{e:.3f} ± 0.000" for e in (0.4, 0.3, 0.25, 0.2, 0.1)]
    assert "would fall from 0.300 to 0.200" in grid.notes[0]


@pytest.mark.parametrize(("oracle", "words"), [(0.3, "stay at 0.300"), (0.35, "rise from 0.300 to 0.350")])
def test_grids__true_z_is_no_help__says_so(oracle: float, words: str) -> None:
    results, splits = stored()
    results.loc[results["method"] == "MT", "oracle_error"] = oracle
    assert words in causes.grids(results, splits, "one", "MT")[-1].notes[0]


def test_grids__split_without_oracle__is_left_out_of_both_sides() -> None:
    results, splits = stored()
    ours = (results["method"] == "MT") & (results["repeat"] == 1)
    results.loc[ours, "oracle_error"], results.loc[ours, "error"] = NAN, 0.9
    assert "would fall from 0.300 to 0.200" in causes.grids(results, splits, "one", "MT")[-1].notes[0]


def test_grids__target_that_does_not_read_z_hat__no_error_is_said_to_come_from_it() -> None:
    grids = causes.grids(*stored(), "one", "AUX")
    text = "\n".join(note for grid in grids for note in grid.notes)
    assert "were caused" not in text
    assert "The target of AUX does not read ẑ: its errors cannot come from it." in text
    assert [row[1] for row in grids[-1].rows][2:4] == ["–", "–"]


def test_grids__no_category__no_table_of_levels() -> None:
    results, splits = stored()
    narrow = splits.assign(columns=[COLUMNS[:1]] * len(splits), change=splits["change"].map(lambda c: c[:, :2]))
    assert len(causes.grids(results, narrow, "one", "MT")) == 3


# ---------------------------------------------------------------------- what cannot be explained


def test_explicable__methods_that_predict_z_where_there_is_a_teacher_of_classes() -> None:
    results, splits = stored()
    assert causes.explicable(results, splits, CONFIG, "one") == ["MT", "AUX"]
    assert causes.explicable(results, splits, CONFIG, "two") == []
    assert causes.explicable(results[results["method"] != "upper"], splits, CONFIG, "one") == []
    assert causes.explicable(results, splits.assign(change=None), CONFIG, "one") == []


Views = tuple[Callable[[pd.DataFrame, pd.DataFrame, str, str], object], ...]
VIEWS: Views = (
    causes.agreement,
    causes.kinds_of_error,
    causes.levels,
    lambda results, splits, dataset, method: causes.mendable(results, dataset, method),
    causes.grids,
)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("dataset", "method", "message"),
    [
        ("one", "KT", "one: KT is not among the methods of the study; there are lower, upper, MT, AUX"),
        ("three", "MT", "three: MT is not among the methods of the study; there are none"),
        ("one", "lower", "one: lower predicts no Z whose error could explain its own; those that do: MT, AUX"),
    ],
)
def test_bad_input__is_told(view: Callable[..., object], dataset: str, method: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        view(*stored(), dataset, method)


@pytest.mark.parametrize("view", VIEWS)
def test_study_without_a_teacher__is_told(view: Callable[..., object]) -> None:
    results, splits = stored()
    with pytest.raises(ValueError, match="not in the study; add upper"):
        view(results[results["method"] != "upper"], splits, "one", "MT")


@pytest.mark.parametrize("view", VIEWS)
def test_numeric_target__is_told(view: Callable[..., object]) -> None:
    results, splits = stored()
    results["prediction"] = results["prediction"].map(lambda probability: probability[:, :1])
    with pytest.raises(ValueError, match="need classes, and the target is a number"):
        view(results, splits.assign(change=None), "one", "MT")


@pytest.mark.parametrize("view", VIEWS[:3])
def test_every_split_diverged__is_told(view: Callable[..., object]) -> None:
    results, splits = stored()
    with pytest.raises(ValueError, match="their networks diverged"):
        view(results, splits.assign(change=None), "one", "MT")
