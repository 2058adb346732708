"""Pools: listed, changed, filled, removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from keypool_cli.core.model import Pool
from keypool_cli.core.natural import natural
from keypool_cli.registry.values import Actor, PoolFields
from keypool_cli.service.changing import changing
from keypool_cli.service.configured import Configured
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import read_configured


class PoolView(msgspec.Struct, frozen=True):
    """A pool as configured. projects: their names. shared_resources: clients use each other's."""

    name: str
    policy: str
    wait_s: float
    projects: list[str]
    keys: int
    shared_resources: bool


@dataclass(frozen=True, slots=True)
class PoolChange:
    """What changes of a pool; include and exclude name projects. create: make the pool first."""

    fields: PoolFields = field(default_factory=PoolFields)
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    create: bool = False


async def list_pools(ports: Ports) -> list[PoolView]:
    """Every pool, by name."""
    configured = await read_configured(ports)
    names = sorted(configured.pools, key=natural)
    return [_view(configured, configured.pools[name]) for name in names]


async def show_pool(ports: Ports, name: str) -> PoolView:
    """The pool of this name. Raises NotFoundError."""
    pool = await ports.call(ports.registry.pools.find, name)
    return _view(await read_configured(ports), pool)


async def set_pool(ports: Ports, name: str, wanted: PoolChange, *, by: Actor) -> PoolView:
    """Change a pool. Names are looked up before anything changes; raises NotFoundError."""
    for project in (*wanted.include, *wanted.exclude):
        await ports.call(ports.registry.projects.find, project)

    def change() -> tuple[Pool, frozenset[int]]:
        before = _changed(ports, name, wanted, by)
        for project in wanted.include:
            ports.registry.pools.include(name, project, by=by)
        for project in wanted.exclude:
            ports.registry.pools.exclude(name, project, by=by)
        after = ports.registry.pools.find(name)
        return after, before.project_ids | after.project_ids

    pool, _ = await changing(ports, change, touched=lambda result: result[1])
    return _view(await read_configured(ports), pool)


async def remove_pool(ports: Ports, name: str, *, by: Actor) -> PoolView:
    """Remove a pool; its projects and keys stay. Answers it as it was."""
    was = await show_pool(ports, name)
    await changing(
        ports,
        lambda: ports.registry.pools.remove(name, by=by),
        touched=lambda pool: pool.project_ids,
    )
    return was


def _changed(ports: Ports, name: str, wanted: PoolChange, by: Actor) -> Pool:
    if wanted.create:
        return ports.registry.pools.create(name, by=by, **wanted.fields)
    return ports.registry.pools.set(name, by=by, **wanted.fields)


def _view(configured: Configured, pool: Pool) -> PoolView:
    projects = configured.catalog.projects
    return PoolView(
        name=pool.name,
        policy=pool.policy.value,
        wait_s=pool.wait_s,
        projects=sorted((projects[each].name for each in pool.project_ids), key=natural),
        keys=sum(len(configured.keys_of.get(each, ())) for each in pool.project_ids),
        shared_resources=pool.shared_resources,
    )
