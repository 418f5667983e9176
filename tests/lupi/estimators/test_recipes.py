"""Presets, the method "auto", and what a bagged fit leaves behind: out-of-fold predictions, soft labels, curves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.estimators.choice import choose
from lupi.estimators.student_training import Outcome
from lupi.evidence.calibration import expected_calibration_error, with_prior
from lupi.methods.presets import PRESETS

#: The default preset, with members that take a moment.
SMALL: dict[str, Any] = {
    "members": 4, "epochs": 8, "regressor_layers": (6,), "classifier_layers": (6,), "device": "cpu", "random_state": 0,
}  # fmt: skip


def classifier(**others: Any) -> PrivilegedClassifier:
    return PrivilegedClassifier(**{**SMALL, **others})


def regressor(**others: Any) -> PrivilegedRegressor:
    return PrivilegedRegressor(**{**SMALL, **others})


def tables(n: int = 90) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """X with missing cells and a category, Z of a number in large units and a category, and a number that follows Z."""
    draw = np.random.default_rng(0)
    lab = draw.normal(size=n)
    X = pd.DataFrame({
        "a": lab + 0.5 * draw.normal(size=n), "b": 300 + 20 * (lab + 0.5 * draw.normal(size=n)),
        "colour": draw.choice(["red", "green"], n),
    })  # fmt: skip
    X.loc[::8, "a"] = np.nan
    Z = pd.DataFrame({"lab": 5000 + 100 * lab, "level": np.where(lab > 0.3, "high", "low")})
    return X, Z, lab + 0.3 * draw.normal(size=n)


def hidden_square(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, a lab value that follows from X, and people who are ill where it is far from 0: what Z is needed for."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, 8))
    lab = X.sum(1) / np.sqrt(8) + 0.2 * draw.normal(size=n)
    return X, lab, (abs(lab) > 0.7).astype(int)


# ---------------------------------------------------------------------- presets


@pytest.mark.parametrize("kind", [PrivilegedClassifier, PrivilegedRegressor])
@pytest.mark.parametrize("preset", PRESETS)
def test_preset__named__is_what_its_values_given_one_by_one_are(kind: Any, preset: str) -> None:
    X, Z, number = tables()
    y = number if kind is PrivilegedRegressor else number > 0
    few: dict[str, Any] = {"epochs": 3, "method": "MT", "dropout": 0.1, "random_state": 0, "device": "cpu"}
    by_name = kind(preset=preset, **few).fit(X, y, privileged=Z)
    able = kind().get_params()
    differ = {name for entry in PRESETS[preset].get("portfolio", ()) for name, _ in entry}  # between members
    same = {name: value for name, value in PRESETS[preset].items() if name in able and name not in {*few, *differ}}
    assert preset == "paper" or {"members", "bagging", "lr", "embedding", "scaling"} <= same.keys()
    same.pop("target_prior", None)  # of commands: the estimators' default is "training"
    by_value = kind(preset=preset, **{**same, **few}).fit(X, y, privileged=Z)
    np.testing.assert_array_equal(by_name.predict(X), by_value.predict(X))
    others = set(PRESETS) - {preset}
    for other in others:
        assert not np.allclose(kind(preset=other, **few).fit(X, y, privileged=Z).loss_curve_[0, 0],
                               by_name.loss_curve_[0, 0])  # fmt: skip


def test_preset__parameter_given__wins() -> None:
    X, _, number = tables()
    best = classifier(method="lower").fit(X, number > 0)
    named = classifier(method="lower", lr=PRESETS["best"]["lr"], patience=16).fit(X, number > 0)
    np.testing.assert_array_equal(named.predict_proba(X), best.predict_proba(X))
    slow = classifier(method="lower", lr=1e-3).fit(X, number > 0)
    assert not np.allclose(slow.predict_proba(X), best.predict_proba(X), atol=0.01)
    assert best._student["style"]["activation"] == "silu"
    relu = classifier(method="lower", activation="relu").fit(X, number > 0)
    assert relu._student["style"]["activation"] == "relu"
    assert classifier(preset="paper", method="lower", members=1).fit(X, number > 0)._student["style"] is None


def test_missing_flags__of_the_preset__are_read_at_prediction() -> None:
    X, _, number = tables()
    model, plain = classifier(method="lower").fit(X, number > 0), classifier(method="lower", missing_flags=False)
    flags = model.encode(X)[:, -1]
    np.testing.assert_array_equal(flags, X["a"].isna())
    assert plain.fit(X, number > 0).encode(X).shape[1] == model.encode(X).shape[1] - 1


def test_bagging__false__has_no_predictions_out_of_fold_and_no_calibration() -> None:
    X, Z, number = tables()
    model = classifier(bagging=False, method="MT-PFD").fit(X, number > 0, privileged=Z)
    assert (model.oof_proba_, model.calibration_, model.scores_) == (None, {}, {})
    assert model.soft_labels_.shape == (90, 2)
    assert model._student["temperature"] == 1.0
    assert regressor(bagging=False, method="MT").fit(X, number, privileged=Z).oof_prediction_ is None
    with pytest.raises(ValueError, match=r"method='auto' chooses on out-of-fold predictions.*bagging=False\. Name a"):
        classifier(bagging=False).fit(X, number > 0, privileged=Z)
    with pytest.raises(ValueError, match="found bagging=False, of preset='paper'"):
        PrivilegedClassifier(preset="paper").fit(X, number > 0, privileged=Z)
    with pytest.raises(ValueError, match="calibration is fitted on out-of-fold predictions"):
        classifier(bagging=False, calibration="temperature", method="MT").fit(X, number > 0, privileged=Z)


def test_refit__with_bagging__is_refused_and_without__trains_again() -> None:
    X, Z, number = tables()
    with pytest.raises(ValueError, match=r"refit trains again.*with bagging every row trains already.*bagging=False"):
        classifier(refit=True, method="MT").fit(X, number > 0, privileged=Z)
    both = [
        classifier(refit=refit, bagging=False, method="MT").fit(X, number > 0, privileged=Z).predict_proba(X)
        for refit in (False, True)
    ]
    assert not np.allclose(*both)


def test_members__one__cannot_bag() -> None:
    X, Z, number = tables()
    with pytest.raises(ValueError, match="members must be at least 2; found 1"):
        classifier(members=1, method="MT").fit(X, number > 0, privileged=Z)


# ---------------------------------------------------------------------- auto


def test_auto__z_that_is_noise__keeps_the_plain_network() -> None:
    X, _, y = hidden_square(120)
    kept = []
    for seed in range(4):
        noise = np.random.default_rng(10 + seed).normal(size=120)
        model = classifier(random_state=seed).fit(X, y, privileged=noise)
        kept.append(model.method_)
        assert model.why_.startswith(f"{model.method_}")
        assert set(model.scores_) == {"lower", "PFD", "KT-PFD", "MT", "MT-PFD"}
    assert kept.count("lower") >= 3
    assert "is not better beyond noise" in model.why_ or model.method_ != "lower"


def test_auto__z_that_decides__chooses_a_student_that_is_better() -> None:
    X, lab, y = hidden_square(1100)
    settings: dict[str, Any] = {"preset": "fast", "random_state": 0, "device": "cpu"}
    model = PrivilegedClassifier(**settings).fit(X[:100], y[:100], privileged=lab[:100])
    lower = PrivilegedClassifier(**settings, method="lower").fit(X[:100], y[:100])
    assert model.method_ != "lower"
    assert model.why_.startswith(f"{model.method_} has the least out-of-fold loss")
    assert model.scores_[model.method_] == min(model.scores_.values())
    assert model.score(X[100:], y[100:]) > lower.score(X[100:], y[100:]) + 0.03
    alone = PrivilegedClassifier(**settings, method=model.method_).fit(X[:100], y[:100], privileged=lab[:100])
    np.testing.assert_allclose(alone.predict_proba(X), model.predict_proba(X), atol=1e-4)
    assert alone.why_ == f"{model.method_}: as asked."
    assert alone.scores_ == {}


def test_auto__without_privileged__is_the_plain_network() -> None:
    X, _, number = tables()
    with pytest.warns(UserWarning, match="privileged features were not given"):
        model = classifier().fit(X, number > 0)
    assert (model.method_, model.why_) == ("lower", "lower: there is nothing privileged to learn from.")


def test_auto__a_student_that_diverged__is_left_out() -> None:
    def outcome(losses: np.ndarray) -> Outcome:
        return Outcome({}, 1, np.zeros((1, 1)), None, losses, {}, None)  # type: ignore[typeddict-item]

    jobs: Any = [
        SimpleNamespace(options=SimpleNamespace(weighed_methods=[SimpleNamespace(name=name)])) for name in "LABC"
    ]
    draw = np.random.default_rng(0)
    plain = 1.0 + 0.1 * draw.normal(size=50)
    diverged = ValueError("training diverged")
    better = choose(jobs, [outcome(plain), diverged, outcome(plain - 0.5), outcome(plain + 1.0)])
    assert (better.place, set(better.scores)) == (2, {"L", "B", "C"})
    noisy = plain - 0.01 + draw.normal(size=50)
    assert choose(jobs, [outcome(plain), diverged, outcome(noisy), diverged]).place == 0
    assert choose(jobs, [outcome(plain), diverged, diverged, diverged]).why == "L: no student could be trained."


# ---------------------------------------------------------------------- out of fold


def test_oof__row_numbers_and_a_random_target__is_chance_where_in_sample_is_not() -> None:
    n = 200
    draw = np.random.default_rng(0)
    X, y = np.column_stack([np.arange(n), draw.normal(size=(n, 5))]), draw.integers(0, 2, n)
    # Of early stopping only the epoch knows the rows that a member holds out; without it nothing does.
    settings: dict[str, Any] = {
        "members": 6, "epochs": 64, "classifier_layers": (64, 64), "early_stopping": False, "dropout": 0.0,
        "weight_decay": 0.0,
    }  # fmt: skip
    model = classifier(**settings, method="lower", calibration="none").fit(X, y)
    assert (model.oof_proba_.argmax(1) == y).mean() < 0.6  # four standard errors are 0.14
    assert model.score(X, y) > 0.75
    number = draw.normal(size=n)
    numeric = regressor(**settings, method="lower").fit(X, number)
    assert np.corrcoef(numeric.oof_prediction_, number)[0, 1] < 0.25
    assert np.corrcoef(numeric.predict(X), number)[0, 1] > 0.6


@pytest.mark.parametrize("method", ["lower", "PFD", "KT-PFD", "MT"])
def test_oof__of_a_row__does_not_know_its_target(method: str) -> None:
    X, lab, _ = hidden_square(60)
    settings: dict[str, Any] = {"method": method, "early_stopping": False, "dtype": "float64"}
    first = regressor(**settings).fit(X, lab**2, privileged=lab)
    alone = 0
    for other in range(12):  # of 60 rows in four folds, some lie in that of row 50
        both, swapped = [other, 50], lab**2  # whose mean and scale stay
        swapped[both] = swapped[both[::-1]]
        second = regressor(**settings).fit(X, swapped, privileged=lab)
        difference = abs(first.oof_prediction_ - second.oof_prediction_)
        alone += bool((difference[both] < 1e-9).all())
        assert np.median(difference) > 1e-3
    assert 1 <= alone < 12


def test_oof__rows_of_weight_0__are_nan() -> None:
    X, Z, number = tables()
    weights = np.ones(90)
    weights[[0, 17, 89]] = 0.0
    model = classifier(method="PFD").fit(X, number > 0, sample_weight=weights, privileged=Z)
    for values in (model.oof_proba_, model.soft_labels_):
        assert values.shape == (90, 2)
        np.testing.assert_array_equal(np.isnan(values).all(1), weights == 0)
        np.testing.assert_allclose(np.nansum(values, 1)[weights > 0], 1.0, atol=1e-12)
    numeric = regressor(method="PFD").fit(X, number, sample_weight=weights, privileged=Z)
    for values in (numeric.oof_prediction_, numeric.soft_labels_):
        assert values.shape == (90,)
        np.testing.assert_array_equal(np.isnan(values), weights == 0)


def test_oof__target_prior_balanced__is_that_of_predict_proba() -> None:
    X, _, number = tables()
    y = number > 0.8
    plain, balanced = (
        classifier(method="lower", target_prior=prior).fit(X, y) for prior in ("training", "balanced")
    )  # fmt: skip
    prior = np.array([1 - y.mean(), y.mean()])
    np.testing.assert_allclose(balanced.oof_proba_, with_prior(plain.oof_proba_, prior), atol=1e-12)
    np.testing.assert_allclose(balanced.predict_proba(X), with_prior(plain.predict_proba(X), prior), atol=1e-12)
    assert balanced.predict(X).sum() > plain.predict(X).sum()


# ---------------------------------------------------------------------- what else is left behind


def test_loss_curve__of_members__is_that_of_their_epochs() -> None:
    X, Z, number = tables()
    model = classifier(method="MT", patience=3, epochs=40, lr=0.1).fit(X, number > 0, privileged=Z)
    curve = model.loss_curve_
    assert curve.shape == (4, model.n_iter_)
    ended = np.isfinite(curve).sum(1)
    assert ended.max() == model.n_iter_ < 40
    for losses, end in zip(curve, ended, strict=True):
        assert np.isnan(losses[end:]).all()
        assert np.nanargmin(losses) >= end - 1 - 4  # patience 3, and what counts as better is better by 1e-4
    assert (np.nanmin(curve, 1) < curve[:, 0]).all()


def test_calibration__temperature__is_fitted_out_of_fold_and_divides_the_log_odds() -> None:
    draw = np.random.default_rng(3)
    X = draw.normal(size=(150, 6))
    y = (X[:, 0] + draw.normal(size=150) > 0).astype(int)
    over = {"method": "lower", "early_stopping": False, "epochs": 80, "classifier_layers": (32,), "members": 4}
    raw = classifier(**over, calibration="none").fit(X, y)
    model = classifier(**over).fit(X, y)
    found = model.calibration_
    assert raw.calibration_ == {}
    assert found["temperature"] > 1.5  # it had been too sure
    assert found["before"] == expected_calibration_error(raw.oof_proba_, y)
    assert found["after"] == expected_calibration_error(model.oof_proba_, y) < found["before"]
    rows = np.arange(150)
    losses = [-np.log(of.oof_proba_[rows, y]).mean() for of in (raw, model)]
    assert losses[1] < losses[0]


def test_soft_labels__of_a_teacher_that_sees_z__tell_more_than_x_does() -> None:
    X, lab, y = hidden_square(150)
    settings: dict[str, Any] = {"epochs": 30, "regressor_layers": (16,), "classifier_layers": (16,)}
    model = classifier(**settings, method="PFD").fit(X, y, privileged=lab)
    lower = classifier(**settings, method="lower").fit(X, y)
    assert lower.soft_labels_ is None
    right = [(of.argmax(1) == y).mean() for of in (model.soft_labels_, lower.oof_proba_)]
    assert right[0] > right[1] + 0.05
    assert (model.soft_labels_ >= 0).all()
    numeric = regressor(**settings, method="PFD").fit(X, 1000 + 50 * lab**2, privileged=lab)
    assert np.corrcoef(numeric.soft_labels_, lab**2)[0, 1] > 0.8
    assert 900 < numeric.soft_labels_.mean() < 1200  # in the units of y


@pytest.mark.parametrize("method", ["MT", "KT-PFD", "AUX"])
def test_predict_privileged__has_the_units_and_levels_of_z(method: str) -> None:
    X, Z, number = tables()
    X.index = Z.index = pd.Index(range(100, 190))
    model = classifier(method=method, epochs=40, lr=0.03).fit(X, number > 0, privileged=Z)
    found = model.predict_privileged(X.iloc[::-1])
    assert list(found.columns) == ["lab", "level"]
    assert list(found.index) == list(X.index[::-1])
    found = found.loc[Z.index]
    assert np.corrcoef(found["lab"], Z["lab"])[0, 1] > 0.6
    assert abs(found["lab"].mean() - Z["lab"].mean()) < 30  # whose standard deviation is 100
    assert set(found["level"]) == {"high", "low"}
    assert (found["level"] == Z["level"]).mean() > 0.7


@pytest.mark.parametrize("method", ["lower", "PFD"])
def test_predict_privileged__method_that_predicts_none__says_which_do(method: str) -> None:
    X, Z, number = tables()
    model = classifier(method=method).fit(X, number > 0, privileged=Z)
    with pytest.raises(ValueError, match=f"as MT or KT-PFD; found {method}"):
        model.predict_privileged(X)
