"""The audit log: who did what to what, from where and why, and every refusal."""

from collections.abc import Mapping

from sqlalchemy import Select, or_, select

from keypool_cli.core.model import Event
from keypool_cli.registry.catalog import event_of
from keypool_cli.registry.change import change
from keypool_cli.registry.database import Database
from keypool_cli.registry.tables import events
from keypool_cli.registry.values import Actor, EventFilter

_ALL = 2**63 - 1
"""More than there are; a database takes no larger number."""

_NO_DETAIL: Mapping[str, object] = {}


class Events:
    """The registry's events. Changes log theirs themselves, in their own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, kind: str, subject: str, *, by: Actor, detail: Mapping[str, object] = _NO_DETAIL
    ) -> None:
        """Log what changes nothing in the registry, such as a daemon's start."""
        with change(self._database, by) as done:
            done.note(kind, subject, detail=detail)

    def read(self, wanted: EventFilter | None = None) -> list[Event]:
        """Events in the order in which they became true; the newest ``limit`` of those wanted.

        With ``after_id`` it is the oldest ``limit`` after it, so that following misses none.
        """
        chosen = wanted or EventFilter()
        query = _filtered(chosen)
        following = chosen.after_id is not None
        order = events.c.id if following else events.c.id.desc()
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(order).limit(min(chosen.limit, _ALL))).all()
        found = [event_of(row) for row in rows]
        return found if following else found[::-1]


def _filtered(wanted: EventFilter) -> Select[tuple[object, ...]]:
    query = select(events)
    if wanted.after_id is not None:
        query = query.where(events.c.id > wanted.after_id)
    if wanted.since_ms is not None:
        query = query.where(events.c.at_ms >= wanted.since_ms)
    if wanted.subject is not None:
        query = query.where(events.c.subject == wanted.subject)
    if wanted.kind is not None:
        kind = wanted.kind.removesuffix(".")
        below = events.c.kind.startswith(f"{kind}.", autoescape=True)
        query = query.where(or_(events.c.kind == kind, below))
    return query
