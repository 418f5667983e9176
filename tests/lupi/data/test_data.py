"""PrivilegedData: what it refuses, how a table is read, and the arrays that come out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr

from lupi.columns import Column
from lupi.data.encoding import encode, most_correlated, standardisation
from lupi.data.privileged_data import PrivilegedData

Floats = npt.NDArray[np.float64]
finite = st.integers(-(10**6), 10**6).map(lambda thousandths: thousandths / 1000)


def read(table: pd.DataFrame, **options: Any) -> PrivilegedData:
    return PrivilegedData.from_frame(table, "y", **{"name": "t", "privileged": ["z"], **options})


# ---------------------------------------------------------------------- reading a table


def test_from_frame__good_table__columns_go_where_they_belong(table: pd.DataFrame) -> None:
    data = read(table.assign(id=np.arange(len(table))), drop=["id"], notes=["a note"])
    assert list(data.X.columns) == ["a", "b"]
    assert list(data.Z.columns) == ["z"]
    assert data.classes == ("0", "1")
    assert data.target_kind == "binary"
    assert data.notes == ("a note",)
    assert not data.chooses_privileged
    np.testing.assert_array_equal(data.y, table["y"])
    pd.testing.assert_frame_equal(data.X, table[["a", "b"]])


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([1, 0, 1, 0], "binary", ("0", "1")),
        ([-1.0, 1.0, 1.0, -1.0], "binary", ("-1", "1")),
        (["no", "yes", "no", "yes"], "binary", ("no", "yes")),
        ([True, False, True, False], "binary", ("False", "True")),
        ([10, 2, 30, 2], "multiclass", ("2", "10", "30")),
        ([0.5, 1.0, 2.0, 3.0], "numeric", None),
        ([1e300, -1e300, 1e300, -1e300], "numeric", None),
    ],
)
def test_from_frame__target__is_classes_or_a_number(values: list[Any], kind: str, classes: tuple[str] | None) -> None:
    repeated = values * 5
    data = PrivilegedData.from_frame(pd.DataFrame({"a": np.arange(20.0), "y": repeated}), "y", name="t")
    assert (data.target_kind, data.classes) == (kind, classes)
    if classes is None:
        assert data.y.tolist() == repeated
    else:
        assert [classes[code] for code in data.y] == [str(value).removesuffix(".0") for value in repeated]


def test_from_frame__many_whole_numbers__are_a_number_unless_called_categorical() -> None:
    table = pd.DataFrame({"a": np.arange(60.0), "y": np.arange(60) % 30})
    assert PrivilegedData.from_frame(table, "y", name="t").target_kind == "numeric"
    named = PrivilegedData.from_frame(table, "y", name="t", categorical=["y"])
    assert named.classes == tuple(str(code) for code in range(30))


def test_from_frame__categories__are_those_named_or_typed(table: pd.DataFrame) -> None:
    level = np.resize(["x", "y", "z"], len(table))
    table = table.assign(coded=np.resize([1, 2], len(table)), typed=pd.Categorical(level), text=level)
    data = read(table, categorical=["coded", "text"])
    kinds = {name: isinstance(dtype, pd.CategoricalDtype) for name, dtype in data.X.dtypes.items()}
    assert kinds == {"a": False, "b": False, "coded": True, "typed": True, "text": True}
    assert list(data.X["coded"].cat.categories) == ["1", "2"]


def test_from_frame__missing_cells__stay_missing(table: pd.DataFrame) -> None:
    holes = table.astype({"z": "Float64"}).assign(level=np.resize(["x", "y"], len(table)))
    holes.loc[:9, ["a", "z", "level"]] = pd.NA
    data = read(holes, categorical=["level"])
    for column in (data.X["a"], data.X["level"], data.Z["z"]):
        assert column.isna().tolist() == [True] * 10 + [False] * (len(table) - 10)
    assert data.Z["z"].dtype == np.float64


Change = Callable[[pd.DataFrame], pd.DataFrame]
BAD_TABLES: dict[str, tuple[Change, dict[str, Any], str]] = {
    "no such privileged": (lambda t: t, {"privileged": ["q"]}, "no column named 'q' to be privileged; .* 'a', 'b'"),
    "no such categorical": (lambda t: t, {"categorical": ["q"]}, "no column named 'q' to be categorical"),
    "no such drop": (lambda t: t, {"drop": ["q"]}, "no column named 'q' to be dropped"),
    "target is privileged": (lambda t: t, {"privileged": ["y"]}, "target column 'y' cannot be privileged"),
    "privileged and dropped": (lambda t: t, {"drop": ["z"]}, "'z' cannot be both privileged and dropped"),
    "named twice": (lambda t: t.set_axis(["a", "a", "z", "y"], axis=1), {}, "names must differ; found twice: 'a'"),
    "nothing regular": (lambda t: t[["z", "y"]], {}, "at least one regular feature"),
    "no rows": (lambda t: t[:0], {}, "has no rows"),
    "constant": (lambda t: t.assign(a=2.5), {}, r"regular column 'a' has the same value \(2.5\) in every row; drop it"),
    "constant category": (lambda t: t.assign(a="k"), {"categorical": ["a"]}, r"same value \(k\) in every row"),
    "constant privileged": (lambda t: t.assign(z=0), {}, "privileged column 'z' has the same value"),
    "several constant": (
        lambda t: t.assign(a=2.5, b=np.nan, z=0),
        {},
        r"'a' has the same value \(2.5\) in every row, the regular column 'b' is missing.*'z' .*drop them: 'a' 'b' 'z'",
    ),
    "blank overlooked": (lambda t: t.rename(columns={"b": "b "}), {"drop": ["b"]}, "the table has .*mean 'b '"),
    "missing": (lambda t: t.assign(a=np.nan), {}, "regular column 'a' is missing in every row; drop it"),
    "missing text": (lambda t: t.assign(a=pd.Series([None] * 60, dtype="object")), {}, "'a' is missing in every row"),
    "infinite": (lambda t: t.assign(a=t.a.where(t.a > t.a.min(), np.inf)), {}, "'a' has 1 infinite values.*replace"),
    "as good as infinite": (lambda t: t.assign(z=t.z.where(t.index > 1, -1.7e308)), {}, "'z' has 2 infinite values"),
    "text": (
        lambda t: t.assign(a="v" + t.a.astype(str)),
        {},
        "must be numeric, or text of few repeated.*'a' .60 different, such as 'v.*categorical=.'a'.*drop=",
    ),
    "date": (
        lambda t: t.assign(a=pd.date_range("2020", periods=60)),
        {},
        "'a' must be numeric; found '2020-01-01.* These are dates: make them numbers of days",
    ),
    "many categories": (lambda t: pd.concat([t, t]).assign(a=range(120)), {"categorical": ["a"]}, "120 categories"),
    "one class": (lambda t: t.assign(y=1), {}, "at least two classes; found only '1'"),
    "one number": (lambda t: t.assign(y=0.5), {}, "target must vary; found 0.5 in all 60 rows"),
    "target missing": (lambda t: t.assign(y=t.y.where(t.index > 1)), {}, "'y' must be known .* missing in 2 of 60"),
    "target infinite": (
        lambda t: t.assign(y=t.y.astype(float).where(t.index > 0, np.inf)),
        {},
        "'y' has infinite values",
    ),
    "target an identifier": (lambda t: pd.concat([t, t]).assign(y=[f"i{i}" for i in range(120)]), {}, "120 values"),
    "copy of the target": (lambda t: t.assign(z=5 - 2 * t.y), {}, "privileged column 'z' is the target itself"),
    "copy as text": (
        lambda t: t.assign(z=t.y.map({0: "no", 1: "yes"})),
        {"categorical": ["z"]},
        "privileged column 'z' is the target itself",
    ),
    "copy of a number": (lambda t: t.assign(y=1.8 * t.z + 32), {}, "privileged column 'z' is the target itself"),
}


@pytest.mark.parametrize("bad", BAD_TABLES)
def test_from_frame__bad_table__says_what_is_wrong(bad: str, table: pd.DataFrame) -> None:
    change, options, message = BAD_TABLES[bad]
    with pytest.raises(ValueError, match=f"^t: .*{message}") as error:
        read(change(table), **options)
    assert "\n" not in str(error.value)


def test_from_frame__number_beside_a_numeric_target__is_no_copy_of_it(table: pd.DataFrame) -> None:
    """Both have as many values as rows, so that each is a function of the other; the order tells them apart."""
    data = read(table.assign(y=table.z + 0.1 * table.a))
    assert data.target_kind == "numeric"


# ---------------------------------------------------------------------- made by hand


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(59, np.int64)}, "equally many rows; found 60, 60 and 59"),
        ({"y": pd.Series(np.arange(60) % 2)}, "y must be an array .n. of int64; found Series"),
        ({"y": np.resize([0.0, 1.0], 60)}, "of int64; found float64"),
        ({"y": np.resize([0, 1], (60, 1))}, r"found int64 \[60, 1\]"),
        ({"y": np.resize([0, 2], 60)}, "codes of the 2 classes, 0 to 1; found 0 to 2"),
        ({"y": np.resize([-1, 1], 60)}, "found -1 to 1"),
        ({"y": np.zeros(60, np.int64)}, "two classes in these rows; found one"),
        ({"y": np.append(np.arange(59.0), np.nan), "classes": None}, "known and finite in every row"),
        ({"Z": pd.DataFrame({"z": np.arange(60.0)}, index=np.arange(60)[::-1])}, "the same index"),
        ({"Z": pd.DataFrame({"a": np.arange(60.0)})}, "regular or privileged, not both; found 'a'"),
        ({"Z": pd.DataFrame({"z": np.arange(60)})}, "'z' must be float64 or categorical; found int64"),
    ],
)
def test_privileged_data__parts_that_do_not_fit__are_refused(
    change: dict[str, Any], message: str, table: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(read(table), **change)


def test_with_privileged__any_index__keeps_rows_together(table: pd.DataFrame) -> None:
    data = read(table.assign(c=table.a - table.b))
    rows = np.random.default_rng(0).integers(0, len(table), 40)  # with repetitions
    some = dataclasses.replace(data, X=data.X.iloc[rows], Z=data.Z.iloc[rows], y=data.y[rows])
    moved = some.with_privileged(["c", "z"])
    assert list(moved.X.columns) == ["a", "b"]
    np.testing.assert_array_equal(moved.Z["z"], table["z"].iloc[rows])
    np.testing.assert_array_equal(moved.Z["c"], (table.a - table.b).iloc[rows])


def test_with_privileged__columns_not_named__do_not_become_regular(table: pd.DataFrame) -> None:
    data = read(table)
    assert list(data.with_privileged(["a"]).X.columns) == ["b"]
    others = table[["z"]].rename(columns={"z": "kept back"})
    assert list(data.with_privileged(["kept back"], others=others).Z.columns) == ["kept back"]
    with pytest.raises(ValueError, match="no column named 'q' to be privileged; there are 'a', 'b', 'z'"):
        data.with_privileged(["q"])
    with pytest.raises(ValueError, match="named twice"):
        data.with_privileged(["a", "a"])


def test_fingerprint__any_change__is_seen(table: pd.DataFrame) -> None:
    data = read(table)
    again = read(table.copy())
    assert data.fingerprint() == again.fingerprint()
    assert data.fingerprint()["rows"] == len(table)
    assert data.fingerprint()["classes"] == {"0": int((table.y == 0).sum()), "1": int((table.y == 1).sum())}
    nudged = table.assign(a=table.a.where(table.index > 0, np.nextafter(table.a[0], 9)))
    renamed, flipped = table.rename(columns={"a": "A"}), table.assign(y=1 - table.y)
    swapped = table.iloc[[1, 0, *range(2, len(table))]].reset_index(drop=True)
    digests = {read(t).fingerprint()["sha256"] for t in (table, nudged, renamed, flipped, swapped)}
    assert len(digests) == 5


def test_fingerprint__class_without_rows__counts_none(table: pd.DataFrame) -> None:
    data = dataclasses.replace(read(table), classes=("0", "1", "2"))
    assert data.fingerprint()["classes"] == {"0": int((table.y == 0).sum()), "1": int((table.y == 1).sum()), "2": 0}


def test_determining_columns__column_that_fixes_the_class__is_found(table: pd.DataFrame) -> None:
    """As ICR's Gamma: more values than classes, each within one class."""
    leak = table.y * 2 + np.arange(len(table)) % 2
    data = read(table.assign(leak=leak, harmless=np.arange(len(table)) % 3), privileged=["z", "leak", "harmless"])
    assert data.determining_columns() == ["leak"]


