"""One file for everything fitted: arrays and a JSON description of them, without pickle.

The file is a safetensors file (github.com/huggingface/safetensors): eight bytes that hold the length of a header, the
header in JSON, and the bytes of the arrays, little-endian and without gaps. Any reader of that format sees the arrays.
The header's metadata hold one entry, "lupi": the SHA-256 of the rest, a newline, and the description: format version,
kind of object, versions of what wrote it, name, type and shape of every array, and the facts (`lupi.facts`).

The container is written and read here and not by the `safetensors` package, which takes the same care for sizes and
offsets, but accepts a name twice and keys that it does not know, writes wrong numbers for arrays that are not
contiguous, reads metadata only by opening the file a second time, and orders the header anew each time. Here a file
has one form: what is not the text that `write` makes from the same description is refused, down to the last byte.

Reading runs no code and makes nothing but NumPy arrays and the types of `lupi.facts`. The digest finds damage, whether
of the disk or of an editor. It is no signature: who can write a file can write one with a digest of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import secrets
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

import lupi
from lupi.estimators.facts import decode, encode, strict_json

#: Raised when a file of the new version cannot be read by the old code.
FORMAT = 1
#: The longest header that the format allows, and more bytes of arrays than any network here has.
MOST_HEADER, MOST_DATA = 100_000_000, 2**36
_MOST_AXES = 32
#: Types of arrays, as NumPy and as the file call them.
_TYPES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_METADATA, _OURS = "__metadata__", "lupi"
_AGAIN = "Copy the file again from where it came, or save the object anew."

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where an array lies in the data: its first byte, and the one behind its last."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def write(path: PathLike, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write arrays and facts to one file, which is there whole or not at all.

    Parameters
    ----------
    path : replaced where it exists; its folder must exist.
    kind : what the file holds, for example the name of a class; `read` asks for it.
    facts : see `lupi.facts` for the types that come back exactly.
    arrays : of bool, int, uint or float; any strides and byte order.

    Raises
    ------
    ValueError : for arrays and facts that cannot be kept, and a path that is a folder.
    FileNotFoundError : where the folder does not exist.
    """
    kept = {name: _checked(name, array) for name, array in arrays.items()}
    description = {
        "format": FORMAT,
        "kind": kind,
        "versions": {"lupi": lupi.__version__, "numpy": np.__version__},
        "arrays": {name: [array.dtype.name, array.shape] for name, array in kept.items()},
        "facts": encode(dict(facts)),
    }
    text = json.dumps(description, allow_nan=False, separators=(",", ":"))
    places = _places({name: (array.dtype.name, array.shape) for name, array in kept.items()})
    pieces = [_bytes(kept[name]) for name in places]
    header = _header(_digest(text, pieces), text, places)
    size = sum(piece.nbytes for piece in pieces)
    if len(header) > MOST_HEADER or size > MOST_DATA:
        raise ValueError(
            f"{path}: expected at most {MOST_HEADER} bytes of facts and {MOST_DATA} bytes of arrays; "
            f"found {len(header)} and {size}."
        )
    write_atomically(path, [struct.pack("<Q", len(header)), header, *pieces])


