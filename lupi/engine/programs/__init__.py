"""The kinds of tensor program: each owns its networks, its outputs, its losses, and what its tasks share."""

from lupi.engine.programs.base import Program
from lupi.engine.programs.chained import ChainedProgram
from lupi.engine.programs.single import PrivilegedProgram, TargetProgram
from lupi.engine.programs.trunk import MaskedProgram, TrunkProgram
from lupi.engine.programs.two_heads import RandomisedTwoHeadProgram, TwoHeadProgram

#: Name -> class, as design tables and files name them.
PROGRAMS: dict[str, type[Program]] = {
    program.kind: program
    for program in (
        TargetProgram,
        PrivilegedProgram,
        ChainedProgram,
        TrunkProgram,
        MaskedProgram,
        TwoHeadProgram,
        RandomisedTwoHeadProgram,
    )
}

__all__ = [
    "PROGRAMS",
    "ChainedProgram",
    "MaskedProgram",
    "PrivilegedProgram",
    "Program",
    "RandomisedTwoHeadProgram",
    "TargetProgram",
    "TrunkProgram",
    "TwoHeadProgram",
]
