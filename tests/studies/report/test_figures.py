"""Figures: what they show is what the frames say, every text can be read, and files are whole."""

import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from lupi.evidence.verdict import VERDICTS
from lupi.methods.table import METHODS
from studies.report.figures import distances, effects, ranks, style, sweeps
from tests.studies import frames


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def beyond_the_axes(figure: Figure) -> set[Text]:
    """Labels of ticks that are not drawn, as they lie outside what the axis shows."""
    found = set()
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high or not axis.get_visible():
                found |= {tick.label1, tick.label2}
    return found


def every_figure() -> dict[str, Figure]:
    comparisons, verdicts = frames.compared()
    mean, pairwise = frames.ranks()
    learning = frames.curves((50, 100, 200, 400)).query("quantity == 'error'")
    found = {}
    for name, width in (("page", style.PAGE), ("column", style.COLUMN)):
        found |= {
            f"effects, {name}": effects.effects(comparisons, verdicts, "one", width=width),
            f"sweep, {name}": sweeps.sweep(frames.curves(), "ε (learned weights)", width=width, title="one"),
            f"learning curves, {name}": sweeps.sweep(learning, "training rows", width=width),
            f"ranks, {name}": ranks.critical_difference(mean, pairwise, difference=2.5, width=width),
            f"DC and DR, {name}": distances.dc_dr(frames.points(), "MT-TPD", "Glucose", width=width),
        }
    return found


# ---------------------------------------------------------------------- all of them


def test_every_figure__texts__lie_inside_it_and_do_not_overlap() -> None:
    for name, figure in every_figure().items():
        with style.drawing():
            figure.draw_without_rendering()
        whole = figure.bbox
        boxes = {}
        hidden = beyond_the_axes(figure)
        for text in figure.findobj(Text):
            if not text.get_visible() or not text.get_text().strip() or text in hidden:
                continue
            box = text.get_window_extent()
            where = f"{name}: {text.get_text()!r} at {box.bounds}, the figure has {whole.bounds}"
            assert box.x0 >= -1, where
            assert box.y0 >= -1, where
            assert box.x1 <= whole.x1 + 1, where
            assert box.y1 <= whole.y1 + 1, where
            boxes[text] = box
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
            assert not overlap, f"{name}: {one.get_text()!r} and {other.get_text()!r}"


