"""A column of a table: its name, what it holds, and where it lies in the encoded block."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Column:
    """One column, from the CSV to the report: numbers, or a category.

    Parameters
    ----------
    name : as in the table.
    start, width : its place in the encoded block [..., start : start + width]. A number has width 1, a category one
        entry for each level (one-hot), a spectrum or an image one for each of its numbers.
    categorical : whether it is a category.
    levels : names of a category's levels in the order of their entries; None: a number, or not known.
    shape : of one cell: () a single number, (64,) a spectrum, (8, 8) an image.
    origin, unit : raw value = origin + unit * standardised value, where the column is shown to people.

    Labels and units do not change what is computed, so columns that differ in nothing else are equal.
    """

    name: str
    start: int
    width: int
    categorical: bool = False
    levels: tuple[str, ...] | None = dataclasses.field(default=None, compare=False)
    shape: tuple[int, ...] = ()
    origin: float = dataclasses.field(default=0.0, compare=False)
    unit: float = dataclasses.field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        if self.levels is not None and len(self.levels) != self.width:
            raise ValueError(
                f"column {self.name!r}: expected {self.width} levels, one for each entry; found {len(self.levels)}."
            )
        if self.shape and math.prod(self.shape) != self.width:
            raise ValueError(f"column {self.name!r}: expected a shape of {self.width} numbers; found {self.shape}.")

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Column:
        """The column of which `dataclasses.asdict` made these facts, also where JSON has made lists of its tuples."""
        levels = facts["levels"]
        return cls(**{**facts, "levels": None if levels is None else tuple(levels), "shape": tuple(facts["shape"])})

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.width)
