"""Peers: models of other makers, trained on X alone, that a student is held against.

A peer is a reference, no method: it never reads Z, has no twins and gets no verdict. It is used as its makers deliver
it, with their default parameters, on the same splits as the methods. Numbers go in as they are. A category goes in
natively where the peer reads categories, else one-hot; a missing cell likewise, else as the median of the training
rows (a missing category as a level of its own).

Packages of peers are imported where one is fitted, never with the library.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import logging
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lupi import rng
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split
from lupi.evidence import metrics
from lupi.methods.options import StudyOptions
from lupi.study.preparation import Prepared

Floats = npt.NDArray[np.float64]

_PEERS = 110  # stream of the seed that draws a peer's own
_MOST_LEVELS = 255  # of a category that HistGradientBoosting reads as one


@dataclasses.dataclass(frozen=True)
class Request:
    """What a peer is made for.

    categories : names of the columns that are categories.
    device : as torch calls it; for those peers that use one.
    """

    numeric_target: bool
    categories: tuple[str, ...]
    seed: int
    threads: int
    device: str


@dataclasses.dataclass(frozen=True)
class Peer:
    """A model of another maker.

    Parameters
    ----------
    name : as --peers, tables and files call it.
    package : that it needs, as pip calls it.
    make : an unfitted model with scikit-learn's interface.
    reads : what its frame has where X has missing cells and categories. "native": both as they are; "texts": missing
        numbers as NaN, categories as texts in which a missing cell is a level; "imputed": numbers imputed, categories
        likewise with a level for missing cells.
    what : in words, for the notes of tables.
    source : the paper.
    """

    name: str
    package: str
    make: Callable[[Request], Any]
    reads: Literal["native", "texts", "imputed"]
    what: str
    source: str

    @property
    def version(self) -> str | None:
        """Version of its package; None where that is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A fitted peer."""

    predict: Callable[[pd.DataFrame], Floats]
    seconds: float


# ---------------------------------------------------------------------- the table


def _encoded(model: Any, request: Request, scaled: bool) -> Any:
    """The model behind one-hot categories and, where asked for, standardised numbers."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    rest = StandardScaler() if scaled else "passthrough"
    columns = make_column_transformer((one_hot, list(request.categories)), remainder=rest)
    return make_pipeline(columns, model)


def _linear(request: Request) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return _encoded(Ridge() if request.numeric_target else LogisticRegression(max_iter=2000), request, scaled=True)


def _forest(request: Request) -> Any:
    from sklearn import ensemble

    kind = ensemble.RandomForestRegressor if request.numeric_target else ensemble.RandomForestClassifier
    return _encoded(kind(300, random_state=request.seed, n_jobs=request.threads), request, scaled=False)


def _histogram_boosting(request: Request) -> Any:
    from sklearn import ensemble

    boosting = (
        ensemble.HistGradientBoostingRegressor if request.numeric_target else ensemble.HistGradientBoostingClassifier
    )
    return boosting(categorical_features="from_dtype", random_state=request.seed)


def _lightgbm(request: Request) -> Any:
    package = importlib.import_module("lightgbm")
    kind = package.LGBMRegressor if request.numeric_target else package.LGBMClassifier
    return kind(random_state=request.seed, n_jobs=request.threads, verbose=-1)


def _catboost(request: Request) -> Any:
    package = importlib.import_module("catboost")
    kind = package.CatBoostRegressor if request.numeric_target else package.CatBoostClassifier
    return kind(
        cat_features=list(request.categories), random_state=request.seed, thread_count=request.threads, verbose=False,
        allow_writing_files=False,
    )  # fmt: skip


def _realmlp(request: Request) -> Any:
    package = importlib.import_module("pytabkit")
    kind = package.RealMLP_TD_Regressor if request.numeric_target else package.RealMLP_TD_Classifier
    return kind(n_cv=5, **_of_pytabkit(request))


