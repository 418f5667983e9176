"""download_datasets.py against a server that the test starts, which misbehaves as asked."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import http.server
import io
import lzma
import os
import re
import socket
import struct
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pooch
import pytest

import datasets
import download_datasets
from studies.sources import simulated
from studies.sources.published import Form, Target
from tests.studies.sources.toys import toy_entry

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("LUPI_MIRROR", ROOT.parent / "shared" / "data"))

WHOLE = b"a,b,label\n" + b"".join(b"%d,%d,%d\n" % (i, i * i % 7, i % 3 == 0) for i in range(90))
SHORT = b"".join(WHOLE.splitlines(keepends=True)[:-5])
OTHER = b"<html><body>This file has moved.</body></html>\n"
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def give(body: bytes, *, status: int = 200, claimed: int | None = None) -> Answer:
    """Answer with `body`, claiming to send `claimed` bytes."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if claimed is None else claimed))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drop(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Reset the connection in mid-transfer."""
    give(WHOLE[:200], claimed=len(WHOLE))(handler)
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


class Server(http.server.ThreadingHTTPServer):
    """Answers /path with the next of the answers listed for it (the last for ever), else with 404."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def handle_error(self, request: object, client_address: object) -> None:
        """Dropped connections are wanted here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        answers = self.server.answers.get(self.path, [give(b"", status=404)])
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    """No waiting, no credentials of whoever runs the tests, no proxy, no address but the server's."""
    monkeypatch.setattr(download_datasets, "PAUSE", 0.0)
    monkeypatch.setattr(download_datasets, "TIMEOUT", 5.0)
    monkeypatch.setattr(download_datasets, "KAGGLE", f"{server.base}/kaggle")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "kaggle"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, entry in datasets.ENTRIES.items():
        forms = tuple(dataclasses.replace(form, sources=()) for form in entry.forms)
        monkeypatch.setitem(datasets.ENTRIES, name, dataclasses.replace(entry, forms=forms))


