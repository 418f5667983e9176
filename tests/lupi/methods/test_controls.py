"""Twins: what they take out is out, what they keep is kept, and test rows are never touched."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lupi import rng
from lupi.columns import Column
from lupi.data.privileged_data import PrivilegedData
from lupi.engine.losses import teacher_privileged
from lupi.methods import twins
from lupi.methods.design import arms_of, design
from lupi.methods.options import StudyOptions
from lupi.methods.table import METHODS
from lupi.methods.twins import TWINS, twins_of
from lupi.settings import PLAIN, Setting
from lupi.study.run import run, splits_of

COLUMNS = (Column("lab", 0, 1, False), Column("level", 1, 3, True))
QUICK = StudyOptions(
    folds=2, repeats=1, inner_folds=2, epochs=3, regressor_layers=(4,), classifier_layers=(4,), dtype="float64"
)


def block(n: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    z = np.column_stack([draw.normal(3.0, 2.0, n), np.eye(3)[draw.integers(0, 3, n)]])
    z[draw.random(n) < 0.2, 0] = np.nan
    z[draw.random(n) < 0.2, 1:] = np.nan
    return z


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


@given(n=st.integers(3, 60), seed=st.integers(0, 2**32 - 1))
def test_shuffled__any_block__keeps_every_row_of_z_once_and_leaves_test_rows(n: int, seed: int) -> None:
    z, rows = block(n, seed), np.random.default_rng(seed).permutation(n)[: max(n // 2, 1)]
    moved = twins.shuffled(z, rows, rng.keys(seed))
    rest = np.setdiff1d(np.arange(n), rows)
    assert same(moved[rest], z[rest])
    as_rows = lambda values: sorted(map(tuple, np.nan_to_num(values, nan=-99.0)))  # noqa: E731
    assert as_rows(moved[rows]) == as_rows(z[rows])  # so each column's marginal is the same exactly


def test_shuffled__many_rows__tells_nothing_of_the_row() -> None:
    z = np.arange(2000.0)[:, None]
    moved = twins.shuffled(z, np.arange(2000), rng.keys(1))
    assert abs(np.corrcoef(z[:, 0], moved[:, 0])[0, 1]) < 0.08
    assert (moved != twins.shuffled(z, np.arange(2000), rng.keys(2))).any()


@given(n=st.integers(3, 60), seed=st.integers(0, 2**32 - 1))
def test_noise__any_block__is_fresh_in_training_rows_alone(n: int, seed: int) -> None:
    z, rows = block(n, seed), np.random.default_rng(seed).permutation(n)[: max(n // 2, 1)]
    drawn = twins.noise(z, COLUMNS, rows, rng.keys(seed))
    rest = np.setdiff1d(np.arange(n), rows)
    assert same(drawn[rest], z[rest])
    for column in COLUMNS:
        assert np.isnan(drawn[rows, column.start]).sum() == np.isnan(z[rows, column.start]).sum()
    levels = drawn[rows, 1:]
    assert (np.isnan(levels).all(1) | (levels.sum(1) == 1.0)).all()
    known = z[rows, 0][~np.isnan(z[rows, 0])]
    if len(known) > 1 and known.std() > 0:
        assert not np.isin(drawn[rows, 0], known).any()


def test_noise__many_rows__has_mean_spread_and_frequencies_of_the_column() -> None:
    z = block(20_000, 0)
    drawn = twins.noise(z, COLUMNS, np.arange(20_000), rng.keys(3))
    for find in (np.nanmean, np.nanstd):
        np.testing.assert_allclose(find(drawn, axis=0), find(z, axis=0), atol=0.05)
    both = ~np.isnan(z[:, 0]) & ~np.isnan(drawn[:, 0])
    assert abs(np.corrcoef(z[both, 0], drawn[both, 0])[0, 1]) < 0.03
    skewness = np.nanmean(((drawn[:, 0] - 3.0) / 2.0) ** 3)
    kurtosis = np.nanmean(((drawn[:, 0] - 3.0) / 2.0) ** 4)
    assert abs(skewness) < 0.1
    assert abs(kurtosis - 3.0) < 0.2


@pytest.mark.parametrize("classes", [2, 4])
def test_unit_weights__any_student__is_the_probability_given_to_wrong_classes(classes: int) -> None:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, classes, 30)
    y = codes[:, None].astype(float) if classes == 2 else np.eye(classes)[codes]
    logits = draw.normal(size=(1, y.shape[1], 30))
    labels = torch.tensor(twins.unit_weights(y).T[None])
    if classes > 2:
        labels = labels.log_softmax(1)
    loss = teacher_privileged(torch.tensor(logits), labels, torch.tensor(y.T[None]), torch.tensor([0.7]))[0].numpy()
    p = np.exp(logits[0]) / np.exp(logits[0]).sum(0) if classes > 2 else 1 / (1 + np.exp(-logits[0]))
    wrong = 1 - p[codes, np.arange(30)] if classes > 2 else np.abs(codes - p[0])
    np.testing.assert_allclose(loss, wrong, rtol=1e-10)


@pytest.mark.parametrize("classes", [2, 4])
def test_shuffled_weights__any_teacher__moves_the_costs_between_training_rows(classes: int) -> None:
    """Of every row the TPD cost of each answer (its own class right, or not) goes to another row whole."""
    draw = np.random.default_rng(0)
    n, rows = 40, np.random.default_rng(1).permutation(40)[:25]
    codes = draw.integers(0, classes, n)
    y = codes[:, None].astype(float) if classes == 2 else np.eye(classes)[codes]
    teacher = draw.normal(size=(n, y.shape[1]))
    if classes > 2:
        teacher = teacher - np.log(np.exp(teacher).sum(1, keepdims=True))
    moved = twins.shuffled_weights(teacher, y, rows, rng.keys(5))
    rest = np.setdiff1d(np.arange(n), rows)
    np.testing.assert_array_equal(moved[rest], teacher[rest])

    def cost_of_error(labels: np.ndarray) -> np.ndarray:
        """The loss of a student that is sure of a wrong class, at β = 0.5: weight, and right or wrong, in one."""
        wrong = (codes + 1) % classes
        logits = np.where(codes == 1, -50.0, 50.0)[None] if classes == 2 else np.eye(classes)[wrong].T * 50.0
        found = teacher_privileged(
            torch.tensor(logits[None]), torch.tensor(labels.T[None]), torch.tensor(y.T[None]), torch.tensor([0.5])
        )
        return np.asarray(found[0].numpy())

    right = lambda labels: (  # noqa: E731
        (labels[:, 0] > 0) == codes if classes == 2 else labels.argmax(1) == codes
    )
    assert right(moved)[rows].sum() == right(teacher)[rows].sum()
    if classes == 2:
        np.testing.assert_allclose(np.sort(cost_of_error(moved)[rows]), np.sort(cost_of_error(teacher)[rows]))
        assert not np.allclose(cost_of_error(moved)[rows], cost_of_error(teacher)[rows])
    else:
        own = lambda labels: np.sort(labels[rows, codes[rows]])  # noqa: E731
        np.testing.assert_allclose(own(moved), own(teacher))
        np.testing.assert_allclose(np.exp(moved).sum(1), 1.0)


def test_twins_of__every_method_that_uses_z__has_its_twins() -> None:
    assert twins_of(METHODS["lower"]) == twins_of(METHODS["upper"]) == ()
    assert twins_of(METHODS["TPD"]) == tuple(TWINS)
    for name in ("GD", "PFD", "KT", "MT", "AUX"):
        assert twins_of(METHODS[name]) == ("shuffled", "noise", "absent")
    assert twins.takes_all_out(METHODS["TPD"], "unit-weights")
    assert not twins.takes_all_out(METHODS["MT-TPD"], "unit-weights")


def test_design__twins__share_what_would_train_alike() -> None:
    options = StudyOptions()
    table = design(options, splits=1)
    arms = [arm for served in table.arms for arm in served]
    assert sorted(arms) == sorted(arm.key for arm in arms_of(options))
    assert len(set(arms)) == len(arms)
    served = {arm: set(group) for group in table.arms for arm in group}
    assert ("KT", "absent", PLAIN) in served["lower", "none", PLAIN]
    self_distilled = {(name, "absent", PLAIN) for name in ("GD", "PFD", "KT-PFD")}
    assert served["PFD", "absent", PLAIN] == self_distilled
    # No arm of a twin learns from anything that saw the true Z, but for those that keep it by design.
    for _, row in table.iterrows():
        for method, control, _ in row.arms:
            if control != "none" and twins.takes_all_out(METHODS[method], control):
                assert "true" not in row.teacher or control == "shuffled-weights"
                assert "true" not in row.version or row.epsilon == 0.0


def test_design__sweeps__are_rows_for_the_methods_that_read_them() -> None:
    options = StudyOptions(
        methods=("lower", "PFD", "MT-TPD"), twins=("shuffled",), sweeps=(("epsilon", (0.0, 1.0, 5.0)), ("epochs", (9,)))
    )
    table = design(options, splits=1)
    served = {arm: row for _, row in table.iterrows() for arm in row.arms}
    assert served["MT-TPD", "none", Setting("epsilon", 5)].epsilon == 5.0
    assert served["MT-TPD", "none", PLAIN].name == served["MT-TPD", "none", Setting("epsilon", 1)].name
    assert ("PFD", "none", Setting("epochs", 9)) in served
    assert ("PFD", "none", Setting("epsilon", 5)) not in served
    assert served["PFD", "shuffled", Setting("epochs", 9)].teacher == "XZ shuffled epochs=9"
    assert (table[table.teaches == "XZ shuffled epochs=9"].epochs == 9).all()
    same = design(StudyOptions(methods=("PFD",), twins=(), epochs=9, sweeps=(("epochs", (9,)),)), splits=1)
    assert same.arms[same.arms.map(len) > 0].item() == (("PFD", "none", PLAIN), ("PFD", "none", Setting("epochs", 9)))
    assert set(same.teaches) == {"", "XZ true"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_run__all_twins__every_one_has_finite_results_and_its_own(kind: str) -> None:
    draw = np.random.default_rng(0)
    n = 80
    z = draw.normal(size=n)
    x = pd.DataFrame(z[:, None] + draw.normal(size=(n, 3))).add_prefix("x")
    level = pd.Series(pd.Categorical(np.where(z > 0.3, "high", "low")))
    y, classes = {
        "binary": ((z + 0.3 * draw.normal(size=n) > 0).astype(np.int64), ("no", "yes")),
        "multiclass": (np.digitize(z, [-0.5, 0.5]).astype(np.int64), ("a", "b", "c")),
        "numeric": (z + 0.3 * draw.normal(size=n), None),
    }[kind]
    data = PrivilegedData("twins", x, pd.DataFrame({"number": z, "level": level}), y, classes)
    methods = tuple(m for m in METHODS if kind != "numeric" or METHODS[m].target == "any")
    options = dataclasses.replace(QUICK, methods=methods, sweeps=(("imitation", (0.0, 0.9)),), train_sizes=(20,))
    found = pd.DataFrame(run(data, options, splits_of(data, options, [0])).records)
    assert np.isfinite(found.error).all()
    pairs = set(found[["swept", "value"]].fillna(-1.0).itertuples(index=False, name=None))
    assert pairs == {("", -1.0), ("imitation", 0.0), ("imitation", 0.9), ("train_size", 20.0)}
    assert set(found[found.swept == "train_size"].n_train) == {20}
    assert not found.duplicated(["method", "control", "swept", "value", "fold"]).any()
    first = found[(found.swept == "") & (found.fold == 0)].set_index(["method", "control"]).prediction
    assert not np.allclose(first["MT", "none"], first["MT", "shuffled"])
    assert not np.allclose(first["MT", "noise"], first["MT", "shuffled"])
    np.testing.assert_array_equal(first["KT", "absent"], first["lower", "none"])
    if kind != "numeric":
        assert not np.array_equal(first["TPD", "unit-weights"], first["TPD", "shuffled-weights"])
    # λ = 0 takes the teacher out of the loss, and with it the method's difference from the lower bound.
    plain = found[
        (found.method == "PFD") & (found.control == "none") & (found.swept == "imitation") & (found.value == 0)
    ]
    lower = found[(found.method == "lower") & (found.swept == "")]
    np.testing.assert_allclose(np.stack(list(plain.prediction)), np.stack(list(lower.prediction)), atol=1e-9)


def test_run__twins__never_see_the_true_z() -> None:
    """Another Z with the same rows, in another order, moves no twin that draws noise or has none."""
    draw = np.random.default_rng(0)
    n = 60
    x = pd.DataFrame(draw.normal(size=(n, 3))).add_prefix("x")
    y = (x["x0"].to_numpy() + 0.5 * draw.normal(size=n) > 0).astype(np.int64)
    z = pd.DataFrame({"z": draw.normal(size=n)})
    options = dataclasses.replace(QUICK, protocol="strict")
    predictions = []
    data = PrivilegedData("one", x, z, y, ("0", "1"))
    splits = splits_of(data, options, [0])[:1]
    order = np.arange(n)
    order[splits[0].train] = splits[0].train[::-1]
    for each in (z, z.iloc[order].reset_index(drop=True)):
        records = run(dataclasses.replace(data, Z=each), options, splits).records
        predictions.append({(r["method"], r["control"]): r["prediction"] for r in records})
    for (method, control), one in predictions[0].items():
        known = np.allclose(one, predictions[1][method, control], atol=1e-9)
        if control in ("absent", "noise", "unit-weights") and twins.takes_all_out(METHODS[method], control):
            assert known, (method, control)
        elif control == "none" and not METHODS[method].uses_z:
            assert known, method
        elif control == "none":
            assert not known, (method, control)
