# # Why does the student still err?
#
# MT predicts the privileged number z from X, then the class from X and ẑ. Where it errs although the teacher, who sees
# the true z, is right, either ẑ led it astray or something else did. The teacher can tell: *DC*, the distance to
# change, is the signed smallest shift of z that changes the teacher's class; *DR*, the distance to real, is ẑ - z.

from pathlib import Path

import datasets
from lupi import PrivilegedClassifier
from studies.report.figures import distances, style

data = datasets.load("noisy-feature:n=400,d=5,z_noise=1,seed=2")
student = PrivilegedClassifier(preset="paper", method="MT", lr=0.005, dtype="float64", random_state=0)
diagnosis = student.diagnose(data.X, data.y, data.Z, folds=5, repeats=1, twins=[])
print(f"error: lower {diagnosis.lower:.3f}, MT {diagnosis.error:.3f}, upper {diagnosis.upper:.3f}")
# > error: lower 0.123, MT 0.128, upper 0.045

# ## Which errors did the prediction of z cause?
#
# On the way from z to ẑ the teacher itself changes its class (caused), or it does not (own), or it errs too (both).

errors = diagnosis.errors()
print(errors[["errors", "both", "caused", "own"]].sum().to_dict())
# > {'errors': 51, 'both': 14, 'caused': 31, 'own': 6}

# ## Every row
#
# A point is a row of the data. Those without a DC have no value of z in the observed range that would change the
# teacher's class: no error of ẑ could have caused theirs.

points = diagnosis.points()
beyond = (points["dc"] * points["dr"] > 0) & (points["dr"].abs() >= points["dc"].abs())
print(len(points), "rows,", int(points["dc"].isna().sum()), "without DC,", int(beyond.sum()), "with DR beyond DC")
# > 400 rows, 0 without DC, 37 with DR beyond DC
print(points["agreement"].value_counts().to_string())
# > agreement
# > all agree                       345
# > student errs alone               37
# > both err                         14
# > student right, teacher wrong      4

figure = distances.dc_dr(points.assign(dataset="noisy-feature", method="MT"), "MT", "z1")
style.save(figure, Path("."), "dc-dr")
