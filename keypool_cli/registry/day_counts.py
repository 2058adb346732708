"""Requests per project, model and day: written now and then, read when the live store is lost."""

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import delete, select

from keypool_cli.registry.database import Database
from keypool_cli.registry.lookup import chunks
from keypool_cli.registry.tables import day_counts, projects
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import DayCount

_KEY = ("project_id", "model", "day")


class DayCounts:
    """The registry's day counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, counts: Sequence[DayCount], *, read_at_ms: int) -> None:
        """Keep counts as they were in the live store at ``read_at_ms``.

        Within a day a count only grows, so the larger one stays, whichever daemon wrote it; except
        that a count read at or before :meth:`empty` does not bring back what was emptied.
        """
        with self._database.write() as connection:
            alive = set(connection.scalars(select(projects.c.id)))
            rows = [_row(count, 0) for count in counts if count.project_id in alive]
            upsert(
                connection,
                day_counts,
                rows,
                key=_KEY,
                keep=("emptied_at_ms",),
                newer=lambda new: (
                    (new.requests > day_counts.c.requests)
                    & (day_counts.c.emptied_at_ms < read_at_ms)
                ),
            )

    def load(self, model: str, day: str) -> dict[int, int]:
        """Requests by project id."""
        query = select(day_counts.c.project_id, day_counts.c.requests)
        here = (day_counts.c.model == model) & (day_counts.c.day == day)
        with self._database.read() as connection:
            return {row.project_id: row.requests for row in connection.execute(query.where(here))}

    def empty(self, project_ids: Collection[int], model: str, day: str, *, at_ms: int) -> None:
        """Count from zero again, as an operator asked at ``at_ms``."""
        with self._database.write() as connection:
            for part in chunks(project_ids):
                rows = [_row(DayCount(i, model, day, 0), at_ms) for i in part]
                upsert(connection, day_counts, rows, key=_KEY)

    def forget(self, before_day: str) -> int:
        """Remove the counts of days before this one; returns how many."""
        with self._database.write() as connection:
            old = day_counts.c.day < before_day
            return connection.execute(delete(day_counts).where(old)).rowcount


def _row(count: DayCount, emptied_at_ms: int) -> dict[str, object]:
    return {**asdict(count), "emptied_at_ms": emptied_at_ms}
