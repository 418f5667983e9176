"""A study as a whole: who may see what, agreement with an independent implementation, known structure recovered."""

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import datasets
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split, last_rows
from lupi.methods.design import chunks_of, design
from lupi.methods.options import StudyOptions
from lupi.methods.table import METHODS, PAPER_METHODS, select
from lupi.study.preparation import Prepared
from lupi.study.records import Recorder
from lupi.study.run import run
from lupi.study.run import splits_of as splits_of_repeats
from lupi.study.stages import STAGES, Trainer

MIRROR = Path(os.environ.get("LUPI_MIRROR", Path(__file__).parents[4] / "shared" / "data"))
QUICK = StudyOptions(
    folds=2, repeats=1, inner_folds=2, epochs=3, regressor_layers=(4,), classifier_layers=(4,), twins=()
)


def simulated(n: int, seed: int = 0, kind: str = "binary") -> PrivilegedData:
    """y depends on z alone; x is z with noise. Z has a number and a category, both with missing cells."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=n)
    x = z[:, None] + draw.normal(size=(n, 3))
    logits = 3.0 * z
    y = (draw.uniform(size=n) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    level = pd.Series(pd.Categorical(np.where(z > 0.5, "high", np.where(z < -0.5, "low", "middle"))))
    level[draw.uniform(size=n) < 0.05] = np.nan
    number = pd.Series(np.where(draw.uniform(size=n) < 0.05, np.nan, z))
    classes: tuple[str, ...] | None = ("no", "yes")
    target: Any = y
    if kind == "multiclass":
        target, classes = np.digitize(z + 0.3 * draw.normal(size=n), [-0.6, 0.6]).astype(np.int64), ("a", "b", "c")
    elif kind == "numeric":
        target, classes = 100.0 + 10.0 * z + draw.normal(size=n), None
    features = pd.DataFrame(x, columns=["x0", "x1", "x2"])
    return PrivilegedData("sim", features, pd.DataFrame({"number": number, "level": level}), target, classes)


def splits_of(data: PrivilegedData, options: StudyOptions) -> list[Split]:
    return splits_of_repeats(data, options, range(options.repeats))


def results(data: PrivilegedData, options: StudyOptions) -> pd.DataFrame:
    return pd.DataFrame(run(data, options, splits_of(data, options)).records)


def test_design__paper_protocol_and_methods__eleven_networks_a_fold() -> None:
    table = design(StudyOptions(methods=("paper",), protocol="paper", twins=()), splits=100)
    # The teacher of the paper's protocol is the upper bound: it is not trained twice.
    assert len(table) == 100 * 11
    assert {method for arms in table.arms for method, _, _ in arms} == set(PAPER_METHODS)
    assert table[table.arms.map(str).str.contains("upper")].teaches.eq("XZ true").all()


def test_design__strict__helpers_are_cross_fitted_and_members_multiply() -> None:
    options = StudyOptions(inner_folds=4, members=3, twins=())
    table = design(options, splits=2)
    teachers = table[table.teaches != ""]
    assert set(teachers.teaches) == {"Z true", "XZ true"}
    assert teachers.groupby(["teaches", "split", "member"]).inner.agg(set).map(lambda s: s == {0, 1, 2, 3}).all()
    regressors = table[table.predicts != ""]
    assert regressors.groupby(["split", "member"]).inner.agg(set).map(lambda s: s == {-1, 0, 1, 2, 3}).all()
    assert (table.groupby(["model", "split"]).size() == 3).all()
    assert table.groupby("model").inner.nunique().eq(1).all()


def test_select__unknown_method__lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'XYZ'.*lower.*MT-TPD"):
        select(["XYZ"])
    assert [m.name for m in select(["mt-tpd", "Lower"])] == ["MT-TPD", "lower"]
    assert len(select(["all"])) == len(METHODS)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_run__all_methods_all_targets__every_arm_has_finite_results(kind: str, protocol: str) -> None:
    data = simulated(80, kind=kind)
    methods = tuple(m for m in METHODS if kind != "numeric" or METHODS[m].target == "any")
    options = dataclasses.replace(QUICK, methods=methods, protocol=protocol, members=2)
    found = results(data, options)
    assert len(found) == len(methods) * 2
    assert set(found.method) == set(methods)
    assert np.isfinite(found["error"]).all()
    for _, row in found.iterrows():
        width = 1 if kind == "numeric" else len(data.classes or ())
        assert row.prediction.shape == (row.n_test, width)
        if kind != "numeric":
            np.testing.assert_allclose(row.prediction.sum(1), 1.0, atol=1e-6)
        predicts = METHODS[row.method].predicts_z
        assert (row.z_hat is not None) == predicts
        if predicts:
            assert set(row.z_each) == {"number", "level"}
            np.testing.assert_allclose(row.z_hat[:, 1:].sum(1), 1.0, atol=1e-6)


def test_run__tpd_with_a_numeric_target__says_so() -> None:
    with pytest.raises(ValueError, match=r"TPD.*need classes"):
        results(simulated(60, kind="numeric"), dataclasses.replace(QUICK, methods=("TPD",)))


def test_run__chunking__changes_no_record() -> None:
    data = simulated(60)
    options = dataclasses.replace(QUICK, repeats=3, dtype="float64", methods=("lower", "PFD", "KT", "MT-TPD"))
    whole = results(data, options)
    one_by_one = pd.concat([pd.DataFrame(run(data, options, [s]).records) for s in splits_of(data, options)])
    order = ["method", "repeat", "fold"]
    a, b = (f.sort_values(order).reset_index(drop=True) for f in (whole, one_by_one))
    np.testing.assert_allclose(np.concatenate(list(a.prediction)), np.concatenate(list(b.prediction)), atol=1e-10)


def test_run__numeric_target_far_from_zero__loses_nothing_in_float32() -> None:
    data = simulated(80, kind="numeric")
    options = dataclasses.replace(QUICK, methods=("lower", "PFD"), epochs=30)
    near, far = (results(dataclasses.replace(data, y=data.y + shift), options) for shift in (0.0, 1e9))
    np.testing.assert_allclose(near.error, far.error, rtol=1e-3)


def test_run__seed__decides_everything() -> None:
    data = simulated(60)
    options = dataclasses.replace(QUICK, methods=("lower", "MT-PFD"))
    one, again, other = (results(data, dataclasses.replace(options, seed=s)) for s in (1, 1, 2))
    assert (one.log_loss == again.log_loss).all()
    assert (one.log_loss != other.log_loss).all()


def test_run__test_rows__never_reach_training() -> None:
    """Spoiling features, privileged cells and labels of a test row moves no prediction but its own."""
    data = simulated(60)
    options = dataclasses.replace(QUICK, methods=("lower", "GD", "TPD", "KT-PFD", "MT-TPD", "AUX"), dtype="float64")
    first = splits_of(data, options)[0]
    x, z, y = data.X.copy(), data.Z.copy(), data.y.copy()
    x.iloc[first.test[0]] = 1e3
    z.iloc[first.test[0], 0] = -1e3
    y[first.test[0]] = 1 - y[first.test[0]]
    spoiled = dataclasses.replace(data, X=x, Z=z, y=y)
    for a, b in zip(run(data, options, [first]).records, run(spoiled, options, [first]).records, strict=True):
        np.testing.assert_allclose(a["prediction"][1:], b["prediction"][1:], atol=1e-9)


def test_run__students__never_see_the_privileged_cells_of_test_rows() -> None:
    data = simulated(60)
    options = dataclasses.replace(QUICK, methods=("all",), dtype="float64")
    first = splits_of(data, options)[0]
    z = data.Z.copy()
    z.iloc[first.test, 0] = 50.0
    other = run(dataclasses.replace(data, Z=z), options, [first]).records
    for a, b in zip(run(data, options, [first]).records, other, strict=True):
        same = np.allclose(a["prediction"], b["prediction"], atol=1e-6)
        assert same == (a["method"] != "upper")


def test_strict__soft_labels__come_from_teachers_that_did_not_see_the_row() -> None:
    """A label that is noise is known to an in-sample teacher, and not to a cross-fitted one."""
    draw = np.random.default_rng(0)
    n = 120
    wide = pd.DataFrame(draw.normal(size=(n, 40))).add_prefix("x")
    data = PrivilegedData("noise", wide, pd.DataFrame({"z": draw.normal(size=n)}), draw.integers(0, 2, n), ("0", "1"))
    options = StudyOptions(
        methods=("PFD",), twins=(), folds=2, repeats=1, inner_folds=3, epochs=150, lr=1e-2, patience=150
    )
    agreement = {}
    for protocol in ("strict", "paper"):
        chosen = dataclasses.replace(options, protocol=protocol)
        splits = splits_of(data, chosen)
        trainer = Trainer(Prepared(data, chosen, splits))
        table = design(chosen, len(splits))
        rows = table[table.stage == "first"].reset_index(drop=True)
        trainer.keep(rows, *trainer.train(rows, "target"))
        soft_labels = np.concatenate([trainer.teachers["XZ true"][s, split.train, 0] for s, split in enumerate(splits)])
        truth = np.concatenate([data.y[split.train] for split in splits])
        agreement[protocol] = ((soft_labels > 0) == (truth == 1)).mean()
    assert agreement["paper"] > 0.8
    assert abs(agreement["strict"] - 0.5) < 0.15


def test_strict__predicted_z__is_in_the_units_of_the_whole_training_fold() -> None:
    """One outlier of Z changes the scale of the inner training sets that lack it; ẑ must not show which one made it."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 2))
    z = x[:, 0].copy()
    z[7] = 60.0
    y = (x[:, 0] + 0.5 * draw.normal(size=200) > 0).astype(np.int64)
    data = PrivilegedData("outlier", pd.DataFrame(x).add_prefix("x"), pd.DataFrame({"z": z}), y, ("0", "1"))
    options = StudyOptions(
        methods=("KT",), twins=(), folds=2, repeats=1, inner_folds=3, epochs=300, lr=0.02, patience=300
    )
    splits = [s for s in splits_of(data, options) if 7 in s.train]
    prepared = Prepared(data, options, splits)
    trainer = Trainer(prepared)
    table = design(options, len(splits))
    rows = table[table.stage == "regressors"].reset_index(drop=True)
    trainer.keep(rows, *trainer.train(rows, "privileged"))
    for s, split in enumerate(splits):
        true = prepared.standardised_z(s, np.arange(200))
        for held in split.inner:
            if 7 not in held:  # where the outlier was in the training set it may bend the fit, not the units
                continue
            clean = np.setdiff1d(held, [7])
            slope = np.polyfit(true[clean, 0], trainer.predicted["true"][s, clean, 0], 1)[0]
            assert 0.6 < slope < 1.4


