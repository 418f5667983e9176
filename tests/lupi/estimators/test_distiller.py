"""Distillation into any scikit-learn learner: the weights by hand, soft labels out of fold, routing, errors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lupi
from lupi import PrivilegedClassifier, PrivilegedDistiller, PrivilegedRegressor
from lupi.estimators.distiller import mixture

ROWS = 60
QUICK: dict[str, Any] = {"preset": "paper", "epochs": 3, "classifier_layers": (4,), "device": "cpu", "random_state": 0}

#: Row numbers that teachers were fitted on, and how often students were: what a test is about empties it.
SEEN: list[int] = []


def tables(classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, Z [n, 1] and labels "0", "1", ... behind Z."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(ROWS, 3))
    z = X.sum(1) + draw.normal(size=ROWS)
    codes = pd.qcut(z + draw.normal(size=ROWS), classes, labels=False)
    return X, z[:, None], codes.astype(str).astype(object)


def random_soft_labels(rows: int, classes: int) -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(classes), rows)


class Told(ClassifierMixin, BaseEstimator):
    """A teacher that says what it is told; "rows" where Z is the row number checks that the rows of X go with it."""

    def __init__(self, soft_labels: Any = None) -> None:
        self.soft_labels = soft_labels

    def fit(self, X: Any, y: Any, sample_weight: Any = None, privileged: Any = None) -> Told:
        if isinstance(self.soft_labels, str):
            numbers = np.asarray(privileged)[:, 0]
            np.testing.assert_array_equal(np.asarray(X)[:, 0], numbers)
            SEEN.append(len(numbers))
            self.soft_labels_ = random_soft_labels(len(numbers), len(np.unique(y)))
        else:
            self.soft_labels_ = self.soft_labels
        self.weights_ = sample_weight
        return self


class ToldNumbers(RegressorMixin, BaseEstimator):
    """A teacher that says the numbers that it is told."""

    def __init__(self, soft_labels: Any = None) -> None:
        self.soft_labels = soft_labels

    def fit(self, X: Any, y: Any, sample_weight: Any = None, privileged: Any = None) -> ToldNumbers:
        self.soft_labels_ = self.soft_labels
        return self


class Noted(ClassifierMixin, BaseEstimator):
    """A student that keeps what it was given."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Noted:
        self.given_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full((len(X), 1), self.classes_[0])  # a column, as CatBoost's of three classes


def parameters(model: Any) -> np.ndarray:
    return np.column_stack([model.coef_, np.atleast_1d(model.intercept_)])


# ---------------------------------------------------------------------- the weights, by hand


def test_mixture__two_rows_by_hand__is_the_formula() -> None:
    shares = mixture(np.array([0, 2]), np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]), 0.4)
    np.testing.assert_allclose(shares, [[0.8, 0.1, 0.1], [0.0, 0.4, 0.6]])


def test_classifier__two_rows__gets_a_copy_for_each_class_of_some_weight() -> None:
    X, y, soft = np.array([[1.0], [2.0], [3.0]]), ["a", "b", "a"], np.array([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0]])
    model = PrivilegedDistiller(Noted(), Told(soft), 0.5)
    model.fit(X, y, privileged=X, sample_weight=[2.0, 1.0, 4.0])
    given, labels, weights = model.estimator_.given_
    np.testing.assert_array_equal(given[:, 0], [1.0, 1.0, 2.0, 2.0, 3.0])
    assert labels.tolist() == ["a", "b", "a", "b", "a"]
    np.testing.assert_allclose(weights, [2 * 0.875, 2 * 0.125, 0.25, 0.75, 4.0])
    assert model.teacher_.weights_ == [2.0, 1.0, 4.0]
    assert model.predict(X).tolist() == ["a"] * 3


