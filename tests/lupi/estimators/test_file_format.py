"""Files of fitted arrays: what goes in comes out, and no other file is taken for one."""

import hashlib
import json
import os
import pickle
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from lupi.estimators import file_format
from lupi.estimators.file_format import read, write

KIND = "Model"
ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "x_shift": np.array([0.5, np.nan]),
    "seen": np.array([True, False, True]),
    "one": np.array(7, dtype=np.int16),
    "none": np.zeros((0, 4)),
}
FACTS = {"method": "MT-TPD", "layers": (20, 20), "columns": ["a", "größe"], "levels": {"a": [1, "1", float("nan")]}}

dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes()
    | hnp.unsigned_integer_dtypes()
    | hnp.floating_dtypes(sizes=(16, 32, 64))
)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    write(tmp_path / "model.safetensors", KIND, FACTS, ARRAYS)
    return tmp_path / "model.safetensors"


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Equal bit by bit, and fit for work: native, contiguous, writable."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].dtype.isnative
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert found[name].flags.c_contiguous
        assert found[name].flags.aligned
        assert found[name].flags.writeable


# ---------------------------------------------------------------------- what goes in comes out


def test_read__what_was_written__comes_back(path: Path) -> None:
    facts, arrays = read(path, KIND)
    assert_same(arrays, ARRAYS)
    assert str(facts) == str(FACTS)  # NaN among them


@settings(max_examples=60)
@given(arrays=st.dictionaries(st.text(max_size=4), hnp.arrays(dtypes, shapes), max_size=4), flip=st.booleans())
def test_read__any_types_shapes_strides_and_names__come_back(
    arrays: dict[str, np.ndarray], flip: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    given = {name: array.T[..., ::-1] if flip and array.ndim else array for name, array in arrays.items()}
    write(path, KIND, {}, given)
    assert_same(read(path, KIND)[1], given)


def test_write__same_contents__gives_the_same_bytes(path: Path) -> None:
    turned = {name: np.asfortranarray(array.astype(array.dtype.newbyteorder(">"))) for name, array in ARRAYS.items()}
    write(path.with_name("again"), KIND, FACTS, {name: turned[name].reshape(ARRAYS[name].shape) for name in ARRAYS})
    assert path.with_name("again").read_bytes() == path.read_bytes()


def test_file__read_by_the_safetensors_package__has_the_same_arrays(path: Path) -> None:
    found = safetensors.numpy.load_file(path)
    assert {name: array.tolist() for name, array in found.items() if name != "x_shift"} == {
        name: array.tolist() for name, array in ARRAYS.items() if name != "x_shift"
    }
    assert found["x_shift"].tobytes() == ARRAYS["x_shift"].tobytes()


def test_file__real_weights__size_and_time(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "parameters": draw.normal(size=(1, 5_500)).astype(np.float32),
        "x_shift": draw.normal(size=50),
    }
    facts = {"columns": [f"column {i}" for i in range(50)], "params": {"method": "MT-TPD", "layers": (20, 20)}}
    path, seconds = tmp_path / "m", []
    for _ in range(10):
        start = time.perf_counter()
        write(path, KIND, facts, arrays)
        read(path, KIND)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) <= 0.05
    assert path.stat().st_size <= 1.2 * sum(array.nbytes for array in arrays.values())


