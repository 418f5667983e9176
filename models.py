"""The networks of the studies, and how large they are.

Tabular studies train a pair of perceptrons: r predicts the privileged features from the regular ones, c the target from
the regular features and a privileged block (the true Z for a teacher, ẑ for a student, nothing for a lower bound). A
method decides which of them it trains and how; see `lupi.methods`. The classical ones are linear functions of the
regular features.
"""

from __future__ import annotations

from collections.abc import Sequence

from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.engine.mlp import MLPPair
from lupi.engine.programs import PROGRAMS
from lupi.methods import auxiliary
from lupi.methods.table import Method

_KINDS: dict[str, str] = {"joint": "chained", "shared": "shared", "tram": "tram", "tram++": "tram++"}


def parameters(data: PrivilegedData, pair: MLPPair, methods: Sequence[Method]) -> list[int]:
    """Trainable parameters of one model of every method (of KT: its regressor's too; of AFM: the upper bound's)."""
    encoded = encode(data)
    others = encoded.y.shape[1], data.classes is None, pair

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
