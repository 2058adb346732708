"""Marks: what refusals decided, written in one piece, reset by operators, and gone when over."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from keypool_cli.core.model import Mark
from keypool_cli.registry.catalog import mark_of
from keypool_cli.registry.change import change
from keypool_cli.registry.database import Database
from keypool_cli.registry.refusals import record
from keypool_cli.registry.resets import reset
from keypool_cli.registry.tables import marks
from keypool_cli.registry.values import Actor, Recorded, Refusal, Reset, ResetReport


class Marks:
    """The registry's marks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Mark]:
        """Every mark as of now; cheaper than a whole catalog. Cooldowns may be over."""
        with self._database.read() as connection:
            return [mark_of(row) for row in connection.execute(select(marks))]

    def record(self, refusals: Sequence[Refusal], *, by: Actor) -> list[Recorded]:
        """Keep refusals, all in one transaction; one answer for each, in order.

        by: its host is logged; the actor logged is each refusal's own source. A longer cooldown
        of the same place wins over a shorter one, whichever came first. Nothing here fails for
        what a refusal says: unknown projects and keys, and strange text, are dropped or cleaned.
        """
        with change(self._database, by) as done:
            return [record(done, refusal) for refusal in refusals]

    def reset(self, asked: Reset, *, by: Actor, dry_run: bool = False) -> ResetReport:
        """Clear cooldowns, and what else ``asked`` says; returns what there was to clear.

        From then on the marks of calls granted before it are void, also when nothing was cleared.
        """
        with change(self._database, by, keep=not dry_run) as done:
            return reset(done, asked)

    def expire(self, now_ms: int) -> int:
        """Remove cooldowns that ended at or before ``now_ms``; returns how many."""
        over = marks.c.until_at_ms <= now_ms
        with self._database.write() as connection:
            return connection.execute(delete(marks).where(over)).rowcount
