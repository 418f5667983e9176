"""Tables: the figures of the store, in four forms that say the same."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi.evidence.gain import lupi_gain
from lupi.methods.table import METHODS
from studies import grid
from studies.views import summary, verdicts
from tests.studies import frames

OPTIONS = {"protocol": "strict", "folds": 2, "repeats": 2, "members": 1, "seed": 17, "dtype": "float32"}
DATA = {
    "rows": 60,
    "regular": ["a", "b"],
    "privileged": ["z"],
    "sha256": "0123456789abcdef0123",
    "notes": [],
    "leaks": [],
}
METRICS = ["auc", "log_loss", "balanced_log_loss", "brier", "mae", "r2", "z_mae", "z_error"]


def config_of(*datasets: str, data: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return {
        "command": "python MT_main.py --dataset one_two --out 100%_#1",
        "options": OPTIONS | options,
        "device": "cpu",
        "versions": {"lupi": "1.2", "torch": "2.13"},
        "data": {name: DATA | (data or {}) for name in datasets},
    }


def results_of(errors: dict[str, list[float]], dataset: str = "one", **metrics: Any) -> pd.DataFrame:
    """Records of the store: `errors` by method, over the splits of two folds."""
    rows = [
        {
            "dataset": dataset, "method": method, "control": "none", "swept": "", "value": np.nan,
            "repeat": i // 2, "fold": i % 2, "privileged": ["z"],
            "n_train": 48, "n_test": 12,
            "epochs": 10.0, "seconds": 0.5, "error": error, **dict.fromkeys(METRICS, np.nan), **metrics,
        }
        for method, values in errors.items()
        for i, error in enumerate(values)
    ]  # fmt: skip
    return frames.results(rows)


GOOD = {"lower": [0.4, 0.3, 0.4, 0.3], "MT": [0.3, 0.2, 0.3, 0.3], "upper": [0.1, 0.2, 0.1, 0.1]}
POOR = {"lower": [0.2, 0.2], "upper": [0.2, 0.3], "MT": [0.1, 0.1]}


# ---------------------------------------------------------------------- figures


def test_summary__every_figure__is_that_of_the_records() -> None:
    table = summary.summary(results_of(GOOD, auc=0.75)).set_index("method")
    assert list(table.index) == [name for name in METHODS if name in GOOD]
    for method, errors in GOOD.items():
        assert table.loc[method, "error"] == np.mean(errors)
        assert table.loc[method, "error_std"] == np.std(errors, ddof=1)
        assert table.loc[method, "splits"] == len(errors)
    assert (table["auc"] == 0.75).all()
    assert table["mae"].isna().all()


def test_summary__lupi_gain__is_of_the_means_and_of_students_alone() -> None:
    table = summary.summary(results_of(GOOD)).set_index("method")
    lower, upper, student = (np.mean(GOOD[name]) for name in ("lower", "upper", "MT"))
    assert table.loc["MT", "gain"] == pytest.approx(100 * (lower - student) / (lower - upper))
    assert table.loc["MT", "gain"] == lupi_gain(GOOD["lower"], GOOD["MT"], GOOD["upper"], 12 / 48).point > 0
    assert table.loc[["lower", "upper"], "gain"].isna().all()


@pytest.mark.parametrize("missing", ["lower", "upper"])
def test_summary__lupi_gain_without_a_bound__is_undefined(missing: str) -> None:
    some = {method: errors for method, errors in GOOD.items() if method != missing}
    assert summary.summary(results_of(some))["gain"].isna().all()


def test_lupi_gain__upper_not_better__no_column_and_a_note_that_says_why() -> None:
    results = results_of(POOR)
    table = summary.summary(results)
    assert table["gain"].isna().all()
    notes = summary.footnotes(results, config_of("one"), 1.0)
    text = grid.markdown(summary.grids(table, notes))
    assert "| LUPI gain" not in text
    assert "It is not clear that upper, which sees the true Z, errs less than lower" in text
    assert "no LUPI gain is given" in text
    better = results_of(GOOD)
    assert "not clear" not in str(summary.footnotes(better, config_of("one"), 1.0))
    assert "| LUPI gain %" in grid.markdown(summary.grids(summary.summary(better), notes))


def test_lupi_gain__upper_better_by_noise_alone__is_not_shown() -> None:
    """Differences 0.1, -0.1, 0.1, -0.02: mean 0.02, corrected standard error sqrt(1/4 + 1/4) · 0.098 = 0.069."""
    noisy = {"lower": [0.3, 0.3, 0.3, 0.3], "MT": [0.2] * 4, "upper": [0.2, 0.4, 0.2, 0.32]}
    assert np.mean(noisy["upper"]) < np.mean(noisy["lower"])
    assert summary.summary(results_of(noisy))["gain"].isna().all()


@pytest.mark.parametrize(
    "upper", [[0.1, 0.2, 0.1, 0.1], [0.2, 0.4, 0.2, 0.32], [0.3, 0.35, 0.1, 0.25], [0.4, 0.3, 0.4, 0.3]]
)
def test_lupi_gain__in_the_table_and_among_the_verdicts__is_the_same(upper: list[float]) -> None:
    """Both are shown, or neither: also where upper looks better, but not clearly."""
    results = results_of(GOOD | {"upper": upper})
    (gain,) = summary.summary(results).query("method == 'MT'")["gain"]
    (judged,) = verdicts.verdicts(results)["gain"]
    assert gain == pytest.approx(judged, nan_ok=True)


def test_metric__another_than_the_error__is_the_first_column_and_that_of_gain_and_twins() -> None:
    """By the error there is nothing to gain, by the log loss half of it is gained."""
    results = results_of({"lower": [0.4] * 4, "MT": [0.4] * 4, "upper": [0.4] * 4})
    noise = np.tile([0.01, -0.01, 0.02, -0.02], 3)
    losses = results["method"].map({"lower": 0.6, "MT": 0.4, "upper": 0.2}) + noise * (results["method"] == "upper")
    results = results.assign(log_loss=losses, balanced_log_loss=0.5)
    shuffled = results[results["method"] == "MT"].assign(control="shuffled", log_loss=0.7)
    table = summary.summary(pd.concat([results, shuffled]), "log_loss")
    own, twins = summary.grids(table, {})
    assert list(own.headings[:4]) == ["method", "log loss", "LUPI gain %", "error"]
    assert list(own.rows[2][:4]) == ["MT", "0.400 ± 0.000", "50.0", "0.400 ± 0.000"]
    assert list(twins.headings) == ["log loss", "true Z", "shuffled"]
    assert [list(row) for row in twins.rows] == [["MT", "0.400", "0.700"]]
    by_log_loss, by_error = (
        "\n".join(summary.footnotes(results, config_of("one"), 1.0, metric)["one"]) for metric in ("log_loss", "error")
    )
    assert "compared by their log loss" in by_log_loss
    assert "not clear" not in by_log_loss
    assert "not clear" in by_error


@pytest.mark.parametrize(
    ("command", "metric", "expected"),
    [
        ("python MT_main.py", "error", "python MT_main.py"),
        ("python MT_main.py", "auc", "python MT_main.py --metric auc"),
        ("python MT_main.py --metric auc --folds 2", "error", "python MT_main.py --metric error --folds 2"),
        ("python MT_main.py --metric=auc", "brier", "python MT_main.py --metric=brier"),
        ("python MT_main.py --config a.toml", "error", "python MT_main.py --config a.toml --metric error"),
    ],
)
def test_command_by__repeats_the_study_with_its_metric(command: str, metric: str, expected: str) -> None:
    assert summary.command_by({"command": command}, metric) == expected
    notes = summary.footnotes(results_of(GOOD).assign(brier=0.2), config_of("one") | {"command": command}, 1.0)
    assert notes["one"][-1].endswith(f"Command: {summary.command_by({'command': command}, 'error')}")


def test_footnotes__leak__is_named() -> None:
    config = config_of("one", data={"leaks": [{"columns": ["z"], "why": "The column z gives it away."}]})
    assert "The column z gives it away." in summary.footnotes(results_of(GOOD), config, 1.0)["one"]


def test_cells__numeric_target__error_is_called_what_it_is() -> None:
    table = summary.summary(results_of(GOOD, r2=0.5, mae=0.2))
    text = grid.markdown(summary.grids(table, {"one": []}))
    assert "| RMSE |" in text
    assert "| error |" not in text


def test_summary__splits_without_a_number__are_counted_in_a_note() -> None:
    results = results_of(GOOD | {"MT": [0.3, np.nan, np.nan, 0.1]})
    assert summary.summary(results).set_index("method").loc["MT", "error"] == 0.2
    (note,) = [line for line in summary.footnotes(results, config_of("one"), 1.0)["one"] if "diverged" in line]
    assert note.startswith("MT: no number in 2 of 4 splits")


# ---------------------------------------------------------------------- what stands under them


def test_footnotes__tell_what_is_needed_to_repeat_the_study() -> None:
    config = config_of("one", data={"notes": ["these rows are simulated"]}, members=3)
    text = "\n".join(summary.footnotes(results_of(GOOD), config, 12.34)["one"])
    for part in (
        "these rows are simulated", "Protocol strict", "seed 17", "cpu", "float32", "lupi 1.2", "torch 2.13",
        "sha256 0123456789abcdef;", "12.3 s", config["command"], "Privileged: z.", "60 rows", "2 regular features",
        "4 splits (2 folds, repeated 2 times)", "do not divide it by √n", "3 networks an arm",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("protocol", "how"), [("strict", "chosen on the training rows of each fold"), ("paper", "chosen on all rows")]
)
def test_footnotes__chosen_column__is_named_with_how_often(protocol: str, how: str) -> None:
    results = results_of(GOOD)
    results["privileged"] = [["a"] if fold or repeat else ["b"] for fold, repeat in results[["fold", "repeat"]].values]
    config = config_of("one", data={"privileged": []}, protocol=protocol)
    assert (
        f"Privileged ({how}): a in 3 of 4 splits; b in 1 of 4 splits." in summary.footnotes(results, config, 1)["one"]
    )


# ---------------------------------------------------------------------- forms


def study_of_two() -> tuple[pd.DataFrame, dict[str, list[str]]]:
    numbers = {"mae": [1.5, 2.5] * 6, "r2": np.nan, "z_mae": [0.5, np.nan] * 6}
    results = pd.concat([results_of(GOOD, "one", auc=0.75), results_of(GOOD, "two").assign(**numbers)])
    notes = summary.footnotes(
        results, config_of("one", "two", data={"notes": ["ẑ & λ: 5 % of {a_b} ~ x^2 \\ #1 $"]}), 1
    )
    return summary.summary(results), notes


def test_markdown__rows__have_as_many_cells_as_the_heading() -> None:
    table, notes = study_of_two()
    sections = grid.markdown(summary.grids(table, notes)).split("## ")[1:]
    assert [section.splitlines()[0] for section in sections] == ["one", "two"]
    for section in sections:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        cells = [line.strip("|").split("|") for line in lines]
        assert len(lines) == 2 + len(GOOD)
        assert len({len(row) for row in cells}) == 1
        assert all(re.fullmatch(r" -+:? ", cell) for cell in cells[1])
        assert [row[0].strip() for row in cells[2:]] == ["lower", "upper", "MT"]


def test_markdown__metric_that_is_missing__is_a_dash_and_one_that_no_arm_has_no_column() -> None:
    table, notes = study_of_two()
    table.loc[(table.dataset == "one") & (table.method == "lower"), ["auc", "auc_std"]] = np.nan
    one, two = grid.markdown(summary.grids(table, notes)).split("## ")[1:]
    headings = [cell.strip() for cell in one.splitlines()[2].strip("|").split("|")]
    lower = [cell.strip() for cell in one.splitlines()[4].strip("|").split("|")]
    assert lower[headings.index("AUC")] == "–"
    assert lower[headings.index("LUPI gain %")] == "–"
    assert lower[headings.index("error")] == "0.350 ± 0.058"
    assert "MAE" not in one.splitlines()[2]
    assert "AUC" not in two.splitlines()[2]
    assert "nan" not in one + two


def test_csv__is_the_table_at_full_precision(tmp_path: Path) -> None:
    table, notes = study_of_two()
    summary.write(tmp_path, table, notes)
    with (tmp_path / "table.csv").open(newline="") as file:
        read = pd.DataFrame(list(csv.DictReader(file)))
    for name in table:
        expected = table[name]
        found = read[name] if name == "swept" else read[name].where(read[name] != "", "nan").astype(expected.dtype)
        pd.testing.assert_series_equal(found, expected, check_exact=True)
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "table.md", "table.tex"}


def test_console__columns__are_aligned() -> None:
    table, notes = study_of_two()
    for part in grid.console(summary.grids(table, notes)).split("\n\n"):
        _, *lines = part.splitlines()[: 3 + len(GOOD)]
        assert len({len(line) for line in lines}) == 1
        assert part.count("  Protocol strict") == 1


def latex_structure(text: str) -> str:
    """LaTeX less all that is well-formed: control words, escaped characters, math and matched braces."""
    text = re.sub(r"\\[\\&%$#_{}]", "", text)
    text = re.sub(r"\$[^$\n]*\$", "", text)
    text = re.sub(r"\\[A-Za-z]+", "", text)
    before = None
    while before != text:
        before, text = text, re.sub(r"\{([^{}]*)\}", r"\1", text)
    return text


@given(text=st.text(alphabet=st.sampled_from("ab \\&%$#_{}~^-±²ẑ–×λ"), max_size=12))
def test_tex__any_text__has_no_character_that_latex_would_obey(text: str) -> None:
    written = grid.tex(text)
    left = latex_structure(written)
    assert not set(left) & set("\\&%$#_{}~^")
    assert written.isascii()
    assert "--" not in written
    assert [c for c in left if c in "ab-"] == [c for c in text if c in "ab-"]


def test_latex__document__is_balanced_and_its_rows_are_as_wide_as_the_table() -> None:
    table, notes = study_of_two()
    text = grid.latex(summary.grids(table, notes))
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert opened == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")] * 2
    assert not set(latex_structure(text).replace("&", "")) & set("\\%$#_{}~^")
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 1 + len(GOOD)
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\caption") == 2
    assert r"100\%\_\#1" in text


def test_forms__show_the_same_figures() -> None:
    table, notes = study_of_two()
    figures = [
        re.findall(r"\d+\.\d+", form.split("Privileged")[0])
        for form in (form(summary.grids(table, notes)) for form in (grid.markdown, grid.latex, grid.console))
    ]
    assert figures[0] == figures[1] == figures[2] != []
