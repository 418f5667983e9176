"""The options of the commands: one table, which the command line and a config file are read by.

Nothing heavy is imported at the top: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import hashlib
import json
import logging
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lupi.evidence.metric_table import COMPARED
from lupi.methods.table import GROUPS as METHOD_GROUPS
from lupi.methods.table import METHODS, select

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions

log = logging.getLogger("lupi")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command: its flags, default and help; `field` names the entry of `StudyOptions` that it sets."""

    name: str
    default: Any
    help: str
    type: Callable[[str], Any] = str
    many: bool = False
    choices: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    field: str | None = None


#: Auxiliary tasks that need no privileged information -> the method that has them.
AUXILIARY: dict[str, str] = {
    method.auxiliary: name for name, method in METHODS.items() if method.auxiliary != "privileged"
}


def _class_weight(text: str) -> str | None:
    if text not in ("balanced", "none"):
        raise argparse.ArgumentTypeError("must be balanced or none")
    return text


#: Options of every command that trains. The short forms with one dash are those of the authors' scripts.
STUDY_OPTIONS = (
    Option("dataset", None, "data sets by name, or all (the paper's eight) (default: icr)", many=True,
           aliases=("-dataset",)),
    Option("methods", ["standard"], f"of {', '.join(METHODS)}; or a group: standard (the first twelve), paper (its "
           "ten), baselines (TRAM to logistic-TPD, with the bounds), all", many=True, field="methods"),
    Option("auxiliary", [], "add the methods whose auxiliary tasks need no Z: derived, masked (AUX-derived, CompL)",
           many=True, choices=tuple(AUXILIARY)),
    Option("privileged", None, "privileged columns, in place of the data set's own", many=True),
    Option("protocol", "strict", "strict: fitted on training rows, cross-fitted soft labels, best weights; paper: as "
           "the authors", choices=("strict", "paper"), field="protocol"),
    Option("folds", 5, "folds of the cross-validation", int, field="folds"),
    Option("repeats", 10, "repetitions of it", int, aliases=("-iter",), field="repeats"),
    Option("inner_folds", 5, "inner folds of the cross-fitting (strict)", int, field="inner_folds"),
    Option("members", 1, "networks per arm whose probabilities are averaged", int, field="members"),
    Option("regressor_layers", [20, 20], "hidden widths of the network that predicts Z; no number: linear", int,
           many=True, aliases=("-l_reg",), field="regressor_layers"),
    Option("classifier_layers", [20, 20], "hidden widths of the target network; no number: linear", int, many=True,
           aliases=("-l_clas",), field="classifier_layers"),
    Option("epochs", [1000], "at most so many; several: an epoch sweep, whose main table is that of the most", int,
           many=True, aliases=("-epo",), field="epochs"),
    Option("train_sizes", [], "a learning curve: repeat all with so many training rows", int, many=True,
           field="train_sizes"),
    Option("balance", ["own"], "how tasks are weighed: own (as each method's paper), and strategies by name or "
           "name:knob=value; a method with several tasks is trained with each", many=True, field="balance"),
    Option("trace", False, "keep and draw weights, gradient norms and cosines of balanced methods", field="trace"),
    Option("twins", True, "train each method's control twins beside it", field="twins"),
    Option("batch_size", 128, "rows a step", int, aliases=("-bs",), field="batch_size"),
    Option("validation_fraction", 0.2, "share of the training rows for early stopping", float, aliases=("-vs",),
           field="validation_fraction"),
    Option("patience", None, "epochs without improvement before a model stops; default 10 (strict), 5 (paper)", int,
           aliases=("-pat",), field="patience"),
    Option("lr", 1e-3, "learning rate of Adam", float, field="lr"),
    Option("weight_decay", 0.0, "decoupled weight decay", float, field="weight_decay"),
    Option("imitation", 0.5, "λ in [0, 1], share of the teacher in the loss", float, field="imitation"),
    Option("temperature", 1.0, "T of the teacher's soft labels", float, field="temperature"),
    Option("repulsion", 1.0, "β, how strongly TPD moves away from a wrong teacher", float, field="repulsion"),
    Option("epsilon", None, "ε, weight of the privileged task; default 1 (MT) and 0.2 (AUX)", float, field="epsilon"),
    Option("fixed_weights", False, "let ε weigh the privileged loss itself: no learned σ and T", field="fixed_weights"),
    Option("label_smoothing", 0.0, "of the true classes, in [0, 1)", float, field="label_smoothing"),
    Option("class_weight", None, "balanced: classes weigh alike in the losses", _class_weight, field="class_weight"),
    Option("seed", 0, "of everything random", int, field="seed"),
    Option("device", "auto", "auto, cpu, cuda, ..."),
    Option("dtype", "float32", "of the networks", choices=("float32", "float64"), field="dtype"),
    Option("compile", False, "fuse the training step with torch.compile", field="compile"),
)  # fmt: skip