def _tabm(request: Request) -> Any:
    package = importlib.import_module("pytabkit")
    kind = package.TabM_D_Regressor if request.numeric_target else package.TabM_D_Classifier
    return kind(**_of_pytabkit(request))


def _of_pytabkit(request: Request) -> dict[str, Any]:
    importlib.import_module("pytorch_lightning")  # which sets the levels of its logs when it is imported: before a fit
    return {"device": request.device, "random_state": request.seed, "n_threads": request.threads, "verbosity": 0}


#: By name, in the order of the tables.
PEERS = {
    peer.name: peer
    for peer in (
        Peer("linear", "scikit-learn", _linear, "imputed",
             "logistic regression with C = 1, for a number ridge regression with α = 1, on standardised numbers",
             "Cox, JRSS B 20, 1958; Hoerl and Kennard, Technometrics 12, 1970"),
        Peer("random-forest", "scikit-learn", _forest, "imputed", "random forest of 300 trees",
             "Breiman, Machine Learning 45, 2001"),
        Peer("HistGradientBoosting", "scikit-learn", _histogram_boosting, "native",
             "scikit-learn's boosting on histograms", "after Ke et al., NeurIPS 2017"),
        Peer("LightGBM", "lightgbm", _lightgbm, "native", "boosting of trees that grow by leaves",
             "Ke et al., NeurIPS 2017"),
        Peer("CatBoost", "catboost", _catboost, "texts", "ordered boosting of symmetric trees",
             "Prokhorenkova et al., NeurIPS 2018"),
        Peer("RealMLP", "pytabkit", _realmlp, "imputed",
             "RealMLP-TD, five networks that hold out a fold each for validation", "Holzmüller et al., NeurIPS 2024"),
        Peer("TabM", "pytabkit", _tabm, "imputed", "TabM-D, 32 networks that share their weights",
             "Gorishniy et al., ICLR 2025"),
    )
}  # fmt: skip


def select(names: Sequence[str] = ()) -> list[Peer]:
    """The peers of these names, all without names, in the order of the table; whatever is installed.

    Raises
    ------
    ValueError : for a name that no peer has.
    """
    known = {name.lower(): peer for name, peer in PEERS.items()}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise ValueError(f"no peer is called {unknown[0]!r}; there are {', '.join(PEERS)}.")
    asked = {name.lower() for name in names} or set(known)
    return [peer for name, peer in known.items() if name in asked]


def installed(names: Sequence[str] = ()) -> tuple[list[Peer], list[Peer]]:
    """The peers of `select`: those whose package is installed, and those whose package is not."""
    chosen = select(names)
    return [peer for peer in chosen if peer.version], [peer for peer in chosen if not peer.version]


# ---------------------------------------------------------------------- fitting


def fit(
    peer: Peer,
    X: pd.DataFrame,
    y: npt.NDArray[Any],
    classes: int | None,
    *,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
) -> Predictor:
    """Fit a peer.

    Global seeds and the threads of torch are left as they were found. What the packages warn of is not shown.

    Parameters
    ----------
    X : [n, d] float64 (NaN = missing) or Categorical columns. What is predicted from later has the same columns.
    y : [n] class codes 0..K-1, or numbers.
    classes : K, of which some may be absent from y; None for numbers.
    seed : in [0, 2^31).
    threads : of the processor.

    Returns
    -------
    What predicts probabilities [n, K], 0 for classes that are absent from y, or numbers [n, 1]; seconds that the fit
    took on the wall's clock.

    Raises
    ------
    Whatever the package raises. ImportError where it is not installed.

    >>> X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    >>> fit(PEERS["linear"], X, np.array([0, 0, 2, 2]), 3, seed=0).predict(X).round(2)[[0, 3]]
    array([[0.78, 0.  , 0.22],
           [0.22, 0.  , 0.78]])
    """
    numeric = [not isinstance(kind, pd.CategoricalDtype) for kind in X.dtypes]
    medians = [X.iloc[:, i].median() if known else np.nan for i, known in enumerate(numeric)]
    medians = [0.0 if np.isnan(median) else float(median) for median in medians]
    categories = tuple(f"x{i}" for i, known in enumerate(numeric) if not known)

    def frame(rows: pd.DataFrame) -> pd.DataFrame:
        made = {f"x{i}": _column(rows.iloc[:, i], peer, median) for i, median in enumerate(medians)}
        return pd.DataFrame(made, index=pd.RangeIndex(len(rows)))

    request = Request(classes is None, categories, seed, threads, device)
    with _as_it_was():
        model = peer.make(request)
        start = time.perf_counter()
        with _quiet():
            model.fit(frame(X), y)
        seconds = time.perf_counter() - start

    def predict(rows: pd.DataFrame) -> Floats:
        with _as_it_was(), _quiet():
            if classes is None:
                return np.asarray(model.predict(frame(rows)), dtype=np.float64).reshape(-1, 1)
            probability = np.zeros((len(rows), classes))
            known = np.asarray(model.classes_).ravel().astype(np.intp)
            probability[:, known] = np.asarray(model.predict_proba(frame(rows)), dtype=np.float64)
            return probability

    return Predictor(predict, seconds)


