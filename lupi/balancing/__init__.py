"""Weighing the tasks of a model: every strategy by name, batched over models.

A strategy and its parameters are written `name` or `name:knob=value,knob=value`; "own" is the weighting of the method's
own paper.
"""

from __future__ import annotations

import difflib

from lupi.balancing.aligned import AlignedMTL
from lupi.balancing.arml import ARML
from lupi.balancing.auxilearn import AuxiLearnLinear, AuxiLearnNonlinear
from lupi.balancing.auxinash import AuxiNash, FixedAuxiNash
from lupi.balancing.base import Strategy
from lupi.balancing.cagrad import CAGrad
from lupi.balancing.cosine import GCS, WeightedGCS
from lupi.balancing.dwa import DWA
from lupi.balancing.fixed import Equal, Static
from lupi.balancing.geometric import GeometricMean
from lupi.balancing.gradnorm import GradNorm
from lupi.balancing.imtl import IMTLG
from lupi.balancing.mgda import MGDA
from lupi.balancing.nash import NashMTL
from lupi.balancing.olaux import OLAux
from lupi.balancing.pcgrad import GradVac, PCGrad
from lupi.balancing.rlw import RLW
from lupi.balancing.tensioner import TaskTensioner
from lupi.balancing.torchjd_adapter import PREFIX, torchjd_strategy
from lupi.balancing.uncertainty import Uncertainty
from lupi.balancing.upgrad import UPGrad

#: A method's own weighting.
OWN = "own"

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Equal(), Static(), Uncertainty(), DWA(), RLW(), GeometricMean(), GradNorm(),
        PCGrad(), GradVac(), CAGrad(), MGDA(), IMTLG(), NashMTL(), UPGrad(), AlignedMTL(), TaskTensioner(),
        GCS(), WeightedGCS(), OLAux(), ARML(), AuxiLearnLinear(), AuxiLearnNonlinear(), AuxiNash(), FixedAuxiNash(),
    )
}  # fmt: skip


def strategy_of(name: str) -> Strategy:
    """The strategy called `name`; "torchjd:Name" is the class of torchjd of this name.

    Raises
    ------
    ValueError : for an unknown name, with those that exist, and where torchjd is asked for and not installed.
    """
    if name.startswith(PREFIX):
        try:
            return torchjd_strategy(name)
        except ImportError as error:
            raise ValueError(str(error)) from error
    if name not in STRATEGIES:
        close = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        there = f"{', '.join(STRATEGIES)}, and {PREFIX}Name for those of torchjd"
        raise ValueError(f"no balancing strategy is called {name!r}; there are {there}.{hint}")
    return STRATEGIES[name]


def strategy_name(asked: str) -> str:
    """The strategy's name in what was asked for, without its parameters."""
    prefix = PREFIX if asked.startswith(PREFIX) else ""
    return prefix + asked.removeprefix(prefix).partition(":")[0]


def parse(asked: str) -> tuple[str, dict[str, float]]:
    """Name and parameters of a strategy, written `name` or `name:knob=value,...`; defaults fill in the others.

    >>> parse("auxinash:lr=0.01")
    ('auxinash', {'lr': 0.01, 'momentum': 0.9, 'held_out': 0.0})

    Raises
    ------
    ValueError : for an unknown name or parameter, with those that exist, or a value out of its range.
    """
    name = strategy_name(asked)
    strategy, given = strategy_of(name), asked.removeprefix(name).removeprefix(":")
    values = {knob.name: knob.default for knob in strategy.knobs}
    for pair in given.split(",") if given else ():
        key, _, text = pair.partition("=")
        knob = next((knob for knob in strategy.knobs if knob.name == key), None)
        if knob is None:
            has = ", ".join(values) or "none"
            raise ValueError(f"the strategy {name} has no knob {key!r}; it has {has}. Write {name}:knob=value,...")
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{name}:{key} must be a number; found {text!r}.") from None
        if not knob.low <= value <= knob.high:
            raise ValueError(f"{name}:{key} must lie in [{knob.low:g}, {knob.high:g}]; found {text}.")
        values[key] = value
    return name, values
