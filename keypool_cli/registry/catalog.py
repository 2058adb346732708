"""Rows to values, and the catalog: everything configured, as of one revision."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row, select

from keypool_cli.core.model import (
    Catalog,
    Client,
    Event,
    Key,
    KeyState,
    Mark,
    MarkKind,
    MarkScope,
    Policy,
    Pool,
    Project,
    Provenance,
    QuotaRow,
)
from keypool_cli.registry.tables import (
    aliases,
    clients,
    keys,
    marks,
    pool_projects,
    pools,
    projects,
    quotas,
    registry,
)
from keypool_cli.registry.vault import SHOWN_DIGITS

KEY_COLUMNS = tuple(column for column in keys.c if column.name not in ("uid", "sealed"))
"""All of a key but what only the vault needs."""


def _columns(kind: type[Any], *, after: int = 0) -> Callable[[Row[Any]], tuple[Any, ...]]:
    """Reads the columns named as a value's fields, those after its first few, in their order."""
    return attrgetter(*(each.name for each in fields(kind)[after:]))


_PROJECT, _EVENT = _columns(Project), _columns(Event)
_QUOTA, _MARK = _columns(QuotaRow, after=1), _columns(Mark, after=2)


def revision(connection: Connection) -> int:
    """The number of the newest change of the catalog."""
    return int(connection.execute(select(registry.c.revision)).scalar_one())


def load(connection: Connection) -> Catalog:
    """The whole catalog; ``connection`` is in a transaction that sees one instant."""
    found = [project_of(row) for row in connection.execute(select(projects)).all()]
    return Catalog(
        revision=revision(connection),
        projects={each.id: each for each in found if each.removed_at_ms is None},
        keys={row.id: key_of(row) for row in connection.execute(select(*KEY_COLUMNS)).all()},
        pools=_pools(connection),
        quotas=tuple(quota_of(row) for row in connection.execute(select(quotas))),
        marks=tuple(mark_of(row) for row in connection.execute(select(marks))),
        aliases={row.name: row.model for row in connection.execute(select(aliases))},
        clients={row.id: client_of(row) for row in connection.execute(select(clients))},
        removed={each.id: each for each in found if each.removed_at_ms is not None},
    )


def project_of(row: Row[Any]) -> Project:
    """A project from its row."""
    return Project(*_PROJECT(row))


def key_of(row: Row[Any]) -> Key:
    """A key from its row, without its secret."""
    return Key(
        id=row.id,
        name=row.name,
        project_id=row.project_id,
        fingerprint=row.secret_hmac[:SHOWN_DIGITS],
        state=KeyState(row.state),
        rule=row.rule,
        reason=row.reason,
        labels=row.labels,
        created_at_ms=row.created_at_ms,
    )


def pool_of(row: Row[Any], project_ids: frozenset[int]) -> Pool:
    """A pool from its row and the projects in it."""
    return Pool(
        id=row.id,
        name=row.name,
        policy=Policy(row.policy),
        wait_s=row.wait_s,
        project_ids=project_ids,
        shared_resources=row.shared_resources,
    )


def quota_of(row: Row[Any]) -> QuotaRow:
    """A quota row from its row."""
    return QuotaRow(Provenance(row.provenance), *_QUOTA(row))


def mark_of(row: Row[Any]) -> Mark:
    """A mark from its row."""
    return Mark(MarkScope(row.scope), MarkKind(row.kind), *_MARK(row))


def client_of(row: Row[Any]) -> Client:
    """A client from its row, without the hash of its token."""
    return Client(
        id=row.id,
        name=row.name,
        pools=_optional_names(row.pools),
        models=_optional_names(row.models),
        scopes=tuple(row.scopes),
        rpm=row.rpm,
        tpm=row.tpm,
        reports=row.reports,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        last_used_at_ms=row.last_used_at_ms,
        revoked_at_ms=row.revoked_at_ms,
    )


def event_of(row: Row[Any]) -> Event:
    """An event from its row."""
    return Event(*_EVENT(row))


def members(connection: Connection, pool_id: int) -> frozenset[int]:
    """The ids of the projects in a pool."""
    query = select(pool_projects.c.project_id).where(pool_projects.c.pool_id == pool_id)
    return frozenset(connection.scalars(query))


def _pools(connection: Connection) -> Mapping[int, Pool]:
    inside: defaultdict[int, set[int]] = defaultdict(set)
    for pool_id, project_id in connection.execute(select(pool_projects)):
        inside[pool_id].add(project_id)
    rows = connection.execute(select(pools))
    return {row.id: pool_of(row, frozenset(inside[row.id])) for row in rows}


def _optional_names(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