# ---------------------------------------------------------------------- arrays


def test_encode__categories__are_one_hot_and_missing_in_all_levels(table: pd.DataFrame) -> None:
    level = np.resize(np.array(["x", "y", "z", None], dtype=object), len(table))
    data = read(table.assign(level=level), categorical=["level"])
    encoded = encode(data)
    assert encoded.x_columns == (Column("a", 0, 1, False), Column("b", 1, 1, False), Column("level", 2, 3, True))
    one_hot = encoded.x[:, 2:]
    expected = np.where(pd.isna(level)[:, None], np.nan, level[:, None] == np.array(["x", "y", "z"]))
    np.testing.assert_array_equal(one_hot, expected)


def test_encode__unused_categories__have_no_column(table: pd.DataFrame) -> None:
    typed = pd.Categorical(np.resize(["x", "y"], len(table)), categories=["w", "x", "y"])
    assert encode(read(table.assign(level=typed))).x.shape[1] == 4


@pytest.mark.parametrize(("classes", "shape"), [(2, (60, 1)), (3, (60, 3)), (None, (60, 1))])
def test_encode__target__is_codes_one_hot_or_a_number(
    classes: int | None, shape: tuple[int, int], table: pd.DataFrame
) -> None:
    data = read(table.assign(y=table.z + table.a if classes is None else np.arange(60) % classes))
    encoded = encode(data)
    assert encoded.y.shape == shape
    values = encoded.y.argmax(1) if classes == 3 else encoded.y_origin + encoded.y_unit * encoded.y[:, 0]
    np.testing.assert_allclose(values, data.y, rtol=1e-12)
    if classes is None:
        assert abs(encoded.y.mean()) < 1e-9
        assert encoded.y.std() == pytest.approx(1.0)


