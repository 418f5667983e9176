"""The options of commands, as tables that the command line and a config file are read by (`lupi.cli.parsing`).

Nothing heavy is imported here: `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lupi.methods import presets
from lupi.settings import HyperParameter


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command: its flags, default and help; `field` names the entry of `StudyOptions` that it sets.

    positional : it is given without a flag, by its place.
    """

    name: str
    default: Any
    help: str
    type: Callable[[str], Any] = str
    many: bool = False
    choices: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    field: str | None = None
    positional: bool = False


def of_hyper_parameter(row: HyperParameter) -> Option:
    """The option that sets a hyper-parameter of `lupi.settings`."""
    many = isinstance(row.default, tuple)
    kind = str if row.range is None else int if row.range.whole else float
    return Option(
        row.name, list(row.default) if many else row.default, row.help + _by_preset(row), kind, many,
        row.choices or None, row.aliases, row.name,
    )  # fmt: skip


def _by_preset(row: HyperParameter) -> str:
    """Its defaults, for its help, where the default preset has another than the authors' networks."""
    best = presets.PRESETS[presets.DEFAULT]
    if row.name not in best:
        return ""

    def shown(value: Any) -> str:
        if isinstance(value, bool):  # 1 and 0 are numbers
            return "yes" if value else "no"
        return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    plain = "" if row.default is None else f"; paper: {shown(row.default)}"
    return f" (default: {shown(best[row.name])}{plain})"


#: How a table of one's own is read.
READING_OPTIONS = (
    Option("privileged_file", None, "a second table with the privileged columns"),
    Option("on", None, "the column that joins the two tables"),
    Option("categorical", [], "columns to read as categories; text of few repeated levels needs no naming", many=True),
    Option("drop", [], "columns to leave out", many=True),
    Option("sep", None, "what separates the columns: one character, or tab; default: a comma"),
    Option("decimal", None, "the decimal mark of its numbers; default: a point"),
    Option("na_values", [], "texts that mean a missing cell, beside the empty cell, NA, NaN and the like", many=True),
)
