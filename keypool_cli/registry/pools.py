"""Pools: found, made, changed and removed, and which projects are in them."""

from collections.abc import Mapping
from typing import Unpack

from sqlalchemy import Connection, delete, insert, select, update

from keypool_cli.core.model import Policy, Pool
from keypool_cli.errors import ConflictError, UsageError
from keypool_cli.registry.catalog import members, pool_of
from keypool_cli.registry.change import Change, change
from keypool_cli.registry.database import Database
from keypool_cli.registry.lookup import named
from keypool_cli.registry.names import new_name
from keypool_cli.registry.tables import pool_projects, pools, projects
from keypool_cli.registry.values import Actor, PoolFields

MAX_WAIT_S = 300.0


class Pools:
    """The registry's pools. Unknown names raise NotFoundError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str) -> Pool:
        """The pool of this name."""
        with self._database.read() as connection:
            return _pool(connection, name)

    def create(self, name: str, *, by: Actor, **fields: Unpack[PoolFields]) -> Pool:
        """A new, empty pool; raises ConflictError if the name is taken."""
        name, values = new_name(name, "pool"), _checked_fields(fields)
        with change(self._database, by) as done:
            if done.connection.scalar(select(pools.c.id).where(pools.c.name == name)):
                raise ConflictError(f"a pool named {name!r} exists already")
            done.connection.execute(insert(pools).values(pool_row(done, name, values)))
            return _pool(done.connection, name)

    def set(self, name: str, *, by: Actor, **fields: Unpack[PoolFields]) -> Pool:
        """The pool with ``fields`` changed; what is not named stays."""
        values = _checked_fields(fields)
        with change(self._database, by) as done:
            before = named(done.connection, pools, name)
            changed = {k: v for k, v in values.items() if getattr(before, k) != v}
            if changed:
                here = pools.c.id == before.id
                done.connection.execute(update(pools).where(here).values(changed))
                was = {field: getattr(before, field) for field in changed}
                done.event("pool.changed", name, detail={"before": was, "after": changed})
            return _pool(done.connection, name)

    def remove(self, name: str, *, by: Actor) -> Pool:
        """Remove a pool; its projects and keys stay. Returns it as it was."""
        with change(self._database, by) as done:
            pool = _pool(done.connection, name)
            done.connection.execute(delete(pools).where(pools.c.id == pool.id))
            done.event("pool.removed", name, detail={"projects": len(pool.project_ids)})
            return pool

    def include(self, name: str, project: str, *, by: Actor) -> Pool:
        """The pool with ``project`` in it."""
        with change(self._database, by) as done:
            pool = _pool(done.connection, name)
            project_id = named(done.connection, projects, project).id
            if project_id not in pool.project_ids:
                row = {"pool_id": pool.id, "project_id": project_id}
                done.connection.execute(insert(pool_projects).values(row))
                done.event("pool.included", name, detail={"project": project})
            return _pool(done.connection, name)

    def exclude(self, name: str, project: str, *, by: Actor) -> Pool:
        """The pool without ``project``."""
        with change(self._database, by) as done:
            pool = _pool(done.connection, name)
            project_id = named(done.connection, projects, project).id
            if project_id in pool.project_ids:
                here = pool_projects.c.pool_id == pool.id
                there = pool_projects.c.project_id == project_id
                done.connection.execute(delete(pool_projects).where(here, there))
                done.event("pool.excluded", name, detail={"project": project})
            return _pool(done.connection, name)


def pool_row(done: Change, name: str, values: Mapping[str, object]) -> dict[str, object]:
    """A row for a new pool with a checked name, and its event."""
    done.event("pool.created", name, detail=values)
    row: dict[str, object] = {
        "name": name,
        "policy": Policy.SPREAD.value,
        "wait_s": 0.0,
        "shared_resources": False,
        "created_at_ms": done.at_ms,
    }
    return row | dict(values)


def _pool(connection: Connection, name: str) -> Pool:
    row = named(connection, pools, name)
    return pool_of(row, members(connection, row.id))


def _checked_fields(fields: Mapping[str, object]) -> dict[str, object]:
    values = dict(fields)
    wait_s = values.get("wait_s", 0.0)
    if not isinstance(wait_s, int | float) or not 0 <= wait_s <= MAX_WAIT_S:
        raise UsageError(f"a pool's wait lies between 0 and {MAX_WAIT_S:.0f} s")
    if "policy" in values:
        values["policy"] = Policy(str(values["policy"])).value
    return values
