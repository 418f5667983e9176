"""The architectures that studies train, and how large their networks are.

An architecture makes the networks of a study: the predictor of Z, the classifier, a trunk with two heads (see
`lupi.engine.network.Architecture`). A method decides which of them it trains, and how. Classical methods are linear
functions of the regular features.
"""

from __future__ import annotations

from collections.abc import Sequence

from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.engine.mlp import MLPPair
from lupi.engine.network import Architecture
from lupi.engine.programs import PROGRAMS
from lupi.methods import auxiliary
from lupi.methods.table import Method

#: Name -> class. The first is that of every study, unless `StudyOptions.architecture` says otherwise.
ARCHITECTURES: dict[str, type[Architecture]] = {"mlp-pair": MLPPair}

_KINDS: dict[str, str] = {"joint": "chained", "shared": "shared", "tram": "tram", "tram++": "tram++"}


def parameters(data: PrivilegedData, architecture: Architecture, methods: Sequence[Method]) -> list[int]:
    """Trainable parameters of one model of every method (of KT: its regressor's too; of AFM: the upper bound's)."""
    encoded = encode(data)
    others = encoded.y.shape[1], data.classes is None, architecture

    def count(method: Method) -> int:
        if method.model_family == "classical":
            return int(encoded.x.shape[1] + 1) * int(encoded.y.shape[1])
        kinds: list[str] = [_KINDS.get(method.model_family) or _KINDS.get(method.privileged_task, "target")]
        if method.privileged_task == "before":
            kinds.append("privileged")
        own = method.auxiliary != "privileged"
        columns = auxiliary.columns(encoded, method.auxiliary) if own else encoded.z_columns
        return sum(PROGRAMS[kind](encoded.x.shape[1], columns, *others).n_parameters for kind in kinds)

    return [count(method) for method in methods]
