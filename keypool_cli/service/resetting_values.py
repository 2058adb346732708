"""What a reset is asked, and what it did."""

from dataclasses import dataclass

from keypool_cli.core.model import Mark, MarkKind


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """What to reset: named keys' projects, a project, a pool, or everything.

    counters: also the minute windows and day counts. failures: also back-off growth and what
    refusals excluded, disabled or declared dead. dry_run: tell, and change nothing.
    """

    keys: tuple[str, ...] = ()
    project: str | None = None
    pool: str | None = None
    everything: bool = False
    model: str | None = None
    counters: bool = False
    failures: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Cleared:
    """One thing that was reset, as it was before.

    what: cooldown, exclusion, disabled, dead key, failures, minute window, or day count.
    subject: project, billing account or key. until_at_ms: of a cooldown. was: of a count.
    """

    what: str
    subject: str
    model: str | None = None
    rule: str | None = None
    until_at_ms: int | None = None
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A mark that a reset leaves, and that still stops what the reset was to free.

    project: whose reset lifts it. needs_failures: whether that takes ``--failures``.
    """

    mark: Mark
    project: str

    @property
    def needs_failures(self) -> bool:
        """Whether it is more than a cooldown."""
        return self.mark.kind is not MarkKind.COOL


@dataclass(frozen=True, slots=True)
class ResetOutcome:
    """What a reset did. freed: names of the keys that nothing holds any more. held: what stays."""

    cleared: tuple[Cleared, ...]
    projects: tuple[str, ...]
    freed: tuple[str, ...]
    held: tuple[Held, ...] = ()