@pytest.mark.parametrize("classes", [2, 3])
def test_classifier__no_imitation__is_the_plain_fit(classes: int) -> None:
    X, Z, y = tables(classes)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, ROWS)
    student = LogisticRegression(tol=1e-10, max_iter=1000)
    teacher = Told(random_soft_labels(ROWS, classes))
    model = PrivilegedDistiller(student, teacher, 0.0).fit(X, y, privileged=Z, sample_weight=weights)
    plain = clone(student).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(parameters(model.estimator_), parameters(plain), atol=1e-12)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert model.score(X, y) == plain.score(X, y)


@pytest.mark.parametrize("imitation", [0.3, 1.0])
def test_classifier__two_classes__minimises_its_loss_against_the_mixture(imitation: float) -> None:
    """The gradient of Newton's oracle: Xᵀ(p - m) + w / C = 0 where m is the mixed label of the second class."""
    X, Z, y = tables(2)
    soft = random_soft_labels(ROWS, 2)
    student = LogisticRegression(C=2.0, tol=1e-12, max_iter=10_000)
    model = PrivilegedDistiller(student, Told(soft), imitation).fit(X, y, privileged=Z)
    mixed = (1 - imitation) * (y == "1") + imitation * soft[:, 1]
    left = model.predict_proba(X)[:, 1] - mixed
    np.testing.assert_allclose(X.T @ left + model.estimator_.coef_[0] / 2.0, 0.0, atol=1e-4)
    assert abs(left.sum()) < 1e-4
    assert np.abs(X.T @ (model.predict_proba(X)[:, 1] - (y == "1"))).max() > 0.1  # the plain labels are another fit


def test_classifier__full_imitation__is_the_fit_on_the_soft_labels() -> None:
    X, Z, y = tables(3)
    soft = random_soft_labels(ROWS, 3)
    student = LogisticRegression(tol=1e-10, max_iter=5000)
    model = PrivilegedDistiller(student, Told(soft), 1.0).fit(X, y, privileged=Z)
    by_class = clone(student).fit(np.vstack([X] * 3), np.repeat(["0", "1", "2"], ROWS), soft.T.ravel())
    np.testing.assert_allclose(parameters(model.estimator_), parameters(by_class), atol=1e-5)


def test_classifier__rows_of_weight_0__are_as_if_absent() -> None:
    X, Z, y = tables(3)
    weights = np.arange(ROWS) % 4 * 1.0
    counts = weights > 0
    teacher = PrivilegedClassifier(method="PFD", **QUICK)
    model = PrivilegedDistiller(LogisticRegression(), teacher).fit(X, y, privileged=Z, sample_weight=weights)
    few = PrivilegedDistiller(LogisticRegression(), teacher)
    few.fit(X[counts], y[counts], privileged=Z[counts], sample_weight=weights[counts])
    np.testing.assert_array_equal(np.isnan(model.soft_labels_).all(1), ~counts)
    np.testing.assert_array_equal(model.soft_labels_[counts], few.soft_labels_)
    np.testing.assert_array_equal(model.predict_proba(X), few.predict_proba(X))


@pytest.mark.parametrize("imitation", [0.0, 0.3, 1.0])
def test_regressor__of_any_imitation__is_fitted_on_the_mixed_target(imitation: float) -> None:
    X, Z, _ = tables()
    y, soft = Z[:, 0] + 1.0, np.random.default_rng(3).normal(size=ROWS)
    weights = np.arange(ROWS) % 3 * 1.0
    model = PrivilegedDistiller(Ridge(), ToldNumbers(soft), imitation)
    model.fit(X, y, privileged=Z, sample_weight=weights)
    by_hand = Ridge().fit(X, (1 - imitation) * y + imitation * soft, weights)
    np.testing.assert_allclose(model.predict(X), by_hand.predict(X), atol=1e-10)


