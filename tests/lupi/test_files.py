"""Files are there whole or not at all."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from lupi.files import write_atomically


@pytest.mark.parametrize("contents", ["größer ± \n", b"\x00\xff\r\n", "", b""])
def test_write_atomically__text_and_bytes__are_there_as_they_were(tmp_path: Path, contents: str | bytes) -> None:
    write_atomically(tmp_path / "file", "old, and longer than the new contents")
    write_atomically(tmp_path / "file", contents)
    expected = contents.encode("utf-8") if isinstance(contents, str) else contents
    assert (tmp_path / "file").read_bytes() == expected


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_write_atomically__failure_on_the_way__keeps_the_old_file(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old ±")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old ±"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_write_atomically__contents__are_on_the_disk_before_the_name_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda *given, true=os.fsync: steps.append("sync") or true(*given))
    monkeypatch.setattr(os, "replace", lambda *given, true=os.replace: steps.append("name") or true(*given))
    write_atomically(tmp_path / "file", "text")
    assert steps == ["sync", "name"]


def test_write_atomically__several_at_once__one_of_them_is_there_whole(tmp_path: Path) -> None:
    path, done = tmp_path / "file", threading.Event()
    read, torn = [], []

    def many(value: int) -> None:
        for _ in range(15):
            write_atomically(path, bytes([value]) * 16_000)

    def watch() -> None:
        while not done.is_set():
            if path.exists():
                contents = path.read_bytes()
                read.append(contents[0])
                if len(contents) != 16_000 or len(set(contents)) != 1:
                    torn.append(contents)

    writers = [threading.Thread(target=many, args=(value,)) for value in range(4)]
    reader = threading.Thread(target=watch)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert read
    assert not torn
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_write_atomically__permissions__are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_write_atomically__no_folder_or_a_folder__raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        write_atomically(tmp_path / "missing" / "file", "")
    with pytest.raises(ValueError, match="a folder"):
        write_atomically(tmp_path, "")
    assert not list(tmp_path.iterdir())
