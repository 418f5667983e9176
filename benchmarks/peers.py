#!/usr/bin/env python3
"""The estimators against peers, models of other makers on X alone, on all sets at hand: the same folds for all.

    python benchmarks/peers.py [--data data] [--sets NAME ...] [--peers NAME ...] [--preset NAME ...]
        [--arguments members=10 ...] [--rows 3000] [--cache results/benchmarks/peers.csv] [--out ...]

Sets are scikit-learn's own and those whose published files lie in a folder within --data; of larger ones --rows rows,
the classes in proportion. Five stratified, shuffled folds. Ours is the estimator with method="lower", once for every
--preset (where the estimators have presets) and with --arguments; peers are those of `lupi.study.peers`, where
installed.

1. Log loss of classes, mean squared error in units of the target's variance; ranks; seconds of a fit and a prediction.
2. Ours against each peer: how often better, how often significantly (corrected resampled t over the folds).
3. Balanced log loss of the binary sets, the odds first divided by those of the training rows (Saerens, Latinne and
   Decaestecker, Neural Computation 14, 2002), as a metric that weighs both classes alike asks for.

Scores of peers are kept in the CSV of --cache, by set, digest of its rows, version and fold: given again, the command
fits ours alone. Writes results/benchmarks/peers.md. One thread.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from scipy.stats import rankdata  # noqa: E402
from sklearn import datasets as own_sets  # noqa: E402
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split  # noqa: E402

from lupi import PrivilegedClassifier, PrivilegedRegressor  # noqa: E402
from lupi.evidence import metrics  # noqa: E402
from lupi.evidence.differences import ALPHA, compare  # noqa: E402
from lupi.files import write_atomically  # noqa: E402
from lupi.study import peers  # noqa: E402
from studies.grid import Grid  # noqa: E402

Floats = npt.NDArray[np.float64]
Table = tuple[pd.DataFrame, npt.NDArray[Any]]
Find = Callable[[str], Path]

FOLDS = 5
COLUMNS = ["set", "digest", "model", "version", "fold", "metric", "value", "seconds"]
MAIN, BALANCED = "loss", "balanced log loss"


# ---------------------------------------------------------------------- sets


class Absent(Exception):
    """A file of a set is not at hand."""


def finder(folder: Path) -> Find:
    """Where a file lies within a folder, packed or not."""

    def find(name: str) -> Path:
        for wanted in (name, f"{name}.gz"):
            for path in sorted(folder.rglob(wanted)) if folder.is_dir() else ():
                return path
        raise Absent(name)

    return find


def _last(frame: pd.DataFrame) -> Table:
    return frame.iloc[:, :-1], frame.iloc[:, -1].to_numpy()


def _arff(path: Path) -> pd.DataFrame:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line.split()[1] for line in lines if line.lower().startswith("@attribute")]
    first = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
    return pd.read_csv(StringIO("\n".join(filter(None, lines[first + 1 :]))), header=None, names=names)


def _sklearn(load: Callable[..., Any]) -> Callable[[Find], Table]:
    def read(_: Find) -> Table:
        bunch = load(as_frame=True)
        return bunch.data, bunch.target.to_numpy()

    return read


def _wine(colour: str, good: bool = False) -> Callable[[Find], Table]:
    def read(find: Find) -> Table:
        X, quality = _last(pd.read_csv(find(f"winequality-{colour}.csv"), sep=";"))
        return X, (quality >= 6).astype(np.int64) if good else quality

    return read


def _features(*parts: str) -> Callable[[Find], Table]:
    def read(find: Find) -> Table:
        tables = [_last(pd.read_csv(find(f"mfeat-{part}.csv"))) for part in parts]
        frames = [X.set_axis([f"{part}{i}" for i in range(X.shape[1])], axis=1)
                  for (X, _), part in zip(tables, parts, strict=True)]  # fmt: skip
        return pd.concat(frames, axis=1), tables[0][1]

    return read


def _landsat(find: Find) -> Table:
    parts = [pd.read_csv(find(f"sat.{part}"), sep=r"\s+", header=None) for part in ("trn", "tst")]
    return _last(pd.concat(parts, ignore_index=True))


def _abalone(find: Find) -> Table:
    names = ["Sex", "Length", "Diameter", "Height", "Whole", "Shucked", "Viscera", "Shell", "Rings"]
    return _last(pd.read_csv(find("abalone.data"), header=None, names=names))


def _abalone_binary(find: Find) -> Table:
    X, rings = _abalone(find)
    return X, (rings < rings.mean()).astype(np.int64)  # OpenML 720


#: Name -> (whether the target is a number, how it is read).
SETS: dict[str, tuple[bool, Callable[[Find], Table]]] = {
    "diabetes": (False, lambda find: _last(pd.read_csv(find("diabetes.csv")))),
    "phishing": (False, lambda find: _last(pd.read_csv(find("phishing.csv"), index_col=0))),
    "phishing_uci": (False, lambda find: _last(_arff(find("PhishingData.arff")))),
    "obesity": (False, lambda find: _last(pd.read_csv(find("ObesityDataSet_raw_and_data_sinthetic.csv")))),
    "wine_red": (True, _wine("red")),
    "wine_white": (True, _wine("white")),
    "wine_red_good": (False, _wine("red", good=True)),
    "wine_white_good": (False, _wine("white", good=True)),
    "phoneme": (False, lambda find: _last(pd.read_csv(find("1489_phoneme.csv")))),
    "mozilla4": (False, lambda find: _last(_arff(find("mozilla4.arff")))),
    "mfeat": (False, _features("fou", "kar", "zer", "mor")),
    "mfeat_fac": (False, _features("fac")),
    "landsat": (False, _landsat),
    "abalone": (False, _abalone_binary),
    "abalone_rings": (True, _abalone),
    "wind": (False, lambda find: _last(pd.read_csv(find("wind_openml847_quantcal.csv")))),
    "breast_cancer": (False, _sklearn(own_sets.load_breast_cancer)),
    "wine": (False, _sklearn(own_sets.load_wine)),
    "iris": (False, _sklearn(own_sets.load_iris)),
    "digits": (False, _sklearn(own_sets.load_digits)),
    "sk_diabetes": (True, _sklearn(own_sets.load_diabetes)),
}


@dataclass(frozen=True)
class Set:
    """Rows of a set with its folds; y are class codes 0..K-1 or numbers, `classes` is K or None."""

    name: str
    X: pd.DataFrame
    y: npt.NDArray[Any]
    classes: int | None
    folds: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]

    @property
    def digest(self) -> str:
        hashes = [pd.util.hash_pandas_object(self.X, index=False).to_numpy(), self.y, *(test for _, test in self.folds)]
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in hashes)).hexdigest()[:12]


def read(name: str, find: Find, most: int) -> Set:
    """At most so many rows of a set, the classes in proportion, and its folds."""
    numeric_target, get = SETS[name]
    X, y = get(find)
    X = pd.DataFrame({
        str(column): X[column].astype(np.float64) if pd.api.types.is_numeric_dtype(X[column])
        else X[column].astype(str).astype("category") for column in X.columns
    })  # fmt: skip
    y = y.astype(np.float64) if numeric_target else np.unique(y, return_inverse=True)[1]
    if len(X) > most:
        rows, _ = train_test_split(np.arange(len(X)), train_size=most, random_state=0,
                                   stratify=None if numeric_target else y)  # fmt: skip
        X, y = X.iloc[np.sort(rows)].reset_index(drop=True), y[np.sort(rows)]
    kind = KFold if numeric_target else StratifiedKFold
    folds = list(kind(FOLDS, shuffle=True, random_state=0).split(X, y))
    return Set(name, X, y, None if numeric_target else int(y.max()) + 1, folds)


# ---------------------------------------------------------------------- scores


def scores(data: Set, fold: int, prediction: Floats) -> dict[str, float]:
    """The metrics of predictions of the test rows of a fold."""
    train, test = data.folds[fold]
    y = data.y[test]
    if data.classes is None:
        return {MAIN: float(np.mean((prediction[:, 0] - y) ** 2) / data.y.var())}
    found = {MAIN: metrics.classification(prediction, y)["log_loss"]}
    if data.classes == 2:
        prior = np.bincount(data.y[train], minlength=2) / len(train)
        shifted = np.clip(prediction, 1e-15, 1.0) / prior
        found[BALANCED] = metrics.classification(shifted / shifted.sum(1, keepdims=True), y)["balanced_log_loss"]
    return found


def rows_of(data: Set, model: str, version: str, fold: int, prediction: Floats, seconds: float) -> list[list[Any]]:
    found = scores(data, fold, prediction)
    return [[data.name, data.digest, model, version, fold, name, value, seconds] for name, value in found.items()]


def peer_rows(data: Set, peer: peers.Peer, fold: int) -> list[list[Any]]:
    train, test = data.folds[fold]
    start = time.perf_counter()
    fitted = peers.fit(peer, data.X.iloc[train], data.y[train], data.classes, seed=0)
    prediction = fitted.predict(data.X.iloc[test])
    return rows_of(data, peer.name, str(peer.version), fold, prediction, time.perf_counter() - start)


def own_rows(data: Set, model: str, arguments: dict[str, Any], fold: int) -> list[list[Any]]:
    train, test = data.folds[fold]
    start = time.perf_counter()
    made: Any = (PrivilegedRegressor if data.classes is None else PrivilegedClassifier)(
        method="lower", random_state=0, **arguments
    )
    made.fit(data.X.iloc[train], data.y[train])
    if data.classes is None:
        prediction = made.predict(data.X.iloc[test]).reshape(-1, 1)
    else:
        prediction = made.predict_proba(data.X.iloc[test])
    return rows_of(data, model, "", fold, prediction, time.perf_counter() - start)


def cached(path: Path) -> pd.DataFrame:
    """The scores of peers in a file; none where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    there = pd.read_csv(path, dtype={"version": str, "digest": str})
    if list(there.columns) != COLUMNS:
        raise SystemExit(
            f"--cache: {path} must have the columns {', '.join(COLUMNS)}; found {', '.join(map(str, there.columns))}."
        )
    return there