def test_regressor__that_takes_no_weights__needs_none_unless_they_are_given() -> None:
    X, Z, _ = tables()
    soft = np.random.default_rng(3).normal(size=ROWS)
    model = PrivilegedDistiller(KNeighborsRegressor(1), ToldNumbers(soft), 1.0).fit(X, Z[:, 0], privileged=Z)
    np.testing.assert_array_equal(model.predict(X), soft)
    with pytest.raises(ValueError, match="takes sample_weight; found KNeighborsRegressor"):
        model.fit(X, Z[:, 0], privileged=Z, sample_weight=np.ones(ROWS))


# ---------------------------------------------------------------------- the default teacher


def test_teacher__default__is_pfd_whose_soft_labels_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (PrivilegedClassifier, PrivilegedRegressor):
        monkeypatch.setattr(lupi, kind.__name__, functools.partial(kind, **QUICK))
    X, Z, y = tables(3)
    for student, target in ((LogisticRegression(), y), (LinearRegression(), Z[:, 0] + X[:, 0])):
        model = PrivilegedDistiller(student).fit(X, target, privileged=Z)
        kind = PrivilegedClassifier if is_classifier(student) else PrivilegedRegressor
        same = kind(method="PFD", **QUICK).fit(X, target, privileged=Z)
        assert model.teacher_.method_ == "PFD"
        np.testing.assert_array_equal(model.soft_labels_, same.soft_labels_)


@pytest.mark.slow
def test_soft_labels__labels_that_only_the_row_number_tells__are_not_seen_in_their_own_row() -> None:
    """A teacher that had fitted on a row would know its label, a coin's toss, by the row's own level of Z."""
    draw = np.random.default_rng(4)
    X = draw.normal(size=(ROWS, 2))
    y = draw.permutation(np.arange(ROWS) % 2)
    Z = pd.DataFrame({"row": pd.Categorical([f"row {i}" for i in range(ROWS)])})
    settings = {**QUICK, "epochs": 300, "lr": 0.05, "early_stopping": False}
    teacher = PrivilegedClassifier(method="PFD", **settings)
    model = PrivilegedDistiller(LogisticRegression(), teacher).fit(X, y, privileged=Z)
    fitted = PrivilegedClassifier(method="lower", **settings).fit(Z, y).predict(Z)  # what in-sample teachers say
    assert (fitted == y).mean() > 0.95
    assert (model.soft_labels_.argmax(1) == y).mean() < 0.75


@pytest.mark.filterwarnings("ignore:.*privileged features were not given:UserWarning")
def test_student__without_privileged_features__is_trained_alone_and_says_so() -> None:
    X, _, y = tables(2)
    with pytest.warns(UserWarning, match="the student is trained without a teacher") as caught:
        model = PrivilegedDistiller(LogisticRegression()).fit(X, y)
    assert caught[0].filename == __file__
    assert model.teacher_ is None
    assert model.soft_labels_ is None
    np.testing.assert_array_equal(model.predict_proba(X), LogisticRegression().fit(X, y).predict_proba(X))
    neighbours = PrivilegedDistiller(KNeighborsClassifier()).fit(X, y)  # which needs no weights then
    np.testing.assert_array_equal(neighbours.predict(X), KNeighborsClassifier().fit(X, y).predict(X))


# ---------------------------------------------------------------------- what the student sees


def test_frame__with_categories_and_missing_cells__reaches_the_student_as_it_is() -> None:
    draw = np.random.default_rng(5)
    X = pd.DataFrame({"a": draw.normal(size=ROWS), "colour": pd.Categorical(draw.choice(["red", "blue"], ROWS))})
    X.loc[::7, "a"] = np.nan
    X = X.set_index(draw.permutation(ROWS) + 100)
    y = pd.Series(np.where(draw.normal(size=ROWS) > 0, "ill", "well"), X.index)
    model = PrivilegedDistiller(
        HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype"),
        PrivilegedClassifier(method="PFD", **QUICK),
    )
    model.fit(X, y, privileged=pd.Series(draw.normal(size=ROWS), X.index, name="z"))
    assert model.feature_names_in_.tolist() == ["a", "colour"]
    assert model.estimator_.feature_names_in_.tolist() == ["a", "colour"]
    assert model.estimator_.is_categorical_.tolist() == [False, True]
    assert set(model.predict(X)) <= {"ill", "well"}


