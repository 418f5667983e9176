"""Presets: whole recipes for the networks of a study, behind one word.

A preset sets hyper-parameters of `lupi.settings`, the same for lower and upper bound, every method and every twin;
whatever is asked for by name wins over it. Nothing heavy is imported here, as the commands read it for --help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lupi.settings import HYPER_PARAMETERS

_BEST: dict[str, Any] = {
    "members": 10, "bagging": True, "calibration": "temperature", "target_prior": "balanced",
    "repeats": 2, "regressor_layers": (64, 64), "classifier_layers": (64, 64), "activation": "silu",
    "embedding": "waves", "frequencies": 2, "tangent": True, "scaling": "robust",
    "missing_flags": True, "category_width": 8,
    "epochs": 64, "patience": 16, "batch_size": 64, "lr": 0.04, "schedule": "cosine", "beta2": 0.95,
    "weight_decay": 0.1, "dropout": 0.3, "embedding_rate": 1.0, "input_scale": True,
    "portfolio": ((), (("embedding_rate", 0.1), ("dropout", 0.15), ("weight_decay", 0.02))),
}  # fmt: skip

#: Name -> the hyper-parameters that it sets; the others have the defaults of `lupi.settings`. "paper": the networks of
#: the authors, which are these defaults. "best": the recipe that won on the sets of `benchmarks/recipes.py`. "fast":
#: the same with half the members and without embeddings, for a first look.
PRESETS: dict[str, dict[str, Any]] = {
    "best": _BEST,
    "fast": {**_BEST, "members": 5, "embedding": "none", "epochs": 40, "patience": 10, "repeats": 5},
    "paper": {},
}

DEFAULT = "best"


def values_of(preset: str) -> dict[str, Any]:
    """Every hyper-parameter under a preset.

    Raises
    ------
    ValueError : for a name that is none.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; found {preset!r}.")
    return {name: row.default for name, row in HYPER_PARAMETERS.items()} | {"portfolio": (), **PRESETS[preset]}


def chosen(preset: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Every hyper-parameter under a preset, with those in its place that are asked for by name: for all members.

    Who asks for no bagging gets no calibration either, which needs it.
    """
    values = values_of(preset)
    if not asked.get("bagging", values["bagging"]):
        values["calibration"] = "none"
    entries = (tuple((name, value) for name, value in entry if name not in asked) for entry in values["portfolio"])
    return values | {"portfolio": tuple(entries)} | dict(asked)
