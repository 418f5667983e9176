# # Your own data, with scikit-learn
#
# A DataFrame with columns that will not be there when the model is used: here the laboratory values of a patient, which
# come back after the decision. The table is made up, so that the example needs no file.

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from lupi import PrivilegedClassifier

draw = np.random.default_rng(0)
n = 400
state = draw.normal(size=n)
table = pd.DataFrame({
    "age": (55 + 10 * draw.normal(size=n)).round(),
    "pressure": 120 + 8 * (state + draw.normal(size=n)),
    "pulse": 70 + 6 * (state + draw.normal(size=n)),
    "smoker": pd.Categorical(draw.choice(["no", "yes"], n)),
    "lab": state + 0.3 * draw.normal(size=n),
    "ill": np.where(state + 0.5 * draw.normal(size=n) > 0.5, "ill", "well"),
})  # fmt: skip
table.loc[draw.choice(n, 20, replace=False), "lab"] = np.nan  # some were never measured

X, y, Z = table[["age", "pressure", "pulse", "smoker"]], table["ill"], table[["lab"]]
X_train, X_test, y_train, y_test, Z_train, _ = train_test_split(X, y, Z, random_state=0, stratify=y)

# ## Fit, predict
#
# Categories, missing cells and scales need no preparation. The privileged columns go to `fit`, and nowhere else.

student = PrivilegedClassifier(preset="paper", method="MT", lr=0.01, dtype="float64", random_state=0)
student.fit(X_train, y_train, privileged=Z_train)
print(student.classes_, student.privileged_names_in_, round(student.score(X_test, y_test), 2))
# > ['ill' 'well'] ['lab'] 0.81

# ## Search and cross-validate
#
# `privileged` is sliced with X. A grid over ε, the weight of the privileged task:

search = GridSearchCV(student, {"epsilon": [0.1, 1.0, 10.0]}, cv=3, scoring="neg_log_loss")
search.fit(X_train, y_train, privileged=Z_train)
print(len(search.cv_results_["params"]), "candidates, best:", search.best_params_)
# > 3 candidates, best: {'epsilon': 0.1}

scores = cross_val_score(student, X, y, cv=3, params={"privileged": Z})
print("accuracy", round(scores.mean(), 2))
# > accuracy 0.81

# In a pipeline the name of the step stands before it (with metadata routing switched on it does not):

pipeline = make_pipeline(FunctionTransformer(), student)
pipeline.fit(X_train, y_train, privilegedclassifier__privileged=Z_train)

# ## Is it the information that helps?
#
# `diagnose` trains the method beside its bounds and its control twins, and gives the verdict.

diagnosis = student.diagnose(X, y, Z, folds=4, repeats=1, twins=["shuffled", "absent"])
print(diagnosis.verdict)
# > no evidence
print(diagnosis.comparisons().round(3).to_string(index=False))
# >  against  mean    low  high     p
# >    lower 0.008 -0.016 0.031 0.381
# > shuffled 0.005 -0.046 0.056 0.774
# >   absent 0.012 -0.024 0.049 0.355