def test_polars__frames__reach_teacher_and_student() -> None:
    polars = pytest.importorskip("polars")
    X, Z, y = tables(2)
    frame = polars.DataFrame(X, schema=["a", "b", "c"])
    teacher = PrivilegedClassifier(method="PFD", **QUICK)
    student = PrivilegedDistiller(HistGradientBoostingClassifier(max_iter=3), teacher)
    student.fit(frame, y, privileged=polars.DataFrame(Z, schema=["z"]))
    assert student.feature_names_in_.tolist() == ["a", "b", "c"]
    assert student.predict_proba(frame).shape == (ROWS, 2)


@pytest.mark.parametrize("kind", ["frame", "array", "list"])
def test_privileged_columns__of_x__are_the_teachers_alone(kind: str) -> None:
    X, Z, y = tables(2)
    soft = random_soft_labels(ROWS, 2)
    every = np.column_stack([X[:, :1], Z, X[:, 1:]])
    whole: Any = {"frame": pd.DataFrame(every, columns=list("azbc")), "array": every, "list": every.tolist()}[kind]
    part: Any = {"frame": pd.DataFrame(X, columns=list("abc")), "array": X, "list": X.tolist()}[kind]
    asked = ["z"] if kind == "frame" else [1]
    model = PrivilegedDistiller(LogisticRegression(), Told(soft), privileged_columns=asked).fit(whole, y)
    given = PrivilegedDistiller(LogisticRegression(), Told(soft)).fit(X, y, privileged=Z)
    assert model.n_features_in_ == 4
    for new in (whole, part):
        np.testing.assert_allclose(model.predict_proba(new), given.predict_proba(X), rtol=1e-12)
        np.testing.assert_allclose(model.decision_function(new), given.decision_function(X), rtol=1e-12)
        assert model.score(new, y) == given.score(X, y)
    with pytest.raises(ValueError, match="feature"):
        model.predict(whole.iloc[:, :2] if kind == "frame" else np.asarray(whole)[:, :2])


def test_pipeline__as_the_student__gets_the_weights_at_its_last_step() -> None:
    X, Z, y = tables(2)
    teacher = Told(random_soft_labels(ROWS, 2))
    models = []
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            pipeline = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LogisticRegression()))
            models.append(PrivilegedDistiller(pipeline, teacher, 1.0).fit(X, y, privileged=Z))
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    plain.fit(
        np.repeat(X, 2, 0), np.tile(["0", "1"], ROWS), logisticregression__sample_weight=teacher.soft_labels.ravel()
    )
    for model in models:
        np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-12)


# ---------------------------------------------------------------------- in scikit-learn's tools


def test_kind__of_the_distiller__is_that_of_its_student() -> None:
    classifier, regressor = PrivilegedDistiller(LogisticRegression()), PrivilegedDistiller(Ridge())
    assert is_classifier(classifier)
    assert is_regressor(regressor)
    assert hasattr(classifier, "predict_proba")
    assert not hasattr(regressor, "predict_proba")
    assert not hasattr(PrivilegedDistiller(HistGradientBoostingRegressor()), "decision_function")


def test_parameters__nested__are_set_and_cloned() -> None:
    model = PrivilegedDistiller(HistGradientBoostingClassifier(), PrivilegedClassifier(method="PFD"))
    model.set_params(estimator__max_iter=7, teacher__imitation=0.25, imitation=0.75)
    copied = clone(model)
    assert copied.estimator.max_iter == 7
    assert copied.teacher.imitation == 0.25
    assert copied.imitation == 0.75
    assert copied.estimator is not model.estimator