# ---------------------------------------------------------------------- what cannot be kept


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, None], dtype=object),
        np.array(["a"]),
        np.array([b"a"]),
        np.array([1j]),
        np.array([1], dtype=np.longdouble),
        np.array(["2020"], dtype="datetime64[ns]"),
        np.zeros(2, dtype=[("a", "f4")]),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        [1.0, 2.0],
    ],
    ids=lambda array: str(getattr(array, "dtype", type(array))),
)
def test_write__arrays_that_cannot_be_kept__raise_and_leave_nothing(array: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="array 'a': expected"):
        write(tmp_path / "m", KIND, {}, {"a": array})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "match"), [("__metadata__", "names of arrays"), (3, "names of arrays"), ("\ud800", "surrogates")]
)
def test_write__bad_names__raise_and_leave_nothing(name: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=match):
        write(tmp_path / "m", KIND, {}, {name: np.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_write__facts_that_cannot_be_kept__raise_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['facts'\]\['estimator'\]: expected None, bool, int"):
        write(tmp_path / "m", KIND, {"estimator": object()}, {})
    assert not list(tmp_path.iterdir())


def test_write__more_facts_than_can_be_read__raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_format, "_MOST_HEADER", 300)
    write(tmp_path / "few", KIND, {}, {})
    with pytest.raises(ValueError, match=r"at most 300 bytes of facts; found \d+"):
        write(tmp_path / "many", KIND, {"text": "x" * 300}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_write__failure_on_the_way__keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, KIND, {}, {})
    assert path.read_bytes() == before
    assert [left.name for left in path.parent.iterdir()] == [path.name]


# ---------------------------------------------------------------------- damaged files


def refused(path: Path, contents: bytes, match: str = "expected .*found") -> None:
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=match) as error:
        read(path, KIND)
    assert str(error.value).startswith(f"{path}: ")


def test_read__truncated_at_every_boundary_and_between__is_refused(path: Path) -> None:
    whole = path.read_bytes()
    data = len(whole) - sum(array.nbytes for array in ARRAYS.values())
    for length in {*range(10), *range(10, len(whole), 11), *range(data - 9, len(whole))}:
        refused(path, whole[:length])


def test_read__any_one_byte_changed__is_refused(path: Path) -> None:
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    for at, bits in enumerate(draw.integers(1, 256, len(whole)).tolist()):
        refused(path, whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])


@given(contents=st.binary(max_size=200))
def test_read__any_bytes__are_refused(contents: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    refused(tmp_path_factory.getbasetemp() / "bytes", contents)


def test_read__bytes_behind_the_end__are_refused(path: Path) -> None:
    refused(path, path.read_bytes() + b"\0", "damaged or cut short")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9, 10**4, 0])
def test_read__header_of_another_length__is_refused(path: Path, length: int) -> None:
    refused(path, struct.pack("<Q", length) + path.read_bytes()[8:], "a file that lupi saved|damaged or cut short")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_read__pickle__is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    refused(tmp_path / "m", pickle.dumps(Trap(), protocol), "a file that lupi saved")
    assert not (tmp_path / "sprung").exists()


def test_read__no_file_of_ours__is_refused(tmp_path: Path) -> None:
    for contents in (b"", b"PK\x03\x04" + bytes(100), struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2) + b"[]"):
        refused(tmp_path / "m", contents, "a file that lupi saved")
    with pytest.raises(ValueError, match="a folder"):
        read(tmp_path, KIND)
    with pytest.raises(FileNotFoundError, match="missing"):
        read(tmp_path / "missing", KIND)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_read__pipe__is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a device or pipe"):
        read(tmp_path / "pipe", KIND)


def test_read__other_safetensors__are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "m", safetensors.numpy.save({"a": np.zeros(2)}, {"format": "np"}), "a file that lupi saved")
    refused(tmp_path / "m", safetensors.numpy.save({"lupi": np.zeros(2)}), "a file that lupi saved")


# ---------------------------------------------------------------------- other files, their digest set right

Change = Callable[[dict[str, Any]], Any]


def forged(path: Path, change: Change, edit: Callable[[bytes], bytes] = bytes) -> bytes:
    """The file with another description (and another header, by `edit`), well sealed."""
    contents = path.read_bytes()
    (length,) = struct.unpack("<Q", contents[:8])
    header, data = json.loads(contents[8 : 8 + length]), contents[8 + length :]
    description = json.loads(header["__metadata__"]["lupi"].split("\n", 1)[1])
    change(description)
    text = json.dumps(description, separators=(",", ":"))
    header["__metadata__"]["lupi"] = f"{'0' * 64}\n{text}"
    packed = edit(json.dumps(header, separators=(",", ":")).encode())
    packed += b" " * (-len(packed) % 8)
    whole = struct.pack("<Q", len(packed)) + packed + data
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def nothing(description: dict[str, Any]) -> None:
    pass


