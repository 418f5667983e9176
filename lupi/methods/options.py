"""The options of a study (`StudyOptions`), and the two protocols (`PROTOCOLS`)."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Literal

import torch

from lupi.balancing import OWN, STRATEGIES, parse
from lupi.engine.mlp import MLPPair
from lupi.engine.network import Architecture
from lupi.engine.options import TrainingOptions
from lupi.engine.tabular import Style, TabularPair
from lupi.methods.table import METHODS, Method, select
from lupi.methods.twins import TWINS
from lupi.settings import HYPER_PARAMETERS, Setting, default, per_model, sweeps


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


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What a study trains, and how. Ranges are checked on construction (ValueError).

    Defaults and ranges of hyper-parameters stand in `lupi.settings`, their types here.

    >>> from lupi.settings import Setting
    >>> options = StudyOptions(methods=("lower", "upper", "MT"), sweeps=(("epsilon", (0.5, 1.0)),))
    >>> options.at(Setting("epsilon", 0.5)).epsilon
    0.5
    >>> StudyOptions(folds=1)
    Traceback (most recent call last):
    ValueError: folds must be a whole number of at least 2; found 1.

    balance : how the tasks of methods that have several are weighed: "own", or strategies (see `lupi.balancing`); such
        a method is trained with each.
    trace : keep the weights, gradient norms and cosines of balanced methods, epoch by epoch.
    twins : which control twins are trained beside every method (see `twins.TWINS`).
    train_sizes : for a learning curve, numbers of training rows with which all is repeated.
    sweeps : (name in `settings.sweeps()`, values): every method that reads the option is trained at each value too.
    portfolio : hyper-parameters (name, value) in which members differ: members have those of the entries in turn. Only
        such as are a column of the design table.
    architecture : makes the networks; None: perceptrons with `regressor_layers` and `classifier_layers`.
    width : how many models the engine trains at a time; None: as many as suit their size.
    """

    methods: tuple[str, ...] = ("standard",)
    protocol: Literal["strict", "paper"] = default("protocol")
    folds: int = default("folds")
    repeats: int = default("repeats")
    inner_folds: int = default("inner_folds")
    members: int = default("members")
    regressor_layers: tuple[int, ...] = default("regressor_layers")
    classifier_layers: tuple[int, ...] = default("classifier_layers")
    bagging: bool = default("bagging")
    activation: str = default("activation")
    parametric: bool = default("parametric")
    embedding: str = default("embedding")
    frequencies: int = default("frequencies")
    frequency_scale: float = default("frequency_scale")
    embedding_width: int = default("embedding_width")
    category_width: int = default("category_width")
    skip: bool = default("skip")
    input_scale: bool = default("input_scale")
    tangent: bool = default("tangent")
    scaling: Literal["standard", "robust"] = default("scaling")
    missing_flags: bool = default("missing_flags")
    calibration: Literal["none", "temperature"] = default("calibration")
    target_prior: Literal["training", "balanced"] = default("target_prior")
    epochs: int = default("epochs")
    batch_size: int = default("batch_size")
    patience: int | None = default("patience")
    validation_fraction: float = default("validation_fraction")
    lr: float = default("lr")
    weight_decay: float = default("weight_decay")
    dropout: float = default("dropout")
    embedding_rate: float = default("embedding_rate")
    schedule: Literal["constant", "cosine", "coslog4"] = default("schedule")
    beta2: float = default("beta2")
    imitation: float = default("imitation")
    temperature: float = default("temperature")
    repulsion: float = default("repulsion")
    epsilon: float | None = default("epsilon")
    fixed_weights: bool = default("fixed_weights")
    label_smoothing: float = default("label_smoothing")
    class_weight: Literal["balanced"] | None = default("class_weight")
    balance: tuple[str, ...] = (OWN,)
    trace: bool = False
    twins: tuple[str, ...] = tuple(TWINS)
    train_sizes: tuple[int, ...] = ()
    sweeps: tuple[tuple[str, tuple[float, ...]], ...] = ()
    seed: int = default("seed")
    dtype: Literal["float32", "float64"] = default("dtype")
    portfolio: tuple[tuple[tuple[str, float], ...], ...] = ()
    architecture: Architecture | None = None
    device: str = "cpu"
    width: int | None = None
    compile: bool = default("compile")

    def __post_init__(self) -> None:
        self._check_balance(select(self.methods))
        for name, row in HYPER_PARAMETERS.items():
            row.check(getattr(self, name))
        if self.bagging and self.members < 2:
            raise ValueError(
                "bagging gives each member a validation fold of its own: members must be at least 2; found "
                f"{self.members}. For a single network switch off bagging and calibration (--no-bagging --calibration "
                "none), or take the preset paper."
            )
        if self.bagging and not self.rules.cross_fit:
            raise ValueError("bagging is a matter of the strict protocol; the authors' has one set of validation rows.")
        if self.calibration != "none" and not self.bagging:
            raise ValueError("calibration is fitted on out-of-fold predictions, which bagging gives; set bagging too.")
        for name, value in itertools.chain(*self.portfolio):
            able = {row.name: row for row in per_model() if row.column and row.read_by == "networks"}
            if name not in able:
                raise ValueError(f"members can differ in {', '.join(able)}; found {name!r} in the portfolio.")
            able[name].check(value)
        if self.width is not None and self.width < 1:
            raise ValueError(f"width must be a whole number of at least 1; found {self.width}.")
        for twin in self.twins:
            if twin not in TWINS:
                raise ValueError(f"no control twin is called {twin!r}; there are {', '.join(TWINS)}.")
        for size in self.train_sizes:
            if size < 4:
                raise ValueError(f"train_sizes must be at least 4; found {size}.")
        for swept, values in self.sweeps:
            if swept not in sweeps():
                raise ValueError(f"nothing called {swept!r} can be swept; there are {', '.join(sweeps())}.")
            if len(set(values)) < len(values) or not values:
                raise ValueError(f"a sweep of {swept} needs different values; found {', '.join(map(str, values))}.")
            for value in values:
                self.at(Setting(swept, value))

    def at(self, setting: Setting) -> StudyOptions:
        """These options without their sweeps, and with one hyper-parameter at a swept value."""
        if setting.value is None:
            return dataclasses.replace(self, sweeps=())
        sweep, row = sweeps()[setting.swept]
        changed: dict[str, Any] = {row.name: row.of_number(setting.value), **dict(sweep.with_options)}
        return dataclasses.replace(self, sweeps=(), **changed)

    def _check_balance(self, methods: list[Method]) -> None:
        if not self.balance:
            raise ValueError(f"balance needs a strategy: {OWN}, {', '.join(STRATEGIES)}.")
        asked = [strategy for strategy in dict.fromkeys(self.balance) if strategy != OWN]
        for strategy in asked:
            parse(strategy)
        if asked and not any(method.several_tasks for method in methods):
            raise ValueError(
                f"the strategies {', '.join(asked)} weigh at least two tasks, and {', '.join(self.methods)} have one. "
                f"Methods with several: {', '.join(m.name for m in METHODS.values() if m.several_tasks)}."
            )
        if self.trace and not asked:
            raise ValueError("trace follows balancing strategies, and there is none; name some in balance.")

    @property
    def weighed_methods(self) -> list[Method]:
        """The methods of the study; those with several tasks once with each way of weighing them."""
        methods = []
        for method in select(self.methods):
            ways = dict.fromkeys(self.balance) if method.several_tasks else (OWN,)
            methods += [method if way == OWN else method.weighed(way) for way in ways]
        return methods

    @property
    def rules(self) -> Protocol:
        return PROTOCOLS[self.protocol]

    @property
    def inner(self) -> int:
        """Inner folds in force: 0 where the protocol does not cross-fit, and where the members' own folds do."""
        return self.inner_folds if self.rules.cross_fit and not self.bagging else 0

    @property
    def networks(self) -> Architecture:
        """What makes the networks of the study."""
        if self.architecture is not None:
            return self.architecture
        layers = tuple(self.regressor_layers), tuple(self.classifier_layers)
        style = Style(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Style)})
        drops = self.dropout > 0 or any(swept == "dropout" for swept, _ in self.sweeps)
        return TabularPair(*layers, style) if drops or style.differs else MLPPair(*layers)

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
