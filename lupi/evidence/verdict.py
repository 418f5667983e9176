"""The rule that judges a method, and the sentence that says its verdict: the same for a study and for a diagnosis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from lupi.evidence.differences import ALPHA, Comparison, Paired, detectable
from lupi.evidence.metric_table import METRICS, Metric

HELPS = "helps"
NOT_THROUGH = "helps, but not through the information"
UNKNOWN = "better, cause unknown"
NO_EVIDENCE = "no evidence"
HURTS = "hurts"
VERDICTS = (HELPS, NOT_THROUGH, UNKNOWN, NO_EVIDENCE, HURTS)

# ---------------------------------------------------------------------- the rule


def better_than_all(lower: Comparison | None, twins: Mapping[str, Comparison | None]) -> float:
    """p of the intersection-union test: better than lower and than every twin, so the largest `p_better` of them.

    The hypothesis is that at least one of them is as good; as each is tested at the full level, no correction for their
    number is needed. NaN without twins, or where one comparison could not be made.
    """
    comparisons = [lower, *twins.values()]
    if not twins or any(comparison is None for comparison in comparisons):
        return float("nan")
    return max(comparison.p_better for comparison in comparisons if comparison is not None)


def hardest_twin(twins: Mapping[str, Comparison | None]) -> str | None:
    """The twin that is hardest to beat: the largest `p_better`, of equal ones the smallest difference."""
    known = {name: twin for name, twin in twins.items() if twin is not None}
    return max(known, key=lambda name: (known[name].p_better, -known[name].mean)) if known else None


def verdict(
    lower: Comparison | None,
    adjusted: float,
    twins: Mapping[str, Comparison | None],
    adjusted_all: float,
    alpha: float = ALPHA,
) -> str:
    """What is to be said of a method: one of `VERDICTS`.

    `adjusted` decides whether it is better or worse than lower, `adjusted_all` whether it `helps`: is better than lower
    and than all its twins. A method that is better than lower, but than one of its twins not even by that comparison's
    own p, helps, but not through the information. Else the cause is unknown: there are no twins, or one that was not
    beaten might be missing, or all were beaten, but not clearly enough among so many methods.

    Parameters
    ----------
    lower : comparison with the lower bound; None: none could be made.
    adjusted : its p, by Holm's procedure over the methods of the data set.
    twins : comparisons with the twins that have none of the information; None: that one could not be made.
    adjusted_all : `better_than_all`, by Holm's procedure over the methods.
    """
    if lower is None or not adjusted <= alpha:
        return NO_EVIDENCE
    if lower.mean < 0:
        return HURTS
    if adjusted_all <= alpha:
        return HELPS
    unbeaten = any(twin is not None and twin.p_better > alpha for twin in twins.values())
    return NOT_THROUGH if unbeaten else UNKNOWN


# ---------------------------------------------------------------------- a method and its sentence


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A method, and all that its verdict rests on.

    Parameters
    ----------
    method : its name.
    lower : the comparison with the lower bound; None: it was not trained.
    twins : comparisons with the twins that have none of the information (its placebo controls); None: that one could
        not be made.
    adjusted, adjusted_all : p of `lower`, and `better_than_all`, by Holm's procedure over the methods of the family.
    compared : so many methods are in the family.
    metric : what is compared.
    uses_z : False: the method has no use for privileged information.
    """

    method: str
    lower: Paired | None
    twins: Mapping[str, Comparison | None]
    adjusted: float
    adjusted_all: float
    compared: int = 1
    metric: Metric = METRICS["error"]
    uses_z: bool = True

    @property
    def level(self) -> float:
        """The level of the first step of Holm's procedure."""
        return ALPHA / max(self.compared, 1)

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        test = self.lower.test if self.lower else None
        by_rule = verdict(test, self.adjusted, self.twins, self.adjusted_all)
        return NOT_THROUGH if by_rule == UNKNOWN and not self.uses_z else by_rule

    @property
    def detectable(self) -> float:
        """The true difference to lower that would be found in 80 % of such studies; NaN where there is no variance."""
        return detectable_difference(self.lower, self.level)

    @property
    def sentence(self) -> str:
        """What a practitioner needs to know of the verdict, with the figures that it rests on."""
        lower, name = self.lower, self.method
        if lower is None:
            return f"{name}: the lower bound is not in the study, and nothing can be said without it."
        if lower.test is None:
            there = "there is 1" if lower.splits == 1 else "there are none"
            return f"{name}: a test needs two splits in which both {name} and lower have a number; {there}."
        if self.verdict == NO_EVIDENCE:
            said = self._no_evidence(lower.test)
        elif self.verdict == HURTS:
            said = f"{name} {self.metric.worse} lower by {amount(lower.test, -1.0)}."
        else:
            said = f"{name} {self.metric.better} lower by {amount(lower.test)}{self._cause(lower.test)}."
        missing = f" Over {lower.splits} of {lower.of} splits; in the others a number is missing."
        return said + (missing if lower.splits < lower.of else "")

    def _no_evidence(self, test: Comparison) -> str:
        start = f"No evidence that {self.method} differs from lower in {self.metric.title}"
        if test.standard_error == 0:
            equal = "they do equally well in every split."
            return f"{start}: {equal if test.mean == 0 else f'difference {amount(test)}, too few to tell.'}"
        start += f": difference {amount(test)}"
        if test.p <= ALPHA:
            start += f", not enough for one of {self.compared} methods (p {self.adjusted:.2g} after Holm's correction)"
        possible = number(self.detectable, decimals(test.low, test.high))
        return f"{start}; a true difference of {possible} would have been found with a probability of 80 %."

    def _cause(self, lower: Comparison) -> str:
        """The second half of the sentence on a method that is better than lower: is the information the cause?"""
        if not self.uses_z:
            return ", and it uses no privileged information: the gain does not come from there"
        if not self.twins:
            return ", but without control twins (placebo controls) it stays open whether the information is the cause"
        hardest = hardest_twin(self.twins)
        twin = self.twins[hardest] if hardest else None
        silent = " and ".join(name for name, test in self.twins.items() if test is None)
        if twin is None or (self.verdict == UNKNOWN and silent):
            return f", but without a test against its twin {silent} it stays open whether the information is the cause"
        difference = "difference " + amount(twin, form="{}, {} to {}")
        closest = f"than each of its twins ({', '.join(self.twins)}; hardest to beat {hardest}: {difference})"
        if self.verdict == HELPS:
            return f", and {closest}: the gain comes from the information"
        if self.verdict == UNKNOWN:
            return (
                f", and {closest}, but not clearly enough for one of {self.compared} methods "
                f"(p {self.adjusted_all:.2g} after Holm's correction): it stays open whether the information is the "
                "cause"
            )
        if twin.mean <= lower.mean / 4:
            return f", but its {hardest} twin does as well ({difference}): the gain does not come from the information"
        return (
            f", but is not shown to be better than its {hardest} twin ({difference}): the gain cannot be put down to "
            "the information"
        )


