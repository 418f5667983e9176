"""Leaks: privileged columns, or all of Z, that give the target away, so that a teacher is a copy of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lupi.evidence.metric_table import Metric


@dataclasses.dataclass(frozen=True)
class Leak:
    """What gives the target away.

    columns : the privileged columns by name; none: X and Z together do.
    why : a sentence on how this is known, and what follows.
    """

    columns: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return self.why


def leaks_of_columns(names: Sequence[str]) -> tuple[Leak, ...]:
    """A leak for every privileged column whose value determines the class (`PrivilegedData.determining_columns`)."""
    return tuple(
        Leak(
            (name,),
            f"The privileged column {name} determines the target: a teacher that sees it is a copy of the labels, and "
            "the upper bound says nothing of what can be gained. --privileged chooses other columns.",
        )
        for name in names
    )


def leak_of_bounds(upper: float, lower: float, metric: Metric, numeric: bool) -> Leak | None:
    """A leak where the upper bound, on X and Z, is all but perfect: a teacher is then a copy of the target.

    It is where its mean loss is less than a tenth of that of the lower bound, or where it errs in less than 0.5 % of
    the rows. The loss of a metric of which more is better is its distance from 1.

    Parameters
    ----------
    upper, lower : means over the splits by the metric.
    numeric : whether the target is a number.
    """
    loss, loss_of_lower = (1.0 - value if metric.larger_is_better else value for value in (upper, lower))
    errs_never = metric.name == "error" and not numeric and loss < 0.005
    if not (loss < 0.1 * loss_of_lower or errs_never):
        return None
    if metric.name == "error" and not numeric:
        figures = f"errs in {100 * upper:.2g} % of rows (lower in {100 * lower:.3g} %)"
    else:
        title = metric.title_for("number" if numeric else "classes")
        article = "an" if title[0] in "AeMR" else "a"  # an AUC, an error, an MAE, an RMSE
        figures = f"has {article} {title} of {upper:.3g} where lower has {lower:.3g}"
    follows = (
        "A teacher's predictions are the target itself: distillation passes on nothing that the target does not say."
        if numeric
        else "A teacher's soft labels are then the labels, and add nothing to them; TPD's weights |logit t| are large "
        "in all rows."
    )
    return Leak(
        (),
        f"upper, which sees the true Z, {figures}: X and Z all but determine the target. {follows} Would Z really be "
        "known before the target is?",
    )
