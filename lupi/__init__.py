"""Learning using privileged information: multi-task distillation whose gains can be trusted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lupi.estimators.distiller import PrivilegedDistiller
    from lupi.estimators.predictors import PrivilegedClassifier, PrivilegedRegressor
    from lupi.estimators.search import PrivilegedSearchCV

__version__ = "0.1.0"
_PLACES = {
    "PrivilegedClassifier": "lupi.estimators",
    "PrivilegedDistiller": "lupi.estimators.distiller",
    "PrivilegedRegressor": "lupi.estimators",
    "PrivilegedSearchCV": "lupi.estimators.search",
}
__all__ = ["PrivilegedClassifier", "PrivilegedDistiller", "PrivilegedRegressor", "PrivilegedSearchCV"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:  # whose imports take long
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
