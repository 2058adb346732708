"""What adding keys reads first and writes last, in few statements however many keys there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, insert, select

from keypool_cli.registry.lookup import chunks
from keypool_cli.registry.projects import write_projects
from keypool_cli.registry.tables import keys, pool_projects, pools, present, projects


@dataclass(frozen=True, slots=True)
class Terms:
    """What a line must not contradict in its project."""

    tier: str | None
    priority: int
    billing_account: str | None
    egress_proxy: str | None
    enabled: bool


@dataclass(slots=True)
class Known:
    """What the registry holds that lines may clash with; grows as lines are accepted."""

    names: set[str] = field(default_factory=set)
    secrets: dict[str, tuple[str, str]] = field(default_factory=dict)  # hash: key, project
    projects: dict[str, Terms] = field(default_factory=dict)
    pools: set[str] = field(default_factory=set)
    members: set[tuple[str, str]] = field(default_factory=set)  # pool, project
    pooled: set[str] = field(default_factory=set)  # projects in a pool


@dataclass(slots=True)
class Rows:
    """What accepted lines add; ids are not known yet, so names stand for them."""

    keys: list[dict[str, object]] = field(default_factory=list)  # with "project", a name
    projects: list[dict[str, object]] = field(default_factory=list)
    pools: list[dict[str, object]] = field(default_factory=list)
    members: list[tuple[str, str]] = field(default_factory=list)  # pool, project


def load_known(
    connection: Connection, *, names: set[str], hashes: set[str], owners: set[str]
) -> Known:
    """What the registry holds of these key names, keyed hashes of secrets, and projects."""
    known = Known(pools=set(connection.scalars(select(pools.c.name))))
    known.names.update(name for (name,) in _matching(connection, (keys.c.name,), names))
    known.secrets.update(_holders(connection, hashes))
    columns = [projects.c[each] for each in ("name", *Terms.__slots__)]
    for name, *terms in _matching(connection, columns, owners, present):
        known.projects[name] = Terms(*terms)
    known.members.update(_memberships(connection, owners))
    known.pooled.update(project for _, project in known.members)
    return known


def write_rows(connection: Connection, rows: Rows) -> None:
    """Write projects and pools, then what refers to them."""
    if not rows.keys:
        return
    write_projects(connection, rows.projects)
    _insert(connection, pools, rows.pools)
    owners = {str(row["project"]) for row in rows.keys}
    project_ids = dict(_matching(connection, (projects.c.name, projects.c.id), owners))
    pool_rows = connection.execute(select(pools.c.name, pools.c.id))
    pool_ids = {row.name: row.id for row in pool_rows}
    members = [{"pool_id": pool_ids[p], "project_id": project_ids[q]} for p, q in rows.members]
    _insert(connection, pool_projects, members)
    _insert(connection, keys, [_with_id(row, project_ids) for row in rows.keys])


def _with_id(row: dict[str, object], project_ids: Mapping[object, int]) -> dict[str, object]:
    columns = {name: value for name, value in row.items() if name != "project"}
    return columns | {"project_id": project_ids[row["project"]]}


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _memberships(connection: Connection, owners: Collection[str]) -> list[tuple[str, str]]:
    joined = pool_projects.join(pools).join(projects)
    found: list[tuple[str, str]] = []
    for part in chunks(owners):
        query = select(pools.c.name, projects.c.name).select_from(joined)
        rows = connection.execute(query.where(projects.c.name.in_(part)))
        found += [(pool, project) for pool, project in rows]
    return found


def _holders(connection: Connection, hashes: Collection[str]) -> dict[str, tuple[str, str]]:
    """The name and project of the key that has each of these secrets."""
    found: dict[str, tuple[str, str]] = {}
    for part in chunks(hashes):
        query = select(keys.c.secret_hmac, keys.c.name, projects.c.name).select_from(
            keys.join(projects)
        )
        rows = connection.execute(query.where(keys.c.secret_hmac.in_(part)))
        found |= {hashed: (name, project) for hashed, name, project in rows}
    return found


def _matching(
    connection: Connection,
    columns: Sequence[Column[Any]],
    wanted: Collection[object],
    *conditions: ColumnElement[bool],
) -> list[tuple[Any, ...]]:
    """Rows of ``columns`` whose first column is one of ``wanted``, on conditions."""
    found: list[tuple[Any, ...]] = []
    for part in chunks(wanted):
        query = select(*columns).where(columns[0].in_(part), *conditions)
        found += [tuple(row) for row in connection.execute(query)]
    return found
