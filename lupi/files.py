"""`write_atomically`: a file is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

PathLike = str | os.PathLike[str]


def write_atomically(path: PathLike, contents: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to a file, also where several processes write it at once: the last one wins.

    The contents reach the disk before the file takes its name, so that no crash leaves a part of it.

    Raises
    ------
    ValueError : where `path` is a folder.
    FileNotFoundError : where its folder does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: expected the path of a file to write; found a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in; make it first.")
    partial = path.parent / f".{secrets.token_hex(8)}.part"  # a name of its own for everyone who writes
    try:
        with partial.open("xb") as file:
            file.write(contents.encode("utf-8") if isinstance(contents, str) else contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        raise
