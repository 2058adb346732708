"""Finding rows by name, with a helpful refusal when there is none."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, select, true

from keypool_cli.errors import NotFoundError
from keypool_cli.registry.tables import clients, keys, pools, present, projects

T = TypeVar("T")

MAX_VARIABLES = 500
"""Values in one statement; databases bound them (SQLite's older limit is 999)."""

_WHAT = {keys.name: "key", projects.name: "project", pools.name: "pool", clients.name: "client"}
_HINTS = {
    "key": "see: keypool list",
    "project": "see: keypool project list",
    "pool": "see: keypool pool list",
    "client": "see: keypool client list",
}


def named(connection: Connection, table: Table, name: str) -> Row[Any]:
    """The row of this name in keys, projects, pools or clients.

    Raises NotFoundError with similar names, and the command that lists them all.
    """
    query = select(table).where(table.c.name == name, _there(table))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise _not_found(connection, table, name)
    return row


def _there(table: Table) -> ColumnElement[bool]:
    return present if table is projects else true()


def chunks(items: Collection[T]) -> Iterator[list[T]]:
    """``items`` in lists short enough for one statement."""
    rest = iter(items)
    while part := list(islice(rest, MAX_VARIABLES)):
        yield part


def _not_found(connection: Connection, table: Table, name: str) -> NotFoundError:
    what = _WHAT[table.name]
    similar = get_close_matches(name, _candidates(connection, table, name), n=3, cutoff=0.6)
    guess = f"did you mean {' or '.join(repr(n) for n in similar)}? " if similar else ""
    return NotFoundError(f"no {what} named {name!r}", hint=guess + _HINTS[what])


def _candidates(connection: Connection, table: Table, name: str) -> list[str]:
    """Names that may be meant: comparing with all of 100,000 would take seconds."""
    column = table.c.name
    names = select(column).where(_there(table)).limit(1000)
    alike = names.where(column.istartswith(name[:2], autoescape=True))
    some = names.order_by(column)
    return list({*connection.scalars(alike), *connection.scalars(some)})