def test_encode__no_privileged_column__offers_each_numeric_feature(table: pd.DataFrame) -> None:
    table = table.assign(level=np.resize(["x", "y"], len(table)))
    data = PrivilegedData.from_frame(table, "y", name="t", categorical=["level"])
    encoded = encode(data)
    assert data.chooses_privileged
    assert encoded.z.shape == (3, 60, 1)
    assert [encoded.x_columns[i].name for i in encoded.candidates] == ["a", "b", "z"]
    for block, place in zip(encoded.z, encoded.candidates, strict=True):
        np.testing.assert_array_equal(block, encoded.x[:, encoded.x_columns[place].span])


@pytest.mark.parametrize("columns", [["a"], ["level"]])
def test_encode__nothing_can_be_chosen__says_so(columns: list[str], table: pd.DataFrame) -> None:
    table = table.assign(level=np.resize(["x", "y"], len(table)))[[*columns, "y"]]
    data = PrivilegedData.from_frame(table, "y", name="t", categorical=set(columns) & {"level"})
    with pytest.raises(ValueError, match=r"among 1 regular features.*Name the privileged columns"):
        encode(data)


@given(
    values=st.permutations(range(-20, 21)).map(lambda order: np.array(order[:12], dtype=float)),
    offset=st.sampled_from([0.0, 1e6, -3e10]),
    unit=st.sampled_from([1e-100, 1e-40, 1.0, 1e39, 1e285]),
    hole=st.integers(0, 11),
)
def test_encode__any_offset_and_unit__survive_float32(values: Floats, offset: float, unit: float, hole: int) -> None:
    """Standardised after a passage through float32, a column is what it would have been without."""
    column = (values + offset) * unit
    column[hole] = np.nan
    table = pd.DataFrame({"a": column, "b": np.arange(12.0), "y": np.arange(12) % 2})
    x = encode(PrivilegedData.from_frame(table, "y", name="t")).x[:, :1]
    center, scale = standardisation(x, (Column("a", 0, 1, False),))
    ours = (x.astype(np.float32) - center.astype(np.float32)) * scale.astype(np.float32)
    known = np.delete(values, hole)
    np.testing.assert_allclose(np.delete(ours[:, 0], hole), (known - known.mean()) / known.std(), atol=1e-4)


