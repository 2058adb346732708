"""Every error keypool raises on purpose, and how a process ends with it.

KeypoolError                exit 1
├── UsageError              exit 2    the request itself is wrong
├── NotFoundError           exit 3    no such key, project, pool, client or lease
├── NotPermittedError       exit 4    wrong master key, missing scope, unsafe file mode
├── ConflictError           exit 5    it exists already, or differs from what exists
├── UnreachableError        exit 6    the live store, the database or upstream cannot be reached
├── PartlyDoneError         exit 7    a bulk verb did some of its lines
├── NoCapacityError         exit 8    nothing has room for the request now
├── DriftError              exit 9    the estimator no longer matches upstream's counts
└── StoppedError            exit 130  Ctrl-C ended it
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How a keypool process ends; the numbers are part of the command line's contract."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_PERMITTED = 4
    CONFLICT = 5
    UNREACHABLE = 6
    PARTLY_DONE = 7
    NO_CAPACITY = 8
    DRIFT = 9
    INTERRUPTED = 130


class KeypoolError(Exception):
    """Something keypool could not do; the message says what happened, the hint what to do next.

    Neither may hold a secret: both are printed, logged and sent to clients.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def told(self) -> str:
        """Message and hint on one line, for whoever is told of an error in a single text."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class UsageError(KeypoolError):
    """The request itself is wrong: a bad value, options that exclude each other."""

    exit_code = ExitCode.USAGE


class NotFoundError(KeypoolError):
    """Nothing has the name that was given."""

    exit_code = ExitCode.NOT_FOUND


class NotPermittedError(KeypoolError):
    """Not allowed: a wrong master key, a missing scope, a file others can read."""

    exit_code = ExitCode.NOT_PERMITTED


class ConflictError(KeypoolError):
    """It exists already, or what exists differs from what was asked."""

    exit_code = ExitCode.CONFLICT


class UnreachableError(KeypoolError):
    """The live store, the database or upstream cannot be reached."""

    exit_code = ExitCode.UNREACHABLE


class PartlyDoneError(KeypoolError):
    """A bulk verb did some of its lines and not others."""

    exit_code = ExitCode.PARTLY_DONE


class NoCapacityError(KeypoolError):
    """Nothing has room for the request now."""

    exit_code = ExitCode.NO_CAPACITY


class DriftError(KeypoolError):
    """The estimator no longer matches upstream's own counts."""

    exit_code = ExitCode.DRIFT


class StoppedError(KeypoolError):
    """Ctrl-C ended it; the message says what stays changed."""

    exit_code = ExitCode.INTERRUPTED
