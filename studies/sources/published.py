"""Published forms of a data set, and how to read each into one and the same table.

A data set is published in several forms: other files, column names, codes, a raw target or a binarised one. A `Form`
says what is particular to one of them; `read_form` undoes it.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from lupi.data.privileged_data import PrivilegedData


@dataclasses.dataclass(frozen=True)
class Target:
    """How the class is made of one column: 1 where the one condition that is given holds, else 0.

    Parameters
    ----------
    column : name of the column.
    among : class 1 has one of these values; text where the column is text.
    above : class 1 is greater than this number.
    below_mean : class 1 is less than the mean of the column, as OpenML binarises a numeric target (its 'P').
    left_out : rows with one of these values are left out.
    """

    column: str
    among: tuple[str, ...] | tuple[int, ...] = ()
    above: float | None = None
    below_mean: bool = False
    left_out: tuple[int, ...] = ()

    @property
    def is_text(self) -> bool:
        return any(isinstance(value, str) for value in self.among)

    def codes(self, values: pd.Series) -> pd.Series:
        """Class codes 0 and 1 (int64) of the column `values` [n], from which the rows left out are gone."""
        if self.below_mean:
            return (values < values.mean()).astype("int64")
        return (values > self.above if self.above is not None else values.isin(self.among)).astype("int64")


@dataclasses.dataclass(frozen=True)
class Form:
    """One published form of a data set: one file, or several that are read one below the other.

    Parameters
    ----------
    what : its name, for messages.
    files : names of its files; .arff, else text with a `separator`, compressed or not.
    target : how the class is made.
    sources : places to fetch it from, in order; each is one archive that holds all files, or an address for each file.
    sha256 : the official digest of each file; empty where none is known.
    header : the columns of the file, features in the data set's order, target last; empty: named as in the data set.
    has_header : whether the file begins with its header.
    recode : {feature: {value in this form: value in the data set}}.
    decimals : decimals of the original numbers, for a form that keeps them in single precision.
    note : what must stand beside figures made from this form.
    """

    what: str
    files: tuple[str, ...]
    target: Target
    sources: tuple[tuple[str, ...], ...] = ()
    sha256: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    has_header: bool = True
    separator: str = ","
    recode: Mapping[str, Mapping[float, float | str]] = dataclasses.field(default_factory=dict)
    decimals: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One data set.

    Parameters
    ----------
    name, title, page, licence, citation : what it is, where it is described, who made it, how it may be used.
    target : what class 1 is, in words.
    rows, missing : number of rows, and of missing cells among the features.
    columns : names of the features, in order.
    classes : {name of the class: rows}, in the order of the codes 0 and 1; none: as they fall.
    categorical : features that are text.
    privileged : columns privileged by default; none: those that `make` gives, or one numeric feature that is chosen
        within every training fold.
    folders : where the files may lie, under the data folder; they are put into the first.
    forms : the published forms, preferred first; none for a data set that needs no file.
    read : reads a form that is more than one table; all training-only columns come back in `Z`.
    make : makes a data set that needs no file.
    instead : the data set that stands in, under its own name and with notes, where there is no file.
    kaggle : the competition whose rules must be accepted before Kaggle gives the files.
    remedy : how to get the files, where it takes more than a command.
    """

    name: str
    title: str
    page: str
    licence: str
    citation: str
    target: str
    rows: int
    columns: tuple[str, ...]
    classes: Mapping[str, int]
    missing: int = 0
    categorical: tuple[str, ...] = ()
    privileged: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()
    read: Callable[[Sequence[Path]], PrivilegedData] | None = None
    make: Callable[[], PrivilegedData] | None = None
    instead: str = ""
    kaggle: str = ""
    remedy: str = ""


def find(entry: Entry, folder: str | Path) -> tuple[Form, list[Path]] | None:
    """The preferred form of a data set whose files are all in `folder`, and their paths; None if there is no file.

    Raises FileNotFoundError if there are only some files of a form.
    """
    lacking: list[str] = []
    for place in (Path(folder, sub) for sub in entry.folders):
        for form in entry.forms:
            absent = [file for file in form.files if not (place / file).is_file()]
            if not absent:
                return form, [place / file for file in form.files]
            if len(absent) < len(form.files):
                lacking = absent
    if lacking:
        raise FileNotFoundError(absent_files(entry, folder, lacking))
    return None


def read_form(entry: Entry, form: Form, paths: Sequence[Path]) -> PrivilegedData:
    """Read a form of a data set from its files and check what comes out; all training-only columns are in `Z`.

    Raises ValueError, with what was expected and what was found, for files that cannot be read or whose rows, features,
    missing cells or class counts are not the entry's.
    """
    try:
        data = entry.read(paths) if entry.read else _read_table(entry, form, paths)
    except (ValueError, OSError, EOFError, IndexError, NotImplementedError, StopIteration, zlib.error) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"expected {form.what}; the file is another one or damaged: {what.rstrip('.')}.") from error
    return checked(entry, data)


