"""The linear methods against closed forms, other solvers, and problems solved by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.linear_model import LogisticRegression

from lupi.engine import losses
from lupi.evidence import metrics
from lupi.methods import svm_plus, twins
from lupi.methods.classical import CLASSICAL, Linear, logistic, logistic_tpd, lr_plus, lrit_plus
from lupi.methods.classical import svm_plus as fit_svm_plus

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def problem(n: int = 80, d: int = 4, q: int = 2, k: int = 2, seed: int = 0) -> tuple[Floats, Floats, Codes]:
    """z depends on x and noise, y on z and noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d))
    z = x @ random.normal(size=(d, q)) / np.sqrt(d) + 0.5 * random.normal(size=(n, q))
    y = (z @ random.normal(size=(q, k)) + 0.5 * random.normal(size=(n, k))).argmax(1)
    return x, z, y


def usable(name: str) -> Callable[..., Linear]:
    """SVM+ with slacks of the rows' own, so that it is not trivial here; the others as they are."""
    if name == "SVM+":
        return lambda *args: fit_svm_plus(*args, theta=1.3)
    return CLASSICAL[name]


every_method = pytest.mark.parametrize("name", CLASSICAL)


# ---------------------------------------------------------------- what all have in common


@every_method
@pytest.mark.parametrize("k", [2, 3, 4])
def test_decision__has_the_shape_the_metrics_expect_and_beats_chance(name: str, k: int) -> None:
    x, z, y = problem(n=150, k=k, q=3)
    output = usable(name)(x, z, y, k).decision(x[:70])
    assert output.shape == (70, 1 if k == 2 else k)
    if k > 2:
        assert logsumexp(output, axis=1) == pytest.approx(np.zeros(70), abs=1e-9)
    found = metrics.classification(metrics.probabilities(output), y[:70])
    assert found["error"] < 0.7 * (y[:70] != np.bincount(y[:70]).argmax()).mean()


@every_method
@pytest.mark.parametrize("k", [2, 3])
def test_fit__is_deterministic_and_does_not_depend_on_the_order_of_rows(name: str, k: int) -> None:
    x, z, y = problem(k=k)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    order = np.random.default_rng(2).permutation(len(y))
    found = usable(name)(x, z, y, k, None, weights)
    again = usable(name)(x, z, y, k, None, weights)
    permuted = usable(name)(x[order], z[order], y[order], k, None, weights[order])
    assert (found.weights == again.weights).all()
    assert (found.intercept == again.intercept).all()
    one, other = found.decision(x), permuted.decision(x)
    assert metrics.probabilities(other) == pytest.approx(metrics.probabilities(one), abs=1e-6)
    # Logistic-TPD gives up one of the three classes: its loss does not decide how far away that logit ends.
    likely = one > -20.0
    assert likely.any(0).sum() == (2 if (name, k) == ("logistic-TPD", 3) else one.shape[1])
    assert other[likely] == pytest.approx(one[likely], abs=1e-6)


@every_method
def test_fit__weights_count_relatively(name: str) -> None:
    x, z, y = problem()
    weights = np.where(y == 1, 3.0, 1.0)
    plain, weighted = (usable(name)(x, z, y, 2, None, w).decision(x) for w in (None, weights))
    assert usable(name)(x, z, y, 2, None, 7.0 * weights).decision(x) == pytest.approx(weighted, abs=1e-6)
    assert weighted.mean() > plain.mean() + 0.1


@every_method
@pytest.mark.parametrize("there", [(0, 2), (0, 1, 3)])
def test_fit__absent_classes__are_left_out_at_1e_7(name: str, there: tuple[int, ...]) -> None:
    x, z, compact = problem(k=len(there))
    y = np.array(there)[compact]
    found = usable(name)(x, z, y, 4).decision(x)
    alone = metrics.probabilities(usable(name)(x, z, compact, len(there)).decision(x))
    assert np.exp(found[:, list(there)]) == pytest.approx(alone, abs=1e-12)
    assert np.delete(found, there, axis=1) == pytest.approx(np.log(1e-7))


