"""The report: it holds what the tables hold, lets no foreign text act, and reads well in a real browser."""

import math
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi.columns import Column
from lupi.evidence.errors import AGREEMENT
from studies import templates
from studies.grid import Grid
from studies.report import page, sections
from studies.report.figures import distances, style
from studies.report.findings import Findings
from studies.report.parts import Part, Report, Scatter, Section, Text
from studies.study import Study
from studies.views import summary, verdicts
from studies.views.causes import POINTS, points
from studies.views.traces import Weighed
from tests.studies import frames
from tests.studies.report.browser import Browser, find

NASTY, CLASSES = frames.NASTY, frames.CLASSES
DATASETS = ("one", f'two" onclick="alert(3)" {NASTY}')


def whole_report() -> Report:
    """A report that has all there is, with names that would act if they were not escaped."""
    judged = [frames.compared(dataset, seed=i) for i, dataset in enumerate(DATASETS)]
    comparisons, said = (pd.concat(each, ignore_index=True) for each in zip(*judged, strict=True))
    drawn = pd.concat([
        frames.points(dataset=dataset, method=method, column=column, seed=i)
        for i, (dataset, method, column) in enumerate(
            [("one", "MT", "Glucose"), ("one", "MT-TPD", NASTY), (DATASETS[1], "AUX", "Glucose")]
        )
    ])  # fmt: skip
    mean, pairwise = frames.ranks()
    shares = pd.DataFrame({"student": ["MT", "AUX"], NASTY: [70.125, math.nan], "spread": ["1.5 ± 0.2", "–"]})
    made = findings(
        *DATASETS, comparisons=comparisons, verdicts=said, leaks={"one": [f"{NASTY} determines the target."]},
        causes=[Grid.of_frame(shares, "Agreement", notes=[NASTY])],
        curves=[(f"one {NASTY}", "epsilon", frames.curves().assign(method="MT"))],
        ranks=verdicts.Ranks(mean, 12.3, 0.0123, pairwise, ("one", "two"), ()),
        weighed=frames.weighed("MT+dwa", "MT+nash-mtl", dataset=DATASETS[1], tasks=("target", NASTY)),
    )  # fmt: skip
    return sections.study_report(made, drawn)


def findings(*datasets: str, weighed: Sequence[Weighed] = (), **views: Any) -> Findings:
    """What was found in a study of these data sets, whose store has no rows; `views` as in `Findings`."""
    study = Study(Path("nowhere"), pd.DataFrame(), pd.DataFrame(), frames.config(*datasets), 1.0, weighed)
    comparisons, said = (frame.iloc[:0] for frame in frames.compared())
    plain: dict[str, Any] = {
        "study": study, "metric": "error", "table": frames.summary(*datasets), "notes": notes_of(datasets),
        "comparisons": comparisons, "verdicts": said, "leaks": {}, "curves": [], "ranks": None, "causes": [],
    }  # fmt: skip
    return Findings(**plain | views)


def notes_of(datasets: Sequence[str]) -> dict[str, list[str]]:
    return {dataset: [f"Privileged: {NASTY}.", "Mean of 50 splits."] for dataset in datasets}


@pytest.fixture(scope="module")
def text() -> str:
    return page.page(whole_report())


# ---------------------------------------------------------------------- structure


