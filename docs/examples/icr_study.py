# # ICR: health records with greeks
#
# Kaggle's ICR data are 617 health records with 56 measurements and a class; the *greeks* (Beta, Gamma, Delta) are known
# for the training rows alone. Without Kaggle's files `load` gives simulated rows, and says so. This is the study of
# `python MT_main.py --dataset icr` in small: one repeat, four methods, one twin.

import pandas as pd

import datasets
from lupi.methods.options import StudyOptions
from lupi.study.run import run, splits_of

data = datasets.load("icr-simulated")
print(data.X.shape, list(data.Z.columns), data.fingerprint()["classes"])
# > (617, 56) ['Beta', 'Gamma', 'Delta'] {'0': 509, '1': 108}

# ## Leaks first
#
# A privileged column that determines the class makes the teacher a copy of the labels: its soft labels say nothing new,
# and the distance from `lower` to `upper` is no measure of what can be gained.

print(data.determining_columns())
# > ['Gamma']

# ## Every method beside its shuffled twin
#
# `shuffled` is the same method with the rows of Z permuted over the training rows. Double precision makes the digits
# the same on other machines.

options = StudyOptions(
    methods=("lower", "upper", "PFD", "MT"), twins=("shuffled",), folds=4, repeats=1, lr=0.005, dtype="float64"
)
found = run(data, options, splits_of(data, options, range(options.repeats)))
table = pd.DataFrame(found.records).groupby(["method", "control"], sort=False)[["error", "auc"]].mean()
print(table.round(3).to_string())
# >                  error    auc
# > method control
# > lower  none      0.143  0.884
# > upper  none      0.042  0.969
# > PFD    none      0.131  0.896
# >        shuffled  0.146  0.892
# > MT     none      0.135  0.890
# >        shuffled  0.133  0.890

# What PFD and MT gain over `lower` here, their twins gain as well, or the four splits cannot tell them apart: the
# verdict of the whole study (`python MT_main.py --dataset icr`) on these rows is `no evidence` for every method.
