"""What the commands share: options from the command line and a config file, data, progress, errors.

Nothing heavy is imported at the top: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import hashlib
import json
import logging
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lupi.methods import METHODS

if TYPE_CHECKING:
    import pandas as pd

    from lupi.data import PrivilegedData
    from lupi.options import StudyOptions

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


def _class_weight(text: str) -> str | None:
    if text not in ("balanced", "none"):
        raise argparse.ArgumentTypeError("must be balanced or none")
    return text


#: Options of every command that trains. The short forms with one dash are those of the authors' scripts.
STUDY_OPTIONS = (
    Option("dataset", ["icr"], "data sets by name, or all (the paper's eight)", many=True, aliases=("-dataset",)),
    Option("methods", ["all"], f"of {', '.join(METHODS)}; all, or paper (its ten)", many=True, field="methods"),
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
    Option("epochs", 1000, "at most so many", int, aliases=("-epo",), field="epochs"),
    Option("batch_size", 128, "rows a step", int, aliases=("-bs",), field="batch_size"),
    Option("validation_fraction", 0.2, "share of the training rows for early stopping", float, aliases=("-vs",),
           field="validation_fraction"),
    Option("patience", None, "epochs without improvement before a model stops; default 20 (strict), 5 (paper)", int,
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
    Option("target", None, "its target column"),
    Option("privileged_file", None, "a second table with the privileged columns"),
    Option("on", None, "the column that joins the two tables"),
    Option("categorical", [], "columns to read as categories", many=True),
    Option("drop", [], "columns to leave out", many=True),
)

#: Options that say where and whether, and change no result.
RUN_OPTIONS = (
    Option("data", "data", "folder of the raw files"),
    Option("out", None, "folder of the results; default results/<data sets>[-<options>]"),
    Option("config", None, "TOML file with any of these options (the command line wins)"),
    Option("dry_run", False, "print the size of the study and an estimate of its time"),
    Option("force", False, "start over: what the folder holds of this study is deleted"),
)


GROUPS = {"study": STUDY_OPTIONS, "your own table": TABLE_OPTIONS, "run": RUN_OPTIONS}


# ---------------------------------------------------------------------- command line


def parse(
    description: str, argv: Sequence[str] | None, groups: dict[str, tuple[Option, ...]], epilog: str = ""
) -> dict[str, Any]:
    """All options by name: defaults, then the config file's, then the command line's.

    Raises
    ------
    ValueError : for a config file with unknown keys or values of the wrong kind.
    SystemExit : 2 for bad usage, 0 after --help (argparse's own).
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False
    )
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for option in options:
            flags = [f"--{option.name.replace('_', '-')}", *option.aliases]
            shown = "" if option.default in (None, False, []) else f" (default: {_plain(option.default)})"
            text = (option.help + shown).replace("%", "%%")
            if isinstance(option.default, bool):
                group.add_argument(*flags, dest=option.name, action="store_true", default=argparse.SUPPRESS, help=text)
            else:
                group.add_argument(
                    *flags, dest=option.name, type=option.type, nargs="*" if option.many else None,
                    choices=option.choices, default=argparse.SUPPRESS, help=text,
                    metavar=None if option.choices else option.name.upper().split("_")[-1],
                )  # fmt: skip
    given = vars(parser.parse_args(argv))
    every = {option.name: option for options in groups.values() for option in options}
    merged = {name: option.default for name, option in every.items()}
    if "config" in given:
        merged.update(_read_config(Path(given["config"]), every))
    merged.update(given)
    return merged


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _read_config(path: Path, every: dict[str, Option]) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"--config: there is no file {path}.") from None
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
    items = value if isinstance(value, list) else [value]
    expected = {int: (int,), float: (int, float)}.get(option.type, (str,))  # type: ignore[call-overload]
    if isinstance(option.default, bool):
        expected = (bool,)
    fits = all(isinstance(item, expected) and (bool in expected or not isinstance(item, bool)) for item in items)
    if not fits or (isinstance(value, list) and not option.many):
        kind = " or ".join(e.__name__ for e in expected)
        raise ValueError(
            f"--config: {path}: {option.name} must be {'a list of ' if option.many else ''}{kind}; found {value!r}."
        )
    if option.choices and value not in option.choices:
        raise ValueError(
            f"--config: {path}: {option.name} must be one of {', '.join(option.choices)}; found {value!r}."
        )
    return list(items) if option.many else value


def study_options(values: dict[str, Any]) -> StudyOptions:
    """The library's options from those of the command line."""
    from lupi.options import StudyOptions

    fields = {option.field: values[option.name] for option in STUDY_OPTIONS if option.field}
    for name in ("methods", "regressor_layers", "classifier_layers"):
        fields[name] = tuple(fields[name])
    if fields["class_weight"] == "none":
        fields["class_weight"] = None
    return StudyOptions(**fields, device=choose_device(values["device"]))


