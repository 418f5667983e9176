"""scikit-learn estimators that train as a study does: classifier, regressor, search, distiller."""

from lupi.estimators.distiller import PrivilegedDistiller
from lupi.estimators.predictors import PrivilegedClassifier, PrivilegedRegressor
from lupi.estimators.search import PrivilegedSearchCV

__all__ = ["PrivilegedClassifier", "PrivilegedDistiller", "PrivilegedRegressor", "PrivilegedSearchCV"]
