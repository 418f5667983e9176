"""Plain Python values as JSON that gives back exactly what went in: tuples, NumPy's numbers and keys of any type too.

What JSON lacks is written as an object with one name, `{"$tuple": [1, 2]}`; NaN and infinity stand bare, as Python's
`json` writes and reads them. Reading makes values of the types below and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

#: Types of NumPy's arrays and scalars that come back as they were.
NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
           "float64")  # fmt: skip
_TAG = "$"


def dumps(value: Any) -> str:
    """The text of None, bool, int, float, str, NumPy's scalars of these, and lists, tuples and dictionaries of them.

    Raises
    ------
    ValueError : for any other type, saying where in the value it stands.
    """
    return json.dumps(_encoded(value, ""), separators=(",", ":"))


def loads(text: str) -> Any:
    """The value that `dumps` was given.

    Raises
    ------
    ValueError : for text that is no JSON, and for an object whose tag `dumps` does not write.
    """
    return json.loads(text, object_hook=_decoded)


def _encoded(value: Any, where: str) -> Any:
    """What JSON can hold of a value. Subclasses are refused, since they would come back as their base."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        items = [_encoded(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if kind is list else {f"{_TAG}tuple": items}
    if kind is dict:
        entries = {key: _encoded(item, f"{where}[{key!r}]") for key, item in value.items()}
        if all(type(key) is str and not key.startswith(_TAG) for key in value):
            return entries
        return {f"{_TAG}dict": [[_encoded(key, f"a key of {where}"), item] for key, item in entries.items()]}
    if isinstance(value, np.generic):
        name = "str" if kind is np.str_ else value.dtype.name
        if name in (*NUMBERS, "str"):
            return {f"{_TAG}numpy": [name, value.item()]}
    raise ValueError(
        f"{where}: expected None, bool, int, float, str, NumPy's scalars of these, or lists, tuples and dictionaries "
        f"of them; found {kind.__module__}.{kind.__qualname__} {str(value)[:80]!r}. Turn it into one of these first, "
        "for example into text."
    )


def _decoded(entry: dict[str, Any]) -> Any:
    """What an object stands for; `json` has read the objects inside it before."""
    match list(entry.items()):
        case [("$tuple", [*items])]:
            return tuple(items)
        case [("$dict", [*pairs])]:
            return dict(pairs)
        case [("$numpy", [str() as name, value])] if name in (*NUMBERS, "str"):
            return np.dtype(name).type(value)
    if any(key.startswith(_TAG) for key in entry):
        raise ValueError(f"expected an object that is tagged as tuple, dict or numpy; found {str(entry)[:80]}.")
    return entry
