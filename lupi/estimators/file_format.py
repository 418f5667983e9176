"""One file of arrays and facts, without pickle: a safetensors file that notices every change.

The package safetensors writes and reads the arrays (github.com/huggingface/safetensors). Its header holds one metadata
entry, "lupi": a SHA-256 digest, a newline, and a description in JSON (`typed_json`): format version, kind of object,
versions of what wrote it, and the facts.

The digest is ours, since safetensors notices a cut but no changed number. It is that of the whole file with zeros in
its own place, so that no byte is left out. It finds damage and is no signature: who can write a file can write one with
a digest of its own. Reading runs no code in any case, and makes only NumPy arrays and the types of `typed_json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors import numpy as safetensors

import lupi
from lupi.estimators.typed_json import NUMBERS, dumps, loads
from lupi.files import PathLike, write_atomically

#: Raised when the old code cannot read a new file, or the new code an old one.
FORMAT = 2
_MOST_HEADER = 100_000_000  # bytes, beyond which safetensors reads no header
_METADATA, _ENTRY = "__metadata__", "lupi"
_BEFORE_DIGEST = b'"lupi":"'  # JSON escapes the quotes of names and texts: it begins the entry and nothing else
_ZEROS = b"0" * 64
_AGAIN = "Copy the file again from where it came, or save the object anew."

Array = npt.NDArray[Any]


def write(path: PathLike, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write arrays and facts to one file, which is there whole or not at all.

    Parameters
    ----------
    path : replaced where it exists; its folder must exist.
    kind : what the file holds, for example the name of a class; `read` asks for it.
    facts : values of the types in `typed_json`.
    arrays : of bool, int, uint or float; any strides and byte order.

    Raises
    ------
    ValueError : for arrays and facts that cannot be kept, and a path that is a folder.
    FileNotFoundError : where the folder does not exist.
    """
    versions = {"lupi": lupi.__version__, "numpy": np.__version__}
    description = dumps({"format": FORMAT, "kind": kind, "versions": versions, "facts": dict(facts)})
    kept = {name: _kept(name, array) for name, array in arrays.items()}
    contents = safetensors.save(kept, {_ENTRY: f"{_ZEROS.decode()}\n{description}"})
    if (size := int.from_bytes(contents[:8], "little")) > _MOST_HEADER:
        raise ValueError(f"{path}: expected at most {_MOST_HEADER} bytes of facts; found {size}.")
    start, digest = _seal(contents)
    write_atomically(path, b"".join([contents[:start], digest, contents[start + len(digest) :]]))


def read(path: PathLike, kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The facts and arrays (native, contiguous, writable) of a file that `write` wrote with the same `kind`.

    Raises
    ------
    ValueError : for any other file, saying what was expected, what was found, and how to mend it.
    FileNotFoundError : where there is none.
    """
    path = Path(path)
    contents = _contents(path)
    description = _description(contents, path)
    start, digest = _seal(contents)
    if contents[start : start + len(digest)] != digest:
        _refuse(path, "the contents that its digest tells", "others: they were damaged or cut short", _AGAIN)
    if description["kind"] != kind:
        _refuse(path, f"a {kind}", f"a {description['kind']}", f"Load it as a {description['kind']}.")
    try:
        return description["facts"], safetensors.load(contents)
    except SafetensorError as error:
        _refuse(path, "arrays that safetensors can read", f"others ({error})", _AGAIN)


def kind_of(path: PathLike) -> str:
    """What a file holds that `write` wrote, for `read`, which checks the rest of it.

    Raises
    ------
    ValueError : for any other file. FileNotFoundError : where there is none.
    """
    path = Path(path)
    return str(_description(_contents(path), path)["kind"])


def _contents(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    if not path.is_file():
        _refuse(path, "a file", "a folder" if path.is_dir() else "a device or pipe", "Name the file that was saved.")
    return path.read_bytes()


def _seal(contents: bytes) -> tuple[int, bytes]:
    """Where the digest of a file stands, and what it has to be."""
    start = contents.find(_BEFORE_DIGEST) + len(_BEFORE_DIGEST)
    sha = hashlib.sha256(contents[:start] + _ZEROS)
    sha.update(memoryview(contents)[start + len(_ZEROS) :])
    return start, sha.hexdigest().encode()


def _description(contents: bytes, path: Path) -> dict[str, Any]:
    """The description of a file; its facts are read only where its format version is the one that is known here."""
    try:
        header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
        text = header[_METADATA][_ENTRY].partition("\n")[2]
        version, writer = json.loads(text)["format"], json.loads(text)["versions"]["lupi"]
        description = loads(text) if version == FORMAT else {}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        _refuse(path, "a file that lupi saved", f"another, or a damaged one ({type(error).__name__}: {error})", _AGAIN)
    if version != FORMAT:
        again = "Load it with that version of lupi, or fit the estimator again and save it with this one."
        _refuse(path, f"format version {FORMAT}", f"version {version}, written by lupi {writer}", again)
    if description.keys() != {"format", "kind", "versions", "facts"} or type(description["facts"]) is not dict:
        _refuse(path, "format, kind, versions and a dictionary of facts", ", ".join(description), _AGAIN)
    return description


def _kept(name: str, array: Array) -> Array:
    """An array as safetensors writes it right: contiguous (it takes no notice of strides) and of native byte order."""
    if not isinstance(name, str) or name == _METADATA:
        raise ValueError(f"expected names of arrays as text other than {_METADATA}; found {name!r}.")
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray) or array.dtype.name not in NUMBERS:
        what = array.dtype if type(array) is np.ndarray else type(array).__name__
        raise ValueError(f"array {name!r}: expected a NumPy array, not masked, of {', '.join(NUMBERS)}; found {what}.")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _refuse(path: Path, expected: str, found: str, mend: str) -> NoReturn:
    raise ValueError(f"{path}: expected {expected}; found {found[:500]}. {mend}")