def compared_peers(sets: Sequence[Set], chosen: Sequence[peers.Peer], path: Path) -> pd.DataFrame:
    """Scores of the peers: those of the file, and those that it lacks, each written there as it is finished."""
    table = cached(path)
    for data in sets:
        for peer in chosen:
            for fold in range(FOLDS):
                key = {"set": data.name, "digest": data.digest, "model": peer.name, "version": str(peer.version),
                       "fold": fold}  # fmt: skip
                if len(table) and (table[list(key)] == list(key.values())).all(axis=1).any():
                    continue
                print(f"{data.name}: {peer.name}, fold {fold}", file=sys.stderr)
                rows = pd.DataFrame(peer_rows(data, peer, fold), columns=COLUMNS)
                table = pd.concat([table, rows], ignore_index=True) if len(table) else rows
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, table.to_csv(index=False))
    digests, names = {data.name: data.digest for data in sets}, {peer.name: str(peer.version) for peer in chosen}
    asked = (table["set"].map(digests) == table["digest"]) & (table["model"].map(names) == table["version"])
    return table[asked]


# ---------------------------------------------------------------------- tables


def by_set(table: pd.DataFrame, models: Sequence[str], metric: str) -> pd.DataFrame:
    """Means over the folds: a row for every set, a column for every model."""
    of_metric = table[table["metric"] == metric]
    means = of_metric.pivot_table(index="set", columns="model", values="value", sort=False)
    return means.reindex(columns=list(models))


