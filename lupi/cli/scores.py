"""Out-of-fold scores of a fitted student, and of models of other makers on the same rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from lupi import PrivilegedClassifier, PrivilegedRegressor, rng
from lupi.data import splits
from lupi.data.privileged_data import PrivilegedData
from lupi.evidence import metrics
from lupi.study import peers

log = logging.getLogger("lupi")

Floats = npt.NDArray[np.float64]
Scores = dict[str, float]

#: Folds of the cross-validation of peers.
FOLDS = 5
_PEERS = 111  # stream of the seed that draws a peer's own

#: Peers that are scored where none is named.
OF_SCIKIT_LEARN = ("linear", "random-forest", "HistGradientBoosting")


def of_student(student: PrivilegedClassifier | PrivilegedRegressor, data: PrivilegedData) -> Scores | None:
    """Scores of the training rows by members that did not fit on them; None without bagging."""
    if isinstance(student, PrivilegedRegressor):
        held_out = student.oof_prediction_
        return None if held_out is None else _scores(held_out[:, None], data)
    balanced = student.target_prior == "balanced" or student.class_weight is not None
    return None if student.oof_proba_ is None else _scores(student.oof_proba_, data, classes_alike=balanced)


def _scores(predicted: Floats, data: PrivilegedData, classes_alike: bool = False) -> Scores:
    """Scores of probabilities [n, K], or numbers [n, 1].

    classes_alike : whether the probabilities are for classes of equal frequency. Of others the balanced log loss
        divides the odds by the frequencies first.
    """
    if data.classes is None:
        found = metrics.regression(predicted[:, 0], data.y)
        return {"rmse": found["error"], "mae": found["mae"], "r2": found["r2"]}
    prior = np.bincount(data.y, minlength=len(data.classes)) / len(data.y)
    found = metrics.classification(predicted, data.y, None if classes_alike else prior)
    return {name: found[name] for name in ("log_loss", "error", "balanced_log_loss")}


def check_peers(names: Sequence[str], data: PrivilegedData) -> list[peers.Peer]:
    """The peers of these names, those of scikit-learn without any.

    Raises
    ------
    ValueError : for a name that no peer has, a peer that is not installed, and rows too few for the folds.
    """
    there, absent = peers.installed(names or OF_SCIKIT_LEARN)
    if absent:
        listed = ", ".join(peer.name for peer in absent)
        raise ValueError(f"--peers: {listed} must be installed: pip install 'lupi[peers]'; or name others.")
    splits.check_folds(data, FOLDS)
    return there


def of_peer(peer: peers.Peer, data: PrivilegedData, seed: int, device: str) -> tuple[Scores, float] | None:
    """Scores of all rows by cross-validation in `FOLDS` folds, X alone, and the seconds of its fits; None where it
    fails, which is logged."""
    classes = None if data.classes is None else len(data.classes)
    predicted, seconds = np.empty((len(data.y), classes or 1)), 0.0
    for split in splits.outer_splits(data, FOLDS, 0, 0, seed):
        own = int(rng.keys(seed, _PEERS, split.fold)[0] >> np.uint64(33))
        rows = data.X.iloc[split.train]
        try:
            fitted = peers.fit(
                peer, rows, data.y[split.train], classes, seed=own, threads=torch.get_num_threads(), device=device
            )
            predicted[split.test] = fitted.predict(data.X.iloc[split.test])
        except Exception as error:  # of a package of another maker: the student is kept all the same
            log.warning("%s failed and is left out: %s", peer.name, error)
            return None
        seconds += fitted.seconds
    return _scores(predicted, data), seconds
