"""Where the results of a study go: names of files and folders."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions


def file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "study"


def results_folder(
    values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions, plain: StudyOptions, prefix: str = ""
) -> Path:
    """--out, or results/<prefix><data sets>, with a digest of the options behind it where they are not the `plain` ones
    of the command."""
    if values["out"]:
        return Path(values["out"])
    names = [d.name for d in data]
    name = prefix + ("-".join(names) if len(names) <= 3 else f"{len(names)}-data-sets")
    same = dataclasses.asdict(dataclasses.replace(options, device="cpu"))
    own = [same, [d.fingerprint() for d in data]]
    usual = dataclasses.asdict(dataclasses.replace(plain, device="cpu"))
    if same != usual or values["csv"] or values["privileged"] or len(names) > 3:
        name += "-" + hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:6]
    return Path("results") / file_name(name)
