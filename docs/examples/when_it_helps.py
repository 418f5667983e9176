# # When privileged information helps, and when it does not
#
# On simulated truth it is known what Z is worth. Generalized distillation as published by Lopez-Paz et al. (ICLR 2016):
# a logistic student imitates the soft labels of a logistic teacher that sees Z alone, λ = 1.

import datasets
from lupi import PrivilegedClassifier

student = PrivilegedClassifier(
    preset="paper", method="GD", imitation=1.0, regressor_layers=(), classifier_layers=(), lr=0.01, epochs=500,
    dtype="float64",
    random_state=0,
)  # fmt: skip


def judge(name, method="GD", **settings):
    data = datasets.load(name)
    model = student.set_params(method=method, **settings)
    diagnosis = model.diagnose(data.X, data.y, data.Z, folds=5, repeats=2, twins=["shuffled", "absent"])
    print(
        f"lower {diagnosis.lower:.2f}, {method} {diagnosis.error:.2f}, upper {diagnosis.upper:.2f}: {diagnosis.verdict}"
    )


# ## Z says which features to read
#
# 50 features, of which three decide; Z is these three. A teacher that sees them alone is nearly perfect, and 200 rows
# with its soft labels teach the student what 200 rows of 0 and 1 do not. `upper`, which has to find the three among all
# that X and Z hold, is no bound here: GD's teacher never looks at the rest.

judge("relevant-features:n=200,seed=1")
# > lower 0.40, GD 0.06, upper 0.27: helps

# ## Z is the label without its noise
#
# Z is the distance to the boundary before the labels were made.

judge("clean-labels:n=200,seed=1")
# > lower 0.19, GD 0.08, upper 0.17: helps

# ## Z says nothing about the class
#
# Z is made of directions of X that the class does not depend on. A student that does nothing but imitate a teacher on
# Z alone is worse off than without it. One that has true labels too is safe, and gains nothing: there is nothing.

judge("null:n=200,seed=1")
# > lower 0.15, GD 0.51, upper 0.15: hurts
judge("null:n=200,seed=1", "MT")
# > lower 0.15, MT 0.15, upper 0.15: no evidence

# These are single draws, and the numbers of epochs and learning rates were chosen so that the verdicts can be seen with
# so few repeats. How often `helps` is said on null data, and how often where there is something to gain, is
# measured over many: `python benchmarks/calibration.py`.
