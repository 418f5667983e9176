"""Classifier and regressor for scikit-learn that learn from features known in training only."""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from lupi.balancing import OWN
from lupi.estimators import tabular
from lupi.estimators.base import AUTO, PrivilegedEstimator
from lupi.estimators.checks import RandomState, check_weights_small
from lupi.evidence import metrics
from lupi.evidence.calibration import with_prior
from lupi.methods.presets import DEFAULT
from lupi.methods.table import Method
from lupi.settings import default

Floats = npt.NDArray[np.float64]
ClassWeight = Literal["balanced"] | Mapping[Any, float] | None


class PrivilegedClassifier(ClassifierMixin, PrivilegedEstimator):
    """Classifier that learns from features known in training only.

    People are ill whose lab value is too low or too high. Eight signs point to the lab value, and after training they
    are all there is. With the lab value of 100 people the signs of others tell more (accuracy on 2,000):

    >>> import numpy as np
    >>> draw = np.random.default_rng(2)
    >>> X = draw.normal(size=(2100, 8))
    >>> lab = X.sum(1) / np.sqrt(8) + 0.2 * draw.normal(size=2100)
    >>> y = np.where(abs(lab) > 0.7, "ill", "well")
    >>> plain = PrivilegedClassifier(method="lower", random_state=0).fit(X[:100], y[:100])
    >>> student = PrivilegedClassifier(random_state=0).fit(X[:100], y[:100], privileged=lab[:100])
    >>> print(f"{plain.score(X[100:], y[100:]):.1f} {student.score(X[100:], y[100:]):.1f}")
    0.7 0.8

    The student was chosen because it predicts rows that it did not fit on better than the plain network does:

    >>> student.scores_[student.method_] < student.scores_["lower"]
    True

    Columns of text, booleans or dtype category are categories, also those of `categorical`; missing cells are read as
    the mean (numbers) or as no level (categories), and so are categories that did not occur in `fit`. Columns that do
    not vary are left out. Trained networks predict in float64 on the CPU, whatever they were trained in and on.

    Shape
    -----
    X : [n, d] in `fit` and prediction. With `privileged_columns` they are among its columns in `fit`, and may be absent
        at prediction.
    y : [n] labels of K classes.
    privileged : [n, q], or [n] for one column; in `fit` alone.
    sample_weight : [n].
    predict : [n] labels; predict_proba : [n, K]; encode : [n, D], where a category of L levels takes L of D columns.

    Parameters
    ----------
    method : "auto", or a row of `lupi.methods` that predicts without Z. "auto" trains the plain network ("lower") and a
        student for each way of learning from Z (PFD, KT-PFD, MT, MT-PFD), and keeps the student of least out-of-fold
        loss if it is better than the plain network beyond noise, else the plain network.
    preset : the recipe of all networks: "best", "fast" or "paper" (see `lupi.methods.presets`). Every parameter below
        whose default is None is that of the preset.
    balance : how a method's tasks are weighed: "own", or a strategy of `lupi.balancing`, as "nash-mtl".
    members : networks whose predictions are averaged.
    bagging : whether each member holds out a fold of its own, so that all rows train, and have predictions of members
        that did not fit on them.
    regressor_layers, classifier_layers : hidden widths of the network that predicts Z, and of that of the target.
    activation, embedding, embedding_rate, skip, input_scale : ingredients of these networks (see
        `lupi.engine.tabular.Style`); embedding_rate is a factor of the learning rate of embeddings.
    scaling, missing_flags : how numbers of X are scaled, "standard" or "robust"; whether missing ones are told.
    epochs : at most so many passes over the rows.
    batch_size : rows a step; "all": all of them.
    lr, schedule, beta2, weight_decay, dropout : of Adam with decoupled weight decay.
    patience : epochs without a better validation loss before training stops.
    imitation, temperature, repulsion : λ in [0, 1], T > 0 and β >= 0 of methods that learn from a teacher.
    epsilon : weight ε >= 0 of the privileged task; None: the method's own.
    label_smoothing : in [0, 0.999].
    calibration : "temperature": probabilities are calibrated on out-of-fold predictions; "none": they are not.
    target_prior : "training": classes are as frequent in prediction as in training; "balanced": probabilities, and the
        label predicted from them, are for classes of equal frequency.
    class_weight : None, "balanced", or a weight for every label.
    validation_fraction : of the rows, held out to stop early.
    early_stopping : False: all rows train (with bagging, all but the fold that a member holds out), for all epochs, and
        the last weights are kept.
    refit : train again on all rows, for the number of epochs that was best.
    inner_folds : soft labels and ẑ of a row come from models of so many folds that did not see it.
    categorical : "auto": by dtype; or also these columns, by name or by place (of privileged ones: by name; columns
        without names are called "privileged[0]", ...).
    privileged_columns : names or places of columns of X that are privileged. They are then not asked for at prediction:
        X may hold them or not. For tools that cannot route `privileged` to `fit`.
    dtype, device : of the training; "auto" takes a CUDA device where there is one.
    random_state : a whole number decides everything; None: another training each time. The global state is not used.
    verbose : 1: a line of the log (`logging`, level INFO) for each fit; without a log that is set up, on stderr.

    Attributes
    ----------
    classes_ : labels in the order of the columns of `predict_proba`.
    n_features_in_, feature_names_in_ : of X in `fit`.
    privileged_names_in_ : names of the privileged columns.
    n_iter_ : epochs for which the networks that predict were trained (the most of all members).
    method_ : what was kept: the method with its strategy, or "lower" without privileged features.
    why_ : a sentence that says why this one; scores_ : out-of-fold losses of those it was chosen among.
    oof_proba_ : [n, K] probabilities of the training rows by members that did not fit on them, NaN in rows of weight 0
        (of a regressor oof_prediction_ : [n]); None without bagging. With early_stopping a member's epoch was the best
        one on these rows, so that scores of them are somewhat too good, the more so the fewer rows there are.
    soft_labels_ : [n, K] probabilities (of a regressor [n] numbers) of the teacher for rows that it did not fit on:
        what the student was taught; None without a teacher.
    loss_curve_ : [members, epochs] validation losses, NaN after a member stopped.
    calibration_ : "temperature", and the expected calibration error "before" and "after" it.
    device_ : on which they were trained.
    """

    def __init__(
        self,
        *,
        method: str = AUTO,
        preset: str = DEFAULT,
        balance: str = OWN,
        members: int | None = None,
        bagging: bool | None = None,
        regressor_layers: Sequence[int] | None = None,
        classifier_layers: Sequence[int] | None = None,
        activation: str | None = None,
        embedding: str | None = None,
        embedding_rate: float | None = None,
        skip: bool | None = None,
        input_scale: bool | None = None,
        scaling: Literal["standard", "robust"] | None = None,
        missing_flags: bool | None = None,
        epochs: int | None = None,
        batch_size: int | Literal["all"] | None = None,
        lr: float | None = None,
        schedule: Literal["constant", "cosine", "coslog4"] | None = None,
        beta2: float | None = None,
        weight_decay: float | None = None,
        dropout: float | None = None,
        patience: int | None = None,
        imitation: float = default("imitation"),
        temperature: float = default("temperature"),
        repulsion: float = default("repulsion"),
        epsilon: float | None = default("epsilon"),
        label_smoothing: float | None = None,
        calibration: Literal["none", "temperature"] | None = None,
        target_prior: Literal["training", "balanced"] = "training",
        class_weight: ClassWeight = None,
        validation_fraction: float = default("validation_fraction"),
        early_stopping: bool = True,
        refit: bool = False,
        inner_folds: int = default("inner_folds"),
        categorical: Literal["auto"] | Sequence[str | int] = "auto",
        privileged_columns: Sequence[str | int] | None = None,
        dtype: Literal["float32", "float64"] = default("dtype"),
        device: str = "auto",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.method = method
        self.preset = preset
        self.balance = balance
        self.members = members
        self.bagging = bagging
        self.regressor_layers = regressor_layers
        self.classifier_layers = classifier_layers
        self.activation = activation
        self.embedding = embedding
        self.embedding_rate = embedding_rate
        self.skip = skip
        self.input_scale = input_scale
        self.scaling = scaling
        self.missing_flags = missing_flags
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.schedule = schedule
        self.beta2 = beta2
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.patience = patience
        self.imitation = imitation
        self.temperature = temperature
        self.repulsion = repulsion
        self.epsilon = epsilon
        self.label_smoothing = label_smoothing
        self.calibration = calibration
        self.target_prior = target_prior
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.refit = refit
        self.inner_folds = inner_folds
        self.categorical = categorical
        self.privileged_columns = privileged_columns
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Label [n] of largest probability."""
        codes = self.predict_proba(X).argmax(1)
        labels: npt.NDArray[Any] = self.classes_[codes]
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities [n, K] of the labels `classes_`."""
        check_is_fitted(self)
        return self._outputs(X, len(self.classes_))

    def _averaged(self, outputs: Floats) -> Floats:
        probability: Floats = np.mean([metrics.probabilities(output.T) for output in outputs], 0)
        prior = self._student["prior"]
        return probability if prior is None else with_prior(probability, prior)

    def _keep_held_out(self, values: Floats | None) -> None:
        prior = self._student["prior"]
        self.oof_proba_ = values if values is None or prior is None else with_prior(values, prior)

    def _check_y(self, y: Any, rows: int) -> npt.NDArray[Any]:
        target = super()._check_y(y, rows)
        check_classification_targets(target)
        return target

    def _target(self, target: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
        self.classes_, codes = np.unique(target, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes; found one class: {self.classes_[0]}."
            )
        return codes.astype(np.int64), tuple(str(label) for label in self.classes_)

    def _class_weights(self, target: npt.NDArray[Any]) -> Floats | None:
        given = self.class_weight
        if given is None or (isinstance(given, str) and given == "balanced"):
            return None
        if not isinstance(given, Mapping):
            raise ValueError(
                f"class_weight must be None, 'balanced' or a dict of a weight for every label; found {given!r}."
            )
        weights: Floats = np.array([np.nan])
        if all(isinstance(weight, Real) and not isinstance(weight, bool | np.bool_) for weight in given.values()):
            unknown = [label for label in given if label not in self.classes_.tolist()]
            if unknown:
                raise ValueError(
                    f"class_weight must have labels of y for its keys, {', '.join(map(repr, self.classes_.tolist()))}; "
                    f"found {', '.join(map(repr, unknown))}."
                )
            with contextlib.suppress(OverflowError):  # a whole number that is too large for a float
                weights = compute_class_weight(dict(given), classes=self.classes_, y=target).astype(np.float64)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                f"class_weight must hold finite weights >= 0, not all of them 0; found {reprlib.repr(given)}."
            )
        check_weights_small("class_weight", weights)
        return weights

    def _target_options(self) -> dict[str, Any]:
        balanced = "balanced" if isinstance(self.class_weight, str) else None
        return {"class_weight": balanced}


class PrivilegedRegressor(RegressorMixin, PrivilegedEstimator):
    """Regressor that learns from features known in training only.

    A dose follows from a lab value that is known of 100 people and of nobody else; eight signs point to it (R² on 900):

    >>> import numpy as np
    >>> draw = np.random.default_rng(2)
    >>> X = draw.normal(size=(1000, 8))
    >>> lab = X.sum(1) / np.sqrt(8) + 0.2 * draw.normal(size=1000)
    >>> y = lab**2 + 0.1 * draw.normal(size=1000)
    >>> plain = PrivilegedRegressor(method="lower", random_state=0).fit(X[:100], y[:100])
    >>> student = PrivilegedRegressor(method="MT", random_state=0).fit(X[:100], y[:100], privileged=lab[:100])
    >>> print(f"{plain.score(X[100:], y[100:]):.1f} {student.score(X[100:], y[100:]):.1f}")
    0.6 0.7

    Shape
    -----
    X : [n, d] in `fit` and prediction (see `PrivilegedClassifier`).
    y : [n] numbers.
    privileged : [n, q], or [n] for one column; in `fit` alone.
    sample_weight : [n].
    predict : [n] numbers, in the unit of y.

    Parameters and attributes are those of `PrivilegedClassifier`, without those of classes. TPD needs classes: `method`
    is one of the others.
    """

    def __init__(
        self,
        *,
        method: str = AUTO,
        preset: str = DEFAULT,
        balance: str = OWN,
        members: int | None = None,
        bagging: bool | None = None,
        regressor_layers: Sequence[int] | None = None,
        classifier_layers: Sequence[int] | None = None,
        activation: str | None = None,
        embedding: str | None = None,
        embedding_rate: float | None = None,
        skip: bool | None = None,
        input_scale: bool | None = None,
        scaling: Literal["standard", "robust"] | None = None,
        missing_flags: bool | None = None,
        epochs: int | None = None,
        batch_size: int | Literal["all"] | None = None,
        lr: float | None = None,
        schedule: Literal["constant", "cosine", "coslog4"] | None = None,
        beta2: float | None = None,
        weight_decay: float | None = None,
        dropout: float | None = None,
        patience: int | None = None,
        imitation: float = default("imitation"),
        temperature: float = default("temperature"),
        repulsion: float = default("repulsion"),
        epsilon: float | None = default("epsilon"),
        validation_fraction: float = default("validation_fraction"),
        early_stopping: bool = True,
        refit: bool = False,
        inner_folds: int = default("inner_folds"),
        categorical: Literal["auto"] | Sequence[str | int] = "auto",
        privileged_columns: Sequence[str | int] | None = None,
        dtype: Literal["float32", "float64"] = default("dtype"),
        device: str = "auto",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.method = method
        self.preset = preset
        self.balance = balance
        self.members = members
        self.bagging = bagging
        self.regressor_layers = regressor_layers
        self.classifier_layers = classifier_layers
        self.activation = activation
        self.embedding = embedding
        self.embedding_rate = embedding_rate
        self.skip = skip
        self.input_scale = input_scale
        self.scaling = scaling
        self.missing_flags = missing_flags
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.schedule = schedule
        self.beta2 = beta2
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.patience = patience
        self.imitation = imitation
        self.temperature = temperature
        self.repulsion = repulsion
        self.epsilon = epsilon
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.refit = refit
        self.inner_folds = inner_folds
        self.categorical = categorical
        self.privileged_columns = privileged_columns
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def predict(self, X: Any) -> Floats:
        """Predicted numbers [n]."""
        return self._outputs(X, 1)[:, 0]

    def _averaged(self, outputs: Floats) -> Floats:
        return np.asarray(outputs.mean(0).T, dtype=np.float64)

    def _keep_held_out(self, values: Floats | None) -> None:
        self.oof_prediction_ = values

    def _method(self) -> Method:
        method = super()._method()
        if method.distillation == "teacher-privileged":
            raise ValueError(
                f"{method.name} needs classes: whether a teacher is right is undefined for a number. Choose another "
                "method, as MT-PFD."
            )
        return method

    def _target(self, target: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
        return tabular.numbers_of(pd.Series(target), "y"), None
