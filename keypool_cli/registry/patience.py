"""A PostgreSQL that says nothing: how long one caller waits for it, and what the next are spared.

The system notices that a network was cut. A server that stands still it takes for a slow one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from keypool_cli.errors import UnreachableError

if TYPE_CHECKING:
    from psycopg.abc import PQGen

ANSWER_S = 10.0
"""How long one statement may take, outside migrations."""

SPARED_S = 1.0
"""So long after someone waited for nothing, others are told the same at once: daemons ask again
and again, and would wait for each other."""

_VAIN_S = 1.0

T = TypeVar("T")


def be_patient(engine: Engine) -> None:
    """Let the engine's connections give up after ANSWER_S."""
    import psycopg  # noqa: PLC0415 - only with PostgreSQL

    class Patient(psycopg.Connection[Any]):
        """patience_s: how long an answer may take; None for ever."""

        patience_s: float | None = ANSWER_S

        def wait(self, gen: "PQGen[T]", *args: Any, **options: Any) -> T:  # noqa: ANN401  # psycopg's
            until = monotonic() + self.patience_s if self.patience_s is not None else None
            try:
                return super().wait(_until(gen, until), *args, **options)
            except _SilentError:
                self.close()
                raise psycopg.OperationalError("no answer in time") from None

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, words: Any, options: Any) -> Patient:  # noqa: ANN401  # SQLAlchemy's
        return Patient.connect(*words, **options)


@contextmanager
def in_no_hurry(connection: Connection) -> Iterator[None]:
    """For a migration, which may take its time."""
    if connection.dialect.name != "postgresql":
        yield
        return
    patient = cast(Any, connection.connection.dbapi_connection)
    patient.patience_s = None
    try:
        yield
    finally:
        patient.patience_s = ANSWER_S


class _SilentError(Exception):
    """The time is over."""


def _until(gen: "PQGen[T]", until: float | None) -> "PQGen[T]":
    """A generator of psycopg that ends when its time is over; it is resumed ten times a second."""
    ready: Any = None
    while True:
        try:
            state = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what it was made for
        ready = yield state
        if until is not None and monotonic() > until:
            gen.close()
            raise _SilentError


class Outage:
    """Whether somebody has just waited for the database in vain."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until, self._met = 0.0, UnreachableError("")

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Around a transaction: fail at once if another has just failed slowly."""
        with self._lock:
            if monotonic() < self._until:
                raise UnreachableError(str(self._met), hint=self._met.hint)
        began = monotonic()
        try:
            yield
        except UnreachableError as err:
            if monotonic() - began >= _VAIN_S and _says_nothing(err):
                with self._lock:
                    self._until, self._met = monotonic() + SPARED_S, err
            raise


def _says_nothing(err: UnreachableError) -> bool:
    """Whether the server was not heard: whatever it refuses has a code."""
    met = err.__cause__
    return isinstance(met, DBAPIError) and getattr(met.orig, "sqlstate", "") is None
