"""The commands of the library: `fit`, `predict` and `show`.

Nothing heavy is imported at the top: `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lupi.cli import parsing
from lupi.cli.errors import errors_to_exit
from lupi.cli.options import READING_OPTIONS, Option, of_hyper_parameter
from lupi.methods import presets
from lupi.settings import HYPER_PARAMETERS

#: Hyper-parameters of studies that are no parameters of the estimators.
OF_STUDIES = frozenset({
    "protocol", "folds", "repeats", "parametric", "frequencies", "frequency_scale", "embedding_width", "category_width",
    "tangent", "fixed_weights", "compile",
})  # fmt: skip


def _hyper_parameters() -> tuple[Option, ...]:
    """The options of the hyper-parameters that the estimators have too."""
    options = (of_hyper_parameter(row) for row in HYPER_PARAMETERS.values() if row.name not in OF_STUDIES)
    return tuple(dataclasses.replace(option, **_OTHERWISE.get(option.name, {})) for option in options)


#: Where the estimators have another default than a study.
_OTHERWISE: dict[str, dict[str, Any]] = {
    "target_prior": {"help": "classes in prediction: as frequent as in training, or balanced (odds are divided by "
                     "their frequencies) (default: training)"},
}  # fmt: skip

_SAVED = Option("student", None, "a student that fit has saved", positional=True)
_READING = {option.name: option for option in READING_OPTIONS}
_MARKS = ("sep", "decimal", "na_values")

FIT_OPTIONS: dict[str, Sequence[Option]] = {
    "what is learned": (
        Option("table", None, "a CSV file with one row per example", positional=True),
        Option("target", None, "its target column; text and few whole numbers are classes"),
        Option("privileged", None, "columns that are known in training only", many=True),
        Option("out", None, "the file that keeps the student, such as student.lupi"),
        Option("method", "auto", "auto (chosen on out-of-fold predictions), lower (the plain network), or a student by "
               "name, as PFD, KT-PFD, MT or MT-PFD"),
        Option("preset", presets.DEFAULT, "recipe of all networks; options given beside it win",
               choices=tuple(presets.PRESETS)),
        Option("balance", "own", "how a method's tasks are weighed: own, or a strategy by name, as nash-mtl"),
        Option("peers", None, "score models of other makers on the same rows by cross-validation in 5 folds: by name, "
               "or those of scikit-learn", many=True),
        Option("device", "auto", "auto, cpu, cuda, ..."),
        Option("config", None, "TOML file with any of these options (the command line wins)"),
    ),
    "hyper-parameters": _hyper_parameters(),
    "the table": READING_OPTIONS,
}  # fmt: skip

PREDICT_OPTIONS: dict[str, Sequence[Option]] = {
    "prediction": (
        _SAVED,
        Option("table", None, "a CSV file with the columns that the student reads; others are ignored",
               positional=True),
        Option("out", None, "the CSV file of the predictions; default: they are printed"),
        Option("privileged", False, "add the privileged columns as the student predicts them"),
        Option("keep", [], "columns of the table to copy before the predictions, such as identifiers", many=True),
    ),
    "the table (default: as in fit)": tuple(
        dataclasses.replace(_READING[name], help=_READING[name].help.partition("; default")[0], default=None)
        for name in _MARKS
    ),
}  # fmt: skip

SHOW_OPTIONS: dict[str, Sequence[Option]] = {"what is shown": (_SAVED,)}

_EPILOG = """examples:
  python -m lupi fit train.csv --target y --privileged a b --out student.lupi
  python -m lupi fit train.csv --target y --privileged-file lab.csv --on Id --peers --out student.lupi
  python -m lupi predict student.lupi new.csv --out predictions.csv
  python -m lupi show student.lupi
"""


def _fit(given: Mapping[str, Any]) -> str:
    from lupi.cli.fitting import fit

    return fit(given, defaults(FIT_OPTIONS) | dict(given))


def _predict(given: Mapping[str, Any]) -> str:
    from lupi.cli.predicting import predict

    return predict(defaults(PREDICT_OPTIONS) | dict(given))


def _show(given: Mapping[str, Any]) -> str:
    from lupi.cli.predicting import show

    return show(defaults(SHOW_OPTIONS) | dict(given))


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: what it does, its options, and what it prints for those that are given."""

    help: str
    options: dict[str, Sequence[Option]]
    run: Callable[[Mapping[str, Any]], str]


COMMANDS = {
    "fit": Command("train a student on a table and save it", FIT_OPTIONS, _fit),
    "predict": Command("predict the rows of another table", PREDICT_OPTIONS, _predict),
    "show": Command("print the model card of a saved student, as Markdown", SHOW_OPTIONS, _show),
}


def defaults(groups: Mapping[str, Sequence[Option]]) -> dict[str, Any]:
    """The default of every option."""
    return {option.name: option.default for options in groups.values() for option in options}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its name comes first."""
    name, *rest = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name in ("-h", "--help"):
        listed = "\n".join(f"  {name:<9}{command.help}" for name, command in COMMANDS.items())
        _write(
            "usage: python -m lupi COMMAND ...\n\nFrom a table to a model without code.\n\n"
            f"commands:\n{listed}\n\nAll options of a command: python -m lupi COMMAND --help\n\n{_EPILOG}"
        )
        return 0
    known = name in COMMANDS
    with errors_to_exit(f"lupi {name}" if known else "lupi", "Nothing was written."):
        if not known:
            raise ValueError(f"there is no command {name!r}; there are {', '.join(COMMANDS)}. More: --help.")
        command = COMMANDS[name]
        described = f"{command.help[0].upper()}{command.help[1:]}."
        _write(command.run(parsing.given(described, rest, command.options, _EPILOG, f"python -m lupi {name}")))
    return 0


def _write(text: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as files are: nothing is lost where it leads to one
    sys.stdout.write(text)