def test_run__networks_that_diverge__give_no_number() -> None:
    data = simulated(60)
    options = dataclasses.replace(QUICK, methods=("lower", "MT"), lr=1e38)
    assert results(data, options).error.isna().all()


def test_chosen_column__follows_the_training_rows_and_is_hidden_from_students() -> None:
    draw = np.random.default_rng(3)
    y = draw.integers(0, 2, 80)
    x = pd.DataFrame(
        {"weak": draw.normal(size=80), "strong": y + 0.1 * draw.normal(size=80), "other": draw.normal(size=80)}
    )
    data = PrivilegedData("chosen", x, pd.DataFrame(index=x.index), y, ("0", "1"))
    options = dataclasses.replace(QUICK, methods=("lower", "upper", "MT"), epochs=200, lr=0.02)
    found = results(data, options)
    assert (found.privileged.map(tuple) == ("strong",)).all()
    error = found.groupby("method").error.mean()
    assert error["upper"] < 0.05
    assert error["lower"] > 0.3
    assert error["MT"] > 0.3


def test_upper__known_structure__reaches_the_error_of_bayes() -> None:
    """P(y = 1 | z) = 1 / (1 + exp(-3 z)) is known: no classifier errs less than min(p, 1 - p) on average."""
    draw = np.random.default_rng(0)
    n = 4000
    z = draw.normal(size=n)
    p = 1 / (1 + np.exp(-3 * z))
    y = (draw.uniform(size=n) < p).astype(np.int64)
    x = pd.DataFrame(z[:, None] + 2.0 * draw.normal(size=(n, 3))).add_prefix("x")
    data = PrivilegedData("bayes", x, pd.DataFrame({"z": z}), y, ("0", "1"))
    found = results(data, StudyOptions(methods=("lower", "upper"), folds=5, repeats=1, classifier_layers=(20,)))
    error = found.groupby("method").error.mean()
    realised = (y != (z > 0)).mean()
    assert abs(error["upper"] - realised) < 0.01
    assert error["lower"] > realised + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "phishing", "wine"])