def detectable_difference(paired: Paired | None, level: float) -> float:
    """`detectable` of a comparison; NaN where there is no variance to tell it from."""
    if paired is None or paired.test is None or paired.test.standard_error == 0:
        return float("nan")
    return detectable(paired.test.standard_error, paired.test.df, level)


def nothing_to_gain(possible: Paired, metric: Metric) -> str:
    """What to say where the upper bound is not shown to be better than the lower (`gain.upper_is_better`)."""
    test = possible.test
    by = (
        "too few splits have a number"
        if test is None
        else "difference " + amount(test, form="{}, 95 % interval {} to {}")
    )
    return (
        f"It is not clear that upper, which sees the true Z, {metric.better} lower ({by}): with these networks it is "
        "not shown that there is anything to gain from Z, and no LUPI gain is given."
    )


# ---------------------------------------------------------------------- numbers in sentences


def amount(test: Comparison, sign: float = 1.0, form: str = "{} (95 % interval {} to {})") -> str:
    """A difference and its 95 % interval, or in how many splits it was the same."""
    if test.standard_error == 0:
        return f"{number(sign * test.mean, 3)} in each of {test.df + 1} splits"
    low, high = sorted((sign * test.low, sign * test.high))
    return interval(sign * test.mean, low, high, form)


def interval(mean: float, low: float, high: float, form: str) -> str:
    """A difference and its 95 % interval, with the decimals that it deserves."""
    return form.format(*(number(value, decimals(low, high)) for value in (mean, low, high)))


def decimals(low: float, high: float) -> int:
    """How many decimals an interval deserves: two digits of its half width, but three where that is below 1."""
    half = (high - low) / 2
    digits = 1 - int(np.floor(np.log10(half))) if half > 0 else 3
    return min(max(digits, 0 if half >= 1 else 3), 9)


def number(value: float, places: int) -> str:
    """Rounded; a rounded 0 has no sign."""
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text
