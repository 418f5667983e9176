"""Discovery of useful privileged columns: simulated truth is found, chance is not, and test rows are never read."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import studies.discovery
from lupi.columns import Column
from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split
from lupi.engine.mlp import MLPPair
from lupi.engine.programs import PROGRAMS
from lupi.methods.options import StudyOptions
from lupi.study import discovery
from lupi.study.discovery import Discovery, discover
from lupi.study.run import splits_of
from studies.views import discoveries
from tests.conftest import Command

OPTIONS = StudyOptions(
    folds=2, repeats=2, inner_folds=2, epochs=100, regressor_layers=(16,), classifier_layers=(8,), lr=0.01
)


def simulated(carrier: str, n: int = 240, seed: int = 0) -> PrivilegedData:
    """The class follows one privileged number, z2, or the product of two, z0 z1; the others of the four are noise. X
    tells what carries the class, more or less well."""
    draw = np.random.default_rng(seed)
    x, z = draw.normal(size=(n, 4)), draw.normal(size=(n, 4))
    if carrier == "z2":
        z[:, 2] = x[:, 0] * x[:, 1] + x[:, 2] + 0.2 * draw.normal(size=n)
        signal = z[:, 2]
    else:
        z[:, :2] = x[:, :2] + 0.1 * draw.normal(size=(n, 2))
        signal = z[:, 0] * z[:, 1]
    y = (signal > 0).astype(np.int64)
    columns = ["z0", "z1", "z2", "z3"]
    return PrivilegedData("sim", pd.DataFrame(x, columns=list("abcd")), pd.DataFrame(z, columns=columns), y, ("0", "1"))


def with_category(data: PrivilegedData) -> PrivilegedData:
    levels = pd.Categorical(np.resize(["u", "v", "w"], len(data.y)))
    return dataclasses.replace(data, Z=data.Z[["z0", "z2"]].assign(level=levels))


def splits(data: PrivilegedData, options: StudyOptions = OPTIONS) -> list[Split]:
    return splits_of(data, options, range(options.repeats))


def usefulness_of(found: Discovery) -> pd.DataFrame:
    return found.candidates.set_index("candidate")


# ---------------------------------------------------------------------- simulated truth


@pytest.mark.slow
def test_discover__one_column_carries_the_class__it_ranks_first_and_noise_is_not_marked() -> None:
    data = simulated("z2")
    found = discover(data, OPTIONS, splits(data), 4)
    assert found.candidates["candidate"][0] == "z2"
    of = usefulness_of(found)
    assert of.loc["z2", "above_null"]
    assert not of.loc[["z0", "z1", "z3"], "above_null"].any()
    assert of.loc["z2", "kept"] == 4
    assert (found.candidates["usefulness"].diff().dropna() <= 0).all()
    assert found.errors["discovered"].mean() < 0.15


@pytest.mark.slow
def test_discover__product_of_two_carries_the_class__it_is_found_where_the_pool_offers_it() -> None:
    data = simulated("z0 z1")
    found = discover(data, OPTIONS, splits(data), 8)
    of = usefulness_of(found)
    assert of.loc["z0 × z1", "above_null"]
    assert of.loc["z0 × z1", "usefulness"] > of.loc[["z0", "z1", "z2", "z3"], "usefulness"].max()
    products = of[of["kind"] == "product"].drop(index="z0 × z1")
    assert not products["above_null"].any()


@pytest.mark.slow
def test_discover__nothing_carries_the_class__next_to_nothing_is_marked() -> None:
    data = simulated("z2", n=160)
    noise = dataclasses.replace(
        data, Z=pd.DataFrame(np.random.default_rng(5).normal(size=(160, 4)), columns=data.Z.columns)
    )
    found = discover(noise, OPTIONS, splits(noise), 6)
    assert found.candidates["above_null"].mean() <= 0.1


# ---------------------------------------------------------------------- how it is done


def test_usefulness__by_hand() -> None:
    weights = np.array([[[1.0, -2.0, 0.5], [-3.0, 0.0, 0.5]]])  # two units, ẑ of width 3
    spread = np.array([[0.5, 1.0, 2.0]])
    columns = (Column("number", 0, 1, False), Column("category", 1, 2, True))
    np.testing.assert_allclose(discovery.usefulness(weights, spread, columns), [[2.0, 2.0 + 2.0]])


def test_pool__columns_products_of_numbers_and_projections() -> None:
    data = with_category(simulated("z2"))
    found = discovery.pool(data, encode(data))
    assert [(c.name, c.kind, c.width) for c in found[:4]] == [
        ("z0", "offered", 1), ("z2", "offered", 1), ("level", "offered", 3), ("z0 × z2", "product", 1),
    ]  # fmt: skip
    assert len(found) == 4 + discovery.PROJECTIONS
    assert {c.kind for c in found[4:]} == {"projection"}


def test_search__candidates__are_standardised_on_training_rows_and_hidden_elsewhere() -> None:
    data = with_category(simulated("z2"))
    z = data.Z.copy()
    z.loc[:9, "z0"] = np.nan
    search = searching(dataclasses.replace(data, Z=z))
    train = search._splits[0].train
    number, category, product, projection = 0, 2, 3, 4
    block = search._block(0, [category, number, product, projection])
    test = search._splits[0].test
    assert np.isnan(block[test]).all()
    np.testing.assert_array_equal(block[train, :3], pd.get_dummies(z["level"]).to_numpy(float)[train])
    np.testing.assert_allclose(np.nanmean(block[train, 3:], 0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.nanstd(block[train, 3:], 0), 1.0)
    np.testing.assert_array_equal(np.isnan(block[train, 3]), np.isnan(block[train, 4]))
    raw = z.loc[train, ["z0", "z2"]]
    expected = ((raw - raw.mean()) / raw.std(ddof=0)).prod(axis=1, skipna=False)
    expected = (expected - expected.mean()) / expected.std(ddof=0)
    np.testing.assert_allclose(block[train, 4], expected, atol=1e-9)
    assert not np.isnan(block[train, 5]).any()


def searching(data: PrivilegedData, k: int = 5) -> discovery._Search:
    options = dataclasses.replace(OPTIONS, methods=("MT",), twins=(), epochs=2)
    return discovery._Search(data, options, splits(data), k, None)


def test_search__rounds__replace_the_least_useful_by_some_that_were_not_tried() -> None:
    search = searching(with_category(simulated("z2")))
    before = [list(chosen) for chosen in search.play]
    for chosen in before:
        assert {0, 1, 2} < set(chosen), "the columns offered come first"
        assert len(set(chosen)) == 5
    search._test(0)
    for s, chosen in enumerate(before):
        after = search._replace(s, 0)
        worst = min(chosen, key=lambda c, s=s: search.tried[s][c][0])  # type: ignore[misc]
        assert set(chosen) - set(after) == {worst}
        assert not (set(after) - set(chosen)) & set(chosen)
        assert len(after) == 5
    assert len({tuple(search._replace(s, 0)) for s in range(4)}) > 1, "each split draws its own"


def test_search__splits__do_not_know_their_neighbours() -> None:
    """With a category, splits of other shapes train apart: what is found on a split is the same alone."""
    data = with_category(simulated("z2", n=80))
    options = dataclasses.replace(OPTIONS, epochs=8, dtype="float64", methods=("MT",), twins=())
    together, alone = (discovery._Search(data, options, of, 4, None) for of in (splits(data), splits(data)[1:2]))
    for search in (together, alone):
        search.generate_and_test()
    assert len({tuple(search._pool[c].width for c in chosen) for chosen in together.play}) > 1
    assert alone.tried[0].keys() == together.tried[1].keys()
    for candidate, values in alone.tried[0].items():
        np.testing.assert_allclose(values, together.tried[1][candidate], rtol=1e-10)
    assert alone.best()[0] == together.best()[1]


def test_search__category__counts_once_and_has_a_null_of_its_own() -> None:
    data = with_category(simulated("z2", n=80))
    found = discover(data, dataclasses.replace(OPTIONS, epochs=5), splits(data)[:2], 4)
    of = usefulness_of(found)
    assert "level" in of.index
    assert of.loc["level", "null"] != of.loc["z0", "null"]
    assert of[of.index != "level"]["null"].nunique() == 1


def test_discover__test_rows__are_not_read_before_the_candidates_are_chosen() -> None:
    data = simulated("z2", n=80)
    first = splits(data)[:1]
    options = dataclasses.replace(OPTIONS, epochs=5, methods=("MT",), twins=())
    x, z, y = data.X.copy(), data.Z.copy(), data.y.copy()
    rows = first[0].test
    x.iloc[rows], z.iloc[rows], y[rows] = x.iloc[rows] * 1e3, z.iloc[rows] * -50.0, 1 - y[rows]
    found = []
    for each in (data, dataclasses.replace(data, X=x, Z=z, y=y)):
        search = discovery._Search(each, dataclasses.replace(options, dtype="float64"), first, 4, None)
        search.generate_and_test()
        found.append(search)
    assert found[0].best() == found[1].best()
    for candidate, values in found[0].tried[0].items():
        np.testing.assert_allclose(values, found[1].tried[0][candidate], rtol=1e-6)


def test_program__stopped__predicts_z_as_a_regressor_that_knows_no_target() -> None:
    program = PROGRAMS["chained"](3, (Column("z", 0, 1, False),), 1, False, MLPPair((4,), (4,)), stop_gradient=True)
    draw = torch.Generator().manual_seed(0)
    parameters = torch.randn(2, program.n_parameters, generator=draw, requires_grad=True)
    parts = program.parts(parameters)
    y, z = program.outputs_of(parts, torch.randn(2, 5, 3, generator=draw), None)
    assert y is not None
    assert z is not None
    of_r = program.networks[0].n_parameters
    (gradient,) = torch.autograd.grad(y.sum(), parameters, retain_graph=True)
    assert (gradient[:, :of_r] == 0).all()
    assert (gradient[:, of_r:] != 0).any()
    (gradient,) = torch.autograd.grad(z.sum(), parameters)
    assert (gradient[:, :of_r] != 0).any()


def test_discovery__difference__is_the_corrected_one() -> None:
    errors = pd.DataFrame({"discovered": [0.1, 0.2, 0.3], "offered": [0.2, 0.2, 0.5], "lower": [0.1, np.nan, np.nan]})
    found = Discovery(2, pd.DataFrame(), errors, 0.25)
    compared = found.compared("offered")
    assert compared is not None
    assert compared.mean == pytest.approx(0.1)
    assert compared.standard_error == pytest.approx(np.sqrt((1 / 3 + 0.25) * 0.01))
    assert found.compared("lower") is None
    equal = Discovery(2, pd.DataFrame(), errors.assign(discovered=errors["offered"] - 0.05), 0.25).compared("offered")
    assert equal is not None
    assert np.isnan([equal.low, equal.high]).all()  # no variance, no interval
    assert equal.p == 0.25


def test_models_of__is_what_progress_counts() -> None:
    data = simulated("z2", n=40)
    for k in (2, 24):
        counted: list[int] = []
        options = dataclasses.replace(OPTIONS, epochs=1)
        discover(data, options, splits(data)[:2], k, counted.append)
        assert sum(counted) == discovery.models_of(data, 2, k)


# ---------------------------------------------------------------------- command line

TABLE = "--csv t.csv --target y --privileged z b"
SMALL = (
    "--preset paper --folds 2 --inner-folds 2 --repeats 1 --epochs 2 --device cpu -l_reg 4 -l_clas 4 --no-twins "
    "--methods lower MT"
)


@pytest.fixture
def study(command: Command, table: pd.DataFrame) -> Command:
    table.to_csv("t.csv", index=False)
    return command


def test_command__discovery__is_a_file_a_figure_a_section_and_words(study: Command) -> None:
    done = study(f"{TABLE} {SMALL} --discover 3 --out out")
    assert done.status == 0
    found = pd.read_csv("out/discovery.csv")
    assert tuple(found.columns) == studies.discovery.COLUMNS
    assert (found["weights"].notna() == (found["kind"] == "projection")).all()
    for weights in found["weights"].dropna():
        assert {"z", "b"} <= {name.partition("=")[0] for name in json.loads(weights)}
        assert discoveries.weighted_sum(weights) in done.out
    assert {"z", "b"} <= set(found["candidate"])
    assert (found["k"] == 3).all()
    assert "t: useful privileged columns" in done.out
    assert f"3 candidates in play, {len(found)} tried" in done.out
    report = Path("out/report.html").read_text(encoding="utf-8")
    assert "<h2>Useful privileged columns</h2>" in report
    assert "usefulness of the" in report
    for form in ("png", "pdf"):
        assert (Path("out/figures") / f"t-discovery.{form}").stat().st_size > 5000


def test_command__errors__are_those_of_the_study(study: Command) -> None:
    """MT and lower are trained anew for a discovery; with one network an arm they are those of the study."""
    study(f"{TABLE} {SMALL} --discover 3 --out out")
    errors = pd.read_csv("out/table.csv").set_index("method")["error"]
    found = pd.read_csv("out/discovery.csv").iloc[0]
    assert found["error_offered"] == pytest.approx(errors["MT"])
    assert found["error_lower"] == pytest.approx(errors["lower"])


@pytest.mark.slow
def test_command__once_more__does_not_search_again_unless_k_is_another(
    study: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{TABLE} {SMALL} --out out"
    first = study(f"{line} --discover 3")
    calls: list[int] = []
    real = discovery.discover

    def counted(*given: object) -> Discovery:
        calls.append(int(given[3]))  # type: ignore[call-overload]
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(discovery, "discover", counted)
    again = study(f"{line} --discover 3")
    assert again.out == first.out
    assert calls == []
    assert study(f"{line} --discover 2").status == 0
    assert calls == [2]
    assert set(pd.read_csv("out/discovery.csv")["k"]) == {2}
    assert "useful privileged columns" in study(line).out, "what is there is shown"
    assert calls == [2]


def test_command__force__deletes_the_discovery(study: Command) -> None:
    line = f"{TABLE} {SMALL} --out out"
    study(f"{line} --discover 3")
    assert "useful privileged columns" not in study(f"{line} --force").out
    assert not Path("out/discovery.csv").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--csv t.csv --target y --discover 3", "no privileged column is named. Name the privileged columns"),
        (f"{TABLE} --discover 24", r"at most 23 candidates can be in play \(2 privileged columns, 1 products"),
        (f"{TABLE} --discover 0", "at least 1 candidate must be in play to discover useful ones; found 0"),
        (f"{TABLE} --discover -2", "found -2"),
        (f"{TABLE} --discover some", "--discover.*'some'"),
    ],
)
def test_command__bad_input__one_clear_error_and_nothing_written(study: Command, line: str, message: str) -> None:
    done = study(f"{SMALL} --out out {line}")
    assert done.status == 2
    assert len(done.err.strip().splitlines()) == 1
    assert re.search(message, done.err), done.err
    assert not Path("out").exists()


def test_command__dry_run__tells_how_many_models_a_discovery_trains(study: Command) -> None:
    done = study(f"{TABLE} {SMALL} --discover 3 --dry-run")
    assert done.status == 0
    assert "--discover 3 trains 30 models more: about " in done.out  # on 2 splits: 6 rounds of two, and three
    assert not Path("out").exists()


def test_weighted_sum__largest_coefficients__come_first_with_their_signs() -> None:
    assert discoveries.weighted_sum('{"a": 0.1, "b": -0.624, "c": 0.4}') == "−0.62·b + 0.40·c + 1 more"
    assert discoveries.weighted_sum('{"a": 0.5, "b": -0.25}') == "0.50·a − 0.25·b"
    assert discoveries.weighted_sum(np.nan) == ""
