"""Adapter for torchjd: its other aggregators and scalarizers by class name. The only file that imports torchjd.

It loops over models and is slower than the strategies of this package. An aggregator can be had where the Gramian
determines its weights: those that torchjd itself computes from the Gramian or from the number of tasks, and ConFIG,
which lies in the span of the gradients and turns with them, so that any J with JJᵀ = G gives its weights.
"""

from __future__ import annotations

import abc
import importlib
import importlib.metadata
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lupi import rng
from lupi.balancing.base import Family, Knob, State, Step, Strategy, Values

PREFIX = "torchjd:"
INSTALL = 'pip install "torchjd>=0.18,<0.19"'
STREAM = 18

#: Numbers that a class cannot do without; all other settings stay at torchjd's defaults.
KNOBS = {
    "CAGrad": (Knob("c", 0.5, 0.0, 1e3, "radius of the ball about the mean gradient, relative to its length"),),
    "FairGrad": (Knob("alpha", 2.0, 0.0, 1e3, "0 is the mean, 1 proportional fairness, ∞ the worst-off task alone"),),
    "Krum": (Knob("n_byzantine", 0, 0, 1e3, "gradients that may be corrupt; 3 more tasks are needed"),),
    "COSMOS": (Knob("lambda_", 1.0, 0.0, 1e3, "weight of the cosine between losses and preference"),),
    "PBI": (Knob("theta", 5.0, 0.0, 1e3, "weight of the distance from the line of equal losses"),),
    "STCH": (Knob("mu", 0.1, 1e-6, 1e3, "smoothness of the maximum of the losses"),),
}
#: Classes that must be given a preference: an equal one.
PREFERENCE = ("COSMOS", "PBI")

NEEDS_JACOBIAN = ("GradDrop", "TrimmedMean")
OURS = {"GradVac": "gradvac", "NashMTL": "nash-mtl", "DWA": "dwa", "UW": "uncertainty", "Constant": "static"}


class _Adapted(Strategy):
    """A class of torchjd, called for one model after another with its present tasks alone.

    Degenerate Gramians and models of one task: as torchjd documents for the class. Random classes draw from a generator
    that is seeded by model and step; the global one is left as it was.
    """

    paper = "torchjd 0.18, the class of this name"
    assumes = "see torchjd's documentation of the class"
    kind: ClassVar[type[Any]]

    def weights(self, step: Step, state: State, values: Values) -> tuple[Tensor, State]:
        weights = torch.zeros_like(step.losses)
        seeds = rng.keys(step.seed, step.number, STREAM) >> np.uint64(1)
        with torch.random.fork_rng(devices=[]):
            for m, seed in enumerate(seeds.tolist()):
                torch.default_generator.manual_seed(seed)
                tasks = step.present[m].nonzero()[:, 0]
                made = self.make(len(tasks), {name: float(value[m]) for name, value in values.items()})
                weights[m, tasks] = self.of_one(made, step, m, tasks).detach().to(weights)
        return weights, state

    def make(self, tasks: int, values: dict[str, float]) -> Any:
        """The object of torchjd for a model with so many tasks."""
        given: dict[str, Any] = {n: round(v) if n == "n_byzantine" else v for n, v in values.items()}
        if self.kind.__name__ in PREFERENCE:
            given["weights"] = torch.full((tasks,), 1 / tasks, dtype=torch.float64)
        return self.kind(**given)

    @abc.abstractmethod
    def of_one(self, made: Any, step: Step, model: int, tasks: Tensor) -> Tensor:
        """Weights of the tasks at positions `tasks` of one model."""


class _FromGramian(_Adapted):
    """An aggregator that torchjd computes from the Gramian."""

    reads_gramian = True

    def of_one(self, made: Any, step: Step, model: int, tasks: Tensor) -> Tensor:
        weights: Tensor = made.gramian_weighting(step.gram[model][tasks][:, tasks].cpu())
        return weights


