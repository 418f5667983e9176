"""Which of several trained students to deploy: chosen on out-of-fold losses, ties to the plain network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lupi.estimators.student_training import Job, Outcome

Floats = npt.NDArray[np.float64]

_LEVEL = 0.05  # of the chance to prefer some student to the plain network where none is better


@dataclasses.dataclass(frozen=True)
class Choice:
    """The job that is chosen, and why.

    place : among the jobs. scores : method -> mean out-of-fold loss (empty where there was no choice).
    """

    place: int
    why: str
    scores: dict[str, float]


def choose(jobs: Sequence[Job], results: Sequence[Outcome | ValueError]) -> Choice:
    """The student of least out-of-fold loss, where it is better than the plain network, the first job, beyond noise.

    Better beyond noise: the paired differences of the rows' losses have a mean that is larger than their standard error
    by as much as one of the students reaches by chance in 5 % of all cases at most (Bonferroni). The loss of a row is
    its log loss, or its squared error in units of the variance of y.
    """
    names = [job.options.weighed_methods[0].name for job in jobs]
    if len(jobs) == 1:
        why = "as asked." if jobs[0].read.features[1] else "there is nothing privileged to learn from."
        return Choice(0, f"{names[0]}: {why}", {})
    losses = {
        name: outcome.losses
        for name, outcome in zip(names, results, strict=True)
        if isinstance(outcome, Outcome) and outcome.losses is not None
    }
    plain = losses.get(names[0])
    scores = {name: float(np.mean(of_rows)) for name, of_rows in losses.items()}
    if plain is None or len(losses) == 1:
        return Choice(0, f"{names[0]}: no student could be trained.", scores)
    best = min((name for name in scores if name != names[0]), key=scores.__getitem__)
    gain, error = _mean_and_error(plain - losses[best])
    needed = NormalDist().inv_cdf(1.0 - _LEVEL / (len(losses) - 1)) * error
    told = f"{scores[best]:.4f} against {scores[names[0]]:.4f}"
    if gain > needed:
        return Choice(names.index(best), f"{best} has the least out-of-fold loss: {told} of {names[0]}.", scores)
    return Choice(
        0,
        f"{names[0]}: the best student, {best}, is not better beyond noise (out-of-fold loss {told}; a gain of "
        f"{gain:.4f}, and {needed:.4f} is needed).",
        scores,
    )


def _mean_and_error(differences: Floats) -> tuple[float, float]:
    """Mean of the differences [n] and its standard error."""
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