def test_fit__of_a_distiller__leaves_student_and_teacher_as_they_were() -> None:
    X, Z, y = tables(2)
    student, teacher = LogisticRegression(), Told(random_soft_labels(ROWS, 2))
    PrivilegedDistiller(student, teacher).fit(X, y, privileged=Z)
    assert not hasattr(student, "coef_")
    assert not hasattr(teacher, "soft_labels_")


@pytest.mark.parametrize("routing", [False, True])
def test_routing__cross_validation_and_search__give_every_fold_its_own_rows(routing: bool) -> None:
    SEEN.clear()
    X, _, y = tables(2)
    numbers = np.random.default_rng(6).permutation(ROWS).astype(np.float64)
    X[:, 0] = numbers
    with sklearn.config_context(enable_metadata_routing=routing):
        model = PrivilegedDistiller(LogisticRegression(), Told("rows"))
        scores = cross_val_score(model, X, y, cv=3, params={"privileged": numbers[:, None]})
        assert SEEN == [ROWS * 2 // 3] * 3
        assert np.isfinite(scores).all()
        grid = {"imitation": [0.0, 1.0], "estimator__C": [0.1, 1.0]}
        search = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y, privileged=numbers[:, None])
        assert SEEN[3:] == [ROWS // 2] * 8 + [ROWS]
        assert search.best_params_["imitation"] == 0.0  # its teacher draws by lot


#: What scikit-learn's own boosting does not pass either.
BY_BINS = {
    "check_sample_weight_equivalence_on_dense_data": "bins of numbers are those of the rows, whatever their weights"
}


@pytest.mark.filterwarnings("ignore:.*privileged features were not given:UserWarning")
@parametrize_with_checks(
    [
        PrivilegedDistiller(LogisticRegression(max_iter=1000)),
        PrivilegedDistiller(Ridge()),
        PrivilegedDistiller(HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1)),
    ],
    expected_failed_checks=lambda model: BY_BINS if isinstance(model.estimator, HistGradientBoostingClassifier) else {},
)
def test_distiller__check_of_scikit_learn__passes(estimator: Any, check: Any) -> None:
    check(estimator)


# ---------------------------------------------------------------------- errors, before anything is trained


