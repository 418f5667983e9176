"""What every command needs: the data that its options ask for, its own command line, and errors that users understand.

Nothing heavy is imported at the top: `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studies.options import LEAK, TABLE_OPTIONS

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData

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

        return [_with_leaks(own_table.load(values))]
    asked = ["icr"] if values["dataset"] is None else values["dataset"]
    if not asked:
        raise ValueError(f"--dataset needs a name: {', '.join(datasets.names())}, or all.")
    names = [each for name in asked for each in (datasets.PAPER if name == "all" else (name,))]
    loaded: dict[str, PrivilegedData] = {}
    for name in dict.fromkeys(names):
        data = datasets.load(name, folder=values["data"], privileged=values["privileged"])
        loaded[data.name] = data  # icr without its files is icr-simulated, which may be asked for too
    return [_with_leaks(data) for data in loaded.values()]


def _with_leaks(data: PrivilegedData) -> PrivilegedData:
    """The data with a note, which is logged too, for every privileged column that determines the target."""
    leaks = [
        f"The privileged column {column} {LEAK}: a teacher that sees it is a copy of the labels, and "
        "the upper bound says nothing of what can be gained. --privileged chooses other columns."
        for column in data.determining_columns()
    ]
    for leak in leaks:
        log.warning("%s: %s", data.name, leak)
    return dataclasses.replace(data, notes=(*data.notes, *leaks))


def command_line(command: str, argv: Sequence[str] | None) -> str:
    """The command as it was given."""
    return shlex.join(["python", command, *(sys.argv[1:] if argv is None else argv)])


@contextmanager
def errors_to_exit(command: str) -> Iterator[None]:
    """Bad input ends with one line and exit status 2, an interrupt with 130; a defect shows itself."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no λ shows ?
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if os.environ.get("LUPI_TRACEBACK"):
            raise
        print(f"{command}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(
            f"\n{command}: interrupted. What was finished is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
