"""INSERT … ON CONFLICT DO UPDATE, which SQLite and PostgreSQL spell alike but SQLAlchemy twice."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: str | Sequence[str],
    keep: Sequence[str] = (),
    newer: Any = None,  # noqa: ANN401  # a function of SQLAlchemy's untyped "excluded" columns
) -> None:
    """Insert ``rows``; one whose ``key`` columns exist already overwrites the others.

    keep: columns that an existing row keeps. newer: makes, of the columns that would be written,
    the condition under which they are.
    """
    if not rows:
        return
    keys = [key] if isinstance(key, str) else list(key)
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    written = {name: statement.excluded[name] for name in rows[0] if name not in {*keys, *keep}}
    where: ColumnElement[bool] | None = None if newer is None else newer(statement.excluded)
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=written, where=where), rows
    )
