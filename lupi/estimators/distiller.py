"""Distillation into any scikit-learn estimator: it learns from the soft labels of a teacher that sees Z."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_features, _num_samples, check_is_fitted, has_fit_parameter, validate_data

import lupi
from lupi.estimators import checks, tabular
from lupi.estimators.base import PrivilegedEstimator
from lupi.estimators.reading import given_columns
from lupi.methods.table import METHODS
from lupi.settings import HYPER_PARAMETERS, default

Floats = npt.NDArray[np.float64]

_TEACHER = "PFD"  # whose teacher sees [X, Z]


def _student_has(name: str) -> Any:
    """Whether the student has a method: the fitted one, before `fit` the one that was given."""

    def check(self: PrivilegedDistiller) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)  # whose AttributeError says why
        return True

    return check


class PrivilegedDistiller(MetaEstimatorMixin, BaseEstimator):
    """Any scikit-learn classifier or regressor as the student of a teacher that sees privileged features.

    The teacher is trained on [X, Z], or on Z. The student sees X alone, and learns from a mixture of y and of what the
    teacher says of rows that it did not fit on (its out-of-fold soft labels t): generalized distillation [1] and
    privileged features distillation [2], for learners that are no networks. In the place of row i with weight w_i a
    classifier gets a copy for each class k, with label k and weight w_i ((1 - λ) 1[y_i = k] + λ t_ik), so that a loss
    that is a sum over weighted rows (the log loss, say) is that of the mixture. A regressor gets the target
    (1 - λ) y + λ t.

    The labels of 150 people are noisy signs of a severity. It is known of these people only, and eight signs point to
    it. A boosting model that learned from the severity gives 2,000 others better probabilities (log loss) than one that
    learned from the labels; a severity of other people, in the wrong order, teaches nothing:

    >>> import numpy as np
    >>> from sklearn.base import clone
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.metrics import log_loss
    >>> from lupi import PrivilegedClassifier
    >>> draw = np.random.default_rng(2)
    >>> X = draw.normal(size=(2150, 8))
    >>> severity = X.sum(1)
    >>> y = np.where(severity + 2 * draw.normal(size=2150) > 0, "ill", "well")
    >>> plain = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    >>> teacher = PrivilegedClassifier(method="GD", preset="fast", random_state=0)
    >>> student = PrivilegedDistiller(plain, teacher, imitation=1.0)
    >>> student = student.fit(X[:150], y[:150], privileged=severity[:150])
    >>> shuffled = clone(student).fit(X[:150], y[:150], privileged=draw.permutation(severity[:150]))
    >>> for model in (plain.fit(X[:150], y[:150]), student, shuffled):
    ...     print(f"{log_loss(y[150:], model.predict_proba(X[150:])):.1f}")
    0.6
    0.5
    0.7

    Whatever counts rows in a classifier counts the copies, up to K of a row: `min_samples_leaf`,
    `class_weight="balanced"` (which then finds all classes equally frequent), bootstraps, and validation rows that it
    sets aside itself, among which are copies of rows that it fits on. So search around the distiller, not in it:
    GridSearchCV(PrivilegedDistiller(plain), {"estimator__max_iter": [50, 100]}).fit(X, y, privileged=Z).

    Shape
    -----
    X : [n, d] in `fit` and prediction, as the student takes it (and, in `fit`, the teacher: numbers or categories).
        With `privileged_columns` they are among its columns in `fit`, and may be absent at prediction.
    y : [n] labels of K classes, or numbers.
    privileged : [n, q], or [n] for one column; in `fit` alone.
    sample_weight : [n], >= 0; rows of weight 0 are left out.
    predict : [n]; predict_proba : [n, K]; decision_function as that of the student.

    Parameters
    ----------
    estimator : the student, a classifier or a regressor. A classifier must take `sample_weight` in `fit`; so must a
        regressor where weights are given. Of a pipeline the last step gets the weights; no `set_fit_request` is needed.
    teacher : a classifier (for a regressor: a regressor) whose `fit` takes `privileged`, and sets `soft_labels_` of
        the training rows: [n, K] probabilities, or [n] numbers. None: PrivilegedClassifier (or PrivilegedRegressor)
        with method="PFD", a teacher on [X, Z]; that of method="GD" sees Z alone. Their `soft_labels_` are out of fold.
    imitation : λ in [0, 1], the share of the teacher: 0 trains the student on y alone.
    privileged_columns : names or places of columns of X that are privileged. The student is not given them, and they
        are not asked for at prediction. For tools that cannot route `privileged` to `fit`.

    Attributes
    ----------
    estimator_ : the fitted student.
    teacher_ : the fitted teacher; soft_labels_ : what it taught, NaN in rows of weight 0. None without privileged
        features.
    classes_ : labels in the order of the columns of `predict_proba` and `soft_labels_` (of classifiers).
    n_features_in_, feature_names_in_ : of X in `fit`.

    References
    ----------
    [1] Lopez-Paz, Bottou, Schölkopf, Vapnik: Unifying distillation and privileged information. ICLR 2016.
    [2] Xu, Li, Ge, et al.: Privileged features distillation at Taobao recommendations. KDD 2020.
    """

    __metadata_request__fit = {"privileged": True}  # noqa: RUF012  scikit-learn reads it from the class

    if TYPE_CHECKING:
        n_features_in_: int

    def __init__(
        self,
        estimator: Any,
        teacher: Any = None,
        imitation: float = default("imitation"),
        *,
        privileged_columns: Sequence[str | int] | None = None,
    ) -> None:
        self.estimator = estimator
        self.teacher = teacher
        self.imitation = imitation
        self.privileged_columns = privileged_columns

    # ------------------------------------------------------------------ fit

    def fit(self, X: Any, y: Any, *misplaced: Any, privileged: Any = None, sample_weight: Any = None) -> Self:
        """Train the teacher, then the student. Where it fails, the distiller stays as it was.

        Parameters
        ----------
        X : [n, d] regular features.
        y : [n] class labels of any type, or numbers.
        privileged : [n, q] privileged features of the same rows; [n] is one column. None: the student alone is
            trained, with a warning, unless `privileged_columns` says which columns of X are privileged.
        sample_weight : [n] how often each row counts, >= 0, for teacher and student.

        Raises
        ------
        ValueError : for an imitation out of [0, 1]; a student that takes no weights where it needs them; a teacher of
            another kind than the student, or without soft labels; values that cannot be trained on.
        TypeError : for a student that is neither classifier nor regressor, and a teacher whose `fit` takes no
            `privileged`.
        """
        checks.check_named(type(self).__name__, misplaced)
        before = dict(vars(self))
        try:
            self._fit(X, y, privileged, sample_weight)
        except BaseException:  # an interrupt too must not leave a teacher of this fit beside a student of the last one
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any, privileged: Any, sample_weight: Any) -> None:
        HYPER_PARAMETERS["imitation"].check(self.imitation)
        classifies = self._classifies()
        taught = privileged is not None or self.privileged_columns is not None
        weights_name = _weights_name(self.estimator)
        if weights_name is None and ((classifies and taught) or sample_weight is not None):
            raise ValueError(
                f"{type(self).__name__} needs an estimator whose fit takes sample_weight; found "
                f"{type(self.estimator).__name__}, which does not name it. Of a pipeline it is the last step that must "
                "take weights; a search takes the distiller as its estimator, not the other way round."
            )
        teacher = self._new_teacher(classifies) if taught else None
        validate_data(self, X, skip_check_array=True, reset=True)
        if not _num_samples(X):
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required in X.")
        target = checks.known_target(type(self).__name__, y, _num_samples(X))
        checks.check_same_index(X, y=y, sample_weight=sample_weight)
        weights, rows = None, np.arange(len(target))
        if sample_weight is not None:
            weights = checks.weights_of(sample_weight, target)
            rows = checks.counting_rows(weights)
        codes = self._read_classes(target, rows) if classifies else None
        X, privileged = self._split_columns(X, y, privileged)
        soft = None
        if teacher is None:
            warnings.warn(
                f"{type(self).__name__}: privileged features were not given; the student is trained without a teacher.",
                UserWarning,
                stacklevel=3,
            )
        else:
            given = {} if sample_weight is None else {"sample_weight": sample_weight}
            teacher.fit(X, y, privileged=privileged, **given)
            soft = self._soft_labels(teacher, rows, len(target))
        of_rows = None if weights is None else weights[rows]
        if codes is not None and soft is not None:
            shares = mixture(codes, soft, self.imitation) * (1.0 if of_rows is None else of_rows[:, None])
            self._check_every_class(shares)
            copies, classes = np.nonzero(shares)
            rows, target, of_rows = rows[copies], self.classes_[classes], shares[copies, classes]
        else:
            target = target[rows]
            if soft is not None:
                target = (1.0 - self.imitation) * target + self.imitation * soft
        student = clone(self.estimator)
        given = {} if of_rows is None or weights_name is None else {weights_name: of_rows}
        plain = isinstance(student, Pipeline) and given  # whose steps get parameters by name where routing is off
        with config_context(enable_metadata_routing=False) if plain else contextlib.nullcontext():
            student.fit(_rows(X, rows), target, **given)
        self.estimator_, self.teacher_ = student, teacher
        self.soft_labels_: Floats | None = None if teacher is None else teacher.soft_labels_

    def _classifies(self) -> bool:
        """Whether the student is a classifier."""
        if is_classifier(self.estimator):
            return True
        if is_regressor(self.estimator):
            return False
        raise TypeError(
            f"{type(self).__name__} needs a classifier or a regressor as its estimator; found {self.estimator!r}."
        )

    def _new_teacher(self, classifies: bool) -> Any:
        """An unfitted teacher, checked as far as it can be before it is trained."""
        if self.teacher is None:
            default_teacher = lupi.PrivilegedClassifier if classifies else lupi.PrivilegedRegressor
            return default_teacher(method=_TEACHER)
        name, kind = type(self.teacher).__name__, "classifier" if classifies else "regressor"
        if not has_fit_parameter(self.teacher, "privileged"):
            raise TypeError(
                f"teacher must be an estimator whose fit takes privileged, as PrivilegedClassifier; found {name}."
            )
        if not (is_classifier(self.teacher) if classifies else is_regressor(self.teacher)):
            raise ValueError(
                f"teacher must be a {kind}, as the student {type(self.estimator).__name__} is; found {name}."
            )
        if getattr(self.teacher, "privileged_columns", None) is not None:
            raise ValueError(
                "privileged_columns are those of the distiller, that its student is not given them; found them at the "
                f"teacher. Write {type(self).__name__}(..., privileged_columns=...)."
            )
        if isinstance(self.teacher, PrivilegedEstimator):
            method = METHODS.get(self.teacher.method) if isinstance(self.teacher.method, str) else None
            if method is not None and method.teacher is None:
                raise ValueError(
                    f"teacher must be of a method that has a teacher's soft labels, as {_TEACHER} or MT-PFD; found "
                    f"{method.name}."
                )
        return clone(self.teacher)

    def _read_classes(self, target: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Sets `classes_`, the labels of the rows that count; the codes of these rows."""
        check_classification_targets(target)
        self.classes_, codes = np.unique(target[rows], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes; found one class: {self.classes_[0]}."
            )
        return np.asarray(codes, dtype=np.intp)

    def _split_columns(self, X: Any, y: Any, privileged: Any) -> tuple[Any, Any]:
        """What the student sees of X, and the privileged features."""
        self._regular_places: list[int] | None = None
        if self.privileged_columns is None:
            return X, privileged
        table = tabular.as_dataframe(X, "X")
        given = given_columns(X, table, y, privileged, self.privileged_columns)
        self._regular_places = given.regular
        return _columns(X, given.regular), table.iloc[:, given.places].set_axis(given.privileged_names, axis=1)

    def _soft_labels(self, teacher: Any, rows: npt.NDArray[np.intp], n: int) -> Floats:
        """What a fitted teacher says of the rows that count [rows, K], or [rows] numbers."""
        soft, name = getattr(teacher, "soft_labels_", None), type(teacher).__name__
        if soft is None:
            kept = f" (kept: {teacher.method_}; {teacher.why_})" if isinstance(teacher, PrivilegedEstimator) else ""
            raise ValueError(
                f"teacher must have soft_labels_ after fit, of rows that it did not fit on; {name} has none{kept}. "
                f"Take a method that always has a teacher, as {_TEACHER}, and privileged columns that vary."
            )
        classes = getattr(self, "classes_", None)
        expected = (n,) if classes is None else (n, len(classes))
        values: Floats = np.asarray(soft, dtype=np.float64)
        if values.shape != expected:
            raise ValueError(f"soft_labels_ of the teacher must have the shape {expected}; {name} has {values.shape}.")
        values = values[rows]
        if not np.isfinite(values).all() or (classes is not None and (values < 0).any()):
            raise ValueError(
                f"soft_labels_ of the teacher must be finite{'' if classes is None else ' and >= 0'} in every row "
                f"whose weight is not 0; those of {name} are not."
            )
        return values

    def _check_every_class(self, shares: Floats) -> None:
        """Raise ValueError where no copy of any row is left of a class: the student would not know it."""
        absent = self.classes_[~shares.any(0)]
        if len(absent):
            raise ValueError(
                f"the teacher must give every class a weight in some row; its soft labels are 0 in all rows for "
                f"{', '.join(map(repr, absent.tolist()))}, and imitation=1 leaves nothing of y. Lower imitation."
            )

    # ------------------------------------------------------------------ prediction

    def _seen(self, X: Any) -> Any:
        """What the student sees of X."""
        check_is_fitted(self)
        places = self._regular_places
        if places is None or _num_features(X) == len(places):
            return X  # which the student checks
        validate_data(self, X, skip_check_array=True, reset=False)
        return _columns(X, places)

    def _asked(self, method: str, X: Any, *others: Any, **named: Any) -> Any:
        """What a method of the student says of X."""
        seen = self._seen(X)
        return getattr(self.estimator_, method)(seen, *others, **named)

    @available_if(_student_has("predict"))
    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Labels or numbers [n] of the student."""
        predicted: npt.NDArray[Any] = np.asarray(self._asked("predict", X)).reshape(-1)  # of CatBoost [n, 1]
        return predicted

    @available_if(_student_has("predict_proba"))
    def predict_proba(self, X: Any) -> Floats:
        """Probabilities [n, K] of the labels `classes_`."""
        probabilities: Floats = self._asked("predict_proba", X)
        return probabilities

    @available_if(_student_has("decision_function"))
    def decision_function(self, X: Any) -> Floats:
        """The student's decision function, [n] for two classes or [n, K]."""
        values: Floats = self._asked("decision_function", X)
        return values

    @available_if(_student_has("score"))
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The student's own score: accuracy of classifiers, R² of regressors."""
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(self._asked("score", X, y, **given))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags, student = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = student.estimator_type
        tags.classifier_tags = copy.deepcopy(student.classifier_tags)
        tags.regressor_tags = copy.deepcopy(student.regressor_tags)
        tags.target_tags.required = True
        tags.input_tags = copy.deepcopy(student.input_tags)
        return tags