def test_bounds__agree_with_scikit_learn(name: str) -> None:
    """Lower and upper against MLPClassifier: same rows, layers, optimiser, batches and epochs, over 10 repeats."""
    if name != "breast_cancer" and not MIRROR.is_dir():
        pytest.skip(f"needs the published files in {MIRROR} (set LUPI_MIRROR to a folder that has them)")
    data = datasets.load(name, folder=MIRROR)
    data = data.with_privileged([data.X.columns[-1]]) if data.chooses_privileged else data
    numeric = all(dtype == np.float64 for dtype in data.X.dtypes)
    assert numeric
    rows = np.random.default_rng(0).permutation(len(data.y))[:800]
    data = dataclasses.replace(data, X=data.X.iloc[rows], Z=data.Z.iloc[rows], y=data.y[rows])
    options = StudyOptions(
        methods=("lower", "upper"), folds=2, repeats=10, epochs=60, patience=60, protocol="paper", batch_size=32
    )
    ours = results(data, options).set_index(["method", "repeat", "fold"]).error
    for method, table in (("lower", data.X), ("upper", pd.concat([data.X, data.Z], axis=1))):
        theirs = []
        for split in splits_of(data, options):
            scaler = StandardScaler().fit(table.iloc[split.train])
            fit, _ = last_rows(split.train, options.validation_fraction)
            net = MLPClassifier((20, 20), batch_size=32, max_iter=60, tol=0.0, random_state=split.repeat, alpha=0.0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                net.fit(scaler.transform(table.iloc[fit]), data.y[fit])
            theirs.append(1 - net.score(scaler.transform(table.iloc[split.test]), data.y[split.test]))
        mine = ours.loc[method].to_numpy()
        # The two differ in initial weights and shuffles alone: 3 standard errors over repeats.
        gap = (mine - np.array(theirs)).reshape(10, 2).mean(1)
        assert abs(gap.mean()) < 3 * gap.std(ddof=1) / np.sqrt(10), f"{method}: {mine.mean():.4f} {np.mean(theirs):.4f}"


@pytest.mark.parametrize("method", ["KT", "MT"])
def test_records__oracle_error__is_that_of_the_student_with_another_z(method: str) -> None:
    """If the true z were what the student predicts, the oracle would err where the student errs."""
    data = simulated(80)
    options = dataclasses.replace(QUICK, methods=("upper", method), epochs=60, lr=0.02)
    splits = splits_of(data, options)
    prepared = Prepared(data, options, splits)
    trainer, recorder = Trainer(prepared), Recorder(prepared)
    table = design(options, len(splits))
    for stage, kind in STAGES.items():
        rows = table[table.stage == stage].reset_index(drop=True)
        if len(rows):
            engine, trained = trainer.train(rows, kind)
            trainer.keep(rows, engine, trained)
            recorder.record(rows, engine, trained, trainer.predicted)
    before = pd.DataFrame(recorder.records).set_index(["method", "fold"]).loc[method]
    assert (before[["oracle_error", "halved_error"]].sub(before.error, axis=0) != 0).any(axis=None)
    recorder._z = [before.loc[split.fold].z_hat for split in splits]
    recorder.records.clear()
    recorder._teachers.clear()
    last, program = ("joint", "chained") if method == "MT" else ("students", "target")
    rows = table[table.stage == last].reset_index(drop=True)
    recorder.record(
        rows, *trainer.train(rows, program), trainer.predicted
    )  # the same networks: training is deterministic
    after = pd.DataFrame(recorder.records).set_index(["method", "fold"]).loc[method]
    np.testing.assert_array_equal(after.oracle_error, before.error)
    np.testing.assert_array_equal(after.halved_error, before.error)


@pytest.mark.parametrize(("repeats", "members"), [(1, 1), (10, 1), (21, 3), (7, 100)])
def test_chunks_of__every_repeat_once_in_order_and_in_like_sizes(repeats: int, members: int) -> None:
    chunks = chunks_of(StudyOptions(repeats=repeats, members=members), rows=5000)
    assert [r for chunk in chunks for r in chunk] == list(range(repeats))
    assert max(map(len, chunks)) - min(map(len, chunks)) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"folds": 1}, {"repeats": 0}, {"lr": 0.0}, {"imitation": 1.5}, {"temperature": -1.0}, {"protocol": "lax"},
        {"seed": -1}, {"classifier_layers": (0,)}, {"epsilon": -1.0}, {"label_smoothing": 1.0}, {"patience": 0},
        {"methods": ("none",)}, {"methods": ()},
    ],
)  # fmt: skip
def test_options__out_of_range__raise_with_the_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|no method|at least one"):
        StudyOptions(**wrong)


