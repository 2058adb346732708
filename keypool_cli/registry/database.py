"""Connections to SQLite or PostgreSQL: opened safely, transactions in two kinds, errors as ours."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from keypool_cli.config import file_lock
from keypool_cli.config.urls import masked_url
from keypool_cli.errors import ConflictError, UnreachableError, UsageError
from keypool_cli.registry.patience import Outage, be_patient

BUSY_MS = 2000
"""How long a statement waits for another writer before the database counts as unreachable."""

_ADVICE = {
    IsADirectoryError: "a folder has the file's name: move it away, or name another file with "
    "KEYPOOL_DATABASE_URL",
    PermissionError: "run as the owner of its folder, or name another with KEYPOOL_HOME",
    **dict.fromkeys(
        (FileExistsError, NotADirectoryError),
        "a file has the name of one of its folders: check KEYPOOL_HOME and KEYPOOL_DATABASE_URL",
    ),
}
"""What helps where a SQLite file cannot be opened."""

_LONGEST_CHANGE_S = 120.0
"""How long another process may take to make or to migrate a SQLite file."""

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRES = ("postgres", "postgresql", "postgresql+psycopg")
_FORMS = "sqlite:///path/to/keypool.db, or postgresql+psycopg://user@host/name"


def now_ms() -> int:
    """The system clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Database:
    """Where the registry lives.

    file: of SQLite, else None. reader and writer share connections; they differ in how a
    transaction begins. now_ms: the clock of everything the registry dates by itself.
    """

    reader: Engine
    writer: Engine
    shown_url: str
    file: Path | None
    now_ms: Callable[[], int]
    outage: Outage = field(default_factory=Outage)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction in which everything read is of one instant."""
        with self._errors(), self.reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, keep: bool = True) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or undone if it raises.

        keep: False undoes it in any case, for a rehearsal.
        """
        with self._errors(), self.writer.begin() as connection:
            yield connection
            if not keep:
                connection.rollback()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if self.file is not None:
            with errors_as_ours(self.shown_url):
                yield
            return
        with self.outage.noticed(), errors_as_ours(self.shown_url):
            yield

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        self.writer.dispose()


def connect(url: str, *, clock: Callable[[], int] = now_ms) -> Database:
    """A database for ``url``, which is not connected to yet.

    Raises UsageError for a URL of no known form and UnreachableError if SQLite's folder or file
    cannot be made.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, clock)
    return _postgres(parsed, clock)


@contextmanager
def errors_as_ours(shown_url: str) -> Iterator[None]:
    """Turn the database's errors into keypool's, without passwords or statements in them."""
    try:
        yield
    except IntegrityError as err:
        raise ConflictError(
            "the registry changed in the meantime; nothing was done", hint="try again"
        ) from err
    except PoolTimeoutError as err:
        raise UnreachableError(f"database {shown_url} is busy", hint="try again") from err
    except (DBAPIError, sqlite3.Error) as err:
        said = _first_line(err)
        raise UnreachableError(
            f"database {shown_url} cannot be used: {said}", hint=_remedy(said)
        ) from err


_REMEDIES = {
    "disk I/O error": "look whether the disk is full or broken: df -h",
    "database or disk is full": "make room on the disk: df -h",
    "database is locked": "something else is writing to it; run it again",
    "attempt to write a readonly": "look who owns the file and its folder: ls -l",
    "file is not a database": "put a backup in its place: keypool guide operating",
    "database disk image is malformed": "put a backup in its place: keypool guide operating",
    "permission denied for": "grant this role SELECT, INSERT, UPDATE and DELETE on every table, "
    "and USAGE on every sequence, of its schema",
    "cannot execute": "this server takes no writes: name the primary in KEYPOOL_DATABASE_URL",
}
"""What helps, by how the database's own words begin."""


def _remedy(said: str) -> str:
    found = (remedy for begins, remedy in _REMEDIES.items() if said.startswith(begins))
    return next(found, "check KEYPOOL_DATABASE_URL, and that the database runs and lets you in")


def _first_line(err: DBAPIError | sqlite3.Error) -> str:
    # A driver's own error; around it SQLAlchemy's would show the statement.
    error = err.orig if isinstance(err, DBAPIError) else err
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _parsed(url: str) -> URL:
    shown = masked_url(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The original error repeats the URL with its password.
        raise UsageError(f"{shown!r} is no database URL", hint=f"use {_FORMS}") from None
    if parsed.drivername in _POSTGRES:
        if url.partition("?")[0].count("@") > 1:
            # What follows the first would be taken for the server's name, and told as such.
            raise UsageError(
                f"{shown!r} is ambiguous", hint="write an @ of the password as %40, and a / as %2F"
            )
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in _SQLITE:
        raise UsageError(f"database {shown} is of no known kind", hint=f"use {_FORMS}")
    if not parsed.database or parsed.database.startswith((":memory:", "file:")):
        raise UsageError(f"database {shown} names no file", hint=f"use {_FORMS}")
    return parsed


def _sqlite(url: URL, clock: Callable[[], int]) -> Database:
    file = Path(str(url.database)).absolute()
    shown = url.render_as_string(hide_password=True)
    _make_private(file, shown)
    engine = create_engine(
        url,
        hide_parameters=True,
        json_serializer=_to_json,
        json_deserializer=msgspec.json.decode,
        connect_args={"timeout": BUSY_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401  # a driver's own type
        _prepare_sqlite(connection, file)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        kind = connection.get_execution_options().get("keypool_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    # IMMEDIATE takes the write lock first: a transaction that reads and then writes would
    # otherwise fail at once, without waiting, when another one wrote in between.
    writer = engine.execution_options(keypool_begin="IMMEDIATE")
    return Database(engine, writer, shown, file, clock)


def _to_json(value: object) -> str:
    """JSON that can always be stored and read again: upstream's text may hold half characters."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


def _make_private(file: Path, shown: str) -> None:
    """Create SQLite's file for its owner only; its log files take the same mode from it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
    except OSError as err:
        raise UnreachableError(
            f"database {shown} cannot be opened: {err.strerror}",
            hint=_ADVICE.get(type(err), "check KEYPOOL_HOME and KEYPOOL_DATABASE_URL"),
        ) from err


def _prepare_sqlite(connection: Any, file: Path) -> None:  # noqa: ANN401  # a driver's own type
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL may lose commits
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        # Two processes that switch at once would refuse each other without waiting.
        with alone(file):
            connection.execute("PRAGMA journal_mode = WAL")


def alone(file: Path) -> AbstractContextManager[None]:
    """While this process, and no other, makes or migrates a SQLite file."""
    return file_lock.alone(file.with_name(f"{file.name}.lock"), within_s=_LONGEST_CHANGE_S)


def _postgres(url: URL, clock: Callable[[], int]) -> Database:
    shown = masked_url(url.render_as_string(hide_password=True))
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            json_serializer=_to_json,
            json_deserializer=msgspec.json.decode,
            isolation_level="READ COMMITTED",  # writers read what is true once they hold the lock
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 2,
                "tcp_user_timeout": 3000,
                # Nothing is on its way while the server works at an answer.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "options": f"-c lock_timeout={BUSY_MS} -c timezone=UTC",
                "application_name": "keypool",
            },
        )
    except (ModuleNotFoundError, NoSuchModuleError) as err:
        raise UsageError(
            "PostgreSQL needs a driver that is not installed",
            hint='pip install "keypool[postgres]"',
        ) from err
    be_patient(engine)
    reader = engine.execution_options(isolation_level="REPEATABLE READ")
    return Database(reader, engine, shown, None, clock)
