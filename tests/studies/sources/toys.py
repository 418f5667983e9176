"""A data set that exists in tests only: what the catalogue would say of it."""

from __future__ import annotations

from typing import Any

from studies.sources.published import Entry, Form


def toy_entry(*forms: Form, **facts: Any) -> Entry:
    """The entry of "toy", found in two folders, with these facts: target, rows, columns, classes, ..."""
    return Entry(
        name="toy",
        title="Toy",
        page="https://toy.example",
        licence="none",
        citation="none",
        folders=("toy", "toy_elsewhere"),
        forms=forms,
        **facts,
    )