@every_method
@pytest.mark.parametrize("code", [0, 1])
def test_fit__one_class__says_so(name: str, code: int) -> None:
    x, z, y = problem()
    with pytest.raises(ValueError, match=rf"at least two classes; found only class codes \[{code}\]"):
        CLASSICAL[name](x, z, np.full_like(y, code), 2)


@every_method
def test_fit__what_it_cannot_take__is_refused(name: str) -> None:
    x, z, y = problem()
    fit = CLASSICAL[name]
    missing = z.copy()
    missing[3, 0] = np.nan
    with pytest.raises(ValueError, match="fill missing cells"):
        fit(x, missing, y, 2)
    with pytest.raises(ValueError, match=r"same n rows; found \(80, 4\), \(79, 2\)"):
        fit(x, z[:-1], y, 2)
    with pytest.raises(ValueError, match=r"class codes 0..1; found 0..2"):
        fit(x, z, np.where(y == 1, 2, 0), 2)
    with pytest.raises(ValueError, match="positive and finite"):
        fit(x, z, y, 2, None, np.where(y == 1, 1.0, 0.0))


# ---------------------------------------------------------------- logistic regression


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("ridge", [1.0, 0.1])
def test_logistic__is_that_of_scikit_learn(k: int, ridge: float) -> None:
    x, _, y = problem(k=k)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    weights /= weights.mean()
    theirs = LogisticRegression(C=1.0 / ridge, solver="newton-cg", tol=1e-9, max_iter=1000).fit(x, y, weights)
    ours = metrics.probabilities(logistic(x, y, k, weights, ridge=ridge).decision(x))
    assert ours == pytest.approx(theirs.predict_proba(x), abs=1e-6)


# ---------------------------------------------------------------- SVM+


def test_svm_plus__calibration__keeps_the_class_and_is_the_best_slope() -> None:
    x, z, y = problem()
    machine = svm_plus.solve(x, z, np.where(y == 1, 1.0, -1.0), np.ones(80), 1.0, 1.3)
    f = x @ machine.weights + machine.intercept
    log_odds = fit_svm_plus(x, z, y, 2, theta=1.3).decision(x)[:, 0]
    slope = log_odds / f
    assert slope == pytest.approx(slope[0], rel=1e-9)
    positive, negative = int(y.sum()), int((1 - y).sum())
    target = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    best = minimize_scalar(lambda a: (np.logaddexp(0, a * f) - target * a * f).sum(), bounds=(0, 50), method="bounded")
    assert slope[0] == pytest.approx(best.x, rel=1e-4)


def test_svm_plus__three_classes__the_largest_machine_wins() -> None:
    x, z, y = problem(k=3)
    each = [svm_plus.solve(x, z, np.array([-1.0, 1.0])[(y == c).astype(int)], np.ones(80), 1.0, 1.2) for c in range(3)]
    f = np.stack([x @ machine.weights + machine.intercept for machine in each], 1)
    found = fit_svm_plus(x, z, y, 3, theta=1.2).decision(x)
    assert (found.argmax(1) == f.argmax(1)).all()


@pytest.mark.parametrize("knobs", [{"cost": 0.0}, {"gamma": -1.0}, {"theta": 0.0}, {"cost": np.inf}])
def test_svm_plus__knobs_out_of_range__are_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="SVM\\+ needs C > 0, γ > 0 and θ > 0"):
        fit_svm_plus(*problem(), 2, **knobs)


# ---------------------------------------------------------------- LRIT+ and LR+


def least_squares(left: Floats, right: Floats, weights: Floats) -> Floats:
    """By the normal equations."""
    return np.asarray(np.linalg.solve(left.T @ (weights[:, None] * left), left.T @ (weights[:, None] * right)))


@pytest.mark.parametrize("k", [2, 3])
def test_lrit_plus__is_the_full_model_given_the_linear_prediction_of_z(k: int) -> None:
    x, z, y = problem(k=k)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    ones = np.ones((len(y), 1))
    predicted = np.hstack([x, ones]) @ least_squares(np.hstack([x, ones]), z, weights)
    full = logistic(np.hstack([x, z]), y, k, weights)
    expected = full.decision(np.hstack([x, predicted]))
    assert lrit_plus(x, z, y, k, None, weights).decision(x) == pytest.approx(expected, abs=1e-7)


