"""A column of an encoded table: its name, what it holds and where it lies."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Column:
    """One privileged column within the encoded block: a number (width 1) or the one-hot levels of a category."""

    name: str
    start: int
    width: int
    categorical: bool

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.width)
