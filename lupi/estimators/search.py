"""A grid search whose candidates and folds train as rows of one design table."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import _safe_indexing, indexable

from lupi.estimators import search_cache
from lupi.estimators.base import PrivilegedEstimator
from lupi.estimators.student_training import Job, train
from lupi.settings import HYPER_PARAMETERS

#: Parameters on which nothing depends that `fit` reads of the data: all hyper-parameters but the weights of classes.
_OF_TRAINING = {
    *(name for name in HYPER_PARAMETERS if name not in ("class_weight", "missing_flags")),
    *("method", "balance", "refit", "device", "random_state", "verbose"),
}


class PrivilegedSearchCV(GridSearchCV):
    """`GridSearchCV` over one of this library's estimators, many times as fast.

    All candidates are trained on all folds at once, as rows of one design table where they are networks of one shape;
    then scikit-learn's own search runs and finds every fit done. Results are those of GridSearchCV with the same
    estimator but for rounding in the last digits of float32 (dtype "float64": to 1e-10), and `cv_results_` is its own;
    only the times of the fits say nothing.

    Does the plain network do, or is a student better that learned from the lab value of its training rows?

    >>> import numpy as np
    >>> from lupi import PrivilegedClassifier
    >>> draw = np.random.default_rng(2)
    >>> X = draw.normal(size=(150, 8))
    >>> lab = X.sum(1) / np.sqrt(8) + 0.2 * draw.normal(size=150)
    >>> y = np.where(abs(lab) > 0.7, "ill", "well")
    >>> model = PrivilegedClassifier(preset="fast", random_state=0)
    >>> search = PrivilegedSearchCV(model, {"method": ["lower", "MT-TPD"]}, cv=3)
    >>> search.fit(X, y, privileged=lab).best_params_
    {'method': 'MT-TPD'}

    Shape
    -----
    X : [n, d]; y, groups, sample_weight : [n]; privileged : [n, q], or [n] for one column.
    predict, predict_proba : as those of the estimator that was best.

    Parameters
    ----------
    estimator : a `PrivilegedClassifier` or `PrivilegedRegressor` with a whole number as `random_state`.
    param_grid, scoring, refit, cv, verbose, error_score, return_train_score : as for GridSearchCV.

    Raises
    ------
    TypeError : for any other estimator (one in a pipeline, say: use GridSearchCV).
    ValueError : where `random_state` is not a whole number, for then two fits are never the same.
    """

    def __init__(
        self,
        estimator: PrivilegedEstimator,
        param_grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
        *,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    @classmethod
    def _get_param_names(cls) -> list[str]:
        mine = ["estimator", "param_grid", "scoring", "refit", "cv", "verbose", "error_score", "return_train_score"]
        return sorted(mine)

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search.

        X, y, privileged, sample_weight : as for the estimator's `fit`; groups : for the splitter.
        """
        if not isinstance(self.estimator, PrivilegedEstimator):
            raise TypeError(
                "PrivilegedSearchCV searches over a PrivilegedClassifier or PrivilegedRegressor alone; found "
                f"{type(self.estimator).__name__}. GridSearchCV takes any estimator."
            )
        candidates = list(ParameterGrid(self.param_grid))
        for parameters in candidates:
            state = parameters.get("random_state", self.estimator.random_state)
            if not isinstance(state, int | np.integer):
                raise ValueError(f"random_state must be a whole number, that fits can be repeated; found {state!r}.")
        X, y, groups = indexable(X, y, params.get("groups"))
        splits = list(check_cv(self.cv, y, classifier=is_classifier(self.estimator)).split(X, y, groups))
        cache = self._trained(X, y, params, candidates, splits)
        own: Any = self.cv
        self.cv: Any = splits  # the same ones, whatever the splitter draws
        try:
            with search_cache.using(cache):
                super().fit(X, y, **{name: value for name, value in params.items() if name != "groups"})
        finally:
            self.cv = own
        return self

    def _trained(
        self, X: Any, y: Any, params: Mapping[str, Any], candidates: list[dict[str, Any]], splits: list[Any]
    ) -> search_cache.Cache:
        """What every candidate becomes on every fold. What cannot be read or trained is left to scikit-learn, which
        tries it once more and deals with the error as `error_score` says."""
        fits: list[tuple[tuple[str, str], PrivilegedEstimator, list[Job]]] = []
        for train_rows, _ in splits:
            whole = (X, y, params.get("sample_weight"), params.get("privileged"))
            given = [None if values is None else _safe_indexing(values, train_rows) for values in whole]
            rows, inputs = search_cache.digest_of(*given), dict[str, Any]()
            for parameters in candidates:
                estimator = clone(self.estimator).set_params(**clone(parameters, safe=False))
                try:
                    jobs = _jobs(estimator, given, inputs)
                except (ValueError, TypeError):
                    continue
                fits.append(((search_cache.parameters_of(estimator), rows), estimator, jobs))
        results = iter(train([job for _, _, jobs in fits for job in jobs]))
        cache: search_cache.Cache = {}
        for key, estimator, jobs in fits:
            try:
                estimator._keep(jobs, [next(results) for _ in jobs])
                cache[key] = estimator._attributes()
            except ValueError as error:  # of training
                cache[key] = error
        return cache


def _jobs(estimator: PrivilegedEstimator, given: list[Any], inputs: dict[str, Any]) -> list[Job]:
    """The trainings of a candidate on a fold, several where the method is "auto"; what was read of the fold for another
    candidate is not read again."""
    parameters, methods = estimator.get_params(deep=False), estimator._methods()
    plain = methods[-1].name == "lower"
    same = repr((plain, sorted((n, v) for n, v in parameters.items() if n not in _OF_TRAINING)))
    if same not in inputs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the estimator that is refitted warns
            first = clone(estimator)
            inputs[same] = first._read(*given), first._attributes(), {}
    fit_input, attributes, splits = inputs[same]
    for name, value in attributes.items():
        setattr(estimator, name, copy.copy(value))
    if fit_input.methods[-1].name == "lower":  # there may be nothing privileged to learn
        methods = fit_input.methods
    read = dataclasses.replace(fit_input, methods=methods)
    return [estimator._job(read, method, splits) for method in methods]
