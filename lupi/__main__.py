"""`python -m lupi`: from a table to a model without code."""

from __future__ import annotations

import sys

from lupi.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
