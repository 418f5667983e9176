"""Lines of the log that reach people who have set up no log."""

from __future__ import annotations

import logging
import sys


def tell(log: logging.Logger, line: str) -> None:
    """Log a line at level INFO; where nobody has set up a handler, write it to stderr. No logger is changed."""
    if log.hasHandlers():
        log.info("%s", line)
        return
    record = log.makeRecord(log.name, logging.INFO, __file__, 0, "%s", (line,), None)
    logging.StreamHandler(sys.stderr).handle(record)
