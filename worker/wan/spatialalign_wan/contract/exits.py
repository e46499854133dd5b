"""How a stage ends: the contract's exit codes, and the errors that carry them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a stage's container; docs/contract.md says what becomes of a Job with each."""

    DONE = 0
    BAD_SPEC = 64
    BAD_INPUT = 65
    MISMATCH = 66
    STORAGE = 69
    BUG = 70
    CHECKPOINTED = 75
    GPU = 76
    OUT_OF_MEMORY = 77
    DIVERGED = 78

    @property
    def class_name(self) -> str:
        return _CLASSES[self]


_CLASSES = {
    ExitCode.DONE: "Succeeded",
    ExitCode.BAD_SPEC: "BadSpec",
    ExitCode.BAD_INPUT: "BadInput",
    ExitCode.MISMATCH: "Mismatch",
    ExitCode.STORAGE: "Storage",
    ExitCode.BUG: "Bug",
    ExitCode.CHECKPOINTED: "Interrupted",
    ExitCode.GPU: "GPUFault",
    ExitCode.OUT_OF_MEMORY: "OutOfMemory",
    ExitCode.DIVERGED: "Diverged",
}


class StageError(Exception):
    """What ends a stage: the code says whose fault it is, the message what was wrong, where, and what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[StageError], tuple[ExitCode, str]]:
        return StageError, (self.code, str(self))


class Interrupted(StageError):
    """The stage was told to stop and its progress is saved: the next attempt goes on from there."""

    def __init__(self, message: str = "interrupted, progress is saved") -> None:
        super().__init__(ExitCode.CHECKPOINTED, message)


def bad_spec(message: str) -> StageError:
    return StageError(ExitCode.BAD_SPEC, message)


def bad_input(message: str) -> StageError:
    return StageError(ExitCode.BAD_INPUT, message)


def mismatch(message: str) -> StageError:
    return StageError(ExitCode.MISMATCH, message)