def ranked(means: pd.DataFrame) -> Floats:
    """Mean rank of every model, 1 the best."""
    return np.asarray(rankdata(means.dropna().to_numpy(), axis=1).mean(0))


def means_grid(table: pd.DataFrame, models: Sequence[str], metric: str, title: str) -> Grid:
    means = by_set(table, models, metric)
    rows = [[str(name), *("–" if np.isnan(v) else f"{v:.4f}" for v in row)]
            for name, row in zip(means.index, means.to_numpy(), strict=True)]  # fmt: skip
    rows.append(["mean rank", *(f"{rank:.2f}" for rank in ranked(means))])
    of_metric = table[table["metric"] == metric]
    seconds = of_metric.groupby("model")["seconds"].mean().reindex(list(models))
    rows.append(["seconds a fold", *(f"{value:.2g}" for value in seconds)])
    return Grid.of(["set", *models], rows, f"{title}: means over {FOLDS} folds")


def against_grid(table: pd.DataFrame, ours: Sequence[str], models: Sequence[str]) -> Grid:
    """On how many sets each of ours is better and worse than every other model, and on how many significantly."""
    of_metric = table[table["metric"] == MAIN]
    losses = of_metric.pivot_table(index=["set", "fold"], columns="model", values="value", sort=False)
    rows = []
    for own in ours:
        for other in models:
            if other == own:
                continue
            pairs = [compare((part[other] - part[own]).to_numpy(), 1 / (FOLDS - 1))
                     for _, part in losses.groupby(level="set", sort=False)]  # fmt: skip
            clear = [pair for pair in pairs if pair.test is not None and pair.test.p <= ALPHA]
            rows.append([own, other, *(str(sum(sign * pair.mean > 0 for pair in of))
                                       for sign in (1, -1) for of in (pairs, clear))])  # fmt: skip
    headings = ["ours", "against", "better", "significantly", "worse", "significantly worse"]
    return Grid.of(headings, rows, "Ours against the others: sets")