@given(values=hnp.arrays(float, (9, 3), elements=finite), holes=hnp.arrays(bool, (9, 3)))
def test_standardisation__any_numbers__mean_zero_and_unit_deviation(values: Floats, holes: Any) -> None:
    values = np.where(holes, np.nan, values)
    columns = tuple(Column(name, i, 1, False) for i, name in enumerate("abc"))
    center, scale = standardisation(values, columns)
    standard = (values - center) * scale
    assert np.isfinite(center).all()
    assert np.isfinite(scale).all()
    for column, raw, s in zip(standard.T, values.T, scale, strict=True):
        known = column[~np.isnan(column)]
        if s == 0:
            assert len(known) < 2 or np.nanstd(raw) <= 2e-9 * np.abs(np.nanmean(raw))
        else:
            assert abs(known.mean()) < 1e-5
            assert known.std() == pytest.approx(1.0)


def test_encode__one_huge_value__leaves_the_others_as_they_are(table: pd.DataFrame) -> None:
    """A mark for missing that was not declared does no harm but in its own row."""
    marked = table.assign(a=table.a.where(table.index > 0, 1e299))
    plain, spoiled = (encode(read(t)).x[1:, :1] for t in (table, marked))
    columns = (Column("a", 0, 1, False),)
    for x in (plain, spoiled):
        center, scale = standardisation(x, columns)
        x -= center
        x *= scale
        assert (np.abs([center, scale]) < 1e3).all()
    np.testing.assert_allclose(spoiled, plain, atol=1e-9)
    assert np.isfinite(encode(read(marked)).x.astype(np.float32)).all()