def mixture(codes: npt.NDArray[np.intp], soft_labels: Floats, imitation: float) -> Floats:
    """Shares [n, K] of the classes in the rows, (1 - λ) 1[y_i = k] + λ t_ik.

    codes : [n] classes of the rows, from 0; soft_labels : [n, K]; imitation : λ in [0, 1].
    """
    truth = codes[:, None] == np.arange(soft_labels.shape[1])
    shares: Floats = (1.0 - imitation) * truth + imitation * soft_labels
    return shares


def _weights_name(estimator: Any) -> str | None:
    """What `fit` of an estimator calls the weights of rows, of a pipeline those of its last step; None: it has none."""
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        name = _weights_name(last)
        return None if name is None else f"{step}__{name}"
    return "sample_weight" if hasattr(estimator, "fit") and has_fit_parameter(estimator, "sample_weight") else None


def _rows(X: Any, rows: npt.NDArray[np.intp]) -> Any:
    """Rows of a table of any kind; all of them in their order: the table itself."""
    if np.array_equal(rows, np.arange(_num_samples(X))):
        return X
    return _safe_indexing(X if _has_places(X) or isinstance(X, list) else np.asarray(X), rows)


def _columns(X: Any, places: list[int]) -> Any:
    """Columns of a table of any kind."""
    return _safe_indexing(X if _has_places(X) else tabular.as_dataframe(X, "X").to_numpy(), places, axis=1)


def _has_places(X: Any) -> bool:
    return hasattr(X, "shape") and hasattr(X, "__getitem__")
