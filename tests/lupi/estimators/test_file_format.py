"""Files of fitted arrays: what goes in comes out, and no other file is taken for one."""

import hashlib
import json
import os
import pickle
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lupi.estimators import persistence
from lupi.estimators.persistence import read, write

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
    assert list(found) == list(expected)
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
    safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="the safetensors package is not installed")
    found = safetensors_numpy.load_file(path)
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


def test_write__too_many_axes__raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "_MOST_AXES", 2)
    with pytest.raises(ValueError, match="array 'a': expected at most 2 axes; found 3"):
        write(tmp_path / "m", KIND, {}, {"a": np.zeros((1, 1, 1))})


@pytest.mark.parametrize("name", ["__metadata__", "\ud800", 3])
def test_write__bad_names__raise(name: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names of arrays"):
        write(tmp_path / "m", KIND, {}, {name: np.zeros(1)})


def test_write__facts_that_cannot_be_kept__raise_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"facts\['estimator'\]: expected values that can be kept"):
        write(tmp_path / "m", KIND, {"estimator": object()}, {})
    assert not list(tmp_path.iterdir())


def test_write__too_much__raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "MOST_DATA", 15)
    with pytest.raises(ValueError, match=r"15 bytes of arrays; found \d+ and 16"):
        write(tmp_path / "m", KIND, {}, {"a": np.zeros(2)})


# ---------------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_write__failure_on_the_way__keeps_the_old_file(path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, KIND, {}, {})
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_write__several_at_once__one_of_them_is_there_whole(tmp_path: Path) -> None:
    path, errors, done = tmp_path / "m", [], threading.Event()

    def many(value: int) -> None:
        for _ in range(15):
            write(path, KIND, {"value": value}, {"a": np.full(2_000, value)})

    def watch() -> None:
        while not done.is_set():
            if path.exists():
                try:
                    facts, arrays = read(path, KIND)
                    assert (arrays["a"] == facts["value"]).all()
                except Exception as error:
                    errors.append(error)

    writers = [threading.Thread(target=many, args=(value,)) for value in range(4)]
    reader = threading.Thread(target=watch)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not errors
    assert [each.name for each in tmp_path.iterdir()] == ["m"]


def test_write__permissions__are_those_of_any_new_file(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"")
    assert path.stat().st_mode == other.stat().st_mode


def test_write__no_folder_or_a_folder__raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        write(tmp_path / "missing" / "m", KIND, {}, {})
    with pytest.raises(ValueError, match="a folder"):
        write(tmp_path, KIND, {}, {})
    assert not list(tmp_path.iterdir())


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
    refused(path, path.read_bytes() + b"\0", "followed by something else")


def test_read__cut_while_it_is_read__is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read_header = tmp_path / "m", persistence._read_header
    write(path, KIND, {}, {"a": np.zeros(20_000)})

    def read_and_cut(file: BinaryIO, path: Path) -> tuple[bytes, int]:
        header = read_header(file, path)
        os.truncate(path, 100_000)
        return header

    monkeypatch.setattr(persistence, "_read_header", read_and_cut)
    with pytest.raises(ValueError, match="changed while it was read"):
        read(path, KIND)


def test_read__huge_header__is_refused_before_memory_is_taken(path: Path) -> None:
    for length in (2**63, 2**64 - 1, 10**9, len(path.read_bytes())):
        refused(path, struct.pack("<Q", length) + path.read_bytes()[8:], f"claims {length} bytes")
        write(path, KIND, FACTS, ARRAYS)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_read__pickle__is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    refused(tmp_path / "m", pickle.dumps(Trap(), protocol), "a pickle" if protocol >= 2 else "expected")
    assert not (tmp_path / "sprung").exists()


def test_read__no_file_of_ours__is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "m", b"", "0 bytes")
    refused(tmp_path / "m", b"PK\x03\x04" + bytes(100))
    refused(tmp_path / "m", struct.pack("<Q", 2) + b"{}", "description by lupi")
    refused(tmp_path / "m", struct.pack("<Q", 2) + b"[]", "description by lupi")
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
    safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="the safetensors package is not installed")
    refused(tmp_path / "m", safetensors_numpy.save({"a": np.zeros(2)}, {"format": "np"}), "description by lupi")


# ---------------------------------------------------------------------- forged files, their digest set right

Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def forged(path: Path, change: Change, data: bytes | None = None, edit: Callable[[str], str] = str) -> bytes:
    """The file with description and entries of its header changed (and the header's text by `edit`), well signed."""
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    entries = json.loads(whole[8 : 8 + length])
    description = json.loads(entries.pop("__metadata__")["lupi"].split("\n", 1)[1])
    change(description, entries)
    data = whole[8 + length :] if data is None else data
    text = json.dumps(description, separators=(",", ":"))
    digest = hashlib.sha256(text.encode() + data).hexdigest()
    entries = {"__metadata__": {"lupi": f"{digest}\n{text}"}, **entries}
    header = edit(json.dumps(entries, ensure_ascii=False, separators=(",", ":"))).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def nothing(description: dict[str, Any], entries: dict[str, Any]) -> None:
    pass


def test_forged__nothing_changed__is_read(path: Path) -> None:
    assert forged(path, nothing) == path.read_bytes()


