"""Clients of the daemon: their tokens are made here, shown once, and kept as hashes."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace

from sqlalchemy import insert, select, update

from keypool_cli.core.model import MAX_LIMIT, Client, Secret
from keypool_cli.errors import ConflictError, UsageError
from keypool_cli.registry.catalog import client_of
from keypool_cli.registry.change import change
from keypool_cli.registry.database import Database
from keypool_cli.registry.lookup import named
from keypool_cli.registry.names import checked_model, checked_name, new_name
from keypool_cli.registry.tables import clients
from keypool_cli.registry.values import Actor, NewClient

SCOPES = ("lease", "proxy", "read", "admin")
REPORTS = ("all", "usage")

_RESERVED = frozenset({"anyone", "daemon"})
"""Names that stand in records for words that are no client's."""


def token_hash(token: str) -> str:
    """What is kept of a token. A plain hash does: tokens are 256 random bits, not passwords."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class Clients:
    """The registry's clients. Unknown names raise NotFoundError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewClient, *, by: Actor) -> tuple[Client, Secret]:
        """A new client and its token, which nobody can ask for again.

        Raises ConflictError if the name is taken, also by a revoked client: what the log says of
        a name must mean one client.
        """
        new = _checked(new)
        token = f"kp_{secrets.token_urlsafe(32)}"
        with change(self._database, by) as done:
            taken = select(clients.c.id).where(clients.c.name == new.name)
            if done.connection.scalar(taken) is not None:
                raise ConflictError(
                    f"a client named {new.name!r} exists or existed",
                    hint="choose another name: a token is shown once, and a name is never used again",
                )
            row = _row(new) | {"token_hash": token_hash(token), "created_at_ms": done.at_ms}
            done.connection.execute(insert(clients).values(row))
            done.event("client.added", new.name, detail=_row(new))
            return client_of(named(done.connection, clients, new.name)), Secret(token)

    def find(self, name: str) -> Client:
        """The client of this name, revoked or not."""
        with self._database.read() as connection:
            return client_of(named(connection, clients, name))

    def token_hashes(self) -> dict[str, int]:
        """Token hash to client id, of all that are not revoked: enough to verify tokens offline."""
        query = select(clients.c.token_hash, clients.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query.where(clients.c.revoked_at_ms.is_(None))).all()
        return {row.token_hash: row.id for row in rows}

    def revoke(self, name: str, *, by: Actor) -> Client:
        """Refuse a client's token from now on; it stays listed. Twice changes nothing."""
        with change(self._database, by) as done:
            row = named(done.connection, clients, name)
            if row.revoked_at_ms is None:
                here = clients.c.id == row.id
                done.connection.execute(
                    update(clients).where(here).values(revoked_at_ms=done.at_ms)
                )
                done.event("client.revoked", name)
            return client_of(named(done.connection, clients, name))

    def used(self, at_ms_by_id: Mapping[int, int]) -> None:
        """Keep when clients were last seen; an older instant than the kept one is ignored."""
        with self._database.write() as connection:
            for client_id, at_ms in at_ms_by_id.items():
                last = clients.c.last_used_at_ms
                older = (clients.c.id == client_id) & (last.is_(None) | (last < at_ms))
                connection.execute(update(clients).where(older).values(last_used_at_ms=at_ms))


def _checked(new: NewClient) -> NewClient:
    if not set(new.scopes) <= set(SCOPES) or not new.scopes:
        raise UsageError(f"scopes are some of {', '.join(SCOPES)}")
    if new.reports not in REPORTS:
        raise UsageError(f"reports are one of {', '.join(REPORTS)}")
    if any(limit is not None and not 0 <= limit <= MAX_LIMIT for limit in (new.rpm, new.tpm)):
        raise UsageError("a client's limits lie between 0 and 10^12")
    if new.name in _RESERVED:
        raise UsageError(f"no client can be named {new.name!r}: records say it of keypool itself")
    return replace(
        new,
        name=new_name(new.name, "client"),
        pools=None if new.pools is None else tuple(checked_name(p, "pool") for p in new.pools),
        models=None if new.models is None else tuple(map(checked_model, new.models)),
        scopes=tuple(new.scopes),
    )


def _row(new: NewClient) -> dict[str, object]:
    """Lists in place of tuples: the log keeps it as JSON, and shows it as it will be read."""
    values = asdict(new).items()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}
