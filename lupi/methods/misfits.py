"""Checks which methods the target and the networks of a study allow."""

from __future__ import annotations

from lupi.data.privileged_data import PrivilegedData
from lupi.engine.network import Architecture
from lupi.methods.options import StudyOptions
from lupi.methods.table import select


def misfits(data: PrivilegedData, options: StudyOptions) -> dict[tuple[str, str], list[str]]:
    """The methods that cannot be trained: (what they need, what there is in its place) -> their names."""
    names: dict[tuple[str, str], list[str]] = {}
    for method in select(options.methods):
        if method.target == "classes" and data.classes is None:
            need = "classes", "the target is a number"
        elif method.model_family in ("tram", "tram++") and not _shares_features(options.networks):
            need = "hidden layers", "--classifier-layers has none, or the architecture offers none for two heads"
        else:
            continue
        names.setdefault(need, []).append(method.name)
    return names


def _shares_features(architecture: Architecture) -> bool:
    """Whether two heads can stand on the features of a network."""
    try:
        architecture.two_heads(1, 1, 1, 1, 1)
    except ValueError:
        return False
    return True


def check_methods(data: PrivilegedData, options: StudyOptions) -> None:
    """Raise ValueError for a method that this target or these networks do not allow."""
    for (need, there), methods in misfits(data, options).items():
        raise ValueError(f"{data.name}: {', '.join(methods)} need {need}, and {there}. Leave them out with --methods.")
