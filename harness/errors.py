"""The exceptions of the control side, and the exit status each one stands for.

HarnessError                1  something of ours went wrong
|-- UsageError              2  what was asked for cannot be: a key, a value, a file
|-- ResultFileError         2  a result file is unreadable, newer than this reader, or altered
|-- WorkerError             6  a worker did not do what it was told; ends one point, not the sweep
|   |-- WorkerTimeoutError  6  ... in time
|   `-- WorkerCrashError    6  ... because its process ended
`-- NotComparableError      5  two results describe different work
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command tells the shell; the same table for every command."""

    FINE = 0
    ERROR = 1
    USAGE = 2
    REGRESSION = 3
    UNRESOLVED = 4
    NOTHING_MEASURED = 5
    POINTS_FAILED = 6
    ACCURACY_FAILED = 7
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """What the status says, in a few words."""
        return _MEANINGS[self]

    @classmethod
    def worst(cls, statuses: set[ExitStatus]) -> ExitStatus:
        """Return the status that wins when several apply.

        The order puts what makes the others meaningless first: an interrupted command, an error
        of ours, wrong usage, nothing measured, wrong outputs, a regression, failed points.
        """
        order = (
            cls.INTERRUPTED,
            cls.ERROR,
            cls.USAGE,
            cls.NOTHING_MEASURED,
            cls.ACCURACY_FAILED,
            cls.REGRESSION,
            cls.POINTS_FAILED,
            cls.UNRESOLVED,
        )
        return next((status for status in order if status in statuses), cls.FINE)


_MEANINGS = {
    ExitStatus.FINE: "fine",
    ExitStatus.ERROR: "an error of ours",
    ExitStatus.USAGE: "what was asked for cannot be done",
    ExitStatus.REGRESSION: "regression",
    ExitStatus.UNRESOLVED: "unresolved",
    ExitStatus.NOTHING_MEASURED: "nothing measured, or not comparable",
    ExitStatus.POINTS_FAILED: "some points failed or timed out",
    ExitStatus.ACCURACY_FAILED: "accuracy gate failed",
    ExitStatus.INTERRUPTED: "interrupted",
}


class HarnessError(Exception):
    """Any error this project raises on purpose; its text is one line for the reader."""

    status = ExitStatus.ERROR


class UsageError(HarnessError):
    """What was asked for cannot be done; nothing has been measured."""

    status = ExitStatus.USAGE


class ResultFileError(HarnessError):
    """A result file cannot be read, is newer than this reader, or does not match its hash."""

    status = ExitStatus.USAGE


class WorkerError(HarnessError):
    """A worker answered with an error; the point ends, the sweep goes on."""

    status = ExitStatus.POINTS_FAILED

    def __init__(self, message: str, *, kind: str = "failed") -> None:
        super().__init__(message)
        self.kind = kind


class WorkerTimeoutError(WorkerError):
    """A worker did not answer within its time limit and was killed."""


class WorkerCrashError(WorkerError):
    """A worker's process ended while an answer was due."""


class NotComparableError(HarnessError):
    """Two results describe different work, hardware or methods."""

    status = ExitStatus.NOTHING_MEASURED