@pytest.mark.parametrize("side", ["regular", "privileged"])
def test_levels__that_no_training_row_has__are_read_as_missing(side: str) -> None:
    """Test rows come twice: once with a level that no training row has, once with a missing cell."""
    draw, n = np.random.default_rng(0), 40
    frame = pd.DataFrame(draw.normal(size=(n, 3)), columns=["a", "b", "z"])
    frame["level"] = np.where(frame["a"] + draw.normal(size=n) > 0, "high", "low")
    frame["y"] = (frame["a"] + frame["z"] > 0).astype(int)
    frame = pd.concat([frame, frame[:10].assign(level="other"), frame[:10].assign(level=None)], ignore_index=True)
    names = ["z", "level"] if side == "privileged" else ["z"]
    data = PrivilegedData.from_frame(frame, "y", name="t", privileged=names, categorical=["level"])
    train = np.arange(n)
    split = Split(0, 0, train, np.arange(n, n + 20), (train[::2], train[1::2]))
    options = StudyOptions(methods=("lower", "upper", "KT", "MT"), twins=(), inner_folds=2, epochs=3, dtype="float64")
    found = run(data, options, [split])
    for record in found.records:
        new, missing = record["prediction"][:10], record["prediction"][10:]
        assert np.ptp(new) > 0
        np.testing.assert_allclose(new, missing, atol=1e-12, err_msg=record["method"])
    z = found.splits[0]["z"]
    if side == "privileged":  # what is told of it stays as it is
        np.testing.assert_array_equal(z[:10, 1:], [[0.0, 0.0, 1.0]] * 10)
        assert np.isnan(z[10:, 1:]).all()
