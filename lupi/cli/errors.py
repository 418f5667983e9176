"""How a command ends: errors that users understand."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