class Untrainable(Told):
    """A teacher whose training fails a test."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, privileged: Any = None) -> Untrainable:
        raise AssertionError("the teacher was trained")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (PrivilegedDistiller(KNeighborsClassifier(), Untrainable()), ValueError, "takes sample_weight; found KNeigh"),
        (
            PrivilegedDistiller(make_pipeline(StandardScaler(), KNeighborsClassifier()), Untrainable()),
            ValueError, "takes sample_weight; found Pipeline",
        ),
        (PrivilegedDistiller(make_pipeline("passthrough"), Untrainable()), TypeError, "a classifier or a regressor"),
        (
            PrivilegedDistiller(GridSearchCV(LogisticRegression(), {"C": [1.0]}), Untrainable()),
            ValueError, "a search takes the distiller",
        ),
        (PrivilegedDistiller(KMeans(), Untrainable()), TypeError, "a classifier or a regressor"),
        (PrivilegedDistiller(LogisticRegression(), Untrainable(), 1.5), ValueError, "imitation must"),
        (PrivilegedDistiller(LogisticRegression(), Untrainable(), -0.1), ValueError, "imitation must"),
        (PrivilegedDistiller(LogisticRegression(), Untrainable(), "all"), ValueError, "imitation must be a number"),
        (PrivilegedDistiller(LogisticRegression(), LogisticRegression()), TypeError, "whose fit takes privileged"),
        (PrivilegedDistiller(LogisticRegression(), ToldNumbers()), ValueError, "teacher must be a classifier"),
        (PrivilegedDistiller(Ridge(), Untrainable()), ValueError, "teacher must be a regressor"),
        (
            PrivilegedDistiller(LogisticRegression(), PrivilegedClassifier(method="MT")),
            ValueError, "a method that has a teacher's soft labels, as PFD or MT-PFD; found MT",
        ),
        (
            PrivilegedDistiller(LogisticRegression(), PrivilegedClassifier(method="PFD", privileged_columns=[0])),
            ValueError, "privileged_columns are those of the distiller",
        ),
        (
            PrivilegedDistiller(LogisticRegression(), Untrainable(), privileged_columns=[0]),
            ValueError, "not both",
        ),
    ],
)  # fmt: skip
def test_fit__what_cannot_be_trained__is_said_before_the_teacher_is(
    model: PrivilegedDistiller, error: type[Exception], message: str
) -> None:
    X, Z, y = tables(2)
    with pytest.raises(error, match=message):
        model.fit(X, y if is_classifier(model) else Z[:, 0], privileged=Z)


@pytest.mark.parametrize(
    ("soft", "imitation", "message"),
    [
        (None, 0.5, "must have soft_labels_ after fit"),
        (np.ones((ROWS, 3)), 0.5, r"shape \(60, 2\); Told has \(60, 3\)"),
        (np.full((ROWS, 2), np.nan), 0.5, "finite and >= 0"),
        (np.full((ROWS, 2), -1.0), 0.5, "finite and >= 0"),
        (np.tile([1.0, 0.0], (ROWS, 1)), 1.0, "soft labels are 0 in all rows for '1'"),
    ],
)
def test_soft_labels__that_cannot_teach__are_an_error(soft: Any, imitation: float, message: str) -> None:
    X, Z, y = tables(2)
    model = PrivilegedDistiller(LogisticRegression(), Told(soft), imitation)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, privileged=Z)


@pytest.mark.filterwarnings("ignore:.*no privileged column varies:UserWarning")
def test_soft_labels__of_a_teacher_without_anything_privileged__are_missed_with_its_reason() -> None:
    X, _, y = tables(2)
    model = PrivilegedDistiller(LogisticRegression(), PrivilegedClassifier(method="PFD", **QUICK))
    with pytest.raises(ValueError, match=r"has none \(kept: lower; .*Take a method that always has a teacher"):
        model.fit(X, y, privileged=np.ones(ROWS))


def test_fit__arguments_by_position__are_an_error() -> None:
    X, Z, y = tables(2)
    with pytest.raises(TypeError, match=r"privileged=Z"):
        PrivilegedDistiller(LogisticRegression()).fit(X, y, Z)


def test_fit__that_fails__leaves_the_last_one_whole() -> None:
    X, Z, y = tables(2)
    model = PrivilegedDistiller(LogisticRegression(), Told(random_soft_labels(ROWS, 2))).fit(X, y, privileged=Z)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="shape"):
        model.fit(X[:50, :2], y[:50], privileged=Z[:50])
    assert model.n_features_in_ == 3
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_fit__rows_in_another_order__are_an_error() -> None:
    X, Z, y = tables(2)
    frame, Z = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(Z, columns=["z"])
    model = PrivilegedDistiller(LogisticRegression(), PrivilegedClassifier(method="PFD", **QUICK))
    with pytest.raises(ValueError, match="index of X"):
        model.fit(frame, y, privileged=Z[::-1])
    with pytest.raises(ValueError, match="index of X"):
        model.fit(frame, pd.Series(y)[::-1], privileged=Z)


def test_sample_weight__of_0_in_some_rows__leaves_what_is_known_of_them_missing() -> None:
    """Of the estimators themselves: soft labels and predictions out of fold are those of the rows that count."""
    X, Z, y = tables(2)
    weights = np.arange(ROWS) % 5 * 1.0
    model = PrivilegedClassifier(method="PFD", **{**QUICK, "members": 2, "bagging": True})
    model.fit(X, y, privileged=Z, sample_weight=weights)
    for values in (model.soft_labels_, model.oof_proba_):
        np.testing.assert_array_equal(np.isnan(values).all(1), weights == 0)
