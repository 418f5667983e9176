"""The options of the commands, as tables that the command line and a config file are read by (`studies.parsing`).

Those of hyper-parameters are made from the table of the library, `lupi.settings`. `study_options` makes the library's
options of what was read.

Nothing heavy is imported at the top: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lupi.cli import options as library
from lupi.cli.options import READING_OPTIONS, Option
from lupi.evidence.metric_table import COMPARED
from lupi.methods import presets
from lupi.methods.table import GROUPS as METHOD_GROUPS
from lupi.methods.table import METHODS, select
from lupi.settings import HYPER_PARAMETERS, HyperParameter, default, sweeps

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions

log = logging.getLogger("lupi")


#: Auxiliary tasks that need no privileged information -> the method that has them.
AUXILIARY: dict[str, str] = {
    method.auxiliary: name for name, method in METHODS.items() if method.auxiliary != "privileged"
}


def _class_weight(text: str) -> str | None:
    if text not in ("balanced", "none"):
        raise argparse.ArgumentTypeError("must be balanced or none")
    return text


def of_hyper_parameter(row: HyperParameter) -> Option:
    """The option that sets a hyper-parameter of `lupi.settings` in a study."""
    return dataclasses.replace(library.of_hyper_parameter(row), **_ON_THE_COMMAND_LINE.get(row.name, {}))


#: Where an option says more than its hyper-parameter: several budgets are a sweep, and "none" undoes a config file.
_ON_THE_COMMAND_LINE: dict[str, dict[str, Any]] = {
    "epochs": {"default": [default("epochs")], "many": True},
    "class_weight": {"type": _class_weight, "choices": None},
}


def hyper_parameter_options() -> tuple[Option, ...]:
    return tuple(of_hyper_parameter(row) for row in HYPER_PARAMETERS.values())


def sweep_options() -> tuple[Option, ...]:
    """What each option sweeps (its name is that of the sweep with an s behind it); without values it sweeps nothing."""
    ways = [sweep for sweep, _ in sweeps().values() if sweep.values]
    return tuple(Option(f"{way.name}s", list(way.values), way.help, float, True, None, way.aliases) for way in ways)


#: Options of every command that trains, beside the hyper-parameters: what is trained, and where.
STUDY_OPTIONS = (
    Option("dataset", None, "data sets by name, or all (the paper's eight) (default: icr)", many=True,
           aliases=("-dataset",)),
    Option("methods", ["standard"], f"of {', '.join(METHODS)}; or a group: standard (the first twelve), paper ("
           "its ten), baselines (TRAM to logistic-TPD, with the bounds), all", many=True, field="methods"),
    Option("preset", None, "recipe of all networks: best (bagged, regularised, calibrated ensembles), fast (for a "
           "first look), paper (the authors' networks); options given beside it win (default: best, and paper with "
           "--protocol paper)", choices=tuple(presets.PRESETS)),
    Option("auxiliary", [], "add the methods whose auxiliary tasks need no Z: derived, masked (AUX-derived, CompL)",
           many=True, choices=tuple(AUXILIARY)),
    Option("privileged", None, "privileged columns, in place of the data set's own", many=True),
    Option("train_sizes", [], "a learning curve: repeat all with so many training rows", int, many=True,
           field="train_sizes"),
    Option("balance", ["own"], "how tasks are weighed: own (as each method's paper), and strategies by name or "
           "name:knob=value; a method with several tasks is trained with each", many=True, field="balance"),
    Option("trace", False, "keep and draw weights, gradient norms and cosines of balanced methods", field="trace"),
    Option("twins", True, "train each method's control twins beside it", field="twins"),
    Option("device", "auto", "auto, cpu, cuda, ..."),
)  # fmt: skip

#: Options for a table of one's own, in place of --dataset.
TABLE_OPTIONS = (
    Option("csv", None, "your own table, in place of --dataset"),
    Option("name", None, "what it is called in the results; default: its file's name"),
    Option("target", None, "its target column"),
    *READING_OPTIONS,
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


#: The options of all commands, by the headings of --help.
GROUPS = {
    "study": STUDY_OPTIONS,
    "hyper-parameters": hyper_parameter_options(),
    "your own table": TABLE_OPTIONS,
    "run": RUN_OPTIONS,
}


def with_defaults(groups: dict[str, tuple[Option, ...]], **defaults: Any) -> dict[str, tuple[Option, ...]]:
    """The options with other defaults for a command of its own."""
    return {
        title: tuple(dataclasses.replace(o, default=defaults.get(o.name, o.default)) for o in options)
        for title, options in groups.items()
    }


def defaults_of(groups: dict[str, tuple[Option, ...]], asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All options by name, as they are where no more than `asked` is given: the others are those of the preset, which
    is the authors' networks under the authors' protocol."""
    values = {option.name: option.default for options in groups.values() for option in options} | dict(asked or {})
    if values.get("preset", "") is None:
        values["preset"] = "paper" if values["protocol"] == "paper" else presets.DEFAULT
    if "preset" in values:
        own = {name: value for name, value in (asked or {}).items() if name in HYPER_PARAMETERS}
        recipe = presets.chosen(values["preset"], own)
        set_by_preset = {*presets.PRESETS[values["preset"]], "portfolio"} - set(own)
        for name in set_by_preset:
            many = isinstance(values.get(name), list) and not isinstance(recipe[name], tuple)
            values[name] = [recipe[name]] if many else recipe[name]
    return values


