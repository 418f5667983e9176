"""Fetch the files of the data sets, check them and put them under data/.

    python download_datasets.py                   # everything
    python download_datasets.py phishing wine     # some
    python download_datasets.py --list
    python download_datasets.py --mirror DIR_OR_URL

A file is fetched into a folder of its own beside its place, checked by its official digest (where one is known) and by
loading the data set, and then moved into place: what is there is whole. This is the only program here that uses the
network. Exit status: 0 if all that could be had is there, 1 if something failed, 2 for bad usage.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import lzma
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import datasets
from studies.sources.published import Entry, Form, command, find, read_form

KAGGLE = "https://www.kaggle.com/api/v1"
ATTEMPTS = 3
PAUSE = 0.5
"""Seconds before the second attempt; doubled before each further one."""
TIMEOUT = 30.0
"""Seconds without an answer after which an attempt has failed."""


class SourceError(Exception):
    """A source did not give the files: what was expected and what was found, in one line."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one data set: a row of the closing table."""

    name: str
    rows: int | None
    status: str
    todo: str = ""

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    def row(self) -> tuple[str, ...]:
        """Its row of the table; what to do is printed above it, in full."""
        return (
            self.name,
            "" if self.rows is None else str(self.rows),
            self.status,
            "see above" if self.todo else "nothing",
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv` (those of the process by default) and return its exit status."""
    parser = argparse.ArgumentParser(prog="download_datasets.py", description="Fetch and verify the raw data files.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets to fetch (default: all; see --list)")
    parser.add_argument("--list", action="store_true", help="list the data sets and fetch nothing")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="where to put them (default: data)"
    )
    parser.add_argument("--to", dest="data", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--mirror", metavar="DIR_OR_URL", help="take the files from here, not from their publishers")
    parser.add_argument("--force", action="store_true", help="fetch again what is already there")
    options = parser.parse_args(argv)
    try:
        entries = [datasets.entry_of(name) for name in dict.fromkeys(options.names or datasets.names())]
    except ValueError as error:
        parser.error(str(error))
    if options.mirror and not _is_address(options.mirror) and not Path(options.mirror).is_dir():
        parser.error(f"--mirror must be a folder or an http(s) address; there is no folder {options.mirror}.")
    if options.list:
        _print_table(("data set", "rows", "features", "licence", "page"), [_listed(entry) for entry in entries])
        return 0
    outcomes = []
    for entry in entries:
        outcome = obtain(entry, options.data, mirror=options.mirror, force=options.force)
        outcomes.append(outcome)
        if outcome.failed:
            print(f"error: {outcome.name}: {outcome.todo}", file=sys.stderr)
        elif outcome.todo:
            print(f"{outcome.name}: {outcome.todo}")
    _print_table(("data set", "rows", "status", "what to do"), [outcome.row() for outcome in outcomes])
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def obtain(entry: Entry, to: Path, *, mirror: str | None = None, force: bool = False) -> Outcome:
    """Have the files of a data set in the folder `to`: check those that are there, else fetch them.

    Parameters
    ----------
    mirror : a folder or address to take the files from, in place of the publishers.
    force : fetch even if the files are there.
    """
    if entry.make is not None:
        return Outcome(entry.name, entry.rows, "needs no file")
    if not force:
        try:
            present = find(entry, to)
            if present is not None:
                read_form(entry, *present)
                return Outcome(entry.name, entry.rows, "there")
        except FileNotFoundError:
            pass  # only some files of a form: fetch them all
        except ValueError as error:
            todo = f"{to}: {error} To replace it: {command(entry, to)} --force"
            return Outcome(entry.name, None, "failed", todo)
    if entry.kaggle and mirror is None and _kaggle_token() is None:
        return Outcome(entry.name, None, "needs you", _kaggle_steps(entry, to))
    return _fetch(entry, to, mirror)


def _fetch(entry: Entry, to: Path, mirror: str | None) -> Outcome:
    """Try the sources of a data set in order; what fails leaves nothing behind."""
    problems: dict[str, list[str]] = {}
    try:
        to.mkdir(parents=True, exist_ok=True)
        for form, addresses in _sources(entry, mirror):
            with tempfile.TemporaryDirectory(prefix=".download-", dir=to) as work:
                try:
                    paths = _gather(form, addresses, Path(work))
                    _check(entry, form, paths)
                except SourceError as error:
                    if entry.kaggle and error.status in (401, 403):
                        return Outcome(entry.name, None, "needs you", f"{error}: {_kaggle_steps(entry, to)}")
                    if mirror is None or error.status != 404:
                        problems.setdefault(str(error), []).append(addresses[0])
                    continue
                _place(entry, form, paths, to / entry.folders[0])
                return Outcome(entry.name, entry.rows, "fetched")
    except OSError as error:
        where = error.filename or to
        todo = f"cannot read or write {where}: {error.strerror}. Make room there, or choose another folder with --data."
        return Outcome(entry.name, None, "failed", todo)
    if entry.kaggle and not problems:
        return Outcome(entry.name, None, "needs you", _kaggle_steps(entry, to))
    files = ", or ".join(dict.fromkeys(" and ".join(form.files) for form in entry.forms))
    tried = "; ".join(f"{' and '.join(places)}: {problem}" for problem, places in problems.items())
    problem = tried or f"{mirror} has none of its published files"
    todo = f"{problem}. Try again later, or put {files} from {entry.page} into {to / entry.folders[0]}."
    return Outcome(entry.name, None, "failed", todo)


def _sources(entry: Entry, mirror: str | None) -> Iterator[tuple[Form, tuple[str, ...]]]:
    """The forms of a data set with the addresses to fetch each from, preferred first."""
    for form in entry.forms:
        if mirror is None:
            kaggle = [f"{KAGGLE}/competitions/data/download/{entry.kaggle}/{file}" for file in form.files]
            for addresses in [tuple(kaggle)] if entry.kaggle else form.sources:
                yield form, addresses
            continue
        for folder in entry.folders:
            addresses = tuple(f"{mirror.rstrip('/')}/{folder}/{file}" for file in form.files)
            if _is_address(mirror) or all(Path(address).is_file() for address in addresses):
                yield form, addresses


def _gather(form: Form, addresses: Sequence[str], work: Path) -> list[Path]:
    """Bring the files of a form into the folder `work`, from one archive of all or from one address each."""
    wanted = [form.files] if len(addresses) == 1 else [(file,) for file in form.files]
    for address, files in zip(addresses, wanted, strict=True):
        received = work / "received"
        _transfer(address, received)
        if address.endswith(".zip") or zipfile.is_zipfile(received):
            _unzip(received, files, work)
        elif address.endswith(".xz"):
            with _broken_archive("an xz file"), lzma.open(received) as packed, open(work / files[0], "wb") as file:
                shutil.copyfileobj(packed, file)
        else:
            received.replace(work / files[0])
    return [work / file for file in form.files]


def _transfer(address: str, target: Path) -> None:
    """Copy a file, or fetch it with a progress bar and a new start after a passing failure."""
    if not _is_address(address):
        shutil.copyfile(address, target)
        return
    import pooch
    import requests

    auth = _kaggle_token() if address.startswith(f"{KAGGLE}/") else None
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=2**16, timeout=TIMEOUT, auth=auth)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            fetch(address, str(target), None)
            return
        except requests.HTTPError as error:
            status = error.response.status_code
            problem = SourceError(f"the server answered {status} {error.response.reason}", status)
            if status < 500 and status != 429:
                break
        except requests.Timeout:
            problem = SourceError(f"no answer within {TIMEOUT:g} s")
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            count = re.search(r"(\d+) bytes read, (\d+) more expected", str(error))
            lengths = f": expected {int(count[1]) + int(count[2])} bytes, found {count[1]}" if count else ""
            problem = SourceError(f"the transfer broke off{lengths}")
        except requests.ConnectionError:
            problem = SourceError("the server cannot be reached (no network?)")
        except requests.RequestException as error:
            problem = SourceError(f"the request failed ({type(error).__name__})")
    raise problem


@contextlib.contextmanager
def _broken_archive(kind: str) -> Iterator[None]:
    """Turn what the unpackers raise for a broken archive into one SourceError."""
    try:
        yield
    except (zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise SourceError(f"expected {kind}; found a broken or another file ({error})") from error


def _unzip(archive: Path, files: Sequence[str], work: Path) -> None:
    """Take `files` out of an archive, from whatever folder they have in it; no member may lie outside the archive."""
    with _broken_archive("a zip archive"), zipfile.ZipFile(archive) as packed:
        members = packed.namelist()
        for member in members:
            path = PurePosixPath(member.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                raise SourceError(f"expected an archive of plain files; found one that writes to {member!r}")
        for name in files:
            wanted = [member for member in members if PurePosixPath(member).name == name]
            if len(wanted) != 1:
                raise SourceError(f"expected an archive with one {name}; found {', '.join(members[:8]) or 'nothing'}")
            with packed.open(wanted[0]) as content, open(work / name, "wb") as file:
                shutil.copyfileobj(content, file)


def _check(entry: Entry, form: Form, paths: Sequence[Path]) -> None:
    """Raise SourceError unless the files have the official digests and load as the published data set."""
    import pooch

    for path, official in zip(paths, form.sha256, strict=False):
        digest = pooch.file_hash(str(path), alg="sha256")
        if digest != official:
            raise SourceError(
                f"expected {path.name} with sha256 {official[:12]}...; found {path.stat().st_size} bytes with "
                f"{digest[:12]}...: cut short, changed or another file"
            )
    try:
        read_form(entry, form, paths)
    except ValueError as error:
        raise SourceError(str(error).rstrip(".")) from error


def _place(entry: Entry, form: Form, paths: Sequence[Path], folder: Path) -> None:
    """Move checked files into `folder`, where files of a form that would be preferred to them are removed."""
    folder.mkdir(exist_ok=True)
    for path in paths:
        path.replace(folder / path.name)
    for preferred in entry.forms[: entry.forms.index(form)]:
        for file in set(preferred.files) - set(form.files):
            (folder / file).unlink(missing_ok=True)


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _kaggle_token() -> tuple[str, str] | None:
    """The user's Kaggle name and key, or None; they are never printed or kept."""
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if user and key:
        return user, key
    file = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle") / "kaggle.json"
    try:
        token = json.loads(file.read_text(encoding="utf-8"))
        return str(token["username"]), str(token["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _kaggle_steps(entry: Entry, to: Path) -> str:
    files = " and ".join(entry.forms[0].files)
    return (
        f"1. accept the rules at {entry.page}/rules; 2. at https://www.kaggle.com/settings, API, create a (legacy) API "
        "token and keep it as ~/.kaggle/kaggle.json or in KAGGLE_USERNAME and KAGGLE_KEY; 3. run "
        f"{command(entry, to)}. Or download {files} by hand into {to / entry.folders[0]}. Until then load("
        f"{entry.name!r}) gives {entry.instead}"
    )


def _listed(entry: Entry) -> tuple[str, ...]:
    return entry.name, str(entry.rows), str(len(entry.columns)), entry.licence, entry.page


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * len(title) for title in head], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