# ---------------------------------------------------------------------- command


def argument(text: str) -> tuple[str, Any]:
    """name=value, the value as Python writes it, or a text."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def own_models(presets: Sequence[str], arguments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What ours are called -> the arguments of the estimator."""
    known = PrivilegedClassifier().get_params()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise SystemExit(f"--arguments: the estimators have no {unknown[0]!r}; there are {', '.join(known)}.")
    if presets and "preset" not in known:
        raise SystemExit("--preset: the estimators of this version have no presets; leave it out.")
    more = "".join(f", {name}={value}" for name, value in arguments.items())
    if not presets:
        return {f"lower{more}": arguments}
    return {f"lower, {preset}{more}": {"preset": preset, **arguments} for preset in presets}


def at_hand(names: Sequence[str], find: Find, most: int) -> list[Set]:
    """The sets whose files are there; names the others."""
    unknown = [name for name in names if name not in SETS]
    if unknown:
        raise SystemExit(f"--sets: no set is called {unknown[0]!r}; there are {', '.join(SETS)}.")
    found, absent = [], []
    for name in names or SETS:
        try:
            found.append(read(name, find, most))
        except Absent:
            absent.append(name)
    if absent:
        print(f"without files in --data, and left out: {', '.join(absent)}", file=sys.stderr)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results = ROOT / "results" / "benchmarks"
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--peers", nargs="*", default=[])
    parser.add_argument("--preset", nargs="*", default=[])
    parser.add_argument("--arguments", nargs="*", default=[], type=argument)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--cache", type=Path, default=results / "peers.csv")
    parser.add_argument("--out", type=Path, default=results / "peers.md")
    asked = parser.parse_args(argv)
    ours = own_models(asked.preset, dict(asked.arguments))
    sets = at_hand(asked.sets, finder(asked.data), asked.rows)
    if not sets:
        raise SystemExit(
            "--sets: no set is at hand. Name sets of scikit-learn, or the folder of the files with --data."
        )
    chosen, absent = peers.installed(asked.peers)
    if absent:
        print(f"not installed, and left out: {', '.join(peer.name for peer in absent)}", file=sys.stderr)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of_peers = compared_peers(sets, chosen, asked.cache)
            own = [row for name, arguments in ours.items() for data in sets for fold in range(FOLDS)
                   for row in own_rows(data, name, arguments, fold)]  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    made = pd.DataFrame(own, columns=COLUMNS)
    table = pd.concat([made, of_peers], ignore_index=True) if len(of_peers) else made
    models = [*ours, *(peer.name for peer in chosen)]
    grids = [
        means_grid(table, models, MAIN, "Log loss, or mean squared error over the variance"),
        against_grid(table, list(ours), models),
    ]
    if (table["metric"] == BALANCED).any():
        grids.append(means_grid(table, models, BALANCED, "Balanced log loss of the binary sets, prior divided out"))
    print("\n\n".join(grid.console() for grid in grids))
    versions = ", ".join(f"{peer.name} of {peer.package} {peer.version}" for peer in chosen)
    command = f"python benchmarks/peers.py {' '.join(sys.argv[1:] if argv is None else argv)}".strip()
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}"
    text = "\n\n".join(grid.markdown() for grid in grids)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(asked.out, f"# Peers\n\n`{command}` on {machine}; {versions}.\n\n{text}\n")


if __name__ == "__main__":
    main()
