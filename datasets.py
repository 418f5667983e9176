"""The data sets of the studies: one entry each, and `load(name)`.

An entry says where a data set is published, under what licence, who made it, what its files are, how the target is made
and what must come out (rows, features, missing cells, class counts). Files lie under `data/<name>/`;
`download_datasets.py` fetches them. Data sets of simulated truth (`generators.py`) need none and take parameters:
`load("clean-labels:n=400,seed=3")`. Importing this module reads no data and imports no numerical library.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from studies.sources import paper
from studies.sources.paper import words
from studies.sources.published import Entry, Form, Target, absent_files, checked, command, find, read_form

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData

log = logging.getLogger(__name__)


def names() -> list[str]:
    """Names of all data sets that `load` knows."""
    return list(ENTRIES)


def entry_of(name: str) -> Entry:
    """The entry of a data set, and of a generator with parameters behind its name ("clean-labels:n=400,seed=3").

    Raises ValueError, with the nearest name, if there is none, and for parameters that the data set does not have.
    """
    base, colon, text = name.partition(":")
    if base not in ENTRIES:
        import difflib

        near = difflib.get_close_matches(base.lower(), ENTRIES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no data set is named {base!r}; there are {', '.join(ENTRIES)}.{hint}")
    return _with_parameters(ENTRIES[base], text) if colon else ENTRIES[base]


def _with_parameters(entry: Entry, text: str) -> Entry:
    """The entry of a generator for other parameters than the defaults; its class counts are as they fall."""
    from studies.sources import generators

    if entry.name not in generators.GENERATORS:
        having = ", ".join(generators.GENERATORS)
        raise ValueError(f"the data set {entry.name} has no parameters; found {text!r} behind it. {having} have some.")
    values = generators.read(entry.name, text)
    return dataclasses.replace(
        entry,
        name=generators.label(entry.name, values),
        rows=int(values["n"]),
        columns=_numbered(int(values["d"])),
        classes={},
        make=functools.partial(_generated, entry.name, **values),
    )


def load(name: str, *, folder: str | Path = "data", privileged: Sequence[str] | None = None) -> PrivilegedData:
    """Load a data set and check that it is the published one.

    Parameters
    ----------
    name : one of `names()`; simulated truth with or without parameters behind a colon: "clean-labels:n=400,seed=3".
    folder : where the files lie, in a folder for each data set.
    privileged : columns known in training only, in place of the entry's: any feature (which is then no longer a regular
        one) and, for icr, any of the five greeks.

    Returns
    -------
    The data. Without its files, icr gives the simulated rows, named icr-simulated and with notes that say so.

    Raises
    ------
    FileNotFoundError : if the files are not there; says which, where, and the command that fetches them.
    ValueError : for an unknown name or parameter, a parameter out of its range, unknown privileged columns, or files
        with other contents than the published ones.
    """
    entry = entry_of(name)
    if entry.make is not None:
        data = checked(entry, entry.make())
    else:
        present = find(entry, folder)
        if present is None and entry.instead:
            log.warning("%s: no files in %s; using %s instead. %s", name, folder, entry.instead, entry.remedy)
            return load(entry.instead, privileged=privileged)
        if present is None:
            raise FileNotFoundError(absent_files(entry, folder, entry.forms[0].files))
        form, paths = present
        try:
            data = read_form(entry, form, paths)
        except ValueError as error:
            where = " and ".join(str(path) for path in paths)
            raise ValueError(f"{where}: {error} To fetch it again: {command(entry, folder)} --force") from error
    return data.with_privileged((entry.privileged or list(data.Z.columns)) if privileged is None else privileged)


def _read_icr(paths: Sequence[Path]) -> PrivilegedData:
    from studies.sources import icr

    return icr.to_privileged(*icr.read(*paths), name="icr")


def _simulated_icr() -> PrivilegedData:
    from studies.sources import icr, simulated

    note = (
        f"simulated from published aggregate facts (version {simulated.VERSION} of the simulation): "
        f"these rows are not the Kaggle ICR data. {_ICR_REMEDY}"
    )
    return icr.to_privileged(*simulated.simulate_icr(), name="icr-simulated", notes=[note])


def _breast_cancer() -> PrivilegedData:
    from sklearn.datasets import load_breast_cancer

    from lupi.data.privileged_data import PrivilegedData

    bunch = load_breast_cancer(as_frame=True)
    table = bunch.frame.rename(columns=lambda name: str(name).replace(" ", "_"))
    data = PrivilegedData.from_frame(table, "target", name="breast_cancer")
    return dataclasses.replace(data, classes=tuple(map(str, bunch.target_names)))


def _generated(name: str, **parameters: int | float | str) -> PrivilegedData:
    from studies.sources import generators

    return generators.GENERATORS[name](**parameters)


def _numbered(features: int) -> tuple[str, ...]:
    return tuple(f"x{j + 1}" for j in range(features))


_ICR_REMEDY = (
    "For the real rows, accept the competition's rules on Kaggle and run python download_datasets.py icr, or put its "
    "train.csv and greeks.csv into data/icr/."
)
_ICR_COLUMNS = (
    "AB AF AH AM AR AX AY AZ BC BD_ BN BP BQ BR BZ CB CC CD_ CF CH CL CR CS CU CW_ DA DE DF DH DI DL DN DU DV DY EB EE "
    "EG EH EJ EL EP EU FC FD_ FE FI FL FR FS GB GE GF GH GI GL"
)
_ICR = Entry(
    name="icr",
    title="ICR - Identifying Age-Related Conditions (Kaggle, 2023)",
    page="https://www.kaggle.com/competitions/icr-identify-age-related-conditions",
    licence="the competition's rules; the files may not be redistributed",
    citation="InVitro Cell Research: ICR - Identifying Age-Related Conditions. Kaggle, 2023",
    target="has at least one of three age-related conditions",
    rows=617,
    columns=tuple(name.replace("_", " ") for name in words(_ICR_COLUMNS)),
    classes={"0": 509, "1": 108},
    missing=131,
    categorical=("EJ",),
    privileged=("Beta", "Gamma", "Delta"),
    folders=("icr",),
    forms=(
        Form(
            what="Kaggle's train.csv and greeks.csv",
            files=("train.csv", "greeks.csv"),
            target=Target("Class", among=(1,)),
        ),
    ),
    read=_read_icr,
    instead="icr-simulated",
    kaggle="icr-identify-age-related-conditions",
    remedy=_ICR_REMEDY,
)
_NUCLEUS = "radius texture perimeter area smoothness compactness concavity concave_points symmetry fractal_dimension"


def _simulated_truth(
    name: str, title: str, target: str, features: int, ones: int, page: str = "", citation: str = ""
) -> Entry:
    """The entry of a generator with its default parameters, of whose 200 rows so many are of class 1."""
    return Entry(
        name=name,
        title=title,
        page=page or "https://arxiv.org/abs/1511.03643",
        licence="as this repository",
        citation=citation
        or "Lopez-Paz, Bottou, Schölkopf, Vapnik: Unifying distillation and privileged information. ICLR, 2016",
        target=target,
        rows=200,
        columns=_numbered(features),
        classes={"0": 200 - ones, "1": ones},
        make=functools.partial(_generated, name),
    )


_SIMULATED_TRUTH = (
    _simulated_truth("clean-labels", "Simulated truth: clean labels", "beyond the boundary, but for noise", 50, 90),
    _simulated_truth("clean-features", "Simulated truth: clean features", "beyond the boundary", 50, 89),
    _simulated_truth("relevant-features", "Simulated truth: relevant features", "beyond the boundary", 50, 88),
    _simulated_truth(
        "sample-dependent-features", "Simulated truth: sample-dependent features", "beyond the boundary", 50, 111
    ),
    _simulated_truth(
        "noisy-feature",
        "Simulated truth: a feature that is predicted in part",
        "beyond the boundary, but for noise",
        3,
        105,
        page="https://github.com/mariomartgarcia/TPD",
        citation="Martínez-García et al.: Teacher privileged distillation: How to deal with imperfect teachers? "
        "Knowledge-Based Systems, 2025, 113338 (its synthetic data)",
    ),
    _simulated_truth(
        "null",
        "Simulated truth: nothing to gain",
        "beyond the boundary, but for noise",
        10,
        107,
        page="https://arxiv.org/abs/2408.14319",
        citation="generators.null; for the question see Provodin et al.: Rethinking knowledge transfer in learning "
        "using privileged information. 2024",
    ),
)

_ENTRIES = (
    *paper.ENTRIES,
    _ICR,
    dataclasses.replace(
        _ICR,
        name="icr-simulated",
        title="Simulated rows with the aggregate facts of ICR",
        licence="as this repository",
        citation="simulated.simulate_icr, version 2, seed 0",
        forms=(),
        read=None,
        make=_simulated_icr,
        instead="",
        kaggle="",
    ),
    Entry(
        name="breast_cancer",
        title="Breast cancer Wisconsin, diagnostic (UCI 17; scikit-learn's copy)",
        page="https://archive.ics.uci.edu/dataset/17",
        licence="CC BY 4.0",
        citation="Street, Wolberg, Mangasarian: Nuclear feature extraction for breast tumor diagnosis. Biomedical "
        "Image Processing and Biomedical Visualization, SPIE 1905, 1993",
        target="benign (as scikit-learn codes it)",
        rows=569,
        columns=tuple(
            pattern.format(feature) for pattern in ("mean_{}", "{}_error", "worst_{}") for feature in words(_NUCLEUS)
        ),
        classes={"malignant": 212, "benign": 357},
        make=_breast_cancer,
    ),
    *_SIMULATED_TRUTH,
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""Every data set by its name."""

PAPER = tuple(entry.name for entry in paper.ENTRIES)
"""The data sets of the paper, on which one feature is chosen to be privileged."""