def set_in(of: str, *keys: Any, to: Any) -> Change:
    """A change of one value in the description or the entries of the arrays."""

    def change(description: dict[str, Any], entries: dict[str, Any]) -> None:
        place: Any = {"description": description, "entries": entries}[of]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_in("description", "format", to=2), "expected format version 1, .* found version 2, written by lupi 0"),
        (set_in("description", "format", to="1"), "format version"),
        (set_in("description", "format", to=True), "format version"),
        (set_in("description", "kind", to="Other"), "expected a Model; found a Other. Load it as a Other"),
        (set_in("description", "more", to=1), "expected format, kind"),
        (set_in("description", "arrays", to=[]), "expected"),
        (set_in("description", "arrays", "weights", 1, to=[3, 3]), "the array 'weights' with .*'shape': \\[3, 3\\]"),
        (set_in("description", "arrays", "weights", 1, to=[-2, -3]), "type and shape of the array 'weights'"),
        (set_in("description", "arrays", "weights", 1, to=[2.0, 3]), "type and shape of the array 'weights'"),
        (set_in("description", "arrays", "weights", 1, to=[True, 6]), "type and shape of the array 'weights'"),
        (set_in("description", "arrays", "weights", 1, to=[0, 2**62]), "type and shape of the array 'weights'"),
        (set_in("description", "arrays", "weights", 1, to=[1] * 40), "type and shape of the array 'weights'"),
        (set_in("description", "arrays", "weights", 0, to="object"), "type and shape of the array 'weights'"),
        (set_in("description", "arrays", "weights", 0, to="int32"), "the array 'weights' with"),
        (set_in("description", "arrays", "\ud800", to=["bool", []]), "type and shape of the array"),
        (set_in("description", "arrays", "another", to=["bool", [0]]), "expected the arrays"),
        (set_in("entries", "weights", "shape", to=[3, 2]), "the array 'weights' with"),
        (set_in("entries", "weights", "dtype", to="I32"), "the array 'weights' with"),
        (set_in("entries", "weights", "data_offsets", to=[0, 24]), "the array 'weights' with"),
        (set_in("entries", "weights", "more", to=1), "the array 'weights' with"),
        (set_in("entries", "another", to={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}), "expected the arrays"),
        (set_in("description", "facts", to=[]), "a dictionary of facts"),
        (set_in("description", "facts", "a", to={"$": "os.system", "value": "true"}), "facts that can be read"),
        (set_in("description", "facts", "a", to=float("nan")), "description in JSON.*NaN"),
    ],
)
def test_read__forged_header__is_refused(path: Path, change: Change, match: str) -> None:
    refused(path, forged(path, change), match)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda text: text.replace('"one":', '"x_shift":', 1), "'x_shift' twice"),
        (lambda text: text.replace('"shape":[2,3]', '"shape":[2,3],"shape":[2,3]'), "'shape' twice"),
        (lambda text: text.replace('"shape":[2,3]', '"shape":[2, 3]'), "a header as lupi writes it"),
        (lambda text: text.replace('"shape":[2,3]', '"shape":[2.0,3]'), "a header as lupi writes it"),
        (lambda text: text + " " * 8, "a header as lupi writes it"),
        (lambda text: text.replace("weights", "\\u0077eights", 1), "expected"),
        (lambda text: text[:-1], "a header in JSON"),
        (lambda text: "[" * 50_000, "a header in JSON"),
        (lambda text: text.replace("{", '{"a":NaN,', 1), "a header in JSON.*NaN"),
        (lambda text: text.replace('"lupi"', '"Lupi"', 1), "a description by lupi"),
        (lambda text: text.replace("MT-TPD", "\u00e9", 1), "a description by lupi"),
    ],
)
def test_read__header_written_otherwise__is_refused(path: Path, edit: Callable[[str], str], match: str) -> None:
    refused(path, forged(path, nothing, edit=edit), match)


def test_read__equal_arrays_exchanged__are_refused(tmp_path: Path) -> None:
    write(tmp_path / "m", KIND, {}, {"a": np.zeros(2), "b": np.ones(2)})
    whole = (tmp_path / "m").read_bytes()
    refused(tmp_path / "m", whole[:-32] + whole[-16:] + whole[-32:-16], "SHA-256")


def test_read__truth_values_that_are_no_bits__are_refused(tmp_path: Path) -> None:
    write(tmp_path / "m", KIND, {}, {"a": np.array([True, False])})
    refused(tmp_path / "m", forged(tmp_path / "m", nothing, b"\x02\x00"), "bytes 0 and 1")


def test_read__huge_declared_shape__is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "m", KIND, {}, {"a": np.zeros(2)})

    def grow(description: dict[str, Any], entries: dict[str, Any]) -> None:
        description["arrays"]["a"][1] = entries["a"]["shape"] = [2**30]
        entries["a"]["data_offsets"] = [0, 2**33]

    contents = forged(tmp_path / "m", grow)
    tracemalloc.start()
    try:
        refused(tmp_path / "m", contents, "truncated")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_read__more_data_than_allowed__is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "MOST_DATA", 15)
    with pytest.raises(ValueError, match="at most 15 bytes"):
        read(path, KIND)
