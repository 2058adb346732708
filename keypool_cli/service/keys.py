"""Keys: added one by one or in bulk, listed, set aside, rotated, removed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter

import msgspec

from keypool_cli.core.model import Key, Secret
from keypool_cli.core.natural import natural
from keypool_cli.registry.intake import name_taken
from keypool_cli.registry.values import Actor, KeyOutcome, NewKey
from keypool_cli.service.changing import changing
from keypool_cli.service.configured import Configured
from keypool_cli.service.instants import iso
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import read_configured


class KeyView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as it is shown; never its secret. rule, reason: who set it aside and why."""

    name: str
    project: str
    pools: list[str]
    fingerprint: str
    state: str
    created_at: str
    tier: str | None = None
    priority: int = 0
    rule: str | None = None
    reason: str | None = None
    labels: Mapping[str, str] = {}


async def list_keys(
    ports: Ports, project: str | None = None, pool: str | None = None
) -> list[KeyView]:
    """The keys of a project or a pool, by name; all without either. Raises NotFoundError."""
    if project is not None:
        await ports.call(ports.registry.projects.find, project)
    if pool is not None:
        await ports.call(ports.registry.pools.find, pool)
    configured = await read_configured(ports)
    names = sorted(configured.keys, key=natural)
    views = [_view(configured, configured.keys[name]) for name in names]
    return [
        each
        for each in views
        if project in {None, each.project} and (pool is None or pool in each.pools)
    ]


async def show_keys(ports: Ports, names: Sequence[str]) -> list[KeyView]:
    """The keys of these names, each once. Raises NotFoundError with names that are alike."""
    found = [await ports.call(ports.registry.keys.find, name) for name in dict.fromkeys(names)]
    configured = await read_configured(ports)
    return [_view(configured, key) for key in found]


async def refuse_taken(ports: Ports, name: str) -> None:
    """Raise ConflictError if a key has this name."""
    if name in (await read_configured(ports)).keys:
        raise name_taken(name)


async def add_key(ports: Ports, new: NewKey, *, by: Actor) -> KeyView:
    """Add a key, and its project and pool where they are new. Raises ConflictError."""
    key = await changing(
        ports, partial(ports.registry.keys.add, new, by=by), touched=lambda key: [key.project_id]
    )
    return _view(await read_configured(ports), key)


async def add_keys(
    ports: Ports,
    news: Sequence[NewKey],
    *,
    by: Actor,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[KeyOutcome]:
    """Add many keys, each by itself; progress is told, from a thread, how many are done."""

    def add() -> tuple[list[KeyOutcome], set[int]]:
        outcomes = ports.registry.keys.add_many(news, by=by, dry_run=dry_run, progress=progress)
        added = {each.name for each in outcomes if each.error is None}
        keys = ports.registry.catalog().keys.values() if ports.live and not dry_run else ()
        return outcomes, {key.project_id for key in keys if key.name in added}

    outcomes, _ = await changing(ports, add, touched=itemgetter(1), stoppable=True)
    return outcomes


async def disable_keys(ports: Ports, names: Sequence[str], *, by: Actor) -> list[KeyView]:
    """Set keys aside; running leases end by themselves. Nothing changes if a name is unknown."""
    return await _each(ports, names, partial(ports.registry.keys.disable, by=by))


async def enable_keys(ports: Ports, names: Sequence[str], *, by: Actor) -> list[KeyView]:
    """Make keys ready, whoever set them aside. Nothing changes if a name is unknown."""
    return await _each(ports, names, partial(ports.registry.keys.enable, by=by))


async def remove_key(ports: Ports, name: str, *, by: Actor) -> KeyView:
    """Remove a key and its secret; answers it as it was."""
    [was] = await show_keys(ports, [name])
    await changing(
        ports, partial(ports.registry.keys.remove, name, by=by), touched=lambda k: [k.project_id]
    )
    return was


async def rotate_key(ports: Ports, name: str, secret: Secret, *, by: Actor) -> KeyView:
    """Give a key another secret; its project's windows stay."""
    key = await changing(
        ports,
        partial(ports.registry.keys.rotate, name, secret, by=by),
        touched=lambda key: [key.project_id],
    )
    return _view(await read_configured(ports), key)


async def reveal_secrets(ports: Ports, names: Sequence[str], *, by: Actor) -> Mapping[str, Secret]:
    """The secrets of keys in clear; the audit log keeps that they were shown."""
    keys = {key.name: key.id for key in (await read_configured(ports)).keys.values()}
    wanted = {name: keys[name] for name in names}
    await ports.call(ports.registry.events.add, "secrets.revealed", f"{len(wanted)} keys", by=by)
    secrets = await ports.call(ports.registry.keys.secrets, list(wanted.values()))
    return {name: secrets[key_id] for name, key_id in wanted.items() if key_id in secrets}


async def _each(ports: Ports, names: Sequence[str], change: Callable[[str], Key]) -> list[KeyView]:
    await show_keys(ports, names)

    def change_all() -> list[Key]:
        return [change(name) for name in dict.fromkeys(names)]

    keys = await changing(ports, change_all, touched=lambda keys: {k.project_id for k in keys})
    configured = await read_configured(ports)
    return [_view(configured, key) for key in keys]


def _view(configured: Configured, key: Key) -> KeyView:
    project = configured.catalog.projects[key.project_id]
    return KeyView(
        name=key.name,
        project=project.name,
        pools=[pool.name for pool in configured.pools_of.get(project.id, ())],
        fingerprint=key.fingerprint,
        state=key.state.value,
        created_at=iso(key.created_at_ms),
        tier=project.tier,
        priority=project.priority,
        rule=key.rule,
        reason=key.reason,
        labels=key.labels,
    )
