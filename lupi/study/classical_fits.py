"""Models that are fitted one by one: the classical methods, which have no epochs, no seed and no members.

They fit all training rows of a split, those too that stop the networks early, as the networks read them: standardised
on these rows, missing cells at the mean.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.methods.classical import CLASSICAL, Fit, logistic_tpd, svm_plus
from lupi.study.preparation import Prepared

Floats = npt.NDArray[np.float64]
Chosen = tuple[Floats, npt.NDArray[np.intp]]  # arrays [V, n, ...], and which of the V every model reads (-1: none)

#: θ of SVM+. As published (θ = ∞) it learns nothing on noisy rows, unless a linear function of Z tells which are hard;
#: 1 is the ordinary machine, which does not read Z. Where the hinge losses of the ordinary machine exceed 1/θ in the
#: mean, one slack for all rows is cheaper than the machine: beyond 1.5 that happens on real data.
THETA = 1.5

_SURE = 1e-7  # what is left for the other classes where a training set has one alone


@dataclasses.dataclass(frozen=True)
class ClassicalFit:
    """Log-odds or log-probabilities [n, C] for the test rows of a split, and the seconds it took to fit."""

    output: Floats
    seconds: float


def fit_all(
    prepared: Prepared,
    table: pd.DataFrame,
    privileged: Chosen,
    soft_labels: tuple[Floats | None, npt.NDArray[np.intp]],
    progress: Callable[[int], None] | None = None,
) -> list[ClassicalFit]:
    """Fit the rows of `table`, a part of the design table.

    Without Z (the twin "absent") LRIT+ and LR+ are the plain logistic regression, and SVM+ is the ordinary machine of
    cost θ C, as long as its α_i do not exceed ΣC_i in all (the hinge losses are then small; see `svm_plus.solve`).

    privileged : the blocks of Z [V, n, Q]; soft_labels : those of the teachers [V, n, C], None where there are none.
    """
    (blocks, z_of), (labels, labels_of) = privileged, soft_labels
    fits = []
    for i, row in enumerate(table.to_dict("records")):
        s, rows = row["split"], prepared.splits[row["split"]].train
        z = np.zeros((len(rows), 0))
        if z_of[i] >= 0:
            center, scale = prepared.z_units(s, -1, row["version"])
            z = np.nan_to_num((blocks[z_of[i], rows] - center) * scale, nan=0.0)
        soft = None if labels is None or labels_of[i] < 0 else labels[labels_of[i], rows] / row["temperature"]
        start = time.perf_counter()
        output = _output(prepared, s, _fit(row), z, soft)
        fits.append(ClassicalFit(output, time.perf_counter() - start))
        if progress is not None:
            progress(1)
    return fits


def _fit(row: Mapping[Any, Any]) -> Fit:
    """The method of a row."""
    if row["fits"] == "SVM+":
        return functools.partial(svm_plus, theta=THETA)
    if row["fits"] == "logistic-TPD":
        return functools.partial(logistic_tpd, repulsion=row["repulsion"])
    return CLASSICAL[row["fits"]]


def _output(prepared: Prepared, s: int, fit: Fit, z: Floats, soft_labels: Floats | None) -> Floats:
    """What `fit` says of the test rows of a split [n, C]."""
    split, data = prepared.splits[s], prepared.data
    assert data.classes is not None
    y, classes = data.y[split.train], len(data.classes)
    if (y == y[0]).all():
        sure = np.full((len(split.test), classes), np.log(_SURE))
        sure[:, y[0]] = 0.0
        return sure[:, 1:] - sure[:, :1] if classes == 2 else sure
    weights = prepared.training_set(s).class_weights[y]
    model = fit(prepared.standardised_x(s, split.train), z, y, classes, soft_labels, weights)
    return model.decision(prepared.standardised_x(s, split.test))
