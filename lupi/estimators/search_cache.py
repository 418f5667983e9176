"""The cache of a search: students trained beforehand, which its fits then take.

A search trains all its candidates on all its folds at once, and after that runs scikit-learn's own loop of fits and
scores, in which every fit finds its result here. A fit that finds nothing trains as usual.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from lupi.estimators import tabular

#: (parameters, rows) -> the attributes of the fitted estimator, or the error of its fit.
Cache = dict[tuple[str, str], dict[str, Any] | ValueError]

_cache: ContextVar[Cache | None] = ContextVar("cache", default=None)


@contextlib.contextmanager
def using(cache: Cache) -> Iterator[None]:
    """Let fits find their results in `cache`."""
    token = _cache.set(cache)
    try:
        yield
    finally:
        _cache.reset(token)


def recall(estimator: BaseEstimator, *fit_arguments: Any) -> bool:
    """Set the attributes that this fit would, if they are known.

    Raises
    ------
    ValueError : the one that this fit would raise, if it is known to.
    """
    cache = _cache.get()
    if cache is None:
        return False
    result = cache.get((parameters_of(estimator), digest_of(*fit_arguments)))
    if result is None:
        return False
    if isinstance(result, ValueError):
        raise result
    vars(estimator).update(result)
    return True


def parameters_of(estimator: BaseEstimator) -> str:
    """What tells an estimator from others, as text."""
    return f"{type(estimator).__qualname__} {sorted(estimator.get_params(deep=False).items())!r}"


def digest_of(*fit_arguments: Any) -> str:
    """What tells the rows that a fit is given from others."""
    digest = hashlib.sha256()
    for values in fit_arguments:
        digest.update(b"nothing" if values is None else _bytes(values))
    return digest.hexdigest()


def _bytes(values: Any) -> bytes:
    if np.ma.isMaskedArray(values):
        return _bytes(np.ma.getdata(values)) + np.ma.getmaskarray(values).tobytes()
    if isinstance(values, np.ndarray) and values.dtype != object:
        return str((values.dtype, values.shape)).encode() + np.ascontiguousarray(values).tobytes()
    table = tabular.as_dataframe(values, "a table") if np.ndim(values) != 1 else pd.DataFrame({"y": np.asarray(values)})
    hashes = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return str((list(table.columns), list(table.dtypes), table.shape)).encode() + hashes.tobytes()