def read(path: PathLike, kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The facts and arrays (native, contiguous, writable) of a file that `write` wrote with the same `kind`.

    Raises
    ------
    ValueError : for any other file, saying what was expected, what was found, and how to mend it.
    FileNotFoundError : where there is none.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    if not path.is_file():
        _refuse(path, "a file", "a folder" if path.is_dir() else "a device or pipe", "Name the file that was saved.")
    with path.open("rb") as file:
        header, size = _read_header(file, path)
        digest, text, entries = _parse_header(header, path)
        description = _describe(text, kind, path)
        declared = _declared(description["arrays"], path)
        places = _places(declared)
        _compare(entries, places, path)
        _check_size(size, places, path)
        if header != _header(digest, text, places):
            _refuse(path, "a header as lupi writes it", "other text of the same content, or a name twice", _AGAIN)
        arrays = {name: _read_array(file, place, path) for name, place in places.items()}
    _check_contents(arrays, text, digest, path)
    native = {name: arrays[name].astype(dtype, copy=False) for name, (dtype, _) in declared.items()}
    return _facts(description["facts"], path), native


def write_atomically(path: PathLike, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file so that it is there whole or not at all, also where several write it at once: the last one wins.

    Raises
    ------
    ValueError : where `path` is a folder.
    FileNotFoundError : where its folder does not exist.
    """
    path = Path(path)
    if path.is_dir():
        _refuse(path, "the path of a file to write", "a folder", "Name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in; make it first.")
    partial = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with partial.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        raise


def _refuse(path: Path, expected: object, found: object, mend: str) -> NoReturn:
    raise ValueError(f"{path}: expected {expected}; found {str(found)[:500]}. {mend}")


def _checked(name: str, array: Array) -> Array:
    """An array, contiguous and little-endian."""
    if not isinstance(name, str) or name == _METADATA or not _is_unicode(name):
        raise ValueError(f"expected names of arrays in valid Unicode, and not {_METADATA}; found {name!r}.")
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise ValueError(f"array {name!r}: expected a NumPy array, not masked; found {type(array).__name__}.")
    if array.dtype.name not in _TYPES:
        raise ValueError(
            f"array {name!r}: expected one of the types {', '.join(_TYPES)}; found {array.dtype}. "
            "Text, objects and times belong into the facts."
        )
    if array.ndim > _MOST_AXES:
        raise ValueError(f"array {name!r}: expected at most {_MOST_AXES} axes; found {array.ndim}.")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _bytes(array: Array) -> memoryview:
    """The memory of a contiguous array, also of one with no axis or no entry."""
    return array.reshape(-1).view(np.uint8).data


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _places(declared: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, _Place]:
    """Arrays in the order of the file: the widest type first, so that each is aligned, then by name."""
    places, at = {}, 0
    for name in sorted(declared, key=lambda name: (-np.dtype(declared[name][0]).itemsize, name)):
        dtype, shape = declared[name]
        end = at + np.dtype(dtype).itemsize * math.prod(shape)
        places[name] = _Place(dtype, shape, at, end)
        at = end
    return places


def _header(digest: str, text: str, places: Mapping[str, _Place]) -> bytes:
    entries: dict[str, Any] = {_METADATA: {_OURS: f"{digest}\n{text}"}}
    for name, place in places.items():
        entries[name] = {"dtype": _TYPES[place.dtype], "shape": place.shape, "data_offsets": [place.start, place.end]}
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % 8)


def _digest(text: str, pieces: Iterable[memoryview]) -> str:
    sha = hashlib.sha256(text.encode())
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()


def _read_header(file: BinaryIO, path: Path) -> tuple[bytes, int]:
    """The header, and how many bytes follow it."""
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        _refuse(path, "a file that lupi saved", f"{size} bytes", _AGAIN)
    start = file.read(8)
    (length,) = struct.unpack("<Q", start)
    if not 2 <= length <= min(size - 8, MOST_HEADER):
        if start[0] == 0x80 and 2 <= start[1] <= 5:
            _refuse(path, "a file that lupi saved", "a pickle, which is not opened: it could run anything", _AGAIN)
        found = f"one that claims {length} bytes in a file of {size}: no such file, or a truncated one"
        _refuse(path, f"a header of at most {MOST_HEADER} bytes", found, _AGAIN)
    return file.read(length), size - 8 - length


def _parse_header(header: bytes, path: Path) -> tuple[str, str, dict[str, Any]]:
    """Digest, description and the entries of the arrays."""
    try:
        entries = strict_json(header.decode())
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        _refuse(path, "a header in JSON", f"something else ({error})", _AGAIN)
    metadata = entries.pop(_METADATA, None) if isinstance(entries, dict) else None
    ours = metadata.get(_OURS) if isinstance(metadata, dict) else None
    if not isinstance(ours, str) or "\n" not in ours or not ours.isascii():
        _refuse(path, "a description by lupi in its metadata", "none", "Only what lupi saved can be loaded.")
    digest, text = ours.split("\n", 1)
    return digest, text, entries


def _describe(text: str, kind: str, path: Path) -> dict[str, Any]:
    """The description, checked for version and kind, its facts not yet decoded."""
    try:
        description = strict_json(text)
    except ValueError as error:
        _refuse(path, "a description in JSON", f"something else ({error})", _AGAIN)
    if not isinstance(description, dict) or type(description.get("format")) is not int:
        _refuse(path, "a description with a format version", "none", _AGAIN)
    if description["format"] != FORMAT:
        _refuse_version(path, description["format"], description.get("versions"))
    if set(description) != {"format", "kind", "versions", "arrays", "facts"}:
        _refuse(path, "format, kind, versions, arrays and facts", ", ".join(description), _AGAIN)
    if description["kind"] != kind:
        other = str(description["kind"])[:100]
        _refuse(path, f"a {kind}", f"a {other}", f"Load it as a {other}.")
    return description


def _refuse_version(path: Path, version: object, versions: object) -> NoReturn:
    by = versions.get("lupi") if isinstance(versions, dict) else None
    _refuse(
        path,
        f"format version {FORMAT}, which lupi {lupi.__version__} reads",
        f"version {version}, written by lupi {by or '(unknown)'}",
        "Install that version of lupi, or save the object with this one.",
    )


def _declared(arrays: Any, path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and shapes by name, as the description has them."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, entry in arrays.items() if isinstance(arrays, dict) else [("arrays", arrays)]:
        match entry:
            case [str() as dtype, list() as shape] if dtype in _TYPES and _is_unicode(name) and _is_shape(shape, dtype):
                found[name] = dtype, tuple(shape)
            case _:
                _refuse(path, f"type and shape of the array {name!r}", entry, _AGAIN)
    return found


def _is_shape(shape: list[Any], dtype: str) -> bool:
    """Whether NumPy could make an array of it: sizes that it can multiply, also where one of them is 0."""
    whole = len(shape) <= _MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
    return whole and math.prod(max(n, 1) for n in shape) * np.dtype(dtype).itemsize < 2**63


def _compare(entries: dict[str, Any], places: Mapping[str, _Place], path: Path) -> None:
    """Refuse a header whose arrays are not those of the description."""
    if set(entries) != set(places):
        found = ", ".join(map(repr, entries)) or "none"
        _refuse(path, f"the arrays {', '.join(map(repr, places)) or 'none'}", found, _AGAIN)
    for name, place in places.items():
        stated = {"dtype": _TYPES[place.dtype], "shape": [*place.shape], "data_offsets": [place.start, place.end]}
        if entries[name] != stated:
            _refuse(path, f"the array {name!r} with {stated}", entries[name], _AGAIN)


def _check_size(size: int, places: Mapping[str, _Place], path: Path) -> None:
    """Refuse a file that has not exactly as many bytes of arrays as it should, before memory is taken for them."""
    expected = max((place.end for place in places.values()), default=0)
    if size != expected:
        what = "truncated" if size < expected else "followed by something else"
        _refuse(path, f"{expected} bytes of arrays", f"{size}: the file is {what}", _AGAIN)
    if size > MOST_DATA:
        _refuse(path, f"at most {MOST_DATA} bytes of arrays", size, _AGAIN)


def _read_array(file: BinaryIO, place: _Place, path: Path) -> Array:
    """The next array of the file, little-endian as it lies there."""
    array = np.empty(place.shape, np.dtype(place.dtype).newbyteorder("<"))
    into = _bytes(array)
    if into.nbytes and file.readinto(into) != into.nbytes:  # type: ignore[attr-defined]
        _refuse(path, f"{into.nbytes} bytes", "fewer: the file was changed while it was read", _AGAIN)
    return array


def _check_contents(arrays: Mapping[str, Array], text: str, digest: str, path: Path) -> None:
    """Refuse arrays, in the order of the file, and a description whose digest is another; and bits that are none."""
    found = _digest(text, map(_bytes, arrays.values()))
    if found != digest:
        _refuse(path, f"contents of SHA-256 {digest[:16]}…", f"{found[:16]}…: they were damaged or changed", _AGAIN)
    for name, array in arrays.items():
        if array.dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
            _refuse(path, f"bytes 0 and 1 in the truth values {name!r}", "others", _AGAIN)


def _facts(encoded: Any, path: Path) -> dict[str, Any]:
    try:
        facts = decode(encoded)
    except ValueError as error:
        _refuse(path, "facts that can be read", f"others ({error})", _AGAIN)
    if type(facts) is not dict:
        _refuse(path, "a dictionary of facts", f"a {type(facts).__name__}", _AGAIN)
    return facts