def test_lrit_plus__penalty__is_the_closed_form() -> None:
    x, z, y = problem()
    design = np.hstack([x, np.ones((80, 1))])
    logit = logistic(np.hstack([x, z]), y, 2).decision(np.hstack([x, z]))
    expected = np.linalg.solve(design.T @ design + 5.0 * np.diag([1, 1, 1, 1, 0]), design.T @ logit)
    found = lrit_plus(x, z, y, 2, penalty=5.0)
    assert np.append(found.weights, found.intercept) == pytest.approx(expected[:, 0], abs=1e-9)


@pytest.mark.parametrize("name", ["LRIT+", "LR+"])
def test_projections__without_z__are_the_logistic_regression(name: str) -> None:
    x, z, y = problem()
    found, plain = CLASSICAL[name](x, z[:, :0], y, 2), logistic(x, y, 2)
    assert found.decision(x) == pytest.approx(plain.decision(x), abs=1e-7)


def test_lrit_plus__collinear_columns__changes_nothing() -> None:
    x, z, y = problem()
    twice = lrit_plus(np.hstack([x, x]), z, y, 2)
    assert np.isfinite(twice.weights).all()
    assert twice.weights[:4] == pytest.approx(twice.weights[4:], abs=1e-9)


def squared_difference(model: Linear, x: Floats, target: Floats, penalty: float) -> float:
    p = metrics.probabilities(model.decision(x))
    return float(0.5 * ((p - target) ** 2).sum() + penalty * (model.weights**2).sum())


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_lr_plus__is_stationary_and_below_lrit_plus_in_its_own_objective(k: int, penalty: float) -> None:
    x, z, y = problem(k=k)
    target = metrics.probabilities(logistic(np.hstack([x, z]), y, k).decision(np.hstack([x, z])))
    found = lr_plus(x, z, y, k, penalty=penalty)
    least = squared_difference(found, x, target, penalty)
    assert least < squared_difference(lrit_plus(x, z, y, k, penalty=penalty), x, target, penalty) - 1e-3
    for index in np.ndindex(found.weights.shape):
        step = np.zeros_like(found.weights)
        step[index] = 1e-4
        up, down = (
            squared_difference(Linear(found.weights + s * step, found.intercept, found.present, k), x, target, penalty)
            for s in (1, -1)
        )
        assert (up - down) / 2e-4 == pytest.approx(0.0, abs=1e-6)


# ---------------------------------------------------------------- logistic TPD


def tpd_objective(
    model: Linear, x: Floats, y: Codes, teacher: Floats, beta: float, ridge: float
) -> tuple[float, float]:
    """Its value and its largest slope, by `lupi.losses` and torch."""
    k = model.classes
    weights, intercept = (torch.tensor(part, requires_grad=True) for part in (model.weights, model.intercept))
    truth = y[:, None].astype(float) if k == 2 else np.eye(k)[y]
    each = losses.teacher_privileged(
        (torch.tensor(x) @ weights + intercept).T[None],
        torch.tensor(teacher.T[None]),
        torch.tensor(truth.T[None]),
        torch.tensor([beta], dtype=torch.float64),
    )
    value = each.sum() + 0.5 * ridge * weights.square().sum()
    value.backward()
    assert weights.grad is not None
    assert intercept.grad is not None
    return value.item(), max(weights.grad.abs().max().item(), intercept.grad.abs().max().item())


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_logistic_tpd__falls_below_its_start_to_a_stationary_point_of_the_loss(k: int, beta: float) -> None:
    x, z, y = problem(k=k)
    teacher = logistic(np.hstack([x, z]), y, k).decision(np.hstack([x, z]))
    start, _ = tpd_objective(logistic(x, y, k), x, y, teacher, beta, 1.0)
    value, slope = tpd_objective(logistic_tpd(x, z, y, k, repulsion=beta), x, y, teacher, beta, 1.0)
    assert value < start - 0.1
    assert slope < 1e-4