class Reader(HTMLParser):
    """Reads a page and fails where a tag is not closed in its place."""

    VOID = frozenset({"meta", "link", "img", "source", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.cells: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
            if "td" in self.open or "th" in self.open:
                self.cells[-1] += data


def test_page__tags__are_closed_and_names_are_unique(text: str) -> None:
    found = Reader(text)
    assert text.startswith("<!doctype html>")
    names = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(names)) == len(names)
    targets = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert {target.removeprefix("#") for target in targets} <= set(names)
    assert [tag for tag, _ in found.tags].count("h1") == 1
    assert all("alt" in attributes for tag, attributes in found.tags if tag == "img")
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.tags


def test_page__nothing__comes_from_elsewhere(text: str) -> None:
    for tag, attributes in Reader(text).tags:
        for name in ("src", "srcset", "href", "xlink:href", "action", "data"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)
    assert not re.search(r"url\((?!#)|@import|https?://", re.sub(r"base64,[\w+/=]+", "", text))
    assert "default-src 'none'" in text


def test_page__order__is_verdicts_tables_figures_points_causes_facts(text: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == [
        "Verdicts", "Tables", "Figures", "How the tasks were weighed", "Distance to change, distance to real",
        "Agreement and causes", "How to repeat it",
    ]  # fmt: skip
    assert text.index("determines the target") < text.index('class="verdicts"')


def test_page__same_report__is_the_same_text(text: str) -> None:
    assert page.page(whole_report()) == text


def test_write__file__is_there_whole(tmp_path: Path) -> None:
    path = page.write(tmp_path, Report("ẑ", "", (Section("a", (Text("b"),)),)))
    assert path == tmp_path / "report.html"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert "<title>ẑ</title>" in path.read_text(encoding="utf-8")


# ---------------------------------------------------------------------- content


def test_report__tables__have_every_cell(text: str) -> None:
    cells = set(Reader(text).cells)
    grids = summary.grids(frames.summary(*DATASETS), notes_of(DATASETS))
    for i, dataset in enumerate(DATASETS):
        grids += verdicts.grids(frames.compared(dataset, seed=i)[1])
    expected = [cell for grid in grids for row in (grid.headings, *grid.rows) for cell in row]
    expected += ["70.125", "1.5 ± 0.2", "–", NASTY]
    assert len(expected) > 300
    assert {cell.replace("-0.", "−0.").replace("(-3", "(−3") for cell in expected} <= cells


def test_report__verdicts__have_their_text_sentence_and_difference(text: str) -> None:
    words = " ".join("".join(Reader(text).words).split())
    for i, dataset in enumerate(DATASETS):
        _, said = frames.compared(dataset, seed=i)
        for _, row in said.iterrows():
            assert f"{row['verdict']}" in words
            assert row["sentence"].replace("-0.", "−0.") in words
        for row in verdicts.grids(said)[0].rows:
            assert row[1].replace("-", "−") in words


def test_report__facts__repeat_the_study(text: str) -> None:
    words = "".join(Reader(text).words)
    config = frames.config(*DATASETS)
    for part in (config["command"], "0123456789abcdef" * 4, "lupi 1.2, torch 2.13", "folds = 5", "seed17", "cpu"):
        assert part in words


def test_report__foreign_text__is_text(text: str) -> None:
    found = Reader(text)
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not [tag for tag, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    assert not [attributes for tag, attributes in found.tags if tag == "img" and attributes.get("src") == "x"]
    assert NASTY not in text
    assert NASTY in "".join(found.words)
    truths = {attributes["data-truth"] for _, attributes in found.tags if "data-truth" in attributes}
    assert truths == set(CLASSES)


@pytest.mark.parametrize("datasets", [("one",), ("one", "two", "three", "four")])
def test_study_report__nothing_compared__says_so(datasets: tuple[str, ...]) -> None:
    made = sections.study_report(findings(*datasets, leaks={"one": ["look out"]}), frames.points(0))
    assert "no verdict" in made.lead
    assert [section.title for section in made.sections] == ["Verdicts", "Tables"]
    assert "one: look out" in page.page(made)
    assert ("Data sets: one, two, three, four." in made.lead) == (len(datasets) == 4)


def test_of_frame__cells__are_text_and_numbers_stand_right() -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "x": [0.12345, math.nan], "n": [3, 4], "word": ["left", "right"]})
    table = Grid.of_frame(frame, "t", decimals=2)
    assert table == Grid(("name", "x", "n", "word"), (("a", "0.12", "3", "left"), ("b", "–", "4", "right")), "t")
    styles = re.findall(r"<td( class=\"n\")?>", page_of(table))
    assert [bool(style) for style in styles] == [True, True, False] * 2


def test_typeset__minus__is_one_before_numbers_alone() -> None:
    plain = "KT-2 differs by -0.5 (-1.5 to -.5, p 1e-5, 2026-11-22, --x -y)"
    assert templates.typeset(plain) == "KT-2 differs by −0.5 (−1.5 to -.5, p 1e-5, 2026-11-22, --x -y)"


ANSWERS = [
    (["no evidence", "hurts", "helps"], "Yes. TPD is better than lower and than each of its twins"),
    (["no evidence", "better, cause unknown"], "Perhaps. PFD is better than lower"),
    (["helps, but not through the information"] * 2, "No evidence that it does. GD and PFD are better than lower, but"),
    (["no evidence"] * 2, "No evidence that it does. No method is shown to be better than lower."),
    (["hurts"], "No. GD is worse than lower."),
]


@pytest.mark.parametrize(("kinds", "answer"), ANSWERS)
def test_lead__best_verdict__is_the_answer(kinds: list[str], answer: str) -> None:
    comparisons, said = frames.compared()
    said = said.head(len(kinds)).assign(verdict=kinds)
    made = sections.study_report(findings("one", comparisons=comparisons, verdicts=said), frames.points(0))
    assert made.title == "Does the privileged information help on one?"
    assert made.lead.startswith(answer)
    assert "twins, which lack the information" in made.lead or not answer.startswith("Yes")


# ---------------------------------------------------------------------- points


def page_of(part: Part) -> str:
    return page.page(Report("", "", (Section("", (part,)),)))


def marks(part: Scatter) -> list[dict[str, str]]:
    text = page_of(part)
    return [attributes for _, attributes in Reader(text).tags if "data-row" in attributes]


def test_scatter__points__carry_their_row() -> None:
    drawn = frames.points(200)
    found = {int(mark["data-row"]): mark for mark in marks(Scatter("", drawn))}
    known = drawn[drawn["dc"].notna()]
    low, high = distances.robust_limits(known["dr"].to_numpy())
    left, right = distances.robust_limits(known["dc"].to_numpy())
    inside = known[known["dr"].between(low, high) & known["dc"].between(left, right)]
    assert set(found) == set(inside["row"])
    for _, row in inside.iterrows():
        mark = found[row["row"]]
        for name in ("z", "z_hat", "z_raw", "z_hat_raw", "dc", "dr"):
            shown = float(mark[f"data-{name.replace('_', '-')}"].replace("−", "-"))
            assert shown == pytest.approx(row[name], rel=1e-3)
        for name in ("teacher", "student", "truth", "agreement"):
            assert mark[f"data-{name}"] == row[name]


def test_scatter__many_points__are_a_sample_that_is_always_the_same_and_told() -> None:
    part = Scatter("", frames.points(1000), most=100)
    assert marks(part) == marks(part)
    assert 90 <= len(marks(part)) <= 100
    text = page_of(part)
    assert "1000 rows, 125 of them without DC. A random sample of 100 of 875 points is drawn." in text


def test_scatter_parts__many_scatters__share_what_a_phone_can_open() -> None:
    drawn = pd.concat([frames.points(800, column=str(i)) for i in range(30)])
    _, *scatters = sections.scatter_parts(drawn)
    assert [part.most for part in scatters if isinstance(part, Scatter)] == [400] * 30


def stored(dataset: str = "one") -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Results and splits of a store: three test rows, columns a (a number) and b (a category); two repeats."""
    sure = {0: [0.9, 0.1], 1: [0.2, 0.8]}
    arms = {"lower": (0, 0, 0), "upper": (0, 1, 1), "MT": (0, 0, 1)}  # classes of the three rows
    z_hat = np.array([[1.5, 0.7, 0.3], [-0.5, 0.1, 0.9], [0.0, 0.5, 0.5]])
    results = frames.results([
        {"dataset": dataset, "method": method, "control": control, "repeat": repeat, "fold": 0,
         "prediction": np.array([sure[c] for c in codes]), "z_hat": z_hat if method == "MT" else None}
        for repeat in (0, 1) for method, codes in arms.items() for control in ("none", "shuffled")
    ])  # fmt: skip
    split = {
        "dataset": dataset, "swept": "", "value": np.nan, "fold": 0, "rows": np.array([7, 3, 5]),
        "truth": np.array([0.0, 1.0, 0.0]),
        "z": np.array([[0.5, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.25, np.nan, np.nan]]),
        "change": np.array([[-0.75, 0.5, 0, 1], [np.nan, 2.0, 1, 0], [np.nan, np.nan, np.nan, np.nan]]),
        "columns": [Column("a", 0, 1, origin=10.0, unit=4.0), Column("b", 1, 2, True, ("u", "v"))],
    }  # fmt: skip
    splits = frames.splits([{**split, "repeat": 0}, {**split, "repeat": 1}])
    return results, splits, {"data": {dataset: {"classes": {"no": 2, "yes": 1}}}}


def test_points__every_row__has_its_distances_and_classes() -> None:
    found = points(*stored())
    assert tuple(found.columns) == POINTS
    assert found["row"].tolist() == [7, 3, 5]
    assert found["method"].unique().tolist() == ["MT"]
    assert found["column"].unique().tolist() == ["a"]  # a category has no distance
    assert found["dc"].tolist()[:2] == [0.5, 2.0]
    assert math.isnan(found["dc"].iloc[2])
    assert found["dr"].tolist() == [1.0, 0.5, -0.25]
    assert found["z_raw"].tolist() == [12.0, 6.0, 11.0]
    assert found["z_hat_raw"].tolist() == [16.0, 8.0, 10.0]
    assert found["teacher"].tolist() == ["no", "yes", "yes"]
    assert found["student"].tolist() == ["no", "no", "yes"]
    assert found["truth"].tolist() == ["no", "yes", "no"]
    assert found["agreement"].tolist() == ["all agree", "student errs alone", "both err"]
    assert set(style.AGREEMENT) == set(AGREEMENT)


def test_points__order__is_that_of_the_tables() -> None:
    (two, splits_two, config_two), (one, splits_one, config_one) = stored("two"), stored("one")
    both = pd.concat([one, one[one["method"] == "MT"].assign(method="KT"), two])
    config = {"data": {**config_two["data"], **config_one["data"]}}
    found = points(both, pd.concat([splits_one, splits_two]), config)
    assert list(dict.fromkeys(zip(found["dataset"], found["method"], strict=True))) == [
        ("two", "MT"), ("one", "KT"), ("one", "MT"),
    ]  # fmt: skip


def test_points__all_repeats__show_a_row_in_each() -> None:
    assert points(*stored(), repeat=None)["repeat"].tolist() == [0, 0, 0, 1, 1, 1]


def test_points__swept_setting__has_the_teacher_of_the_study() -> None:
    results, splits, config = stored()
    swept = results[results["method"] == "MT"].assign(swept="epsilon", value=5.0)
    found = points(pd.concat([results, swept]), pd.concat([splits, splits.assign(swept="epsilon", value=5.0)]), config)
    teachers = found.groupby("swept")["teacher"].agg(list)
    assert teachers[""] == teachers["epsilon"] == ["no", "yes", "yes"]


def test_study_report__sweep__draws_the_points_of_its_own_options() -> None:
    results, splits, config = stored()
    swept = results[results["method"] == "MT"].assign(swept="epsilon", value=5.0)
    both = pd.concat([results, swept]), pd.concat([splits, splits.assign(swept="epsilon", value=5.0)])
    config = frames.config("one") | {"data": {"one": frames.config("one")["data"]["one"] | config["data"]["one"]}}
    made = sections.study_report(findings("one", study=Study(Path("nowhere"), *both, config, 1.0)))
    assert [part.title for part in made.sections[-1].parts if isinstance(part, Scatter)] == ["one, MT, a"]


@pytest.mark.parametrize("lost", ["change", "classes", "upper", "z_hat", "rows"])
def test_points__what_is_needed_is_not_there__are_none(lost: str) -> None:
    results, splits, config = stored()
    if lost == "change":
        splits["change"] = None
    elif lost == "classes":
        config = {"data": {"one": {"classes": None}}}
    elif lost == "rows":
        splits = splits.iloc[:0]
    elif lost == "upper":
        results = results[results["method"] != "upper"]
    else:
        results["z_hat"] = None
    found = points(results, splits, config)
    assert found.empty
    assert tuple(found.columns) == POINTS
    assert sections.scatter_parts(found) == []


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    try:
        started = Browser(program)
    except (TimeoutError, RuntimeError):
        started = Browser(program)
    with started:
        yield started


@pytest.fixture(scope="module")
def file(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


#: Centre of a point in the window, and its row; the point is scrolled into view.
_POINT = """(i => {
    const point = document.querySelectorAll("svg.plot [data-row]")[i];
    point.scrollIntoView({ block: "center", behavior: "instant" });
    const box = point.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2, point.dataset.row];
})"""
_TIP = 'document.getElementById("tip")'


def tip(browser: Browser) -> str | None:
    """What the tooltip says; None where it is hidden."""
    text: str | None = browser.evaluate(f"{_TIP}.hidden ? null : {_TIP}.innerText")
    return text


def quiet(browser: Browser, file: Path) -> None:
    """The page asked for nothing but itself, and nothing went wrong in it."""
    assert browser.requests() == [file.resolve().as_uri()]
    assert browser.complaints() == []


@pytest.mark.parametrize(("width", "phone", "dark"), [(360, True, False), (768, False, True), (1280, False, False)])
def test_browser__page__fits_its_width(browser: Browser, file: Path, width: int, phone: bool, dark: bool) -> None:
    browser.open(file, width=width, phone=phone, dark=dark)
    quiet(browser, file)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    # What is wider scrolls in a box of its own.
    boxes = browser.evaluate('[...document.querySelectorAll(".scroll")].map(box => box.getBoundingClientRect().right)')
    assert boxes
    assert max(boxes) <= width
    shown = browser.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)")
    assert shown
    assert all(shown)
    small = browser.evaluate(
        '[...document.querySelectorAll("p, li, td, th, dd, a, figcaption")]'
        ".map(each => parseFloat(getComputedStyle(each).fontSize)).reduce((a, b) => Math.min(a, b))"
    )
    assert small >= 12
    assert browser.screenshot().startswith(b"\x89PNG")


def test_browser__comparisons__show_the_verdict_at_1200_pixels(browser: Browser, file: Path) -> None:
    browser.open(file, width=1200)
    cut, whole = (
        browser.evaluate(
            '[...document.querySelectorAll(".scroll")].map(box => box.ariaLabel + " " + box.scrollWidth)'
            f".filter((_, i) => (boxes => boxes[i].scrollWidth {sign} boxes[i].clientWidth)"
            '(document.querySelectorAll(".scroll")))'
        )
        for sign in (">", "<=")
    )
    assert len([label for label in whole if "comparisons" in label]) == len(DATASETS)
    assert not [label for label in cut if "comparisons" in label]


def test_browser__figures__have_text_of_7_points_or_more(browser: Browser, file: Path) -> None:
    """Text in a figure has at least 7 points at its own size, of which a page may not take away."""
    for width in (360, 600, 768, 1280):
        browser.open(file, width=width, phone=width < 500)
        # naturalWidth is in pixels of 1/96 inch.
        scales = browser.evaluate("[...document.images].map(image => image.width / image.naturalWidth)")
        assert scales
        assert min(scales) >= 1.0


def test_browser__pointer__shows_the_row_and_a_click_keeps_it(browser: Browser, file: Path) -> None:
    browser.open(file, width=1280)
    points = whole_report_points()
    for i in (0, 57, 200):
        x, y, row = browser.evaluate(f"{_POINT}({i})")
        browser.mouse("move", x, y)
        browser.until(lambda: tip(browser) is not None)
        shown = tip(browser)
        assert shown is not None
        assert shown.startswith(f"row {row}: ")
        assert any(point["student"] in shown and f"{point['z_raw']:.4g}".replace("-", "−") in shown
                   for point in points if str(point["row"]) == row)  # fmt: skip
        left, top, right, bottom = browser.evaluate(
            f"(box => [box.left, box.top, box.right, box.bottom])({_TIP}.getBoundingClientRect())"
        )
        assert 0 <= left < right <= 1280
        assert 0 <= top < bottom <= 800
        browser.mouse("move", 3, 3)
        browser.until(lambda: tip(browser) is None)
    browser.mouse("click", x, y)
    browser.until(lambda: (tip(browser) or "").startswith(f"row {row}: "))
    browser.mouse("move", 3, 3)
    assert tip(browser) is not None
    browser.press("Escape")
    browser.until(lambda: tip(browser) is None)
    quiet(browser, file)


def whole_report_points() -> list[dict[str, object]]:
    sections = {section.title: section for section in whole_report().sections}
    parts = sections["Distance to change, distance to real"].parts
    return [row for part in parts if isinstance(part, Scatter) for row in part.points.to_dict("records")]


def test_browser__tap__shows_the_row(browser: Browser, file: Path) -> None:
    browser.open(file, width=360, phone=True)
    x, y, row = browser.evaluate(f"{_POINT}(120)")
    browser.tap(x, y)
    browser.until(lambda: (tip(browser) or "").startswith(f"row {row}: "))
    left, right = browser.evaluate(f"(box => [box.left, box.right])({_TIP}.getBoundingClientRect())")
    assert 0 <= left < right <= 360
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    quiet(browser, file)


def test_browser__keyboard__steps_through_the_points(browser: Browser, file: Path) -> None:
    browser.open(file, width=1280)
    points = 'document.querySelector("svg.plot").querySelectorAll("[data-row]")'
    rows = browser.evaluate(f"[...{points}].map(point => point.dataset.row)")
    browser.evaluate("document.querySelector(\"svg.plot [tabindex='0']\").focus()")
    browser.until(lambda: (tip(browser) or "").startswith(f"row {rows[0]}: "))
    for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", -1), ("Home", 0)):
        browser.press(key)
        browser.until(lambda place=place: (tip(browser) or "").startswith(f"row {rows[place]}: "))
    assert browser.evaluate(f"[...{points}].filter(point => point.tabIndex === 0).length") == 1
    quiet(browser, file)


def test_browser__paper__has_all_of_it(browser: Browser, file: Path) -> None:
    browser.open(file, width=1280)
    assert browser.pdf().startswith(b"%PDF-")
    quiet(browser, file)
