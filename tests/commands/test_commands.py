"""DC_DR.py and MT_weightP.py: what they write is what the store holds, and bad input gets one clear error."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import DC_DR
import MT_weightP
from lupi.evidence.errors import AGREEMENT
from lupi.methods.options import StudyOptions
from studies.store import Store
from studies.views import causes, curves
from tests.conftest import Command, Outcome, runner

QUICK = (
    "--preset paper --folds 2 --inner-folds 2 --repeats 2 --epochs 40 --lr 0.02 --device cpu -l_reg 4 -l_clas 4 "
    "--out out"
)
TABLE = "--csv t.csv --target y --privileged z"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pd.DataFrame) -> Iterator[None]:
    """A folder with t.csv, whose class follows z."""
    monkeypatch.chdir(tmp_path)
    table.to_csv("t.csv", index=False)
    yield
    logging.captureWarnings(False)


@pytest.fixture
def dc_dr(workplace: None, capsys: pytest.CaptureFixture[str]) -> Command:
    return runner(DC_DR.main, capsys)


@pytest.fixture
def weigh(workplace: None, capsys: pytest.CaptureFixture[str]) -> Command:
    return runner(MT_weightP.main, capsys)


def stored() -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    config = __import__("json").loads(Path("out/config.json").read_text(encoding="utf-8"))
    with Store(Path("out"), config) as store:
        return store.results(), store.splits(), store.config


def is_refused(done: Outcome, error: str) -> None:
    """Bad input: one line that says why, and nothing written."""
    assert done.status == 2
    assert error in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not Path("out").exists()


# ---------------------------------------------------------------------- DC_DR.py


@pytest.mark.slow
def test_dc_dr__every_error_is_of_one_kind_and_the_files_are_there(dc_dr: Command) -> None:
    done = dc_dr(f"{TABLE} --methods MT KT {QUICK}")
    assert done.status == 0
    results, splits, _ = stored()
    for method in ("MT", "KT"):
        kinds = causes.kinds_of_error(results, splits, "t", method)
        assert (kinds["both"] + kinds["caused"] + kinds["own"] == kinds["errors"]).all()
        own = results[(results["method"] == method) & (results["control"] == "none")]
        assert kinds["errors"].sum() == round((own["error"] * own["n_test"]).sum())
        shares = causes.agreement(results, splits, "t", method)
        np.testing.assert_allclose(shares[list(AGREEMENT)].sum(axis=1), 100.0)
        assert set(shares["against"]) == {"upper", "lower"}
        mend = causes.mendable(results, "t", method)
        for cell in (f"{mend['oracle'].mean():.3f}", f"{mend['halved'].mean():.3f}"):
            assert cell in done.out
        for form in ("png", "pdf"):
            assert (Path("out/figures") / f"DC-DR-t-{method}-z.{form}").stat().st_size > 5000
    report = Path("out/report.html").read_text(encoding="utf-8")
    assert "caused by" in report
    assert dc_dr(f"{TABLE} --methods MT KT {QUICK}").out == done.out


def test_dc_dr__errors_of_the_teacher_at_z_hat__are_those_called_caused(dc_dr: Command) -> None:
    """Of one numeric column, DR beyond DC and a change of class on the way from z to ẑ are the same thing."""
    assert dc_dr(f"{TABLE} --methods MT {QUICK}").status == 0
    results, splits, _ = stored()
    own = results[(results["method"] == "MT") & (results["control"] == "none")].set_index(["repeat", "fold"])
    reached = 0
    for _, split in splits.iterrows():
        arm = own.loc[(split["repeat"], split["fold"])]
        ((_, beyond, _),) = causes._reached(split, arm)
        np.testing.assert_array_equal(beyond, ~np.isnan(arm["crossing"][:, 0]))
        reached += int(beyond.sum())
    assert reached > 0


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--methods PFD", "PFD predict no Z whose error could explain theirs; KT, KT-PFD"),
        ("--methods lower upper", "lower, upper predict no Z"),
        ("--methods XYZ", "no method is called 'XYZ'"),
        ("--methods MT --repeats 0", "repeats must be a whole number of at least 1"),
        ("--methods MT --metric beauty", "beauty"),
    ],
)
def test_dc_dr__bad_input__one_clear_error_and_nothing_written(dc_dr: Command, line: str, error: str) -> None:
    is_refused(dc_dr(f"{TABLE} {QUICK} {line}"), error)


def test_dc_dr__numeric_target__says_that_classes_are_needed(dc_dr: Command, table: pd.DataFrame) -> None:
    table.assign(y=table.z + table.a).to_csv("t.csv", index=False)
    done = dc_dr(f"{TABLE} {QUICK}")
    assert done.status == 2
    assert "t: DC and DR need classes, and the target is a number" in done.err


def test_dc_dr__table_without_privileged_or_numeric_columns__says_so(dc_dr: Command) -> None:
    pd.DataFrame({"a": list("xyz") * 20, "y": [0, 1] * 30}).to_csv("t.csv", index=False)
    done = dc_dr(f"--csv t.csv --target y --categorical a {QUICK}")
    assert done.status == 2
    assert "Name the privileged columns" in done.err


# ---------------------------------------------------------------------- MT_weightP.py

SWEEPS = "--epsilons 0.1 10 --fixed-epsilons 0.1 10 --imitations 0 1 --repulsions --temperatures"


@pytest.mark.slow
def test_weights__curves__are_means_of_the_stores_records(weigh: Command) -> None:
    done = weigh(f"{TABLE} {QUICK} {SWEEPS}")
    assert done.status == 0
    results, splits, config = stored()
    assert curves.swept(results) == ["epsilon", "fixed_epsilon", "imitation"]
    assert set(results["method"]) == {"lower", "upper", "MT", "MT-TPD"}
    assert set(results["control"]) == {"none", "shuffled"}
    table = curves.curves(results, splits, config, "t", "epsilon")
    assert set(table["line"]) == {"MT", "MT, shuffled Z", "MT-TPD", "MT-TPD, shuffled Z"}
    for quantity, column in (("error", "error"), ("privileged error", "z_mae")):
        of_quantity = table[(table["quantity"] == quantity) & (table["line"] == "MT-TPD, shuffled Z")]
        for _, point in of_quantity.iterrows():
            records = results[
                (results["method"] == "MT-TPD") & (results["control"] == "shuffled")
                & (results["swept"] == "epsilon") & (results["value"] == point["value"])
            ]  # fmt: skip
            assert point["mean"] == pytest.approx(records[column].mean())
            assert point["low"] < point["mean"] < point["high"]
    shares = table[table["quantity"].str.startswith("agreement: ")].groupby(["line", "value"])["mean"].sum()
    np.testing.assert_allclose(shares, 100.0)
    fixed = curves.curves(results, splits, config, "t", "fixed_epsilon")
    weights = fixed[fixed["quantity"] == "effective weight ε/(2σ²)"]
    np.testing.assert_array_equal(weights["mean"], weights["value"])
    assert not fixed["quantity"].isin(["learned σ", "learned T"]).any()
    for name in ("epsilon", "fixed_epsilon", "imitation"):
        assert (Path("out/figures") / f"t-{name}.png").exists()


def test_weights__values_that_differ_in_the_seventh_digit__are_curves_of_two_points(weigh: Command) -> None:
    line = "--methods MT --epsilons 0.1234567 0.1234568 --fixed-epsilons --imitations --repulsions --temperatures"
    done = weigh(f"{TABLE} {QUICK} {line}")
    assert done.status == 0, done.err
    results, splits, config = stored()
    assert sorted(set(results["value"].dropna())) == [0.1234567, 0.1234568]
    assert set(curves.curves(results, splits, config, "t", "epsilon")["value"]) == {0.1234567, 0.1234568}
    for text in ("MT, 0.1234567 ", "MT, 0.1234568 "):
        assert text in done.out
    verdicts = pd.read_csv("out/verdicts.csv")
    assert set(verdicts["value"].dropna()) == {0.1234567, 0.1234568}
    report = Path("out/report.html").read_text(encoding="utf-8")
    assert "t, epsilon=0.1234567" in report


@pytest.mark.slow
def test_weights__epsilon_on_a_learned_weight__washes_out_and_on_a_fixed_one_does_not(weigh: Command) -> None:
    """σ² settles at ε MSE, so that ε/(2σ²) forgets ε (derived in the documentation); a fixed weight does not."""
    long = "--folds 2 --repeats 1 --epochs 600 --patience 600 --lr 0.03 --protocol paper --no-twins -l_reg -l_clas 4"
    done = weigh(f"{TABLE} --methods MT --device cpu --out out {long} {SWEEPS} --imitations")
    assert done.status == 0
    results, splits, config = stored()
    ratio = {}
    for name in ("epsilon", "fixed_epsilon"):
        table = curves.curves(results, splits, config, "t", name)
        weight = table[table["quantity"] == "effective weight ε/(2σ²)"].set_index("value")["mean"]
        ratio[name] = weight[10.0] / weight[0.1]
    assert ratio["fixed_epsilon"] == pytest.approx(100.0)
    assert ratio["epsilon"] < 3.0
    assert re.search(r"MT: ε 100 times as large .* the learned σ absorbs ε\.", done.out)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--methods lower", "nothing is left to sweep: the bounds read none"),
        ("--methods PFD --imitations --temperatures", "nothing is left to sweep: PFD read none"),
        ("--epsilons -1", "epsilon must be at least 0; found -1.0"),
        ("--epsilons 1 1", "a sweep of epsilon needs different values"),
        ("--imitations 2", "imitation must lie in [0, 1]"),
        ("--epochs 3 9", "here one --epochs"),
    ],
)
def test_weights__bad_input__one_clear_error(weigh: Command, line: str, error: str) -> None:
    is_refused(weigh(f"{TABLE} {QUICK} {line}"), error)


# ---------------------------------------------------------------------- options that they share


def test_help__of_every_command__names_its_own_default(capsys: pytest.CaptureFixture[str]) -> None:
    for main, default in ((DC_DR.main, "default: MT-TPD"), (MT_weightP.main, "default: MT MT-TPD")):
        with pytest.raises(SystemExit) as stop:
            main(["--help"])
        assert stop.value.code == 0
        assert default in " ".join(capsys.readouterr().out.split())


def test_sweeping__options__have_the_bounds_and_shuffled_twins() -> None:
    usual = MT_weightP.defaults_of(MT_weightP.GROUPS)
    options = MT_weightP.sweeping(usual, StudyOptions(methods=("MT",)))
    assert options.methods == ("lower", "upper", "MT")
    assert options.twins == ("shuffled",)
    assert [name for name, _ in options.sweeps] == ["epsilon", "fixed_epsilon"]
