"""All options of a command: what was asked for, and the defaults of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lupi.cli import parsing
from lupi.cli.options import Option
from studies.options import defaults_of


def parse(
    description: str, argv: Sequence[str] | None, groups: dict[str, tuple[Option, ...]], epilog: str = ""
) -> dict[str, Any]:
    """All options by name: defaults, then the config file's, then the command line's.

    Raises
    ------
    ValueError : for bad usage, and for a config file with unknown keys or values of the wrong kind.
    SystemExit : 0 after --help (argparse's own).
    """
    return defaults_of(groups, parsing.given(description, argv, groups, epilog))
