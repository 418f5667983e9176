"""The options of a study, and the two protocols."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import torch

from lupi.balancing import OWN, STRATEGIES, parse
from lupi.engine.mlp import MLPPair
from lupi.engine.options import TrainingOptions
from lupi.methods.table import METHODS, Method, select
from lupi.methods.twins import CONTROLS


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How honest a study is about what may be seen when.

    cross_fit : soft labels and ẑ of training rows come from models that did not see them.
    choose_on_all : the privileged column is chosen on all rows, test rows included (else on training rows).
    last_rows_validate : the last rows of the training fold validate (else a seeded, stratified part).
    restore_best : the weights of the best epoch are used (else those of the last).
    monitor_total : early stopping watches each method's whole loss (else the target's part of it).
    patience : default number of epochs without improvement.
    min_delta : by how much the validation loss must fall to count as improvement.
    """

    cross_fit: bool
    choose_on_all: bool
    last_rows_validate: bool
    restore_best: bool
    monitor_total: bool
    patience: int
    min_delta: float


PROTOCOLS = {
    "strict": Protocol(True, False, False, True, False, 10, 1e-4),  # patience and tolerance of scikit-learn's MLPs
    "paper": Protocol(False, True, True, False, True, 5, 0.0),
}


#: What can be swept -> the option that it sets. "fixed_epsilon" is ε on a fixed weight: no learned σ and T absorb it.
SWEEPS = {
    "epsilon": "epsilon",
    "fixed_epsilon": "epsilon",
    "imitation": "imitation",
    "repulsion": "repulsion",
    "temperature": "temperature",
    "epochs": "epochs",
}


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What a study trains, and how. Ranges are checked on construction (ValueError).

    Methods that learn from a teacher read λ = `imitation` in [0, 1], T = `temperature` > 0 and β = `repulsion` >= 0;
    methods that predict Z read ε = `epsilon` >= 0 (None: each method's own) and `fixed_weights` (ε multiplies the
    privileged loss itself, with no learned σ and T).

    balance : how the tasks of methods that have several are weighed: "own", or strategies (see `lupi.balancing`); such
        a method is trained with each.
    trace : keep the weights, gradient norms and cosines of balanced methods, epoch by epoch.
    twins : which control twins are trained beside every method (see `controls.CONTROLS`).
    train_sizes : for a learning curve, numbers of training rows with which all is repeated.
    sweeps : (name of `SWEEPS`, values): every method that reads the option is trained at each value too.
    """

    methods: tuple[str, ...] = ("standard",)
    protocol: Literal["strict", "paper"] = "strict"
    folds: int = 5
    repeats: int = 10
    inner_folds: int = 5
    members: int = 1
    regressor_layers: tuple[int, ...] = (20, 20)
    classifier_layers: tuple[int, ...] = (20, 20)
    epochs: int = 1000
    batch_size: int = 128
    patience: int | None = None
    validation_fraction: float = 0.2
    lr: float = 1e-3
    weight_decay: float = 0.0
    imitation: float = 0.5
    temperature: float = 1.0
    repulsion: float = 1.0
    epsilon: float | None = None
    fixed_weights: bool = False
    label_smoothing: float = 0.0
    class_weight: Literal["balanced"] | None = None
    balance: tuple[str, ...] = (OWN,)
    trace: bool = False
    twins: tuple[str, ...] = tuple(CONTROLS)
    train_sizes: tuple[int, ...] = ()
    sweeps: tuple[tuple[str, tuple[float, ...]], ...] = ()
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    width: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        self._check_balance(select(self.methods))
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}; found {self.protocol!r}.")
        whole = {"folds": 2, "repeats": 1, "inner_folds": 2, "members": 1, "epochs": 1, "batch_size": 1}
        for name, least in whole.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be a whole number of at least {least}; found {getattr(self, name)}.")
        if self.width is not None and self.width < 1:
            raise ValueError(f"width must be at least 1; found {self.width}.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1; found {self.patience}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must lie in [0, 2^63); found {self.seed}.")
        layers = (*self.regressor_layers, *self.classifier_layers)
        if any(width < 1 for width in layers):
            raise ValueError(f"layers must be widths of at least 1; found {layers}.")
        open_ranges = {"validation_fraction": (0.0, 1.0), "lr": (0.0, np.inf), "temperature": (0.0, np.inf)}
        for name, (low, high) in open_ranges.items():
            if not low < getattr(self, name) < high:
                raise ValueError(f"{name} must lie between {low:g} and {high:g}; found {getattr(self, name)}.")
        closed_ranges = {"imitation": 1.0, "repulsion": np.inf, "weight_decay": np.inf, "label_smoothing": 0.999}
        for name, high in closed_ranges.items():
            if not 0.0 <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in [0, {high:g}]; found {getattr(self, name)}.")
        if self.epsilon is not None and not 0.0 <= self.epsilon < np.inf:
            raise ValueError(f"epsilon must be at least 0; found {self.epsilon}.")
        for twin in self.twins:
            if twin not in CONTROLS:
                raise ValueError(f"no control twin is called {twin!r}; there are {', '.join(CONTROLS)}.")
        for size in self.train_sizes:
            if size < 4:
                raise ValueError(f"train_sizes must be at least 4; found {size}.")
        for swept, values in self.sweeps:
            if swept not in SWEEPS:
                raise ValueError(f"nothing called {swept!r} can be swept; there are {', '.join(SWEEPS)}.")
            if len(set(values)) < len(values) or not values:
                raise ValueError(f"a sweep of {swept} needs different values; found {', '.join(map(str, values))}.")
            for value in values:
                self.at(swept, value)

    def at(self, swept: str, value: float) -> StudyOptions:
        """These options without their sweeps, and with one option at a swept value."""
        changed: dict[str, Any] = {SWEEPS[swept]: int(value) if swept == "epochs" else value}
        if swept == "fixed_epsilon":
            changed["fixed_weights"] = True
        return dataclasses.replace(self, sweeps=(), **changed)

    def _check_balance(self, methods: list[Method]) -> None:
        if not self.balance:
            raise ValueError(f"balance needs a strategy: {OWN}, {', '.join(STRATEGIES)}.")
        asked = [each for each in dict.fromkeys(self.balance) if each != OWN]
        for each in asked:
            parse(each)
        if asked and not any(method.several_tasks for method in methods):
            raise ValueError(
                f"the strategies {', '.join(asked)} weigh at least two tasks, and {', '.join(self.methods)} have one. "
                f"Methods with several: {', '.join(m.name for m in METHODS.values() if m.several_tasks)}."
            )
        if self.trace and not asked:
            raise ValueError("trace follows balancing strategies, and there is none; name some in balance.")

    @property
    def arms(self) -> list[Method]:
        """The methods of the study; those with several tasks once with each way of weighing them."""
        found = []
        for method in select(self.methods):
            ways = dict.fromkeys(self.balance) if method.several_tasks else (OWN,)
            found += [method if way == OWN else method.weighed(way) for way in ways]
        return found

    @property
    def rules(self) -> Protocol:
        return PROTOCOLS[self.protocol]

    @property
    def inner(self) -> int:
        """Inner folds in force: 0 where the protocol does not cross-fit."""
        return self.inner_folds if self.rules.cross_fit else 0

    @property
    def pair(self) -> MLPPair:
        return MLPPair(tuple(self.regressor_layers), tuple(self.classifier_layers))

    def training(self) -> TrainingOptions:
        return TrainingOptions(
            batch_size=self.batch_size,
            patience=self.rules.patience if self.patience is None else self.patience,
            min_delta=self.rules.min_delta,
            restore_best=self.rules.restore_best,
            monitor_total=self.rules.monitor_total,
            dtype=torch.float64 if self.dtype == "float64" else torch.float32,
            device=self.device,
            width=self.width,
            compile=self.compile,
            trace=self.trace,
        )