def test_standardisation__constant_and_unknown_columns__are_switched_off() -> None:
    values = np.array([[3.0, np.nan, 0.1], [3.0, np.nan, 0.1 + 1e-17], [3.0, np.nan, 0.1]])
    center, scale = standardisation(values, tuple(Column(name, i, 1, False) for i, name in enumerate("abc")))
    assert scale.tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(center).all()


def test_standardisation__levels_of_a_category__stay_zero_and_one() -> None:
    values = np.array([[5.0, 1.0, 0.0], [7.0, 0.0, 1.0], [9.0, 1.0, 0.0]])
    center, scale = standardisation(values, (Column("a", 0, 1, False), Column("level", 1, 2, True)))
    np.testing.assert_array_equal(((values - center) * scale)[:, 1:], values[:, 1:])


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["binary", "multiclass", "numeric"]))
def test_most_correlated__any_blocks__as_scipys_spearman(seed: int, kind: str) -> None:
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 6, size=(4, 30, 1)).astype(float)
    blocks[draw.random(blocks.shape) < 0.1] = np.nan
    codes = draw.permutation(np.arange(30) % 3)
    y = {"binary": (codes > 0)[:, None] * 1.0, "multiclass": np.eye(3)[codes], "numeric": draw.normal(size=(30, 1))}
    strengths = [
        max(abs(spearmanr(block[:, 0], column, nan_policy="omit").statistic) for column in y[kind].T)
        for block in blocks
    ]
    assert strengths[most_correlated(blocks, y[kind])] == pytest.approx(max(strengths))


def test_most_correlated__block_that_does_not_vary__is_never_chosen() -> None:
    y = np.arange(10.0)[:, None]
    flat, unknown, weak = np.ones((10, 1)), np.full((10, 1), np.nan), np.array([[1.0, 0, 3, 2, 5, 4, 7, 9, 8, 6]]).T
    assert most_correlated(np.stack([flat, unknown, weak]), y) == 2


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 3.0])])
def test_standardisation__level_that_no_row_has__is_switched_off(weights: Floats | None) -> None:
    category = np.array([[1.0, 0.0, 0.0], [np.nan, np.nan, np.nan], [0.0, 0.0, 1.0]])
    center, scale = standardisation(category, (Column("c", 0, 3, True),), weights)
    assert (center.tolist(), scale.tolist()) == ([0.0, 0.0, 0.0], [1.0, 0.0, 1.0])


def test_from_frame__whole_number_too_large_for_a_float__counts_as_infinite() -> None:
    large = pd.Series([10**400, 1, 2, None], dtype=object)  # of a list the least pandas cannot make a column
    table = pd.DataFrame({"a": large, "z": [1.0, 2.0, 3.0, 5.0], "y": [0, 1, 0, 1]})
    with pytest.raises(ValueError, match="'a' has 1 infinite values"):
        PrivilegedData.from_frame(table, "y", name="t", privileged=["z"])
