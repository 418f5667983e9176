"""The metrics of a study, one row each: what it is called, which way is better, and in which tables it stands.

The formulas are in `lupi.evidence.metrics`. Nothing heavy is imported here, as the commands read this table for --help.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

Target = Literal["classes", "number"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric of an arm on the test rows of a split.

    Parameters
    ----------
    name : column of the store's results.
    title : as people read it.
    of : "target", "privileged" (how well Z is predicted) or "training". Methods are compared by those of the target.
    targets : kinds of target that have it.
    larger_is_better : False: it is a loss.
    unit : of its values; "" where it has none.
    decimals, spread : how tables write it: with so many decimals, with or without the standard deviation over splits.
    listed : whether it stands in the table of every study. The others stand in it where methods are compared by them.
    title_of_number : its title where the target is a number, if that is another.
    """

    name: str
    title: str
    of: Literal["target", "privileged", "training"] = "target"
    targets: tuple[Target, ...] = ("classes",)
    larger_is_better: bool = False
    unit: str = ""
    decimals: int = 3
    spread: bool = True
    listed: bool = True
    title_of_number: str = ""

    def title_for(self, target: Target) -> str:
        return self.title_of_number if self.title_of_number and target == "number" else self.title

    @property
    def better(self) -> str:
        """How a sentence says that an arm is better: "MT <errs less than> lower"."""
        return self._than("higher" if self.larger_is_better else "lower")

    @property
    def worse(self) -> str:
        return self._than("lower" if self.larger_is_better else "higher")

    def _than(self, direction: str) -> str:
        if self.name == "error":
            return "errs less than" if direction == "lower" else "errs more than"
        return f"has a {direction} {self.title} than"


_BOTH: tuple[Target, ...] = ("classes", "number")

#: By name, in the order of the tables.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("error", "error", targets=_BOTH, unit="share of rows, or that of y", title_of_number="RMSE"),
        Metric("auc", "AUC", larger_is_better=True),
        Metric("log_loss", "log loss", unit="nats", listed=False),
        Metric("balanced_log_loss", "balanced log loss", unit="nats"),
        Metric("brier", "Brier score", listed=False),
        Metric("calibration_error", "calibration error", listed=False),
        Metric("mae", "MAE", targets=("number",), unit="that of y"),
        Metric("r2", "R²", targets=("number",), larger_is_better=True),
        Metric("z_mae", "ẑ MAE (sd)", "privileged", _BOTH, unit="standard deviations"),
        Metric("z_error", "ẑ error", "privileged", _BOTH, unit="share of rows"),
        Metric("epochs", "epochs", "training", _BOTH, decimals=0, spread=False),
        Metric("seconds", "seconds a split, shared by the batch", "training", _BOTH, unit="s", spread=False),
    )
}

#: Those that methods can be compared by.
COMPARED = tuple(metric.name for metric in METRICS.values() if metric.of == "target")


def compared_by(name: str) -> Metric:
    """The metric that methods are compared by; ValueError where they cannot be."""
    if name not in COMPARED:
        raise ValueError(f"metric must be one of {', '.join(COMPARED)}; found {name!r}.")
    return METRICS[name]
