"""``drain``: set keys or a project aside, and wait until no lease on them is left."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic

from keypool_cli.engine.open_leases import open_leases
from keypool_cli.errors import UsageError
from keypool_cli.registry.values import Actor
from keypool_cli.service import keys, projects
from keypool_cli.service.ports import Ports

POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Drained:
    """What is being drained. keys: names of all keys concerned. project: None for single keys."""

    keys: tuple[str, ...]
    key_ids: frozenset[int]
    project_ids: frozenset[int]
    project: str | None = None


async def begin(ports: Ports, names: tuple[str, ...], project: str | None, *, by: Actor) -> Drained:
    """Disable the named keys, or the project as a whole. Raises NotFoundError before it changes."""
    if bool(names) == (project is not None):
        raise UsageError("name keys, or one --project", hint="see: keypool drain --help")
    if project is None:
        await keys.disable_keys(ports, names, by=by)
        found = [await ports.call(ports.registry.keys.find, name) for name in names]
    else:
        await projects.set_project(ports, project, {"enabled": False}, by=by)
        owner = await ports.call(ports.registry.projects.find, project)
        catalog = await ports.call(ports.registry.catalog)
        found = [each for each in catalog.keys.values() if each.project_id == owner.id]
    return Drained(
        keys=tuple(dict.fromkeys(each.name for each in found)),
        key_ids=frozenset(each.id for each in found),
        project_ids=frozenset(each.project_id for each in found),
        project=project,
    )


async def left(ports: Ports, drained: Drained) -> int:
    """How many leases are open on what is drained; those past their end do not count."""
    if ports.away is not None:
        raise ports.away
    if not ports.live:  # an embedded store that does not run has nobody with a lease
        return 0
    now_ms = await ports.engine.now_ms()
    count = 0
    for model in await ports.engine.models():
        leased = await open_leases(ports.engine, model, drained.project_ids, now_ms=now_ms)
        count += sum(key_id in drained.key_ids for key_id in leased)
    return count


async def wait(ports: Ports, drained: Drained, *, timeout_s: float) -> AsyncIterator[int]:
    """How many leases are left, each time that is looked at; ends at none, or after the time."""
    until = monotonic() + timeout_s
    while True:
        count = await left(ports, drained)
        yield count
        if not count or monotonic() >= until:
            return
        await asyncio.sleep(min(POLL_S, max(until - monotonic(), 0)))
