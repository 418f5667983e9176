"""What every command needs: the data that its options ask for, its own command line, and errors that users understand.

Nothing heavy is imported at the top: `--help` answers at once.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lupi.cli.errors import errors_to_exit as errors_to_exit
from studies.options import TABLE_OPTIONS

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions

log = logging.getLogger("lupi")


def load_data(values: dict[str, Any]) -> list[PrivilegedData]:
    """The data sets that the options ask for, all of them checked."""
    import datasets

    stray = [f"--{option.name.replace('_', '-')}" for option in TABLE_OPTIONS if values[option.name]]
    if stray and not values["csv"]:
        raise ValueError(f"{' and '.join(stray)} would describe a table of your own, but there is no --csv.")
    if stray and values["dataset"] is not None:
        raise ValueError("--csv and --dataset exclude each other; found both. A study of both is two commands.")
    if stray:
        from studies.sources import own_table

        return _checked([own_table.load(values)], values["metric"])
    asked = ["icr"] if values["dataset"] is None else values["dataset"]
    if not asked:
        raise ValueError(f"--dataset needs a name: {', '.join(datasets.names())}, or all.")
    names = [entry for name in asked for entry in (datasets.PAPER if name == "all" else (name,))]
    loaded: dict[str, PrivilegedData] = {}
    for name in dict.fromkeys(names):
        data = datasets.load(name, folder=values["data"], privileged=values["privileged"])
        loaded[data.name] = data  # icr without its files is icr-simulated, which may be asked for too
    return _checked(list(loaded.values()), values["metric"])


def _checked(data: list[PrivilegedData], metric: str) -> list[PrivilegedData]:
    """The data sets; ValueError where one does not have the metric. Columns that give the target away are logged."""
    from lupi.evidence.leaks import leaks_of_columns
    from lupi.evidence.metric_table import COMPARED, METRICS

    for of_set in data:
        target = "number" if of_set.classes is None else "classes"
        if target not in METRICS[metric].targets:
            able = ", ".join(name for name in COMPARED if target in METRICS[name].targets)
            kind = "a number" if target == "number" else "a class"
            raise ValueError(f"--metric {metric}: the target of {of_set.name} is {kind}; choose one of {able}.")
    for of_set in data:
        for leak in leaks_of_columns(of_set.determining_columns()):
            log.warning("%s: %s", of_set.name, leak)
    return data


def estimate(data: Sequence[PrivilegedData], options: StudyOptions) -> str:
    """Models and parameters of the study, and its time, measured."""
    import models
    from lupi.methods.design import models_of
    from studies.estimate import duration, of_study
    from studies.grid import Grid

    rows, total, epochs = [], 0.0, 0.0
    for data_set in data:
        found = of_study(data_set, options)
        total, epochs = total + found.seconds, epochs + found.epochs / len(data)
        sizes = models.parameters(data_set, options.networks, options.weighed_methods)
        count = models_of(options) * options.repeats
        rows.append(
            [data_set.name, str(len(data_set.y)), str(count), f"{min(sizes)}-{max(sizes)}", duration(found.seconds)]
        )
    table = Grid.of(["data set", "rows", "models", "parameters a model", "time, about"], rows).console()
    return (
        f"{table}\nIn all about {duration(total)} of training, on this machine as busy as it is now; a model trains "
        f"for some {epochs:.0f} epochs."
    )


def command_line(command: str, argv: Sequence[str] | None) -> str:
    """The command as it was given."""
    return shlex.join(["python", command, *(sys.argv[1:] if argv is None else argv)])