def test_logistic_tpd__by_hand() -> None:
    """Rows ±1 of classes 1 and 0, log-odds ±2: 4 (1 - σ(w)) + r w²/2 has slope r w - 4 σ(w) (1 - σ(w)), 0 at
    w = ln 3, where σ = 3/4, if r = 3 / (4 ln 3)."""
    x, y = np.array([[1.0], [-1.0]]), np.array([1, 0])
    found = logistic_tpd(x, x[:, :0], y, 2, np.array([[2.0], [-2.0]]), ridge=0.75 / np.log(3))
    assert found.weights.item() == pytest.approx(np.log(3), abs=1e-7)
    assert found.intercept.item() == pytest.approx(0.0, abs=1e-7)
    assert expit(found.decision(x))[:, 0] == pytest.approx([0.75, 0.25], abs=1e-7)


def test_logistic_tpd__beta_zero__does_not_see_rows_where_the_teacher_is_wrong() -> None:
    x, z, y = problem()
    teacher = logistic(np.hstack([x, z]), y, 2).decision(np.hstack([x, z]))
    right = (teacher[:, 0] > 0) == (y == 1)
    assert not right.all()
    found = logistic_tpd(x, z, y, 2, teacher, repulsion=0.0)
    alone = logistic_tpd(x[right], z[right], y[right], 2, teacher[right])
    assert found.decision(x) == pytest.approx(alone.decision(x), abs=1e-5)


def test_logistic_tpd__beta__multiplies_the_weight_of_rows_where_the_teacher_is_wrong() -> None:
    x, z, y = problem()
    teacher = logistic(np.hstack([x, z]), y, 2).decision(np.hstack([x, z]))
    wrong = ((teacher > 0) != (y[:, None] == 1)).astype(float)
    found = logistic_tpd(x, z, y, 2, teacher, repulsion=3.0)
    scaled = logistic_tpd(x, z, y, 2, teacher * (1.0 + 2.0 * wrong))
    assert found.decision(x) == pytest.approx(scaled.decision(x), abs=1e-9)


@pytest.mark.parametrize("k", [2, 3])
def test_logistic_tpd__soft_labels__default_to_the_full_model_and_do_not_read_z(k: int) -> None:
    x, z, y = problem(k=k)
    teacher = logistic(np.hstack([x, z]), y, k).decision(np.hstack([x, z]))
    default = logistic_tpd(x, z, y, k).decision(x)
    assert logistic_tpd(x, 0.0 * z, y, k, teacher).decision(x) == pytest.approx(default, abs=1e-9)
    if k == 3:
        assert log_softmax(teacher, axis=1) == pytest.approx(teacher, abs=1e-12)
        assert softmax(default, axis=1).sum(1) == pytest.approx(1.0)


@pytest.mark.parametrize("k", [2, 3])
def test_logistic_tpd__unit_weights__depends_on_the_labels_alone(k: int) -> None:
    """The twin of `lupi.controls`: without z its loss is the probability given to wrong classes."""
    x, z, y = problem(k=k)
    truth = y[:, None].astype(float) if k == 2 else np.eye(k)[y]
    found = logistic_tpd(x, z, y, k, twins.unit_weights(truth))
    value, slope = tpd_objective(found, x, y, twins.unit_weights(truth), 1.0, 1.0)
    p = metrics.probabilities(found.decision(x))[np.arange(80), y]
    assert value == pytest.approx((1.0 - p).sum() + 0.5 * (found.weights**2).sum(), rel=1e-9)
    assert slope < 1e-4


def test_logistic_tpd__soft_labels_of_another_size_or_missing__are_refused() -> None:
    x, z, y = problem(k=3)
    with pytest.raises(ValueError, match=r"finite soft labels \(80, 3\), a row for each of y; found \(80, 1\)"):
        logistic_tpd(x, z, y, 3, np.zeros((80, 1)))
    with pytest.raises(ValueError, match="expected finite soft labels"):
        logistic_tpd(x, z, y, 3, np.full((80, 3), np.nan))


@pytest.mark.parametrize(("name", "knob"), [("LRIT+", "penalty"), ("LR+", "ridge"), ("logistic-TPD", "repulsion")])
def test_fit__negative_knob__is_refused(name: str, knob: str) -> None:
    knobs: dict[str, Any] = {knob: -1.0}
    with pytest.raises(ValueError, match=f"{knob} must be >= 0 and finite; found -1"):
        CLASSICAL[name](*problem(), 2, **knobs)
