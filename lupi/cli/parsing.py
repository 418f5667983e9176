"""The command line and the config file of a command, read by its table of options."""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lupi.cli.options import Option


class _Parser(argparse.ArgumentParser):
    """Bad usage is bad input: one line, without the whole list of options before it."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. All options: --help.")


def given(
    description: str,
    argv: Sequence[str] | None,
    groups: Mapping[str, Sequence[Option]],
    epilog: str = "",
    command: str | None = None,
) -> dict[str, Any]:
    """The options that are given, by name: the config file's, then the command line's.

    command : as --help calls it; None: by the name of the file that runs.

    Raises
    ------
    ValueError : for bad usage, and for a config file with unknown keys or values of the wrong kind.
    SystemExit : 0 after --help (argparse's own).
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog=command, description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False
    )
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for option in options:
            flags = [f"--{option.name.replace('_', '-')}", *option.aliases]
            told = option.default in (None, False, []) or "(default:" in option.help
            shown = "" if told else f" (default: {_plain(option.default)})"
            text = (option.help + shown).replace("%", "%%")
            if option.positional:
                group.add_argument(option.name, nargs="?", default=argparse.SUPPRESS, help=text)
            elif isinstance(option.default, bool):
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
    asked = vars(parser.parse_args(argv))
    every = {option.name: option for options in groups.values() for option in options}
    return (_read_config(Path(asked["config"]), every) if "config" in asked else {}) | asked


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
