"""Templates of the pages that a person sees. All text that enters a template is escaped by it, names of columns and
classes from users' files among it; what is markup already says so (`markupsafe.Markup`)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup


def typeset(text: object) -> str:
    """The text with true minus signs before numbers."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", str(text))


@cache
def environment() -> jinja2.Environment:
    """Finds templates by their path below this folder; a name that a template lacks is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["typeset"] = typeset
    return made


def render(template: str, **values: Any) -> Markup:
    """Markup of a template, which has escaped every value that is not markup."""
    return Markup(environment().get_template(template).render(**values))
