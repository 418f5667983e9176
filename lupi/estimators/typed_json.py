"""Plain Python values as JSON that gives back exactly what went in: types, NaN, tuples and timestamps included.

JSON has no tuple, no NaN, no keys but text, and one kind of number. What it lacks is written as an object with a tag,
`{"$": "tuple", "value": [...]}`, and read by a fixed table of tags: reading makes values of these types and nothing
else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

_TAG = "$"
#: Types of NumPy scalars that are a number or a truth value.
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
            "float64")  # fmt: skip
_TIMES = re.compile(r"(datetime64|timedelta64)\[(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]")
_ZONE = re.compile(r"(?!dateutil)[A-Za-z0-9_+:/-]{1,64}")
_KEPT = (
    "None, bool, int, float, str, lists, tuples and dictionaries of these, NumPy's bool, int, uint, float, str, "
    "datetime64 and timedelta64 scalars, and pandas' Timestamp, Timedelta, Interval, NaT and NA"
)


def encode(value: Any) -> Any:
    """What JSON can hold (None, bool, int, finite float, str, lists, dictionaries with text as keys) of a value.

    Raises
    ------
    ValueError : for a type that would not come back as it was, saying where in the value it stands.
    """
    try:
        return _encode(value, "facts")
    except RecursionError:
        raise ValueError("expected facts without cycles; found values nested too deeply to be written.") from None


def decode(encoded: Any) -> Any:
    """The value that `encode` was given.

    Raises
    ------
    ValueError : for what `encode` does not return, such as an unknown tag.
    """
    try:
        return _decode(encoded)
    except (RecursionError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"expected facts as lupi writes them; found {type(error).__name__}: {error}") from None


def strict_json(text: str) -> Any:
    """JSON read without its two licences: a name twice in one object, and NaN or Infinity bare, are errors."""
    try:
        return json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("expected JSON; found values nested too deeply to be read.") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"expected different names in one JSON object; found {twice!r} twice.")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"expected finite numbers in JSON; found {name}.")


def _tagged(tag: str, value: Any, **more: Any) -> dict[str, Any]:
    return {_TAG: tag, "value": value, **more}


def _encode(value: Any, where: str) -> Any:
    """What JSON can hold of a value; subclasses are refused, since they would come back as their base."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if np.isfinite(value) else _tagged("float", repr(value))
    if kind in (list, tuple):
        items = [_encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if kind is list else _tagged("tuple", items)
    if kind is dict:
        if all(type(key) is str and key != _TAG for key in value):
            return {key: _encode(item, f"{where}[{key!r}]") for key, item in value.items()}
        pairs: Iterable[tuple[Any, Any]] = value.items()
        return _tagged("dict", [[_encode(k, f"a key of {where}"), _encode(v, f"{where}[{k!r}]")] for k, v in pairs])
    if isinstance(value, np.generic):
        return _encode_scalar(value, where)
    return _encode_pandas(value, where)


def _encode_scalar(value: np.generic, where: str) -> Any:
    name = value.dtype.name
    if type(value) is np.str_:
        return _tagged("numpy", str(value), dtype="str")
    if name in _NUMBERS and type(value) in (np.dtype(name).type, np.longlong, np.ulonglong):
        return _tagged("numpy", _encode(value.item(), where), dtype=name)
    if _TIMES.fullmatch(name):
        return _tagged("numpy", int(value.astype(np.int64)), dtype=name)
    raise _unkept(value, where)


def _encode_pandas(value: Any, where: str) -> Any:
    if value is pd.NaT or value is pd.NA:
        return _tagged("missing", str(value))
    if type(value) is pd.Timestamp:
        zone = None if value.tz is None else str(value.tz)
        naive = value if zone is None else value.tz_convert("UTC").tz_localize(None)
        at = naive.to_datetime64()
        encoded = _tagged("timestamp", int(at.astype(np.int64)), unit=value.unit, zone=zone)
        try:
            back = _timestamp(encoded)
            same = back == value and back.unit == value.unit and str(back.tz) == str(value.tz)
        except (ValueError, KeyError):
            same = False
        if same:
            return encoded
    if type(value) is pd.Timedelta:
        return _tagged("timedelta", int(value.to_timedelta64().astype(np.int64)), unit=value.unit)
    if type(value) is pd.Interval:
        ends = [_encode(end, f"an end of {where}") for end in (value.left, value.right)]
        return _tagged("interval", ends, closed=value.closed)
    raise _unkept(value, where)


def _unkept(value: Any, where: str) -> ValueError:
    kind = type(value)
    return ValueError(
        f"{where}: expected values that can be kept in a file ({_KEPT}); found {kind.__module__}.{kind.__qualname__} "
        f"{str(value)[:80]!r}. Turn it into one of these first; arrays belong beside the facts, not in them."
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {key: _decode(item) for key, item in value.items()}
    tag = value[_TAG]
    if tag not in _DECODERS:
        raise ValueError(f"expected a value of type {', '.join(_DECODERS)}; found {tag!r}.")
    return _DECODERS[tag](value)


def _float(fact: dict[str, Any]) -> float:
    return {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}[fact["value"]]


def _scalar(fact: dict[str, Any]) -> Any:
    name, value = fact["dtype"], _decode(fact["value"])
    if name == "str" and isinstance(value, str):
        return np.str_(value)
    if name in _NUMBERS and type(value) in (bool, int, float):
        with np.errstate(over="ignore"):
            number = np.array(value).astype(name)
        back = number.item()
        if type(back) is type(value) and (back == value or value != value):
            return number[()]
    if isinstance(name, str) and _TIMES.fullmatch(name) and type(value) is int:
        return np.int64(value).astype(name)
    raise ValueError(f"expected a NumPy scalar; found {value!r} of type {name!r}.")


def _timestamp(fact: dict[str, Any]) -> pd.Timestamp:
    naive = pd.Timestamp(_time("datetime64", fact))
    zone = fact["zone"]
    if zone is None:
        return naive
    if not _ZONE.fullmatch(zone):
        raise ValueError(f"expected the name of a time zone; found {zone!r}.")
    return naive.tz_localize("UTC").tz_convert(zone)


def _time(kind: str, fact: dict[str, Any]) -> Any:
    unit, value = fact["unit"], fact["value"]
    if unit not in ("s", "ms", "us", "ns") or type(value) is not int:
        raise ValueError(f"expected a time in s, ms, us or ns; found {value!r} {unit!r}.")
    return np.int64(value).astype(f"{kind}[{unit}]")


def _interval(fact: dict[str, Any]) -> Any:
    left, right = map(_decode, fact["value"])
    return pd.Interval(left, right, closed=fact["closed"])


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "float": _float,
    "tuple": lambda fact: tuple(map(_decode, fact["value"])),
    "dict": lambda fact: {_decode(key): _decode(item) for key, item in fact["value"]},
    "numpy": _scalar,
    "missing": lambda fact: {"NaT": pd.NaT, "<NA>": pd.NA}[fact["value"]],
    "timestamp": _timestamp,
    "timedelta": lambda fact: pd.Timedelta(_time("timedelta64", fact)),
    "interval": _interval,
}