#: Options for a table of one's own, in place of --dataset.
TABLE_OPTIONS = (
    Option("csv", None, "your own table, in place of --dataset"),
    Option("name", None, "what it is called in the results; default: its file's name"),
    Option("target", None, "its target column"),
    Option("privileged_file", None, "a second table with the privileged columns"),
    Option("on", None, "the column that joins the two tables"),
    Option("categorical", [], "columns to read as categories; text of few repeated levels needs no naming", many=True),
    Option("drop", [], "columns to leave out", many=True),
    Option("sep", None, "what separates the columns: one character, or tab; default: a comma"),
    Option("decimal", None, "the decimal mark of its numbers; default: a point"),
    Option("na_values", [], "texts that mean a missing cell, beside the empty cell, NA, NaN and the like", many=True),
)

#: Options that say where and whether, and change no result.
RUN_OPTIONS = (
    Option("data", "data", "folder of the raw files"),
    Option("out", None, "folder of the results; default results/<data sets>[-<options>]"),
    Option("config", None, "TOML file with any of these options (the command line wins)"),
    Option("metric", "error", "what methods are compared by: tables, twins, LUPI gain and verdicts", choices=COMPARED),
    Option("dry_run", False, "print the size of the study and an estimate of its time"),
    Option("force", False, "start over: what the folder holds of this study is deleted"),
)


GROUPS = {"study": STUDY_OPTIONS, "your own table": TABLE_OPTIONS, "run": RUN_OPTIONS}


def with_defaults(groups: dict[str, tuple[Option, ...]], **defaults: Any) -> dict[str, tuple[Option, ...]]:
    """The options with other defaults for a command of its own."""
    return {
        title: tuple(dataclasses.replace(o, default=defaults.get(o.name, o.default)) for o in options)
        for title, options in groups.items()
    }


def defaults_of(groups: dict[str, tuple[Option, ...]]) -> dict[str, Any]:
    return {option.name: option.default for options in groups.values() for option in options}


# ---------------------------------------------------------------------- command line


class _Parser(argparse.ArgumentParser):
    """Bad usage is bad input: one line, without the whole list of options before it."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. All options: --help.")


def parse(
    description: str, argv: Sequence[str] | None, groups: dict[str, tuple[Option, ...]], epilog: str = ""
) -> dict[str, Any]:
    """All options by name: defaults, then the config file's, then the command line's.

    Raises
    ------
    ValueError : for bad usage, and for a config file with unknown keys or values of the wrong kind.
    SystemExit : 0 after --help (argparse's own).
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = _Parser(description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False)
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for option in options:
            flags = [f"--{option.name.replace('_', '-')}", *option.aliases]
            shown = "" if option.default in (None, False, []) else f" (default: {_plain(option.default)})"
            text = (option.help + shown).replace("%", "%%")
            if isinstance(option.default, bool):
                group.add_argument(
                    *flags,
                    dest=option.name,
                    action=argparse.BooleanOptionalAction,
                    default=argparse.SUPPRESS,
                    help=text,
                )
            else:
                group.add_argument(
                    *flags, dest=option.name, type=option.type, nargs="*" if option.many else None,
                    choices=option.choices, default=argparse.SUPPRESS, help=text,
                    metavar=None if option.choices else option.name.upper().split("_")[-1],
                )  # fmt: skip
    given = vars(parser.parse_args(argv))
    every = {option.name: option for options in groups.values() for option in options}
    merged = defaults_of(groups)
    if "config" in given:
        merged.update(_read_config(Path(given["config"]), every))
    merged.update(given)
    return merged


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _read_config(path: Path, every: dict[str, Option]) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"--config: there is no file {path}.") from None
    except OSError as error:
        raise ValueError(f"--config: {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--config: {path} is not TOML: {error}.") from None
    values = {}
    for key, value in read.items():
        name = key.replace("-", "_")
        if name not in every or name == "config":
            near = difflib.get_close_matches(name, every, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"--config: {path} sets {key!r}, which is no option.{hint}")
        values[name] = _as_kind(every[name], value, path)
    return values


