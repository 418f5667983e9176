"""The table of methods: every method is a row of choices and numbers, none has a training loop of its own.

`Method` is a row, whose choices are checked on construction; `METHODS` has them all by name, `GROUPS` lists of names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, get_args

from lupi.settings import HyperParameter, Range, Reader

Sight = Literal["X", "XZ"]
TeacherSight = Literal["Z", "XZ"]
Distillation = Literal["none", "imitate", "teacher-privileged"]
PrivilegedTask = Literal["none", "before", "joint", "shared"]
ModelFamily = Literal["network", "tram", "tram++", "marginal", "classical"]
Target = Literal["any", "classes"]
Auxiliary = Literal["privileged", "derived", "masked"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "sees": ("X", "XZ"),
    "teacher": (None, "Z", "XZ"),
    "distillation": get_args(Distillation),
    "privileged_task": get_args(PrivilegedTask),
    "auxiliary": get_args(Auxiliary),
    "model_family": get_args(ModelFamily),
    "target": get_args(Target),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to learn, with or without privileged information.

    Parameters
    ----------
    name : as in the tables.
    sees : what the target network is given at test time: X, or X and the true Z (the upper bound).
    teacher : what the teacher whose soft labels are used sees; None: no teacher.
    distillation : "imitate" mixes (1 - λ) CE(y, p) + λ CE(t, p); "teacher-privileged" replaces the second part by
        imitation where the teacher is right and repulsion (β) where it is wrong.
    privileged_task : how Z is predicted: "before" (a regressor trained first, whose ẑ becomes an input), "joint" (ẑ
        and the target end to end, weights learned), "shared" (a trunk on X with two heads, fixed weight).
    auxiliary : what the second head of a shared trunk predicts: "privileged" columns, or what X alone gives: columns
        "derived" from it, or its own "masked" cells.
    epsilon : default weight ε of the privileged task.
    balance : the strategy that weighs its tasks, as it was asked for (see `lupi.balancing.parse`); "": its own way.
    model_family : what learns. "network": the networks that the other choices describe; "tram" and "tram++": features
        with two heads, of which one is given Z (see `objective.Program`); "marginal": the network of the upper bound,
        whose prediction is averaged over the Z of training rows; "classical": the fit of this name in
        `classical.CLASSICAL`.
    target : which targets it can learn.
    paper, purpose : for the tables of the documentation.

    Raises
    ------
    ValueError : for a choice that there is not, and for choices that contradict one another.
    """

    name: str
    sees: Sight = "X"
    teacher: TeacherSight | None = None
    distillation: Distillation = "none"
    privileged_task: PrivilegedTask = "none"
    auxiliary: Auxiliary = "privileged"
    epsilon: float = 1.0
    balance: str = ""
    model_family: ModelFamily = "network"
    target: Target = "any"
    paper: str = "–"
    purpose: str = ""

    def __post_init__(self) -> None:
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"Method {self.name!r}: {field} must be one of {', '.join(map(repr, choices))}; found "
                    f"{getattr(self, field)!r}."
                )
        if self.epsilon not in Range(0):
            raise ValueError(f"Method {self.name!r}: epsilon must be at least 0; found {self.epsilon}.")
        for contradiction in self._contradictions():
            raise ValueError(f"Method {self.name!r}: {contradiction}.")

    def _contradictions(self) -> Iterator[str]:
        """What is wrong with choices that are each allowed."""
        distils, network = self.distillation != "none", self.model_family == "network"
        if distils and self.teacher is None:
            yield f"distillation={self.distillation!r} needs a teacher ('Z' or 'XZ')"
        if self.teacher is not None and not distils:
            yield f"teacher={self.teacher!r} is of no use without a distillation"
        if self.distillation == "teacher-privileged" and self.target != "classes":
            yield "distillation='teacher-privileged' asks whether the teacher is right, which needs target='classes'"
        if self.auxiliary != "privileged" and self.privileged_task != "shared":
            yield f"auxiliary={self.auxiliary!r} is what a shared trunk learns, which needs privileged_task='shared'"
        if self.sees == "XZ" and (distils or self.privileged_task != "none"):
            yield "sees='XZ' is given the true Z, and has nothing to learn from a teacher or a privileged task"
        if not network and (self.sees != "X" or self.privileged_task != "none"):
            yield f"model_family={self.model_family!r} sees X alone and has no privileged task"
        if self.model_family not in ("network", "classical") and distils:
            yield f"model_family={self.model_family!r} learns from no teacher"
        if self.balance and not self.several_tasks:
            yield f"balance={self.balance!r} weighs at least two tasks, and it has one"

    @property
    def predicts_z(self) -> bool:
        """Whether it learns to predict privileged columns."""
        return self.privileged_task != "none" and self.auxiliary == "privileged"

    @property
    def uses_z(self) -> bool:
        """Whether it learns from privileged information at all."""
        return self.sees != "X" or self.learns_from_z

    @property
    def base(self) -> str:
        """Its name in the table, without a strategy."""
        return self.name.removesuffix(f"{_WITH}{self.balance}") if self.balance else self.name

    @property
    def several_tasks(self) -> bool:
        """Whether one network has more than one task, which can be weighed: the target, distillation, columns of Z."""
        return self.model_family == "network" and (
            self.distillation != "none" or self.privileged_task in ("joint", "shared")
        )

    def weighed(self, balance: str) -> Method:
        """This method, its tasks weighed by a strategy: "MT+nash-mtl"."""
        return dataclasses.replace(self, name=f"{self.name}{_WITH}{balance}", balance=balance)

    @property
    def learns_from_z(self) -> bool:
        """Whether it uses Z in training alone; the bounds do not."""
        return self.teacher is not None or self.predicts_z or self.model_family != "network"

    def reads(self, parameter: HyperParameter, by: Reader | None = None) -> bool:
        """Whether a hyper-parameter means something to it; `by`: as those read it that are named there."""
        network = self.model_family != "classical"
        return {
            "study": True,
            "networks": network or self.teacher is not None,  # a classical method without a teacher trains none
            "distillation": self.distillation != "none",
            "mixture": self.distillation != "none" and network,  # logistic-TPD has no true labels to weigh
            "repulsion": self.distillation == "teacher-privileged",
            "privileged task": self.privileged_task in ("joint", "shared"),
            "joint task": self.privileged_task == "joint",
        }[by or parameter.read_by]

    def loss_weights(self, imitation: float) -> dict[str, float]:
        """Weights of the three parts of the target loss for an imitation parameter λ in [0, 1]."""
        share = 0.0 if self.distillation == "none" else imitation
        return {
            "hard": 1.0 - share,
            "imitate": share if self.distillation == "imitate" else 0.0,
            "privileged_teacher": share if self.distillation == "teacher-privileged" else 0.0,
        }