def choose_device(name: str) -> str:
    """ "auto" is CUDA where there is one, else the CPU; any other name is checked."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device: {name!r} cannot be used here ({reason}). Use auto or cpu.") from None
    return name


# ---------------------------------------------------------------------- data


def load_data(values: dict[str, Any]) -> list[PrivilegedData]:
    """The data sets that the options ask for, all of them checked."""
    import datasets

    if values["csv"]:
        return [_own_table(values)]
    stray = [option.name for option in TABLE_OPTIONS if option.name != "csv" and values[option.name]]
    if stray:
        flags = ", ".join("--" + name.replace("_", "-") for name in stray)
        raise ValueError(f"{flags} describe your own table: they need --csv.")
    names: list[str] = []
    for name in values["dataset"]:
        names += [each for each in (datasets.PAPER if name == "all" else (name,)) if each not in names]
    if not names:
        raise ValueError(f"--dataset needs a name: {', '.join(datasets.names())}, or all.")
    loaded = [datasets.load(name, folder=values["data"], privileged=values["privileged"]) for name in names]
    for data in loaded:
        warn_of_leaks(data)
    return loaded


def _own_table(values: dict[str, Any]) -> PrivilegedData:
    from lupi.data import PrivilegedData

    path = Path(values["csv"])
    frame = _read_table(path, "--csv")
    if not values["target"]:
        raise ValueError(f"--csv needs --target: one of {', '.join(map(str, frame.columns))}.")
    privileged, drop = list(values["privileged"] or []), list(values["drop"])
    if values["privileged_file"]:
        frame, others = _joined(frame, values)
        privileged = privileged or [column for column in others if column not in drop]
        drop += [column for column in (*others, values["on"]) if column not in (*privileged, *drop)]
    data = PrivilegedData.from_frame(
        frame,
        values["target"],
        name=_file_name(path.stem),
        privileged=privileged,
        categorical=values["categorical"],
        drop=drop,
    )
    warn_of_leaks(data)
    return data


def _joined(frame: pd.DataFrame, values: dict[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """The table with the columns of --privileged-file beside its own, and the names of those columns."""
    path, key = values["privileged_file"], values["on"]
    second = _read_table(Path(path), "--privileged-file")
    for table, where in ((frame, values["csv"]), (second, path)):
        if key is None or key not in table.columns:
            names = ", ".join(map(str, table.columns))
            raise ValueError(f"--privileged-file needs --on, a column of both tables; {where} has {names}.")
        repeats = int(table[key].duplicated().sum())
        if repeats:
            raise ValueError(f"--on: {key!r} must name every row once; {where} repeats it {repeats} times.")
    others = [str(column) for column in second.columns if column != key]
    shared = [column for column in others if column in frame.columns]
    if shared:
        raise ValueError(f"--privileged-file: {', '.join(shared)} stand in both tables; drop them from one.")
    partners = int(second[key].isin(frame[key]).sum())
    if partners == 0:
        raise ValueError(f"--on: no value of {key!r} is in both tables.")
    if partners < len(second):
        log.warning("%s: %d of %d rows have no partner and are not used", path, len(second) - partners, len(second))
    return frame.merge(second, on=key, how="left"), others


def _read_table(path: Path, flag: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise ValueError(f"{flag}: there is no file {path}.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{flag}: {path} cannot be read as CSV: {error}.") from None


def warn_of_leaks(data: PrivilegedData) -> None:
    """Warn of privileged columns that determine the target."""
    for column in data.determining_columns():
        log.warning(
            "%s: the privileged column %r determines the target: a teacher that sees it is a copy of the labels, and "
            "the upper bound means nothing. Leave it out with --privileged.", data.name, column,
        )  # fmt: skip


# ---------------------------------------------------------------------- names, progress, errors


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "study"


def results_folder(values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions) -> Path:
    """--out, or results/<data sets>, with a digest of the options behind it where they are not the defaults."""
    from lupi.options import StudyOptions

    if values["out"]:
        return Path(values["out"])
    names = [d.name for d in data]
    name = "-".join(names) if len(names) <= 3 else f"{len(names)}-data-sets"
    same = dataclasses.asdict(dataclasses.replace(options, device="cpu"))
    own = [same, [d.fingerprint() for d in data]]
    if same != dataclasses.asdict(StudyOptions()) or values["csv"] or values["privileged"] or len(names) > 3:
        name += "-" + hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:6]
    return Path("results") / _file_name(name)


def progress_bar(total: int, done: int, unit: str) -> Any:
    """A bar with what is done, what is left, and the time left; silent where there is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit=unit, disable=None, dynamic_ncols=True, smoothing=0.05)


@contextmanager
def errors_to_exit(command: str) -> Iterator[None]:
    """Bad input ends with one line and exit status 2, an interrupt with 130; a defect shows itself."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(True)
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
