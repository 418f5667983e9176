"""The base of classifier and regressor: `fit`, prediction, files, and the study of `diagnose`."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from lupi.balancing import OWN
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split, whole
from lupi.estimators import checks, saving, tabular
from lupi.estimators.checks import RandomState
from lupi.estimators.choice import choose
from lupi.estimators.diagnosis import Diagnosis, diagnosed
from lupi.estimators.onnx_graph import export_onnx, onnx_student
from lupi.estimators.reading import (
    FitInput,
    GivenColumns,
    categorical_names,
    encoded,
    given_columns,
    privileged_features,
)
from lupi.estimators.search_cache import recall
from lupi.estimators.student import Student, StudentNetworks
from lupi.estimators.student_training import Job, Outcome, train
from lupi.estimators.telling import tell
from lupi.files import PathLike
from lupi.methods.options import StudyOptions
from lupi.methods.presets import chosen
from lupi.methods.table import METHODS, Method, select
from lupi.methods.twins import TWINS
from lupi.settings import HYPER_PARAMETERS
from lupi.study.preparation import Fitting

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

_PLAIN = "lower"

#: The method that is chosen on out-of-fold predictions, and the students among which it is chosen beside the plain
#: network: one for each way of learning from Z.
AUTO = "auto"
_STUDENTS = ("PFD", "KT-PFD", "MT", "MT-PFD")

#: `batch_size` of all rows in one step.
ALL_ROWS = "all"

#: Kinds of program that predict Z and the target.
_PREDICT_Z = ("chained", "shared")

#: Hyper-parameters of a cross-validated study alone.
_OF_STUDIES = ("protocol", "folds", "repeats", "seed")


def _trainable(method: Method) -> bool:
    """Whether an estimator can be this method: networks that see X at prediction and learn from nothing but X, Z, y."""
    return method.model_family == "network" and method.sees == "X" and method.auxiliary == "privileged"


class PrivilegedEstimator(BaseEstimator):
    """What classifier and regressor share."""

    __metadata_request__fit = {"privileged": True}  # noqa: RUF012  scikit-learn reads it from the class

    if TYPE_CHECKING:  # parameters, which scikit-learn wants named in the signature of each estimator
        method: str
        preset: str
        balance: str
        members: int | None
        bagging: bool | None
        regressor_layers: Sequence[int] | None
        classifier_layers: Sequence[int] | None
        epochs: int | None
        batch_size: int | str | None
        lr: float | None
        weight_decay: float | None
        patience: int | None
        imitation: float
        temperature: float
        repulsion: float
        epsilon: float | None
        validation_fraction: float
        early_stopping: bool
        refit: bool
        inner_folds: int
        categorical: Literal["auto"] | Sequence[str | int]
        privileged_columns: Sequence[str | int] | None
        dtype: Literal["float32", "float64"]
        device: str
        random_state: RandomState
        verbose: int
        n_features_in_: int
        feature_names_in_: npt.NDArray[np.object_]
        card_: dict[str, Any]  # facts of the data, where the command line has fitted it

    # ------------------------------------------------------------------ fit

    def fit(self, X: Any, y: Any, *misplaced: Any, sample_weight: Any = None, privileged: Any = None) -> Self:
        """Train on rows whose privileged features are known. Where it fails, the estimator stays as it was.

        Parameters
        ----------
        X : [n, d] regular features: array, or DataFrame of pandas or polars. Text, booleans and categories are
            categories, numbers are numbers; cells may be missing (NaN, None, masked).
        y : [n] class labels of any type, or numbers.
        sample_weight : [n] how often each row counts, >= 0; rows of weight 0 are left out.
        privileged : [n, q] privileged features of the same rows, likewise; [n] is one column. None: the plain network
            is trained, with a warning, unless `privileged_columns` says which columns of X are privileged.

        Raises
        ------
        ValueError : where `privileged` or y has another length or another index than X, or no known cell; for values
            that cannot be trained on.
        TypeError : where `privileged` is no table (a dict), or not named.
        """
        checks.check_named(type(self).__name__, misplaced)
        start, before = time.perf_counter(), dict(vars(self))
        try:
            if recall(self, X, y, sample_weight, privileged):
                return self
            read = self._read(X, y, sample_weight, privileged)
            splits: dict[tuple[int, int], Split] = {}
            jobs = [self._job(read, method, splits) for method in read.methods]
            self._keep(jobs, train(jobs))
        except BaseException:  # an interrupt too must not leave labels of this fit beside networks of the last one
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        seconds = time.perf_counter() - start
        line = f"{type(self).__name__}: {self.method_}, {self.n_iter_} epochs, {seconds:.2f} s"
        tell(log, line) if self.verbose else log.debug("%s", line)
        return self

    def _job(self, read: FitInput, method: Method, splits: dict[tuple[int, int], Split]) -> Job:
        """The training of a method; `splits` keeps those of these rows, by inner folds and seed."""
        options = self._options(read, (method.name,))
        needs_folds = method.teacher is not None or method.privileged_task == "before"
        inner = options.inner if needs_folds else 0
        if (inner, options.seed) not in splits:
            splits[inner, options.seed] = whole(read.data, inner, options.seed)
        return Job(read.data, read.features, options, splits[inner, options.seed], read.fitting, self.refit, read)

    def _keep(self, jobs: Sequence[Job], results: Sequence[Outcome | ValueError]) -> None:
        """The attributes that training sets, of the job that is chosen."""
        choice = choose(jobs, results)
        job, outcome = jobs[choice.place], results[choice.place]
        if isinstance(outcome, ValueError):
            raise outcome
        self._student: Student = outcome.student
        self.__dict__.pop("card_", None)  # which told of another fit
        self.n_iter_, self.device_ = outcome.epochs, job.options.device
        self.method_, self.why_ = job.options.weighed_methods[0].name, choice.why
        self.scores_ = choice.scores
        self.loss_curve_, self.calibration_ = outcome.curve, outcome.calibration
        self.soft_labels_ = self._of_training_rows(outcome.soft_labels, job.read)
        self._keep_held_out(self._of_training_rows(outcome.held_out, job.read))

    def _of_training_rows(self, values: Floats | None, read: FitInput) -> Floats | None:
        """Values [n, width] of the rows that trained as those of all rows given, NaN in rows of weight 0; [n] of
        numbers."""
        if values is None:
            return None
        every = np.full((read.rows, values.shape[1]), np.nan)
        every[read.counting] = values
        return every if read.data.classes is not None else every[:, 0]

    def _keep_held_out(self, values: Floats | None) -> None:
        """The attribute of the predictions out of fold."""
        raise NotImplementedError

    def _attributes(self) -> dict[str, Any]:
        """What `fit` has set."""
        parameters = self.get_params(deep=False)
        return {name: value for name, value in vars(self).items() if name not in parameters}

    def _read(self, X: Any, y: Any, sample_weight: Any, privileged: Any) -> FitInput:
        """Everything that is given, checked; sets the attributes that describe it."""
        defaults = {name: row.default for name, row in inspect.signature(type(self)).parameters.items()}
        checks.check_parameters(self.get_params(deep=False), defaults)
        methods = self._methods()
        table = tabular.as_dataframe(X, "X")
        validate_data(self, X if _is_frame(X) else table.to_numpy(), skip_check_array=True, reset=True)
        target = self._check_y(y, len(table))
        checks.check_same_index(X, y=y, sample_weight=sample_weight)
        weights = None
        if sample_weight is not None:
            weights = checks.weights_of(sample_weight, table)
        given = given_columns(X, table, y, privileged, self.privileged_columns)
        self._privileged_places = given.places if given.within else []
        self.privileged_names_in_ = np.array(given.privileged_names, dtype=object)
        rows, counting = len(table), np.arange(len(table))
        if weights is not None and not weights.all():
            counting = checks.counting_rows(weights)
            table, target, weights = table.iloc[counting], target[counting], weights[counting]
            given = given.of_rows(counting)
        read = self._fit_input(methods, table, given, target, weights)
        return dataclasses.replace(read, counting=counting, rows=rows)

    def _fit_input(
        self,
        methods: tuple[Method, ...],
        table: pd.DataFrame,
        given: GivenColumns,
        target: npt.NDArray[Any],
        weights: Floats | None,
    ) -> FitInput:
        """What is learned from rows that all count; without anything privileged to learn, the plain network."""
        name, rows = type(self).__name__, len(table)
        categorical = categorical_names(self.categorical, given)
        features, frame = tabular.fitted(table, given.names, categorical, given.regular, self._value("missing_flags"))
        if not features:
            raise ValueError(f"{name}: no column of X varies over the n_samples={rows} rows: nothing to learn.")
        z_features, z_frame, why_none = privileged_features(name, given, categorical, rows)
        if not z_features:
            if methods[-1].name != _PLAIN:
                warnings.warn(
                    f"{name}: {why_none}; the plain network ({_PLAIN}) is trained.", UserWarning, stacklevel=4
                )
            methods = tuple(select([_PLAIN]))
        codes, classes = self._target(target)
        data = PrivilegedData(name, frame, z_frame, codes, classes)
        fitting = Fitting(
            encoded=encoded(data, (features, z_features), table, given.source, self.dtype),
            sample_weight=None if weights is None else weights / weights.mean(),
            class_weights=self._class_weights(target),
            early_stopping=self.early_stopping,
        )
        return FitInput(data, (features, z_features), fitting, methods)

    def _methods(self) -> tuple[Method, ...]:
        """What `fit` trains: the method, or those that "auto" chooses among, the plain network first."""
        if self.method != AUTO:
            return (self._method(),)
        if not self._value("bagging"):
            raise ValueError(
                f"method={AUTO!r} chooses on out-of-fold predictions, which bagging=True gives; found bagging=False"
                + (f", of preset={self.preset!r}" if self.bagging is None else "")
                + ". Name a method, as 'MT-PFD', or set bagging=True and members=5 or more."
            )
        return tuple(select([_PLAIN, *_STUDENTS]))

    def _value(self, name: str) -> Any:
        """A hyper-parameter: as given, else that of the preset."""
        return self._values()[name]

    def _values(self) -> dict[str, Any]:
        """All hyper-parameters of the study, portfolio and all."""
        parameters = self.get_params(deep=False)
        asked = {name: parameters[name] for name in HYPER_PARAMETERS if parameters.get(name) is not None}
        return chosen(self.preset, asked)

    def _method(self) -> Method:
        methods = select([self.method])
        if len(methods) > 1 or not _trainable(methods[0]):
            able = ", ".join([AUTO, *(name for name, method in METHODS.items() if _trainable(method))])
            raise ValueError(
                f"method must be one that trains networks and predicts without the privileged features, of {able}; "
                f"found {self.method!r}."
            )
        return methods[0]

    def _options(self, read: FitInput, methods: tuple[str, ...], **others: Any) -> StudyOptions:
        """The options of a study of these methods, with these parameters."""
        rows = len(read.data.y)
        if rows < 2:
            raise ValueError(f"{type(self).__name__}: at least 2 rows are needed to train; found n_samples={rows}.")
        asked = self.method != AUTO and read.methods[-1] == self._method()
        several = any(method.several_tasks for method in select(methods))
        balance = self.balance if asked or several else OWN  # one task that nobody asked for needs no weighing
        values = {name: value for name, value in self._values().items() if name not in _OF_STUDIES}
        values |= {name: tuple(values[name]) for name in ("regressor_layers", "classifier_layers")}
        values |= {"batch_size": rows} if self.batch_size == ALL_ROWS else {}
        if self.refit and values["bagging"]:
            raise ValueError(
                "refit trains again on the rows that validated, and with bagging every row trains already: leave out "
                "refit, or set bagging=False."
            )
        return StudyOptions(**{
            "methods": methods, "balance": (balance,), "twins": (), "seed": checks.seed_of(self.random_state),
            "device": checks.usable_device(self.device), **values, **self._target_options(), **others,
        })  # fmt: skip

    # ------------------------------------------------------------------ what classes and numbers differ in

    def _check_y(self, y: Any, rows: int) -> npt.NDArray[Any]:
        return checks.known_target(type(self).__name__, y, rows)

    def _target(self, target: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
        raise NotImplementedError

    def _class_weights(self, target: npt.NDArray[Any]) -> Floats | None:
        return None

    def _target_options(self) -> dict[str, Any]:
        return {}

    # ------------------------------------------------------------------ prediction

    def predict_privileged(self, X: Any) -> pd.DataFrame:
        """ẑ, the privileged features [n, q] as the student predicts them from X, in their own units: numbers, and of
        categories the most probable level. The index is that of X.

        Raises
        ------
        ValueError : for a method that predicts no privileged features ("lower", and those that distil alone).
        """
        check_is_fitted(self)
        student = self._student
        if student["kind"] not in _PREDICT_Z and student["regressor"] is None:
            raise ValueError(
                "predict_privileged needs a method that predicts the privileged features, as MT or KT-PFD; found "
                f"{self.method_}."
            )
        table = tabular.as_dataframe(X, "X")
        predicted = [z.copy() for _, z in StudentNetworks(student).privileged(table, self._places(X, table))]
        frame = tabular.decoded(np.concatenate(predicted), student["privileged"])
        return frame.set_axis(table.index)

    def _outputs(self, X: Any, width: int) -> Floats:
        """Outputs [n, width] averaged over members: probabilities, or numbers."""
        check_is_fitted(self)
        table = tabular.as_dataframe(X, "X")
        places = self._places(X, table)
        averages = np.empty((len(table), width))
        for rows, outputs in StudentNetworks(self._student).outputs(table, places):
            averages[rows] = self._averaged(outputs)
        return averages

    def _averaged(self, outputs: Floats) -> Floats:
        """Outputs [rows, width] from those of every member [members, C, rows]."""
        raise NotImplementedError

    def _places(self, X: Any, table: pd.DataFrame) -> list[int]:
        """Where the features lie in a table that may lack the privileged columns of `privileged_columns`."""
        places = [feature["place"] for feature in self._student["features"]]
        privileged = set(self._privileged_places)
        if not privileged or table.shape[1] != self.n_features_in_ - len(privileged):
            validate_data(self, X if _is_frame(X) else table.to_numpy(), skip_check_array=True, reset=False)
            return places
        left = [i for i in range(self.n_features_in_) if i not in privileged]
        if _is_frame(X) and hasattr(self, "feature_names_in_"):
            expected, names = list(self.feature_names_in_[left]), list(table.columns)
            if names != expected:
                raise ValueError(
                    "The feature names should match those that were passed during fit, with or without the privileged "
                    f"columns: expected {expected[:12]}; found {names[:12]}."
                )
        return [left.index(place) for place in places]

    def encode(self, X: Any) -> Floats:
        """Rows [n, D] as the networks take them before standardisation: numbers as they are, categories as one column
        for each level, NaN where missing. What the graph of `export_onnx` reads."""
        check_is_fitted(self)
        table = tabular.as_dataframe(X, "X")
        return tabular.raw_rows(table, self._student["features"], self._places(X, table))

    # ------------------------------------------------------------------ files

    def save(self, path: PathLike) -> None:
        """Write the fitted estimator to one file, without pickle: weights in the format safetensors, the rest as JSON.

        Raises
        ------
        ValueError : for class labels other than bool, int, float and str, and parameters that JSON cannot hold, as a
            random state that is not a whole number.
        """
        check_is_fitted(self)
        saving.save(path, type(self).__name__, self.get_params(deep=False), self._attributes())

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """The estimator that `save` wrote, on any device and platform. Loading runs no code of the file.

        Raises
        ------
        FileNotFoundError : where there is no file.
        ValueError : for a file of another kind or version, or one that was tampered with or cut short.
        """
        return saving.load(path, cls)

    def export_onnx(self, path: PathLike, *, dtype: Literal["float32", "float64"] = "float32") -> None:
        """Write the student as an ONNX graph from `encode(X)` to probabilities [n, K], or values [n].

        The file's metadata say how to make `encode(X)` of a table without this library: "columns" is JSON, a list of
        objects with the name of a column, its place in X (from 0), its kind, its levels (of a category, as text in the
        order of their entries) and its entries [first, one past the last] in a row of the graph's input. A "number"
        stands there as it is, a "category" as 1 at its level and 0 at the others; NaN in all its entries is a missing
        cell, or another level. The kind "missing" is 1 where the cell of a number is missing, else 0.

        "method" is what was trained, "classes" the labels, one a line.

        Raises
        ------
        ImportError : without the package onnx (`pip install '.[onnx]'`).
        """
        check_is_fitted(self)
        names = [str(label) for label in getattr(self, "classes_", ())]
        properties = {"method": self.method_, "columns": tabular.description(self._student["features"])}
        properties |= {"classes": "\n".join(names)} if names else {}
        export_onnx(path, onnx_student(self._student), dtype=dtype, properties=properties)

    # ------------------------------------------------------------------ evidence

    def diagnose(
        self,
        X: Any,
        y: Any,
        privileged: Any = None,
        *,
        folds: int = 5,
        repeats: int = 2,
        twins: Sequence[str] | None = None,
    ) -> Diagnosis:
        """Does the privileged information help here, and why does the student err: a cross-validated study.

        The method (of "auto" the student that `fit` chose, else MT-PFD) is trained with these parameters beside what it
        must beat (`lower`), what there is to gain (`upper`) and its control twins, on `repeats` times `folds` splits of
        the data; `refit` and `method` apart it is the training of `fit`. The estimator itself stays as it is.

        Parameters
        ----------
        X, y, privileged : as for `fit`; the privileged features are needed.
        twins : which control twins (see `lupi.methods.twins.TWINS`); None: all.
        """
        if twins is not None:
            checks.check_list("twins", twins, "control twins", "None, or ")
        read = clone(self)._read(X, y, None, privileged)
        name = read.methods[-1].name
        if name == _PLAIN:
            raise ValueError("diagnose needs privileged features, and a method that learns from them.")
        if self.method == AUTO and getattr(self, "method_", _PLAIN) != _PLAIN:
            name = self.method_
        controls = tuple(TWINS if twins is None else twins)
        methods = (_PLAIN, "upper", name)
        options = self._options(read, methods, folds=folds, repeats=repeats, twins=controls)
        return diagnosed(read.data, options, read.fitting)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns")
