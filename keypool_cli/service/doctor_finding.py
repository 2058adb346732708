"""What an examination finds: how bad it is, and what to do about it."""

from collections.abc import Sequence

import msgspec

from keypool_cli.errors import ExitCode, KeypoolError

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"

SHOWN = 5
"""Names that a finding lists before it says how many more there are."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at.

    level: ok, note, warning (works, but not as it should) or problem (does not work). remedy:
    what to do, where something is to be done. exit_code: how ``doctor`` ends for a problem.
    """

    check: str
    level: str
    text: str
    remedy: str | None = None
    exit_code: int = 0


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, OK, text)


def note(check: str, text: str, remedy: str | None = None) -> Finding:
    """Worth knowing; nothing is wrong."""
    return Finding(check, NOTE, text, remedy)


def warning(check: str, text: str, remedy: str) -> Finding:
    """It works, but not as it should."""
    return Finding(check, WARNING, text, remedy)


def problem(check: str, text: str, remedy: str | None, code: ExitCode) -> Finding:
    """It does not work."""
    return Finding(check, PROBLEM, text, remedy, int(code))


def failed(check: str, err: KeypoolError) -> Finding:
    """What an error of ours told, as a problem."""
    return problem(check, str(err), err.hint, err.exit_code)


def some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