class _FromRoot(_Adapted):
    """An aggregator in the span of the gradients that turns with them: its result d for a J with JJᵀ = G, in weights.

    Without the directions in which G is 0, J has full column rank; the shortest w with Jᵀw = d is J (JᵀJ)⁻¹ d.
    """

    reads_gramian = True

    def of_one(self, made: Any, step: Step, model: int, tasks: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(step.gram[model][tasks][:, tasks].cpu())
        kept = values > values[-1] * len(tasks) * torch.finfo(values.dtype).eps
        if not kept.any():
            return torch.zeros_like(values)
        root = values[kept].sqrt()
        weights: Tensor = vectors[:, kept] @ (made(vectors[:, kept] * root) / root)
        return weights


class _FromCount(_Adapted):
    """An aggregator that asks for nothing but the number of tasks."""

    def of_one(self, made: Any, step: Step, model: int, tasks: Tensor) -> Tensor:
        weights: Tensor = made.weighting(torch.zeros(len(tasks), 1, dtype=torch.float64))
        return weights


class _FromLosses(_Adapted):
    """A scalarizer: the weights are the slope of the scalar in the losses."""

    def of_one(self, made: Any, step: Step, model: int, tasks: Tensor) -> Tensor:
        with torch.enable_grad():
            losses = step.losses[model, tasks].detach().cpu().requires_grad_()
            slope: Tensor = torch.autograd.grad(made(losses), losses)[0]
            return slope


def torchjd_strategy(name: str) -> Strategy:
    """The strategy "torchjd:Name", of an aggregator or scalarizer of torchjd by its class name, with prefix or without.

    Where both have a class of a name (Mean, Random, Sum) their weights are the same, and it is the aggregator.
    """
    aggregation, scalarization = _torchjd()
    name = name.removeprefix(PREFIX)
    classes = {**_concrete(scalarization, "Scalarizer"), **_concrete(aggregation, "Aggregator")}
    stateful = importlib.import_module("torchjd").Stateful
    refused = {n: _refusal(n, issubclass(c, stateful)) for n, c in classes.items()}
    if name not in classes:
        usable = ", ".join(PREFIX + n for n in sorted(classes) if not refused[n])
        raise ValueError(f"expected one of {usable}; found {PREFIX + name!r}: choose one of these")
    if refused[name]:
        raise ValueError(refused[name])
    kind = classes[name]
    base, family = _route(kind, aggregation)
    made: type[_Adapted] = type(
        name,
        (base,),
        {"__doc__": f"torchjd's {name}.", "name": PREFIX + name, "family": family, "kind": kind}
        | {"knobs": KNOBS.get(name, ())},
    )
    strategy = made()
    strategy.make(2, {knob.name: knob.default for knob in made.knobs})  # what the class itself needs is there
    return strategy


def _route(kind: type[Any], aggregation: ModuleType) -> tuple[type[_Adapted], Family]:
    if issubclass(kind, aggregation.GramianWeightedAggregator):
        return _FromGramian, "gradient"
    if issubclass(kind, aggregation.WeightedAggregator):
        return _FromCount, "loss"
    return (_FromRoot, "gradient") if issubclass(kind, aggregation.Aggregator) else (_FromLosses, "loss")


def _concrete(module: ModuleType, base: str) -> dict[str, type[Any]]:
    """The classes of a module that can be instantiated, by name."""
    parent = getattr(module, base)
    exported = {name: getattr(module, name) for name in module.__all__}
    abstract = (base, "WeightedAggregator", "GramianWeightedAggregator")
    return {n: c for n, c in exported.items() if isinstance(c, type) and issubclass(c, parent) and n not in abstract}


def _refusal(name: str, stateful: bool) -> str:
    """Why a class cannot be had; empty where it can."""
    instead = f": choose {OURS[name]!r}, its counterpart here" if name in OURS else ": choose another"
    if name in NEEDS_JACOBIAN:
        return f"expected an aggregator that the Gramian determines; {PREFIX}{name} needs the whole Jacobian{instead}"
    if stateful:
        return f"expected a class without memory; {PREFIX}{name} keeps a state that could not be saved{instead}"
    if name == "Constant":
        return f"expected a class without weights of its own; {PREFIX}{name} must be given them{instead}"
    return ""


def _torchjd() -> tuple[ModuleType, ModuleType]:
    try:
        version = importlib.metadata.version("torchjd")
        if version.split(".")[:2] != ["0", "18"]:
            raise ImportError(f"expected torchjd 0.18, found {version}: {INSTALL}")
        return importlib.import_module("torchjd.aggregation"), importlib.import_module("torchjd.scalarization")
    except ModuleNotFoundError as error:
        raise ImportError(f"strategies named {PREFIX}... need torchjd 0.18, which was not found: {INSTALL}") from error