def checked(entry: Entry, data: PrivilegedData) -> PrivilegedData:
    """`data`, if its rows, features, missing cells and class counts are those of `entry`; else ValueError."""
    names = data.classes or () if entry.classes else ()
    classes = {name: int((data.y == code).sum()) for code, name in enumerate(names)}
    facts = _facts(len(data.y), data.X.shape[1], int(data.X.isna().sum().sum()), classes)
    expected = _facts(entry.rows, len(entry.columns), entry.missing, entry.classes)
    if facts != expected or list(data.X.columns) != list(entry.columns):
        raise ValueError(f"expected {expected}; found {facts}.")
    return data


def absent_files(entry: Entry, folder: str | Path, files: Sequence[str]) -> str:
    """The message that `files` of a data set are not in `folder`, and how to get them."""
    expected = " and ".join(str(Path(folder, entry.folders[0], file)) for file in files)
    others = dict.fromkeys(" and ".join(form.files) for form in entry.forms[1:])
    forms = f" (or another published form: {', '.join(others)})" if others else ""
    return f"{entry.name}: expected {expected}{forms}; found no such file. To fetch it: {command(entry, folder)}"


def command(entry: Entry, folder: str | Path) -> str:
    """The command that fetches a data set into `folder`."""
    return f"python download_datasets.py {entry.name}" + ("" if Path(folder) == Path("data") else f" --data {folder}")


def _facts(rows: int, features: int, missing: int, classes: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count} {name!r}" for name, count in classes.items())
    return f"{rows} rows, {features} features, {missing} missing cells, classes {counts}"


def _read_table(entry: Entry, form: Form, paths: Sequence[Path]) -> PrivilegedData:
    from lupi.data.privileged_data import PrivilegedData

    table, codes = _table(form, paths, entry.columns, entry.categorical)
    data = PrivilegedData.from_frame(
        table.assign(target=codes),
        "target",
        name=entry.name,
        categorical=entry.categorical,
        notes=[form.note] if form.note else [],
    )
    return dataclasses.replace(data, classes=tuple(entry.classes))


def _table(
    form: Form, paths: Sequence[Path], features: Sequence[str], categorical: Sequence[str]
) -> tuple[pd.DataFrame, pd.Series]:
    """Features [n, features] under their names in the data set, and class codes [n], from the files of a form."""
    import pandas as pd

    target = form.target.column
    header = form.header or (*features, target)
    frames = [_read_file(path, form, header).set_axis([*features, target], axis=1) for path in paths]
    table = pd.concat(frames, ignore_index=True)
    text = {*categorical, *([target] if form.target.is_text else [])} - set(form.recode)
    for column in table.columns.difference(list(text)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        strange = table[column][numbers.isna() & table[column].notna()]
        if len(strange):
            raise ValueError(f"column {column!r} must be numeric; found {strange.iloc[0]!r}.")
        table[column] = numbers
    for column, values in form.recode.items():
        unknown = sorted(set(table[column]) - set(values))
        if unknown:
            raise ValueError(f"column {column!r} must have the values {sorted(values)}; found {unknown[:5]}.")
        table[column] = table[column].map(values)
    if form.decimals is not None:
        table = table.round(form.decimals)
    missing = int(table[target].isna().sum())
    if missing:
        raise ValueError(f"the target {target!r} must be known in every row; it is missing in {missing}.")
    table = table[~table[target].isin(form.target.left_out)].reset_index(drop=True)
    return table[list(features)], form.target.codes(table[target])


def _read_file(path: Path, form: Form, header: Sequence[str]) -> pd.DataFrame:
    """The table in one file, its columns checked against `header`; a leading column of row numbers is left out."""
    import pandas as pd

    if path.suffix == ".arff":
        from scipy.io import arff

        records, attributes = arff.loadarff(path)
        table = pd.DataFrame(records)
        for column in (name for name in attributes.names() if attributes[name][0] == "nominal"):
            table[column] = table[column].str.decode("utf-8").replace("?", None)
    else:
        table = pd.read_csv(path, sep=form.separator, header=0 if form.has_header else None)
        if not form.has_header and table.shape[1] == len(header):
            table.columns = pd.Index(header)
    table = table.loc[:, [not str(column).startswith("Unnamed: ") for column in table.columns]]
    if [_plain(column) for column in table.columns] != [_plain(column) for column in header]:
        columns = ", ".join(repr(str(column)[:40]) for column in table.columns[:20])
        raise ValueError(f"the columns of {path.name} must be {', '.join(header)}; they are {columns}.")
    return table


def _plain(name: object) -> str:
    """A column's name without what differs between copies of a file: case, quotes, blanks and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")
