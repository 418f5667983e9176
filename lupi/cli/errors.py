"""How a command ends: errors that users understand, and files that it must not lose."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("lupi")


@contextmanager
def errors_to_exit(
    command: str, interrupted: str = "What was finished is kept; the same command goes on from there."
) -> Iterator[None]:
    """Bad input ends with one line and exit status 2, an interrupt with 130; a defect shows itself.

    interrupted : what is said after an interrupt.
    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no λ shows ?
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if os.environ.get("LUPI_TRACEBACK"):
            raise
        print(f"{command}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(
            f"\n{command}: interrupted. {interrupted}",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def check_out(out: Path, read: Sequence[Path]) -> None:
    """Raise ValueError unless `out` can be written without loss of what is read."""
    if out.is_dir():
        raise ValueError(f"--out must be a file; {out} is a folder. Name a file in it.")
    if not out.parent.is_dir():
        raise ValueError(f"--out: there is no folder {out.parent} to write {out.name} in; make it first.")
    if out.exists() and any(path.exists() and path.samefile(out) for path in read):
        raise ValueError(f"--out must not be a file that is read; found {out} for both. Name another.")
