"""The registry's revision and marks by the bare driver: importing SQLAlchemy outlasts all the rest.

For readers that have everything else from the live store's mirror. Whatever stands in the way
(another kind of database, an older schema, a server that is away) answers None: the caller then
opens the registry itself, which says what is wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote, unquote

from keypool_cli.core.model import Mark, MarkKind, MarkScope

WAIT_S = 2

_SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
_POSTGRES = ("postgres://", "postgresql://", "postgresql+psycopg://")
_COLUMNS = tuple(field.name for field in fields(Mark))
_STAMP = "SELECT revision, vault_salt FROM registry"
_MARKS = f"SELECT {', '.join(_COLUMNS)} FROM marks"  # noqa: S608 - the names of our own fields


@dataclass(frozen=True, slots=True)
class Glance:
    """How far the registry is. stamp: of this registry at this revision, and of no other."""

    revision: int
    stamp: str
    marks: tuple[Mark, ...]


def glance(database_url: str) -> Glance | None:
    """The newest revision and every mark, as of one instant; None where that is not so simple."""
    if database_url.startswith(_SQLITE) and "?" not in database_url:
        return _sqlite(unquote(database_url.partition("///")[2]))  # as SQLAlchemy reads it
    if database_url.startswith(_POSTGRES):
        return _postgres(f"postgresql://{database_url.partition('://')[2]}")
    return None


def _sqlite(name: str) -> Glance | None:
    import sqlite3  # noqa: PLC0415 - not every home has it

    if name.startswith((":memory:", "file:")):
        return None
    try:
        # Opened for writing, lest it be created; the log that others write needs no less.
        uri = f"file:{quote(str(Path(name).absolute()))}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=WAIT_S, isolation_level=None)
        try:
            connection.execute("BEGIN")
            [stamp] = connection.execute(_STAMP)
            return _glance(stamp, connection.execute(_MARKS))
        finally:
            connection.close()
    except (sqlite3.Error, ValueError):
        return None


def _postgres(url: str) -> Glance | None:
    try:
        import psycopg  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError:
        return None
    try:
        with psycopg.connect(url, connect_timeout=WAIT_S) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            [stamp] = connection.execute(_STAMP)
            return _glance(stamp, connection.execute(_MARKS.encode()))
    except (psycopg.Error, ValueError):
        return None


def _glance(stamp: tuple[int, bytes | None], rows: Iterable[tuple[object, ...]]) -> Glance:
    revision, salt = stamp
    marks = tuple(_mark(dict(zip(_COLUMNS, row, strict=True))) for row in rows)
    return Glance(revision, f"{bytes(salt or b'').hex()}:{revision}", marks)


def _mark(values: dict[str, object]) -> Mark:
    return Mark(**values | {"scope": MarkScope(values["scope"]), "kind": MarkKind(values["kind"])})  # type: ignore[arg-type]  # columns are named and typed as its fields