def _as_kind(option: Option, value: Any, path: Path) -> Any:
    items = value if isinstance(value, list) and option.many else [value]
    accepted = {int: (int,), float: (int, float)}.get(option.type, (str,))  # type: ignore[call-overload]
    if isinstance(option.default, bool):
        accepted = (bool,)
    if not all(isinstance(item, accepted) and (bool in accepted or not isinstance(item, bool)) for item in items):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(accepted[-1], "text in quotes")
        many = " (or a list)" if option.many else ""
        raise ValueError(f"--config: {path}: {option.name} must be {kind}{many}; found {value!r}.")
    if option.choices and not set(items) <= set(option.choices):
        raise ValueError(
            f"--config: {path}: {option.name} must be one of {', '.join(option.choices)}; found {value!r}."
        )
    try:
        items = items if bool in accepted else [option.type(item) for item in items]
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--config: {path}: {option.name} {error}; found {value!r}.") from None
    return items if option.many else items[0]


def study_options(values: dict[str, Any]) -> StudyOptions:
    """The library's options from those of the command line."""
    from lupi.methods.options import StudyOptions
    from lupi.methods.twins import CONTROLS

    if not values["methods"]:
        raise ValueError(f"--methods needs a name: {', '.join(METHODS)}, or {', '.join(METHOD_GROUPS)}.")
    fields = {option.field: values[option.name] for option in STUDY_OPTIONS if option.field}
    for name in ("methods", "balance", "regressor_layers", "classifier_layers"):
        fields[name] = tuple(fields[name])
    fields["methods"] = _with_auxiliary(fields["methods"], values["auxiliary"])
    if fields["class_weight"] == "none":
        fields["class_weight"] = None
    if not fields["epochs"]:
        raise ValueError("--epochs needs a number.")
    *fewer, fields["epochs"] = sorted(set(fields["epochs"]))
    fields["sweeps"] = (("epochs", tuple(fewer)),) if fewer else ()
    fields["train_sizes"] = tuple(sorted(set(fields["train_sizes"])))
    fields["twins"] = tuple(CONTROLS) if fields["twins"] else ()
    return StudyOptions(**fields, device=choose_device(values["device"]))


def _with_auxiliary(methods: tuple[str, ...], tasks: Sequence[str]) -> tuple[str, ...]:
    """The methods, and those of the auxiliary tasks that are not among them yet."""
    there = {method.name for method in select(methods)}
    return (*methods, *(AUXILIARY[task] for task in dict.fromkeys(tasks) if AUXILIARY[task] not in there))


def choose_device(name: str) -> str:
    """ "auto" is CUDA where there is one, else the CPU; any other name is checked."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(2, device=name).sum().item()
    except (RuntimeError, AssertionError) as error:
        unknown = "Expected one of" in str(error)  # and then some twenty names
        reason = "there is no such device" if unknown else str(error).splitlines()[0]
        raise ValueError(f"--device: {name!r} cannot be used here ({reason}). Use auto or cpu.") from None
    return name


def fitted_to(options: StudyOptions, data: Sequence[PrivilegedData], told: bool = True) -> StudyOptions:
    """The options with groups of methods (but the paper's) read as those that the targets and networks allow."""
    from lupi.study.run import misfits

    names = [name.lower() for name in options.methods]
    named = [name for name in names if name == "paper" or name not in METHOD_GROUPS]
    if len(named) == len(names):
        return options
    asked = {method.name for method in select(named)} if named else set()
    found = {reason: unfit for each in data for reason, unfit in misfits(each, options).items()}
    for (need, there), unfit in found.items():
        if told and not asked.issuperset(unfit):
            log.warning("%s need %s and are left out: %s", ", ".join(n for n in unfit if n not in asked), need, there)
    left_out = {name for unfit in found.values() for name in unfit} - asked
    kept = tuple(method.name for method in select(names) if method.name not in left_out)
    return dataclasses.replace(options, methods=kept) if left_out else options


# ---------------------------------------------------------------------- where the results go


def file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "study"


def results_folder(
    values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions, plain: StudyOptions, prefix: str = ""
) -> Path:
    """--out, or results/<prefix><data sets>, with a digest of the options behind it where they are not the `plain` ones
    of the command."""
    if values["out"]:
        return Path(values["out"])
    names = [d.name for d in data]
    name = prefix + ("-".join(names) if len(names) <= 3 else f"{len(names)}-data-sets")
    same = dataclasses.asdict(dataclasses.replace(options, device="cpu"))
    own = [same, [d.fingerprint() for d in data]]
    usual = dataclasses.asdict(dataclasses.replace(plain, device="cpu"))
    if same != usual or values["csv"] or values["privileged"] or len(names) > 3:
        name += "-" + hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:6]
    return Path("results") / file_name(name)
