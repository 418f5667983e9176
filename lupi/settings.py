"""The table of hyper-parameters, the ranges of their values, and `Setting`: what is swept, at one value.

Every hyper-parameter is one row of `HYPER_PARAMETERS`. Read there are: the options of the commands and their help, the
defaults and ranges of `StudyOptions`, what can be swept, the numbers that differ between the rows of a design table,
the defaults of the estimators, and what candidates of a search may differ in. A new row needs beside it the field of
its name in `StudyOptions`, for its type; what it does is the reader's business.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

#: Who reads a hyper-parameter. "study": what prepares, splits or drives the training, the same for all methods. The
#: others are methods (see `Method.reads`): all that train a network, themselves or as their teacher ("networks"), those
#: that learn from a teacher ("distillation"), those that mix its labels with the true ones ("mixture"), those that
#: differ from a wrong teacher ("repulsion"), those that predict Z beside the target ("privileged task"), and of these
#: the ones that predict it end to end ("joint task").
Reader = Literal["study", "networks", "distillation", "mixture", "repulsion", "privileged task", "joint task"]


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a hyper-parameter can be.

    low, high : the ends, which belong to it unless it is `open`; infinity never does.
    whole : whole numbers alone.
    """

    low: float
    high: float = math.inf
    open: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        kind = numbers.Integral if self.whole else numbers.Real
        if not isinstance(value, kind) or isinstance(value, bool):
            return False
        number: Any = value
        inside = self.low < number < self.high if self.open else self.low <= number <= self.high
        return bool(inside and number < math.inf)

    @property
    def rule(self) -> str:
        """What a number in it must do, behind "must"."""
        if self.whole:
            return f"be a whole number of at least {self.low}" if self.high == math.inf else f"lie in {self._ends}"
        if self.open:
            return f"lie between {self.low:g} and {self.high:g}"
        return f"be at least {self.low:g}" if self.high == math.inf else f"lie in {self._ends}"

    @property
    def _ends(self) -> str:
        return f"[{self.low:g}, 2^63)" if self.high == _LARGEST_SEED else f"[{self.low:g}, {self.high:g}]"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A way to sweep a hyper-parameter.

    name : of what is swept, in options, results and files.
    title : for the axes and headings of its curves.
    values, help, aliases : of the option of MT_weightP.py; without values it has none.
    with_options : other options of the study, and what they are where this is swept.
    read_by : the methods that it is swept for; None: those that read the hyper-parameter.
    """

    name: str
    title: str
    values: tuple[float, ...] = ()
    help: str = ""
    aliases: tuple[str, ...] = ()
    with_options: tuple[tuple[str, Any], ...] = ()
    read_by: Reader | None = None


@dataclasses.dataclass(frozen=True)
class HyperParameter:
    """One row of the table.

    name : of the field of `StudyOptions`, of the parameter of the estimators, and of the option (with hyphens).
    default : its value where the user gives none; None: another default takes its place (see `help`).
    range : the numbers that it can be, those in it for a tuple; None: it is one of `choices`, or true or false.
    help : of the option.
    symbol : in formulas.
    read_by : see `Reader`.
    column : the column of the design table that has it for each model; "": it is the same for all models of a study.
        Models of other methods than those who read it have 1 there.
    by_model : it may differ between models all the same, by way of other columns.
    weighs_tasks : it sets the weight of a task beside the others, which most balancing strategies do in its place.
    sweeps : the ways to sweep it; none: it cannot be swept.
    aliases : short flags of the authors' scripts.
    """

    name: str
    default: Any
    range: Range | None
    help: str
    symbol: str = ""
    read_by: Reader = "study"
    column: str = ""
    by_model: bool = False
    weighs_tasks: bool = False
    choices: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    aliases: tuple[str, ...] = ()

    def check(self, value: Any) -> None:
        """Raise ValueError unless it can have this value."""
        if value is None and self.default is None:
            return
        if self.range is None:
            allowed: tuple[Any, ...] = self.choices or (True, False)
            if not any(isinstance(value, type(choice)) and value == choice for choice in allowed):
                raise ValueError(f"{self.name} must be one of {', '.join(map(str, allowed))}; found {value!r}.")
        elif isinstance(self.default, tuple):
            _check_widths(self.name, value, self.range)
        elif not self.range.whole and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
            raise ValueError(f"{self.name} must be a number; found {value!r}.")
        elif value not in self.range:
            raise ValueError(f"{self.name} must {self.range.rule}; found {value!r}.")

    def number(self, value: Any) -> float:
        """The value as a number, for a column of the design table: of choices its place among them."""
        return float(self.choices.index(value) if self.choices else value)

    def of_number(self, value: float) -> float:
        """A swept value as the kind of number that it is: a whole one where its range has no others."""
        whole = self.range is not None and self.range.whole and float(value).is_integer()
        return int(value) if whole else value


def _check_widths(name: str, value: Any, allowed: Range) -> None:
    """Raise ValueError unless `value` is some hidden widths."""
    fits = not isinstance(value, str) and hasattr(value, "__iter__")
    if not fits or not all(width in allowed for width in value):
        whole = isinstance(value, numbers.Integral)
        mend = f" For one hidden layer write {name}=({value},)." if whole else " An empty tuple makes a linear model."
        raise ValueError(
            f"{name} must be a tuple of whole numbers of at least 1, the hidden widths; found {value!r}.{mend}"
        )


_LARGEST_SEED = 2**63 - 1
_LAYERS = Range(1, whole=True)
_COUNT, _PAIR, _COUNT_OR_NONE = Range(1, whole=True), Range(2, whole=True), Range(0, whole=True)

_ROWS = (
    # what is trained, and how often
    HyperParameter("protocol", "strict", None, "strict: fitted on training rows, cross-fitted soft labels, best "
                   "weights; paper: as the authors", choices=("strict", "paper")),
    HyperParameter("folds", 5, _PAIR, "folds of the cross-validation"),
    HyperParameter("repeats", 10, _COUNT, "repetitions of it", aliases=("-iter",)),
    HyperParameter("inner_folds", 5, _PAIR, "inner folds of the cross-fitting (strict)"),
    HyperParameter("members", 1, _COUNT, "networks per arm whose probabilities are averaged"),
    HyperParameter("regressor_layers", (20, 20), _LAYERS, "hidden widths of the network that predicts Z; no number: "
                   "linear", aliases=("-l_reg",)),
    HyperParameter("classifier_layers", (20, 20), _LAYERS, "hidden widths of the target network; no number: linear",
                   aliases=("-l_clas",)),
    HyperParameter("bagging", False, None, "each member validates on a fold of its own, in place of one part of the "
                   "rows for all: all rows train, and each has out-of-fold predictions"),
    HyperParameter("activation", "relu", None, "of hidden layers", choices=("relu", "silu", "mish", "selu")),
    HyperParameter("parametric", False, None, "hidden units learn how much of the activation they use"),
    HyperParameter("embedding", "none", None, "of numbers: none, or learned waves (waves: beside each number; pbld: "
                   "likewise, mixed to fewer; plr: in its place)", choices=("none", "waves", "pbld", "plr")),
    HyperParameter("frequencies", 8, _COUNT, "waves of an embedding, for each number"),
    HyperParameter("frequency_scale", 0.1, Range(0, open=True), "standard deviation of their frequencies at the start"),
    HyperParameter("embedding_width", 4, _PAIR, "entries that each number becomes"),
    HyperParameter("category_width", 0, _COUNT_OR_NONE, "categories of more levels become learned vectors of this "
                   "width; 0: none does"),
    HyperParameter("skip", False, None, "add a linear function of the inputs to the output"),
    HyperParameter("input_scale", False, None, "learn a scale of each input"),
    HyperParameter("tangent", False, None, "divide the learning rate of weights by the root of their fan-in (neural "
                   "tangent parametrisation)"),
    # what the networks read, and what is read of them
    HyperParameter("scaling", "standard", None, "of numbers in X: standard (mean, standard deviation), or robust "
                   "(median, quartiles, and a smooth clip of far values)", choices=("standard", "robust")),
    HyperParameter("missing_flags", False, None, "tell the networks which numbers are missing"),
    HyperParameter("calibration", "none", None, "of probabilities: none, or one temperature for each arm, fitted on "
                   "out-of-fold predictions (needs --bagging)", choices=("none", "temperature")),
    HyperParameter("target_prior", "training", None, "classes in the balanced log loss: as frequent as in training, or "
                   "balanced (odds are divided by the prior)", choices=("training", "balanced")),
    # losses
    HyperParameter("epsilon", None, Range(0), "ε, weight of the privileged task; default 1 (MT) and 0.2 (AUX)", "ε",
                   "privileged task", "epsilon", weighs_tasks=True, sweeps=(
                       Sweep("epsilon", "ε, weight of the privileged task (learned σ)", (0.05, 0.25, 1, 5, 20),
                             "ε where σ and T are learned", aliases=("-w",)),
                       Sweep("fixed_epsilon", "ε on a fixed weight", (0.05, 0.25, 1, 5, 20), "ε on a fixed weight",
                             with_options=(("fixed_weights", True),), read_by="joint task"))),
    HyperParameter("fixed_weights", False, None, "let ε weigh the privileged loss itself: no learned σ and T",
                   read_by="joint task", by_model=True),
    HyperParameter("imitation", 0.5, Range(0, 1), "λ in [0, 1], share of the teacher in the loss", "λ", "mixture",
                   by_model=True, weighs_tasks=True,
                   sweeps=(Sweep("imitation", "λ, share of the teacher", (0, 0.25, 0.5, 0.75, 1), "λ"),)),
    HyperParameter("repulsion", 1.0, Range(0), "β, how strongly TPD moves away from a wrong teacher", "β", "repulsion",
                   "repulsion",
                   sweeps=(Sweep("repulsion", "β, repulsion from a wrong teacher", (0, 0.5, 1, 2, 5), "β"),)),
    HyperParameter("temperature", 1.0, Range(0, open=True), "T of the teacher's soft labels", "T", "distillation",
                   "temperature", sweeps=(Sweep("temperature", "T of the soft labels", (0.5, 1, 2, 5, 10), "T"),)),
    HyperParameter("label_smoothing", 0.0, Range(0, 0.999), "of the true classes, in [0, 1)", read_by="networks",
                   column="smoothing"),
    HyperParameter("class_weight", None, None, "balanced: classes weigh alike in the losses", choices=("balanced",)),
    # training
    HyperParameter("epochs", 1000, _COUNT, "at most so many; several: an epoch sweep, whose main table is that of the "
                   "most", read_by="networks", column="epochs", sweeps=(Sweep("epochs", "epochs at most"),),
                   aliases=("-epo",)),
    HyperParameter("batch_size", 128, _COUNT, "rows a step", aliases=("-bs",)),
    HyperParameter("validation_fraction", 0.2, Range(0, 1, open=True), "share of the training rows for early stopping",
                   aliases=("-vs",)),
    HyperParameter("patience", None, _COUNT, "epochs without improvement before a model stops; default 10 (strict), 5 "
                   "(paper)", aliases=("-pat",)),
    HyperParameter("lr", 1e-3, Range(0, open=True), "learning rate of Adam", read_by="networks", column="lr"),
    HyperParameter("weight_decay", 0.0, Range(0), "decoupled weight decay", read_by="networks", column="weight_decay"),
    HyperParameter("dropout", 0.0, Range(0, 0.99), "share of the hidden units that each step leaves out, in [0, 0.99]",
                   read_by="networks", column="dropout"),
    HyperParameter("embedding_rate", 0.1, Range(0), "factor of the learning rate of embeddings", read_by="networks",
                   column="embedding_rate"),
    HyperParameter("schedule", "constant", None, "of the learning rate over the epochs", read_by="networks",
                   column="schedule", choices=("constant", "cosine", "coslog4")),
    HyperParameter("beta2", 0.999, Range(0, 1, open=True), "β₂ of Adam", read_by="networks", column="beta2"),
    HyperParameter("seed", 0, Range(0, _LARGEST_SEED, whole=True), "of everything random"),
    HyperParameter("dtype", "float32", None, "of the networks", choices=("float32", "float64")),
    HyperParameter("compile", False, None, "fuse the training step with torch.compile"),
)  # fmt: skip

HYPER_PARAMETERS: dict[str, HyperParameter] = {row.name: row for row in _ROWS}


def default(name: str) -> Any:
    """The default of a hyper-parameter."""
    return HYPER_PARAMETERS[name].default


def sweeps() -> dict[str, tuple[Sweep, HyperParameter]]:
    """What can be swept: its name -> how, and the hyper-parameter that it sets."""
    return {sweep.name: (sweep, row) for row in HYPER_PARAMETERS.values() for sweep in row.sweeps}


def per_model() -> Iterator[HyperParameter]:
    """The hyper-parameters in which models of one design table may differ."""
    return (row for row in HYPER_PARAMETERS.values() if row.column or row.by_model)


# ---------------------------------------------------------------------- what is swept, at one value

#: What a learning curve sweeps, which is no hyper-parameter.
TRAIN_SIZE = "train_size"


class Setting(NamedTuple):
    """What tells a part of a study from the rest: the name of what is swept there, and its value; ("", None) where
    nothing is (`PLAIN`). Frames have the two as columns `swept` and `value` (NaN for None)."""

    swept: str = ""
    value: float | None = None

    @classmethod
    def of(cls, swept: str, value: float | None) -> Setting:
        """From the columns of a frame."""
        return cls(swept, float(value)) if swept and value is not None else PLAIN

    @property
    def text(self) -> str:
        """For people: "epsilon=0.25"; "" where nothing is swept."""
        return f"{self.swept}={number_text(self.value)}" if self.value is not None else ""

    @property
    def place(self) -> tuple[str, float]:
        """A key that sorts settings by name, then by value; `PLAIN` first."""
        return self.swept, -math.inf if self.value is None else self.value


PLAIN = Setting()


def number_text(value: float) -> str:
    """The shortest text that no other number shares: 5 for 5.0, 0.1234567 for 0.1234567."""
    return repr(float(value)).removesuffix(".0")