def study_options(values: dict[str, Any]) -> StudyOptions:
    """The library's options from those of the command line."""
    from lupi.methods.options import StudyOptions
    from lupi.methods.twins import TWINS

    if not values["methods"]:
        raise ValueError(f"--methods needs a name: {', '.join(METHODS)}, or {', '.join(METHOD_GROUPS)}.")
    options = (*STUDY_OPTIONS, *hyper_parameter_options())
    fields = {option.field: values[option.name] for option in options if option.field}
    for name in ("methods", "balance", "regressor_layers", "classifier_layers"):
        fields[name] = tuple(fields[name])
    fields["methods"] = _with_auxiliary(fields["methods"], values["auxiliary"])
    if fields["class_weight"] == "none":
        fields["class_weight"] = None
    if not fields["epochs"]:
        raise ValueError("--epochs needs a number.")
    *fewer, fields["epochs"] = sorted(set(fields["epochs"]))
    fields["portfolio"] = values.get("portfolio", ())
    fields["sweeps"] = (("epochs", tuple(fewer)),) if fewer else ()
    fields["train_sizes"] = tuple(sorted(set(fields["train_sizes"])))
    fields["twins"] = tuple(TWINS) if fields["twins"] else ()
    return StudyOptions(**fields, device=choose_device(values["device"]))


def _with_auxiliary(methods: tuple[str, ...], tasks: Sequence[str]) -> tuple[str, ...]:
    """The methods, and those of the auxiliary tasks that are not among them yet."""
    present = {method.name for method in select(methods)}
    return (*methods, *(AUXILIARY[task] for task in dict.fromkeys(tasks) if AUXILIARY[task] not in present))


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


def fitted_to(options: StudyOptions, data: Sequence[PrivilegedData], warn: bool = True) -> StudyOptions:
    """The options with groups of methods (but the paper's) read as those that the targets and networks allow."""
    from lupi.methods.misfits import misfits

    names = [name.lower() for name in options.methods]
    named = [name for name in names if name == "paper" or name not in METHOD_GROUPS]
    if len(named) == len(names):
        return options
    asked = {method.name for method in select(named)} if named else set()
    unfit_for = {reason: unfit for one_set in data for reason, unfit in misfits(one_set, options).items()}
    for (need, there), unfit in unfit_for.items():
        if warn and not asked.issuperset(unfit):
            log.warning("%s need %s and are left out: %s", ", ".join(n for n in unfit if n not in asked), need, there)
    left_out = {name for unfit in unfit_for.values() for name in unfit} - asked
    kept = tuple(method.name for method in select(names) if method.name not in left_out)
    return dataclasses.replace(options, methods=kept) if left_out else options
