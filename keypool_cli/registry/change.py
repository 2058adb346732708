"""One write transaction: its instant, its author, its events, and the revision it makes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from keypool_cli.registry.database import Database
from keypool_cli.registry.names import storable
from keypool_cli.registry.tables import events, registry
from keypool_cli.registry.values import Actor

_NOTHING: Mapping[str, object] = {}

_made: ContextVar[list[int] | None] = ContextVar("made", default=None)


@dataclass(slots=True)
class Change:
    """What one transaction does; events and revision are written at its end, with it."""

    connection: Connection
    by: Actor
    at_ms: int
    revision: int | None = None
    """The one it makes, once its log is written; None where the catalog stays as it is."""

    _events: list[dict[str, object]] = field(default_factory=list)
    _changes_catalog: bool = False

    def event(self, kind: str, subject: str, *, detail: Mapping[str, object] = _NOTHING) -> None:
        """Log a change of what is configured; daemons will see a new revision."""
        self.note(kind, subject, detail=detail)
        self.touch()

    def note(self, kind: str, subject: str, *, detail: Mapping[str, object] = _NOTHING) -> None:
        """Log what does not change the catalog."""
        self._events.append(self.event_row(kind, subject, detail=detail))

    def touch(self) -> None:
        """Make this a new revision of the catalog."""
        self._changes_catalog = True

    def event_row(self, kind: str, subject: str, **values: object) -> dict[str, object]:
        """A row of the audit log, by this change's actor unless ``values`` say otherwise."""
        row: dict[str, object] = {
            "at_ms": self.at_ms,
            "kind": kind,
            "actor": self.by.name,
            "host": self.by.host,
            "subject": storable(subject),
            "reason": storable(self.by.reason),
            "detail": {},
            "lease_id": None,
        }
        return row | values

    def write_log(self) -> None:
        """Write what was gathered; called once, at the end of the transaction."""
        if self._events:
            self.connection.execute(insert(events), self._events)
        if self._changes_catalog:
            grown = update(registry).values(revision=registry.c.revision + 1)
            self.connection.execute(grown)
            self.revision = self.connection.scalar(select(registry.c.revision))


@contextmanager
def change(database: Database, by: Actor, *, keep: bool = True) -> Iterator[Change]:
    """A transaction that no other change of the registry overlaps.

    keep: False undoes everything at the end, for a rehearsal.
    """
    with database.write(keep=keep) as connection:
        # SQLite has locked already (BEGIN IMMEDIATE); on PostgreSQL this row is the lock. Event
        # ids then grow in the order of commits, so that nobody who follows them misses one.
        connection.execute(select(registry.c.id).with_for_update())
        done = Change(connection, by, database.now_ms())
        yield done
        done.write_log()
    made = _made.get()
    if keep and made is not None and done.revision is not None:
        made.append(done.revision)


@contextmanager
def noting_revisions() -> Iterator[list[int]]:
    """The revisions that changes make meanwhile, here and in threads that are waited for."""
    made: list[int] = []
    token = _made.set(made)
    try:
        yield made
    finally:
        _made.reset(token)
