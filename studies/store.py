"""The results of a study on disk: `study.sqlite` with every record at full precision, `config.json`, `DONE`.

A chunk (some repeats of one data set) is written in one transaction when it is finished: a study that is killed goes on
from the last finished chunk, and a reader never sees half of one.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lupi.columns import Column
from lupi.engine.traces import unpacked
from lupi.files import write_atomically

#: The form of the files, which `config.json` names: 2 since what is swept is a name and a number, not a text of both.
FORMAT = 3

#: Columns of the table of arms and of the table of splits, with their SQL types; those of JSON and arrays below.
#: swept, value : the name of what is swept ("": nothing) and its value (NULL: none).
_RECORD_KEY = {"dataset": "TEXT", "method": "TEXT", "control": "TEXT", "swept": "TEXT", "value": "REAL",
               "repeat": "INTEGER", "fold": "INTEGER"}  # fmt: skip
_RECORDS = {
    **_RECORD_KEY, "n_train": "INTEGER", "n_test": "INTEGER", "privileged": "TEXT", "epochs": "REAL",
    "best_epoch": "REAL", "seconds": "REAL", "error": "REAL", "auc": "REAL", "log_loss": "REAL",
    "balanced_log_loss": "REAL", "brier": "REAL", "calibration_error": "REAL", "mae": "REAL", "r2": "REAL",
    "z_mae": "REAL", "z_error": "REAL", "z_each": "TEXT", "learned": "TEXT", "oracle_error": "REAL",
    "halved_error": "REAL", "prediction": "BLOB", "z_hat": "BLOB", "crossing": "BLOB",
}  # fmt: skip
_SPLIT_KEY = {"dataset": "TEXT", "swept": "TEXT", "value": "REAL", "repeat": "INTEGER", "fold": "INTEGER"}
_SPLITS = {**_SPLIT_KEY, "n_test": "INTEGER", "columns": "TEXT", "rows": "BLOB", "truth": "BLOB", "z": "BLOB",
           "change": "BLOB"}  # fmt: skip
#: Traces lie in a table of their own, which is made for the first of them: those who do not ask do not read them.
_TRACES = {**_RECORD_KEY, "tasks": "TEXT", "trace": "BLOB"}
#: Peers, likewise; a row is written as it is finished.
_PEER_KEY = {"dataset": "TEXT", "peer": "TEXT", "repeat": "INTEGER", "fold": "INTEGER"}
_PEERS = {
    **_PEER_KEY, "version": "TEXT", "n_train": "INTEGER", "n_test": "INTEGER", "seconds": "REAL", "error": "REAL",
    "auc": "REAL", "log_loss": "REAL", "balanced_log_loss": "REAL", "brier": "REAL", "calibration_error": "REAL",
    "mae": "REAL", "r2": "REAL", "prediction": "BLOB",
}  # fmt: skip
_JSON = ("privileged", "z_each", "learned", "columns", "tasks")
_ARRAYS = {"prediction": "<f4", "z_hat": "<f4", "crossing": "<f4", "z": "<f4", "change": "<f4"}  # [n_test, width]
_LISTS = {"rows": "<i8", "truth": "<f8"}  # [n_test]


def _create(name: str, columns: dict[str, str], key: Iterable[str]) -> tuple[str, str]:
    """The statements that make a table in which no two rows have the same key."""
    typed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    unique = ", ".join("ifnull(value, 0)" if column == "value" else column for column in key)  # no NULL equals another
    index = f"CREATE UNIQUE INDEX IF NOT EXISTS {name}_key ON {name} ({unique});"
    return f"CREATE TABLE IF NOT EXISTS {name} ({typed});", index


_SCHEMA = "\n".join([
    """CREATE TABLE IF NOT EXISTS chunks (
        dataset TEXT, first_repeat INTEGER, last_repeat INTEGER, models INTEGER, seconds REAL,
        PRIMARY KEY (dataset, first_repeat));""",
    *_create("results", _RECORDS, _RECORD_KEY),
    *_create("splits", _SPLITS, _SPLIT_KEY),
])  # fmt: skip
#: What a study writes, in the order in which --force deletes it: what is left at any moment is an unfinished study.
_OWN_FILES = ("DONE", "study.sqlite-journal", "study.sqlite", "table.csv", "table.md", "table.tex", "verdicts.csv",
              "discovery.csv", "report.html", "config.json")  # fmt: skip


class Store:
    """One results folder.

    Parameters
    ----------
    folder : made where it does not exist.
    config : what decides the results (options, device, data fingerprints, versions); compared with that of the folder,
        in which the number of the format stands too.
    force : delete what the folder holds of an earlier study (and nothing else in it).

    Attributes
    ----------
    config : that of the folder, which has the command that began the study.

    Raises
    ------
    ValueError : where the folder holds another study, one of another format, or files of these names that are no
        study, or cannot be written.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, force: bool = False) -> None:
        self.folder = folder
        config = {"format": FORMAT, **config}
        there = self._config_there()
        try:
            if there is not None and force:
                self._clear()
                there = None
            if there is not None:
                self._compare(there, config)
            folder.mkdir(parents=True, exist_ok=True)
            if there is None:
                write_atomically(folder / "config.json", json.dumps(config, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise ValueError(f"--out: the folder {folder} cannot be written: {error.strerror}.") from None
        self.config = config if there is None else there
        self._database = _opened(folder / "study.sqlite")

    def _config_there(self) -> dict[str, Any] | None:
        """The config of the study that the folder holds, None where there is none."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out: {self.folder} must be a folder; found a file. Choose another --out.")
        files = [name for name in _OWN_FILES if (self.folder / name).exists()]
        if not files:
            return None
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            config = None
        if not isinstance(config, dict) or not {"command", "options", "data", "versions"} <= config.keys():
            raise ValueError(
                f"--out: {self.folder} holds {', '.join(files)}, but not the config.json of a study; nothing in it was "
                "changed. Choose another --out, or remove these files."
            )
        return config

    def _clear(self) -> None:
        for name in _OWN_FILES:
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "figures", ignore_errors=True)

    def _compare(self, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
        form = stored.get("format", 1)
        if form != FORMAT:
            raise ValueError(
                f"{self.folder} holds a study in format {form}, written by lupi {stored['versions'].get('lupi')}; this "
                f"version reads and writes format {FORMAT}. Choose another --out, or start over with --force."
            )
        there, now = _facts(stored), _facts(json.loads(json.dumps(wanted)))
        names = sorted(name for name in {*there, *now} if there.get(name) != now.get(name))
        if self.finished and all(name.startswith("version of ") for name in names):
            return  # nothing will be trained: its tables may be made again by any version
        if names:
            differences = "; ".join(
                f"{name} {_short(there.get(name))} there, {_short(now.get(name))} now" for name in names[:3]
            )
            more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
            raise ValueError(
                f"{self.folder} holds another study: {differences}{more}. Choose another --out, or start over with "
                "--force."
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def finished(self) -> bool:
        return (self.folder / "DONE").exists()

    def finish(self) -> None:
        write_atomically(self.folder / "DONE", "")

    def repeats(self) -> set[tuple[str, int]]:
        """(data set, repeat) of all that is finished."""
        chunks = self._database.execute("SELECT dataset, first_repeat, last_repeat FROM chunks")
        return {(dataset, repeat) for dataset, first, last in chunks for repeat in range(first, last + 1)}

    def add(
        self,
        dataset: str,
        repeats: Sequence[int],
        models: int,
        seconds: float,
        records: Sequence[dict[str, Any]],
        splits: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Write a finished chunk, whole or not at all. One that another process wrote meanwhile stays as it is."""
        plain = {"dataset": dataset, "control": "none", "swept": ""}
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            if (dataset, repeats[0]) in self.repeats():
                return
            for name, columns, rows in (("results", _RECORDS, records), ("splits", _SPLITS, splits)):
                values = [[_stored(column, {**plain, **row}) for column in columns] for row in rows]
                self._database.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", values)
            traced = [record for record in records if record.get("trace") is not None]
            traces = [{**plain, **record, "trace": record["trace"].packed()} for record in traced]
            if traces:
                for statement in _create("traces", _TRACES, _RECORD_KEY):
                    self._database.execute(statement)
                values = [[_stored(column, record) for column in _TRACES] for record in traces]
                self._database.executemany(f"INSERT INTO traces VALUES ({', '.join('?' * len(_TRACES))})", values)
            chunk = (dataset, repeats[0], repeats[-1], models, seconds)
            self._database.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", chunk)

    def results(self) -> pd.DataFrame:
        """A row for every arm and split: metrics at full precision; arrays and lists as such."""
        return self._read("results", _RECORD_KEY)

    def splits(self) -> pd.DataFrame:
        """A row for every split: its test rows, what is true of them, and where the teacher changes its class."""
        return self._read("splits", _SPLIT_KEY)

    def traced(self) -> list[tuple[str, str]]:
        """(data set, method) of all that has traces."""
        if not self._has("traces"):
            return []
        return self._database.execute("SELECT DISTINCT dataset, method FROM traces ORDER BY 1, 2").fetchall()

    def traces(self, dataset: str, method: str) -> pd.DataFrame:
        """How a balanced method and its twins weighed their tasks: a row for every arm and split, with the names of the
        tasks [K], `weights` and `norms` [epochs, K] and `cosines` [epochs, K, K], to 11 bits (see `Trace.packed`)."""
        if (dataset, method) not in self.traced():
            return pd.DataFrame(columns=[*_RECORD_KEY, "tasks", "weights", "norms", "cosines"])
        query = f"SELECT * FROM traces WHERE dataset = ? AND method = ? ORDER BY {', '.join(_RECORD_KEY)}"
        frame = pd.read_sql_query(query, self._database, params=(dataset, method))
        frame["value"] = frame["value"].astype(np.float64)
        frame["tasks"] = frame["tasks"].map(json.loads)
        pairs = zip(frame.pop("trace"), frame["tasks"], strict=True)
        traces = [unpacked(blob, len(tasks)) for blob, tasks in pairs]
        arrays = {name: [getattr(trace, name) for trace in traces] for name in ("weights", "norms", "cosines")}
        return frame.assign(**{name: pd.Series(values, frame.index, object) for name, values in arrays.items()})

    def add_peer(self, record: dict[str, Any]) -> None:
        """Write the record of a peer on one split; one that is there stays as it is."""
        with self._database:
            for statement in _create("peers", _PEERS, _PEER_KEY):
                self._database.execute(statement)
            values = [_stored(column, record) for column in _PEERS]
            self._database.execute(f"INSERT OR IGNORE INTO peers VALUES ({', '.join('?' * len(_PEERS))})", values)

    def peers(self) -> pd.DataFrame:
        """A row for every peer and split: metrics at full precision, and predictions."""
        return self._read("peers", _PEER_KEY) if self._has("peers") else pd.DataFrame(columns=list(_PEERS))

    def _has(self, name: str) -> bool:
        return bool(self._database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())

    def _read(self, name: str, key: Iterable[str]) -> pd.DataFrame:
        frame = pd.read_sql_query(f"SELECT * FROM {name} ORDER BY {', '.join(key)}", self._database)
        if "value" in frame:
            frame["value"] = frame["value"].astype(np.float64)  # all NULL, they are of no type
        for column in frame.columns.intersection(list(_JSON)):
            frame[column] = frame[column].map(json.loads, na_action="ignore")
        if "columns" in frame:
            frame["columns"] = frame["columns"].map(lambda columns: [Column.of_facts(facts) for facts in columns])
        for column in frame.columns.intersection([*_ARRAYS, *_LISTS]):
            pairs = zip(frame[column], frame["n_test"], strict=True)
            arrays = [None if blob is None else _array(column, blob, n) for blob, n in pairs]
            frame[column] = pd.Series(arrays, index=frame.index, dtype=object)
        return frame

    def seconds(self) -> float:
        """Wall-clock seconds of all finished chunks."""
        total: float = self._database.execute("SELECT COALESCE(SUM(seconds), 0) FROM chunks").fetchone()[0]
        return total


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to the database at `path`, with its tables made."""
    database = None
    try:
        database = sqlite3.connect(path)
        database.executescript(_SCHEMA)
    except sqlite3.Error as error:
        if database is not None:
            database.close()
        raise ValueError(
            f"{path} cannot be used: {error}. If no other process does, start over with --force."
        ) from None
    return database


def _facts(config: dict[str, Any]) -> dict[str, Any]:
    """What has to be equal for a study to be the same, by names for people."""
    facts = {**config["options"], "device": config.get("device")}
    facts |= {f"version of {name}": version for name, version in config["versions"].items()}
    for name, of_set in config["data"].items():
        facts |= {f"{fact} of {name}": value for fact, value in of_set.items()}
    return facts


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _stored(name: str, record: dict[str, Any]) -> Any:
    value = len(record["rows"]) if name == "n_test" and "rows" in record else record.get(name)
    if value is None:
        return None
    if name in _JSON:
        return json.dumps(value, default=dataclasses.asdict)  # of columns
    if name in _ARRAYS or name in _LISTS:
        return np.ascontiguousarray(value, dtype={**_ARRAYS, **_LISTS}[name]).tobytes()
    return value.item() if isinstance(value, np.generic) else value


def _array(name: str, blob: bytes, n: int) -> np.ndarray:
    """The array of n test rows that `_stored` wrote."""
    return np.frombuffer(blob, _LISTS[name]) if name in _LISTS else np.frombuffer(blob, _ARRAYS[name]).reshape(n, -1)


def versions() -> dict[str, str]:
    """Versions of what computes the results."""
    import sklearn
    import torch

    import lupi

    return {
        "lupi": lupi.__version__, "python": platform.python_version(), "torch": torch.__version__,
        "numpy": np.__version__, "pandas": pd.__version__, "scikit-learn": sklearn.__version__,
    }  # fmt: skip
