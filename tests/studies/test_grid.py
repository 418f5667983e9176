"""A table of texts says the same in every form, and no cell of it acts."""

import pandas as pd
import pytest

from studies.grid import Grid, console, latex, markdown

GRID = Grid.of(
    ["method", "LUPI gain % (95 %)", "seconds a split, shared by the batch", "verdict"],
    [["MT", "12 (-3 to 31)", "0.5", "helps | <b>"], ["lower & x", "–", "1.25", "no evidence"]],
    "one_two", ["A note.", "Another."], ["Look out."],
)  # fmt: skip


def test_numeric__columns__are_numbers_and_the_first_never_is() -> None:
    assert GRID.numeric == (False, True, True, False)
    assert Grid.of(["1", "2"], [["1", "2"]]).numeric == (False, True)


def test_console__long_heading__breaks_and_columns_are_aligned() -> None:
    lines = GRID.console().splitlines()
    assert lines[:2] == ["one_two", "  Look out."]
    table = lines[2:8]
    assert len({len(line) for line in table}) == 1
    assert [line.split("  ")[0].strip() for line in table[:3]] == ["", "", "method"]
    assert set(table[3]) == {"─"}
    ends = [line.rstrip().removesuffix("helps | <b>").removesuffix("no evidence").rstrip() for line in table[4:]]
    assert len(ends[0]) == len(ends[1])  # numbers end in one column
    assert lines[8:] == ["  A note.", "  Another."]


def test_markdown__bar_in_a_cell__is_no_end_of_it() -> None:
    lines = GRID.markdown().splitlines()
    assert lines[0] == "## one_two"
    assert lines[5] == "| --- | ---: | ---: | --- |"
    assert lines[6] == r"| MT | 12 (-3 to 31) | 0.5 | helps \| <b> |"


def test_latex__float__has_the_rules_of_booktabs_and_escaped_cells() -> None:
    text = GRID.latex()
    assert r"\begin{tabular}{lrrl}" in text
    assert r"lower \& x & \textendash{} & 1.25 & no evidence \\" in text
    assert r"\caption{one\_two}" in text
    assert text.index("Look out.") < text.index(r"\toprule") < text.index("A note.")


def test_html__cells__are_escaped_and_numbers_have_true_minus_signs() -> None:
    text = GRID.html()
    assert "helps | &lt;b&gt;" in text
    assert "<b>First:</b> Look out." in text
    assert '<td class="n">12 <span class="interval">(−3 to 31)</span></td>' in text
    assert '<th scope="row">lower &amp; x</th>' in text


def test_grid__row_of_another_width__is_an_error() -> None:
    with pytest.raises(ValueError, match="a row of a table needs 2 cells, one a heading; found 1"):
        Grid.of(["a", "b"], [["1"]])


def test_forms__no_rows__are_the_headings() -> None:
    empty = Grid.of_frame(pd.DataFrame({"a": [], "b": []}))
    assert empty.console().splitlines() == ["a  b", "────"]
    assert "<th" in empty.html()
    assert markdown([empty]).count("|") == 6
    assert r"a & b \\" in latex([empty])
    assert console([empty, empty]).count("a  b") == 2