_WITH = "+"

_MT = "Martínez-García et al., Pattern Recognition 178 (2026) 113389"
_LRIT = "Martínez-García et al., Neurocomputing (2023)"
_TPD = "Martínez-García et al., Knowledge-Based Systems (2025) 113338"

_ROWS = (
    Method("lower", purpose="the target network on X alone: what has to be beaten"),
    Method("upper", sees="XZ", purpose="the same network given the true Z: the teacher, and the most there is to gain"),
    Method(
        "GD",
        teacher="Z",
        distillation="imitate",
        paper="Lopez-Paz et al., ICLR 2016 (arXiv 1511.03643)",
        purpose="generalized distillation: soft labels of a teacher on Z alone",
    ),
    Method(
        "PFD",
        teacher="XZ",
        distillation="imitate",
        paper="Xu et al., KDD 2020 (arXiv 1907.05171)",
        purpose="privileged feature distillation: soft labels of a teacher on X and Z",
    ),
    Method(
        "TPD",
        teacher="XZ",
        distillation="teacher-privileged",
        target="classes",
        paper=_TPD,
        purpose="imitates the teacher where it is right, differs where it is wrong",
    ),
    Method("KT", privileged_task="before", paper=_MT, purpose="Z predicted first, then an input of the target network"),
    Method(
        "KT-PFD",
        teacher="XZ",
        distillation="imitate",
        privileged_task="before",
        paper=_MT,
        purpose="KT with the loss of PFD",
    ),
    Method(
        "KT-TPD",
        teacher="XZ",
        distillation="teacher-privileged",
        privileged_task="before",
        target="classes",
        paper=_MT,
        purpose="KT with the loss of TPD",
    ),
    Method("MT", privileged_task="joint", paper=_MT, purpose="predicts Z, then the target from X and ẑ, end to end"),
    Method(
        "MT-PFD",
        teacher="XZ",
        distillation="imitate",
        privileged_task="joint",
        paper=_MT,
        purpose="MT with the loss of PFD",
    ),
    Method(
        "MT-TPD",
        teacher="XZ",
        distillation="teacher-privileged",
        privileged_task="joint",
        target="classes",
        paper=_MT,
        purpose="MT with the loss of TPD: the proposal of the paper",
    ),
    Method(
        "AUX",
        privileged_task="shared",
        epsilon=0.2,
        paper="Caruana, Machine Learning 28 (1997)",
        purpose="auxiliary heads for Z on a trunk shared with the target: loss1 + λ·loss2",
    ),
    Method(
        "TRAM",
        model_family="tram",
        paper="Collier et al., ICML 2022 (arXiv 2202.09244)",
        purpose="features learned by a head that is given Z, read by a head that is not",
    ),
    Method(
        "TRAM++",
        model_family="tram++",
        paper="Ortiz-Jimenez et al., ICML 2023 (arXiv 2303.01806)",
        purpose="TRAM with a random number beside Z for each row, smaller features and a larger head",
    ),
    Method(
        "AFM",
        model_family="marginal",
        paper="Collier et al., ICML 2022 (arXiv 2202.09244)",
        purpose="approximate full marginalisation: the upper bound, averaged over the Z of training rows",
    ),
    Method(
        "SVM+",
        model_family="classical",
        target="classes",
        paper="Vapnik and Vashist, Neural Networks 22 (2009)",
        purpose="support vector machine whose slacks are, in part, a function of Z",
    ),
    Method(
        "LRIT+",
        model_family="classical",
        target="classes",
        paper=_LRIT,
        purpose="the logits of a logistic regression on X and Z, projected onto X",
    ),
    Method(
        "LR+",
        model_family="classical",
        target="classes",
        paper=_LRIT,
        purpose="its probabilities, projected onto X",
    ),
    Method(
        "logistic-TPD",
        teacher="XZ",
        distillation="teacher-privileged",
        model_family="classical",
        target="classes",
        paper=_TPD,
        purpose="a logistic regression on X with the TPD loss and no true labels beside it",
    ),
    Method(
        "AUX-derived",
        privileged_task="shared",
        auxiliary="derived",
        epsilon=0.2,
        paper="Kim et al. (arXiv 2112.03032)",
        purpose="AUX without Z: heads for columns derived from X (what is missing, row statistics, clusters)",
    ),
    Method(
        "CompL",
        privileged_task="shared",
        auxiliary="masked",
        epsilon=0.7,
        paper="Kanakis et al., WACV 2023 (arXiv 2210.07239)",
        purpose="composite learning, without Z: the target beside the reconstruction of masked cells of X",
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _ROWS}

#: The ten methods of the paper's tables (with KT's regressor: eleven networks a fold).
PAPER_METHODS = ("lower", "upper", "PFD", "TPD", "KT", "KT-PFD", "KT-TPD", "MT", "MT-PFD", "MT-TPD")

#: The paper's, with GD and AUX.
STANDARD_METHODS = (
    "lower", "upper", "GD", "PFD", "TPD", "KT", "KT-PFD", "KT-TPD", "MT", "MT-PFD", "MT-TPD", "AUX",
)  # fmt: skip

#: What others proposed, with the bounds.
BASELINES = ("lower", "upper", "TRAM", "TRAM++", "AFM", "SVM+", "LRIT+", "LR+", "logistic-TPD")

#: Names of groups of methods.
GROUPS: dict[str, tuple[str, ...]] = {
    "standard": STANDARD_METHODS,
    "paper": PAPER_METHODS,
    "baselines": BASELINES,
    "all": (*STANDARD_METHODS, *BASELINES[2:], "AUX-derived", "CompL"),
}


def named(name: str) -> Method:
    """The method of a name as results have it: one of the table, or one of these with a strategy behind a "+".

    Raises
    ------
    KeyError : where there is none.
    """
    if name in METHODS:
        return METHODS[name]
    for base in sorted(METHODS, key=len, reverse=True):  # whose names may hold a "+" themselves
        if name.startswith(base + _WITH) and METHODS[base].several_tasks:
            return METHODS[base].weighed(name.removeprefix(base + _WITH))
    raise KeyError(name)


def place(name: str) -> tuple[int, str]:
    """A key that sorts names of methods as the table has them, each followed by its balanced variants."""
    if name in METHODS:
        return list(METHODS).index(name), ""
    try:
        return list(METHODS).index(named(name).base), name
    except KeyError:
        return len(METHODS), name


def select(names: tuple[str, ...] | list[str]) -> list[Method]:
    """The methods called `names`, those of a group by the name of the group (see `GROUPS`).

    Raises
    ------
    ValueError : for an unknown name, with those that exist.
    """
    if not names:
        raise ValueError(f"at least one method is needed: {', '.join(METHODS)}, or {', '.join(GROUPS)}.")
    expanded: dict[str, Method] = {}
    by_lower = {name.lower(): method for name, method in METHODS.items()}
    for name in names:
        for member in GROUPS.get(name.lower(), (name,)):
            if member.lower() not in by_lower:
                raise ValueError(f"no method is called {member!r}; there are {', '.join([*METHODS, *GROUPS])}.")
            expanded[by_lower[member.lower()].name] = by_lower[member.lower()]
    return list(expanded.values())