def test_forged__nothing_changed__is_read(path: Path) -> None:
    assert forged(path, nothing) == path.read_bytes()


def set_to(to: Any, *keys: str) -> Change:
    """A change of one value in the description."""

    def change(description: dict[str, Any]) -> None:
        place: Any = description
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_read__another_format_version__is_refused_with_the_way_out(path: Path, version: Any) -> None:
    match = f"expected format version 2; found version {version}, written by lupi 0.*Load it with that version.*or fit"
    refused(path, forged(path, set_to(version, "format")), match)


def test_read__file_of_format_version_1__is_refused_with_the_way_out(path: Path) -> None:
    """As that version wrote it: facts with tags of another kind, and a digest of arrays and description alone."""
    facts = {"layers": {"$": "tuple", "value": [20, 20]}}
    text = json.dumps({"format": 1, "kind": KIND, "versions": {"lupi": "0.1.0"}, "arrays": {}, "facts": facts})
    digest = hashlib.sha256(text.encode()).hexdigest()
    refused(path, safetensors.numpy.save({}, {"lupi": f"{digest}\n{text}"}), "found version 1, written by lupi 0.1.0")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_to("Other", "kind"), "expected a Model; found a Other. Load it as a Other"),
        (set_to(1, "more"), "expected format, kind"),
        (set_to([], "facts"), "a dictionary of facts"),
        (set_to({}, "versions"), "a file that lupi saved"),
        (set_to({"$": "os.system", "value": "true"}, "facts", "a"), "a file that lupi saved.*tagged"),
        (set_to({"$numpy": ["int8", 300]}, "facts", "a"), "a file that lupi saved"),
        (set_to({"$dict": [[[], 1]]}, "facts", "a"), "a file that lupi saved"),
    ],
)
def test_read__other_description__is_refused(path: Path, change: Change, match: str) -> None:
    refused(path, forged(path, change), match)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda header: header.replace(b'"shape":[2,3]', b'"shape":[3,3]'), "arrays that safetensors can read"),
        (lambda header: header.replace(b'"shape":[2,3]', b'"shape":[2,-3]'), "arrays that safetensors can read"),
        (
            lambda header: header.replace(b'"shape":[2,3]', b'"shape":[4294967296,4294967296]'),
            "arrays that safetensors",
        ),
        (lambda header: header.replace(b'"F32"', b'"object"'), "arrays that safetensors can read"),
        (lambda header: header.replace(b"[0,", b"[8,", 1), "arrays that safetensors can read"),
        (lambda header: header[:-1], "a file that lupi saved"),
        (lambda header: b"[" * 50_000, "a file that lupi saved"),
        (lambda header: header.replace(b'"lupi"', b'"Lupi"', 1), "a file that lupi saved"),
    ],
)
def test_read__other_header__is_refused(path: Path, edit: Callable[[bytes], bytes], match: str) -> None:
    refused(path, forged(path, nothing, edit), match)


def test_read__equal_arrays_exchanged__are_refused(tmp_path: Path) -> None:
    write(tmp_path / "m", KIND, {}, {"a": np.zeros(2), "b": np.ones(2)})
    whole = (tmp_path / "m").read_bytes()
    refused(tmp_path / "m", whole[:-32] + whole[-16:] + whole[-32:-16], "damaged or cut short")


def test_read__huge_declared_shape__is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "m", KIND, {}, {"a": np.zeros(2)})

    def grow(header: bytes) -> bytes:
        return header.replace(
            b'"shape":[2],"data_offsets":[0,16]', b'"shape":[1073741824],"data_offsets":[0,8589934592]'
        )

    contents = forged(tmp_path / "m", nothing, grow)
    assert contents != (tmp_path / "m").read_bytes()
    tracemalloc.start()
    try:
        refused(tmp_path / "m", contents, "arrays that safetensors can read")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