def _column(values: pd.Series, peer: Peer, median: float) -> Any:
    """A column as the peer reads it. Levels go by their numbers, so that none has a name that a package forbids."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        numbers = values.to_numpy(dtype=np.float64)
        return np.where(np.isnan(numbers), median, numbers) if peer.reads == "imputed" else numbers
    codes, levels = values.cat.codes.to_numpy(), len(values.cat.categories)
    if peer.reads == "native":
        if levels > _MOST_LEVELS:
            return np.where(codes < 0, np.nan, codes.astype(np.float64))
        return pd.Categorical.from_codes(codes, pd.Index([str(level) for level in range(levels)]))
    texts = pd.Categorical.from_codes(codes + 1, pd.Index(["missing", *(str(level) for level in range(levels))]))
    return texts if peer.reads == "imputed" else texts.astype(object)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """What packages seed and set is as before afterwards; what they warn of is not shown."""
    python, numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_num_threads(threads)


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch Lightning, by which pytabkit trains, does not tell of devices and epochs; its warnings are heard."""
    named = logging.root.manager.loggerDict
    levels = {name: logging.getLogger(name).level for name in list(named) if name.partition(".")[0] in _TALKATIVE}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


_TALKATIVE = ("lightning", "lightning_fabric", "pytorch_lightning")


# ---------------------------------------------------------------------- in a study


def record(data: PrivilegedData, options: StudyOptions, split: Split, peer: Peer) -> dict[str, Any]:
    """Fit a peer on the training rows of a split of a study, and score it on the test rows.

    X lacks the column that is privileged there, where that is chosen within every training fold.

    Returns
    -------
    peer, version (of its package), repeat, fold, n_train, n_test, seconds, the metrics of the target, and prediction:
    [n_test, K] probabilities or [n_test, 1] numbers.

    Raises
    ------
    Whatever the package raises.
    """
    X = data.X
    if data.chooses_privileged:
        X = X.drop(columns=Prepared(data, options, [split]).privileged_names(0))
    classes = None if data.classes is None else len(data.classes)
    seed = int(rng.keys(options.seed, _PEERS, split.repeat, split.fold)[0] >> np.uint64(33))
    fitted = fit(
        peer, X.iloc[split.train], data.y[split.train], classes, seed=seed, threads=torch.get_num_threads(),
        device=options.device,
    )  # fmt: skip
    prediction, truth = fitted.predict(X.iloc[split.test]), data.y[split.test]
    scores = (
        metrics.regression(prediction[:, 0], truth) if classes is None else metrics.classification(prediction, truth)
    )
    return {
        "peer": peer.name, "version": peer.version, "repeat": split.repeat, "fold": split.fold,
        "n_train": len(split.train), "n_test": len(split.test), "seconds": fitted.seconds, **scores,
        "prediction": prediction,
    }  # fmt: skip