def test_every_figure__pyplot_and_its_settings__are_as_before() -> None:
    before = dict(matplotlib.rcParams)
    every_figure()
    assert dict(matplotlib.rcParams) == before
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def seen(colour: str, matrix: np.ndarray) -> np.ndarray:
    """CIE Lab of a colour as someone sees it whose cones `matrix` [3, 3] describes (on linear RGB)."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(matrix @ linear, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


#: Machado et al., IEEE TVCG 15 (2009): full protanopia, deuteranopia and tritanopia, on linear RGB.
CONES = {
    "all": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "protan": (0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998),
    "deutan": (0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881),
    "tritan": (1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900),
}


@pytest.mark.parametrize("cones", CONES)
def test_agreement__colours__can_be_told_apart_by_everyone(cones: str) -> None:
    """A CIE76 difference of 20 is seen at a glance (one of 2.3 can just be noticed)."""
    matrix = np.reshape(CONES[cones], (3, 3))
    for (one, _), (other, _) in itertools.combinations(style.AGREEMENT.values(), 2):
        assert np.linalg.norm(seen(one, matrix) - seen(other, matrix)) > 20, (one, other)


def test_looks__markers__differ_where_colours_do() -> None:
    for looks in (style.AGREEMENT, style.TWINS):
        markers = [marker for _, marker in looks.values()]
        assert len(set(markers)) == len(markers)
    assert list(style.VERDICTS) == list(VERDICTS)
    assert len(set(style.VERDICTS.values())) == len(VERDICTS)


# ---------------------------------------------------------------------- effects


def test_twins_to_lower__difference__is_that_of_the_differences() -> None:
    """Errors lower 0.30, MT 0.25, its twin 0.27: MT is 0.05 better than lower and 0.02 than its twin, the twin 0.03."""
    rows = [{"dataset": "one", "swept": "", "value": np.nan, "method": "MT", "against": against, "mean": mean}
            for against, mean in (("lower", 0.05), ("shuffled", 0.02))]  # fmt: skip
    made_up = frames.like(frames.tiny().comparisons, rows)
    (twin,) = effects.twins_to_lower(made_up).itertuples()
    assert (twin.method, twin.control) == ("MT", "shuffled")
    assert twin.mean == pytest.approx(0.03)
    assert effects.twins_to_lower(made_up.iloc[1:])["mean"].isna().all()


def test_effects__marks__are_where_the_frames_say() -> None:
    comparisons, verdicts = frames.compared()
    figure = effects.effects(comparisons, verdicts, "one")
    (axes,) = figure.axes
    to_lower = comparisons[comparisons["against"] == "lower"].set_index("method")
    names = [name for name in METHODS if name in to_lower.index]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    lines = [line.get_xdata() for line in axes.get_lines()]
    shown = [float(x[0]) for x in lines if len(x) == 1]
    twins = effects.twins_to_lower(comparisons)
    assert sorted(shown) == pytest.approx(sorted([*to_lower["mean"], *twins["mean"]]))
    intervals = [tuple(x) for x in lines if len(x) == 2 and tuple(x) != (0, 0)]
    assert intervals == [(row["low"], row["high"]) for _, row in to_lower.loc[names].iterrows()]
    labels = " ".join(texts(figure)).replace("\n", " ")
    assert all(verdict in labels for verdict in VERDICTS)


def test_effects__one_split__has_means_without_intervals() -> None:
    comparisons, verdicts = frames.compared()
    comparisons[["low", "high"]] = np.nan
    (axes,) = effects.effects(comparisons, verdicts, "one").axes
    assert not [line for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_xdata()[0] != 0]


def test_effects__nothing_to_draw__says_so() -> None:
    comparisons, verdicts = frames.compared()
    with pytest.raises(ValueError, match="other: no method is compared with lower"):
        effects.effects(comparisons, verdicts, "other")


# ---------------------------------------------------------------------- DC and DR


def test_dc_dr__legend__counts_rows() -> None:
    points = frames.points()
    labels = texts(distances.dc_dr(points, "MT-TPD", "Glucose"))
    known = points[points["dc"].notna()]
    for name in style.AGREEMENT:
        count = int((known["agreement"] == name).sum())
        assert f"{name}: {count} ({100 * count / len(known):.1f} %)" in labels
    (note,) = [text for text in labels if "without DC" in text]
    assert note.replace("\n", " ").startswith(f"{len(points)} rows, {len(points) - len(known)} of them without DC. ")


def test_dc_dr__outliers__are_outside_and_counted() -> None:
    points = frames.points()
    figure = distances.dc_dr(points, "MT-TPD", "Glucose")
    axes = figure.axes[0]
    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    assert high < 20 < points["dr"].max()
    known = points[points["dc"].notna()]
    outside = int((~known["dr"].between(low, high) | ~known["dc"].between(left, right)).sum())
    assert outside >= 3
    assert any(f"{outside} points lie outside" in text.replace("\n", " ") for text in texts(figure))


def test_dc_dr__no_row_with_dc__is_drawn_and_said() -> None:
    points = frames.points(40).assign(dc=np.nan)
    labels = texts(distances.dc_dr(points, "MT-TPD", "Glucose"))
    assert "40 rows, 40 of them without DC." in labels
    with pytest.raises(ValueError, match="no points of GD"):
        distances.dc_dr(points, "GD", "Glucose")


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=60))
def test_robust_limits__any_values__show_zero_and_all_but_few(values: list[float]) -> None:
    array = np.array([*values, np.nan])
    low, high = distances.robust_limits(array)
    assert low < 0 < high
    shown = (array >= low) & (array <= high)
    assert shown.sum() >= 0.95 * len(values) - 2


def test_robust_limits__without_outliers__show_all() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    low, high = distances.robust_limits(values)
    assert low < values.min() < values.max() < high


# ---------------------------------------------------------------------- sweeps


def test_sweep__panels__have_the_curves_and_the_shares_share_one() -> None:
    curves = frames.curves()
    figure = sweeps.sweep(curves, "ε")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["error", "learned σ", "effective weight ε/(2σ²)", "agreement: MT, % of rows"]
    drawn = np.concatenate([line.get_ydata() for line in figure.axes[0].get_lines()])
    of_error = curves[curves["quantity"] == "error"]["mean"].to_numpy()
    assert set(of_error) <= set(drawn)
    assert figure.axes[2].get_yscale() == "log"
    assert {"MT", "MT, shuffled"} <= set(texts(figure))


def test_sweep__zero_among_decades__stands_to_the_left() -> None:
    figure = sweeps.sweep(frames.curves(), "ε")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.01", "0.1", "1", "10"]
    places = axes.get_xticks()
    assert np.allclose(np.diff(places)[1:], 1.0)  # decades
    assert places[0] < places[1]


@given(values=st.lists(st.integers(0, 10**6).map(lambda v: v / 1000), min_size=1, max_size=12, unique=True))
def test_places__any_values__keep_their_order(values: list[float]) -> None:
    array = np.sort(np.array(values))
    places = sweeps._places(array, array)
    assert (np.diff(places) > 0).all()


@pytest.mark.parametrize("values", [(5.0,), (0.0, 1.0), (0.0,), (-1.0, 0.0, 100.0)])
def test_sweep__few_values__are_drawn(values: tuple[float, ...]) -> None:
    style.svg(sweeps.sweep(frames.curves(values).assign(low=np.nan, high=np.nan), "λ"))


def test_sweep__no_curves__says_so() -> None:
    with pytest.raises(ValueError, match="no curve"):
        sweeps.sweep(frames.curves().iloc[:0], "ε")


def test_critical_difference__labels__are_methods_with_their_ranks() -> None:
    mean, pairwise = frames.ranks()
    labels = " ".join(texts(ranks.critical_difference(mean, pairwise, difference=2.5)))
    for method, rank in mean.items():
        assert f"{method} ({rank:.2f})" in labels or f"({rank:.2f}) {method}" in labels
    assert "critical difference 2.50" in labels
    with pytest.raises(ValueError, match="at least two methods"):
        ranks.critical_difference(mean.iloc[:1], pairwise)


# ---------------------------------------------------------------------- files


def test_save__files__are_png_of_200_dpi_and_pdf_and_always_the_same(tmp_path: Path) -> None:
    written = []
    for run in ("one", "two"):
        figure = distances.dc_dr(frames.points(), "MT-TPD", "Glucose")
        paths = style.save(figure, tmp_path / run / "figures", "scatter")
        assert [path.name for path in paths] == ["scatter.png", "scatter.pdf"]
        assert {path.name for path in paths[0].parent.iterdir()} == {"scatter.png", "scatter.pdf"}
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert written[0][1].startswith(b"%PDF-")
    with Image.open(tmp_path / "one/figures/scatter.png") as image:
        assert image.width == round(200 * style.COLUMN)
        assert round(image.info["dpi"][0]) == 200


def test_svg__text__needs_no_font_and_is_always_the_same() -> None:
    one, two = (style.svg(sweeps.sweep(frames.curves(), "ε")) for _ in range(2))
    assert one == two
    assert "<text" not in one
    assert "font-family" not in one