FORM = Form(what="the toy table", files=("toy.csv",), target=Target("label", among=(1,)))
TOY = toy_entry(FORM, target="every third", rows=90, columns=("a", "b"), classes={"no": 60, "yes": 30})


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, server: Server) -> Callable[..., None]:
    """Make "toy" a data set whose sources are these paths of the server."""

    def publish(*sources: str | tuple[str, ...], form: Form = FORM, **changes: object) -> None:
        places = [(source,) if isinstance(source, str) else source for source in sources]
        full = tuple(tuple(path if "://" in path else server.base + path for path in place) for place in places)
        entry = dataclasses.replace(TOY, forms=(dataclasses.replace(form, sources=full),), **changes)  # type: ignore[arg-type]
        monkeypatch.setitem(datasets.ENTRIES, "toy", entry)

    return publish


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fails(to: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run for toy, which must fail with one line and leave no new file; gives the line."""
    before = files_in(to)
    assert download_datasets.main(["toy", "--data", str(to), *options]) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("error: toy: ")
    assert "Traceback" not in err
    assert out.splitlines()[-1].split() == ["toy", "failed", "see", "above"]
    assert files_in(to) == before
    assert not list(to.glob(".download-*"))
    return err


def succeeds(to: Path, capsys: pytest.CaptureFixture[str], *options: str, status: str = "fetched") -> None:
    assert download_datasets.main(["toy", "--data", str(to), *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1].split() == ["toy", "90", status, "nothing"]
    assert files_in(to) == ["toy/toy.csv"]
    assert (to / "toy" / "toy.csv").read_bytes() == WHOLE
    assert datasets.load("toy", folder=to).y.sum() == 30


# --- what goes well ----------------------------------------------------------------------------------------------


def test_download__second_run__does_not_touch_the_network(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/toy.csv"] = [give(WHOLE)]
    publish("/toy.csv")
    succeeds(tmp_path / "deep" / "data", capsys)
    assert server.paths == ["/toy.csv"]
    succeeds(tmp_path / "deep" / "data", capsys, status="there")
    assert server.paths == ["/toy.csv"]


@pytest.mark.parametrize(
    "first", [give(b"", status=503), give(b"", status=429), give(WHOLE[:99], claimed=len(WHOLE)), drop]
)
def test_download__passing_failure__is_retried(
    tmp_path: Path,
    server: Server,
    publish: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    first: Answer,
) -> None:
    server.answers["/toy.csv"] = [first, give(WHOLE)]
    publish("/toy.csv")
    succeeds(tmp_path, capsys)
    assert server.paths == ["/toy.csv"] * 2


def test_download__several_sources__are_tried_in_order(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers |= {"/b": [give(OTHER)], "/c": [give(WHOLE)], "/d": [give(WHOLE)]}
    publish("/a", "/b", "/c", "/d")
    succeeds(tmp_path, capsys)
    assert server.paths == ["/a", "/b", "/c"]


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/toy.zip", packed({"some folder/toy.csv": WHOLE, "toy.names": b"about"})),
        ("/answered-as-archive", packed({"toy.csv": WHOLE})),
        ("/toy.csv.xz", lzma.compress(WHOLE)),
    ],
)
def test_download__archive__is_unpacked(
    tmp_path: Path,
    server: Server,
    publish: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    address: str,
    body: bytes,
) -> None:
    server.answers[address] = [give(body)]
    publish(address)
    succeeds(tmp_path, capsys)


def test_download__form_of_two_files__comes_whole_or_not_at_all(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    two = dataclasses.replace(FORM, files=("one.csv", "two.csv"))
    server.answers |= {"/one.csv": [give(WHOLE)]}
    publish(("/one.csv", "/two.csv"), form=two, rows=180, classes={"no": 120, "yes": 60})
    assert "404" in fails(tmp_path, capsys)
    server.answers["/two.csv"] = [give(WHOLE)]
    assert download_datasets.main(["toy", "--data", str(tmp_path)]) == 0
    assert files_in(tmp_path) == ["toy/one.csv", "toy/two.csv"]


def test_download__terminal__sees_progress(
    tmp_path: Path,
    server: Server,
    publish: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.answers["/toy.csv"] = [give(WHOLE)]
    publish("/toy.csv")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert download_datasets.main(["toy", "--data", str(tmp_path)]) == 0
    assert "100%" in capsys.readouterr().err


def test_download__force__fetches_again(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/toy.csv"] = [give(WHOLE)]
    publish("/toy.csv")
    succeeds(tmp_path, capsys)
    (tmp_path / "toy" / "toy.csv").write_bytes(OTHER)
    line = fails(tmp_path, capsys)
    assert "expected the toy table" in line
    assert line.rstrip().endswith(f"python download_datasets.py toy --data {tmp_path} --force")
    assert len(server.requests) == 1
    succeeds(tmp_path, capsys, "--force")
    assert len(server.requests) == 2


def test_download__damaged_file_of_a_preferred_form__does_not_hide_the_one_fetched(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/toy.csv"] = [give(WHOLE)]
    preferred = dataclasses.replace(FORM, files=("toy.arff",), sources=((f"{server.base}/toy.arff",),))
    second = dataclasses.replace(FORM, sources=((f"{server.base}/toy.csv",),))
    monkeypatch.setitem(datasets.ENTRIES, "toy", dataclasses.replace(TOY, forms=(preferred, second)))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.arff").write_bytes(OTHER)
    (tmp_path / "toy" / "mine.txt").write_bytes(b"keep")
    assert download_datasets.main(["toy", "--data", str(tmp_path), "--force"]) == 0
    assert files_in(tmp_path) == ["toy/mine.txt", "toy/toy.csv"]
    assert datasets.load("toy", folder=tmp_path).y.sum() == 30


# --- what goes wrong ---------------------------------------------------------------------------------------------

DIGEST = dataclasses.replace(FORM, sha256=(hashlib.sha256(WHOLE).hexdigest(),))


@pytest.mark.parametrize(
    ("path", "answer", "form", "attempts", "found"),
    [
        (
            "/toy.csv",
            give(WHOLE[:99], claimed=len(WHOLE)),
            FORM,
            3,
            f"the transfer broke off: expected {len(WHOLE)} bytes, found 99",
        ),
        ("/toy.csv", drop, FORM, 3, "the transfer broke off"),
        ("/toy.csv", give(SHORT), FORM, 1, "expected 90 rows, .* found 85 rows"),
        ("/toy.csv", give(OTHER), FORM, 1, "expected the toy table; .* columns of toy.csv must be a, b, label"),
        ("/toy.csv", give(WHOLE + b"\n"), DIGEST, 1, "expected toy.csv with sha256 .*; found .* changed or another"),
        ("/toy.csv", give(b"", status=404), FORM, 1, "the server answered 404 Not Found"),
        ("/toy.csv", give(b"", status=500), FORM, 3, "the server answered 500"),
        ("/toy.zip", give(packed({"toy.csv": WHOLE, "../toy.csv": WHOLE})), FORM, 1, r"writes to '\.\./toy\.csv'"),
        ("/toy.zip", give(packed({"toy.csv": WHOLE, "/tmp/toy.csv": WHOLE})), FORM, 1, r"writes to '/tmp/toy\.csv'"),
        ("/toy.zip", give(packed({"toy.csv": WHOLE, "a\\..\\..\\b": WHOLE})), FORM, 1, "found one that writes to"),
        ("/toy.zip", give(packed({"other.csv": WHOLE})), FORM, 1, "with one toy.csv; found other.csv"),
        ("/toy.zip", give(packed({"toy.csv": WHOLE})[:-9]), FORM, 1, "expected a zip archive; found a broken"),
        ("/toy.csv.xz", give(lzma.compress(WHOLE)[:-20]), FORM, 1, "expected an xz file; found a broken"),
    ],
)
def test_download__server_does_wrong__one_line_and_nothing_left(
    tmp_path: Path,
    server: Server,
    publish: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    path: str,
    answer: Answer,
    form: Form,
    attempts: int,
    found: str,
) -> None:
    server.answers[path] = [answer]
    publish(path, form=form)
    line = fails(tmp_path / "data", capsys)
    assert line.startswith(f"error: toy: {server.base}{path}: ")
    assert re.search(found, line)
    assert "put toy.csv from https://toy.example into" in line
    assert server.paths == [path] * attempts
    assert files_in(tmp_path) == []


def test_download__all_sources_fail__every_one_is_named(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/b"] = [give(OTHER)]
    publish("/a", "/b", "/c")
    line = fails(tmp_path, capsys)
    assert f"{server.base}/a and {server.base}/c: the server answered 404 Not Found; " in line
    assert f"{server.base}/b: expected the toy table" in line


def test_download__no_network__the_line_says_so(
    tmp_path: Path, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    publish(f"http://127.0.0.1:{port}/toy.csv")
    assert "the server cannot be reached (no network?)" in fails(tmp_path, capsys)


def test_download__silent_server__is_given_up(
    tmp_path: Path,
    server: Server,
    publish: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download_datasets, "TIMEOUT", 0.05)
    release = threading.Event()
    server.answers["/toy.csv"] = [lambda handler: (release.wait(5), None)[1]]
    publish("/toy.csv")
    try:
        assert "no answer within 0.05 s" in fails(tmp_path, capsys)
    finally:
        release.set()


def test_download__full_disk__is_named_and_stops_the_search(
    tmp_path: Path,
    server: Server,
    publish: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def full(self: object, url: str, output_file: str, pooch: object) -> None:
        asked.append(url)
        Path(output_file).write_bytes(WHOLE[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    publish("/a", "/b")
    line = fails(tmp_path, capsys)
    assert f"cannot read or write {tmp_path}: No space left on device. Make room there" in line
    assert asked == [f"{server.base}/a"]


def test_download__failed_force__keeps_what_was_there(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/toy.csv"] = [give(WHOLE), give(OTHER)]
    publish("/toy.csv")
    succeeds(tmp_path, capsys)
    fails(tmp_path, capsys, "--force")
    succeeds(tmp_path, capsys, status="there")


# --- mirrors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", TOY.folders)
def test_mirror__folder__serves(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    publish("/toy.csv")
    (tmp_path / "mirror" / folder).mkdir(parents=True)
    (tmp_path / "mirror" / folder / "toy.csv").write_bytes(WHOLE)
    succeeds(tmp_path / "data", capsys, "--mirror", str(tmp_path / "mirror"))
    assert server.requests == []


def test_mirror__address__serves(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish("/toy.csv")
    server.answers["/files/toy_elsewhere/toy.csv"] = [give(WHOLE)]
    succeeds(tmp_path, capsys, "--mirror", f"{server.base}/files/")
    assert server.paths == ["/files/toy/toy.csv", "/files/toy_elsewhere/toy.csv"]


def test_mirror__files_missing_or_damaged__fails(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish("/toy.csv")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for place in (str(mirror), f"{server.base}/files"):
        line = fails(tmp_path / "data", capsys, "--mirror", place)
        assert f"{place} has none of its published files" in line
    (mirror / "toy").mkdir()
    (mirror / "toy" / "toy.csv").write_bytes(SHORT)
    assert "found 85 rows" in fails(tmp_path / "data", capsys, "--mirror", str(mirror))


@pytest.mark.skipif(not MIRROR.is_dir(), reason=f"needs the published files in {MIRROR} (set LUPI_MIRROR)")
def test_mirror__data_sets_of_the_paper__all_come_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert download_datasets.main([*datasets.PAPER, "--mirror", str(MIRROR), "--data", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for name in datasets.PAPER:
        assert [name, str(datasets.ENTRIES[name].rows), "fetched", "nothing"] in rows
        assert len(datasets.load(name, folder=tmp_path).y) == datasets.ENTRIES[name].rows


# --- Kaggle ------------------------------------------------------------------------------------------------------

KAGGLE_FILES = "/kaggle/competitions/data/download/icr-identify-age-related-conditions/"
SECRET = "5ecre7-4nd-l0ng"


def icr_files() -> dict[str, bytes]:
    train, greeks = simulated.simulate_icr()
    return {"train.csv": train.to_csv(index=False).encode(), "greeks.csv": greeks.to_csv(index=False).encode()}


def test_kaggle__no_token__steps_are_named_and_it_is_no_failure(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download_datasets.main(["icr", "icr-simulated", "breast_cancer", "--data", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for step in ("accept the rules at https://www.kaggle.com", "~/.kaggle/kaggle.json", "KAGGLE_USERNAME", "by hand"):
        assert step in out
    assert f"python download_datasets.py icr --data {tmp_path}" in out
    assert f"{tmp_path / 'icr'}" in out
    assert out.count("no file") == 2
    assert server.requests == []


@pytest.mark.parametrize("by", ["environment", "file"])
@pytest.mark.parametrize("zipped", [False, True])
def test_kaggle__token_of_the_user__gives_the_files(
    tmp_path: Path,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    zipped: bool,
) -> None:
    if by == "environment":
        monkeypatch.setenv("KAGGLE_USERNAME", "someone")
        monkeypatch.setenv("KAGGLE_KEY", SECRET)
    else:
        (tmp_path / "kaggle").mkdir()
        (tmp_path / "kaggle" / "kaggle.json").write_text(f'{{"username": "someone", "key": "{SECRET}"}}')
    for name, content in icr_files().items():
        server.answers[KAGGLE_FILES + name] = [give(packed({name: content}) if zipped else content)]
    to = tmp_path / "data"
    assert download_datasets.main(["icr", "--data", str(to)]) == 0
    expected = "Basic " + base64.b64encode(f"someone:{SECRET}".encode()).decode()
    assert server.requests == [(KAGGLE_FILES + name, expected) for name in ("train.csv", "greeks.csv")]
    assert datasets.load("icr", folder=to).name == "icr"
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    assert files_in(to) == ["icr/greeks.csv", "icr/train.csv"]
    assert all(SECRET.encode() not in (to / file).read_bytes() for file in files_in(to))


@pytest.mark.parametrize("status", [401, 403])
def test_kaggle__rules_not_accepted_or_stale_token__is_the_users_to_mend(
    tmp_path: Path,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    server.answers[KAGGLE_FILES + "train.csv"] = [give(b"", status=status)]
    assert download_datasets.main(["icr", "--data", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert f"icr: the server answered {status}" in out
    assert "accept the rules" in out
    assert SECRET not in out + err
    assert files_in(tmp_path) == []


def test_kaggle__other_rows_under_its_names__refused(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    files = icr_files()
    server.answers[KAGGLE_FILES + "train.csv"] = [give(files["train.csv"].replace(b"BD ,", b"BD,"))]
    server.answers[KAGGLE_FILES + "greeks.csv"] = [give(files["greeks.csv"])]
    assert download_datasets.main(["icr", "--data", str(tmp_path)]) == 1
    assert "four end in a blank; missing: ['BD ']" in capsys.readouterr().err
    assert files_in(tmp_path) == []


# --- the command -------------------------------------------------------------------------------------------------


def test_folder__is_named_as_in_the_other_commands__and_by_the_flag_of_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--data", "--to"):
        folder = tmp_path / flag
        assert download_datasets.main(["icr", flag, str(folder)]) == 0
        assert f"python download_datasets.py icr --data {folder}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        download_datasets.main(["--help"])
    assert "--to" not in capsys.readouterr().out


def test_list__all_data_sets__are_named_and_none_is_fetched(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download_datasets.main(["--list", "--data", str(tmp_path / "data")]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert listed == datasets.names()
    assert server.requests == []
    assert not (tmp_path / "data").exists()


def test_download__one_failure_among_successes__is_a_failure(
    tmp_path: Path, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish("/nowhere.csv")
    assert download_datasets.main(["breast_cancer", "toy", "icr", "toy", "--data", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    table = [line.split()[:3] for line in out.splitlines()[-3:]]
    assert table == [["breast_cancer", "569", "needs"], ["toy", "failed", "see"], ["icr", "needs", "you"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["obisity"], "no data set is named 'obisity'"),
        (["--mirror", "/no/such/folder"], "there is no folder /no/such/folder"),
        (["--frobnicate"], "unrecognized arguments"),
    ],
)
def test_command__bad_usage__exits_with_2(
    arguments: list[str], message: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        download_datasets.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
    assert server.requests == []


def test_download__place_that_cannot_be_written__is_named(
    tmp_path: Path, server: Server, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/toy.csv"] = [give(WHOLE)]
    publish("/toy.csv")
    (tmp_path / "data").write_text("a file where the folder should be")
    assert download_datasets.main(["toy", "--data", str(tmp_path / "data")]) == 1
    assert f"cannot read or write {tmp_path / 'data'}" in capsys.readouterr().err
