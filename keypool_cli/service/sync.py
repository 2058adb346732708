"""Writing the registry into the live store, and noticing that the live store was lost.

A model's live state carries the registry's revision it was loaded with, an epoch, and when it was
in use last; SQL knows the latter two. No epoch on either side: first use. Another or none in the
store, one that was in use longer ago than SQL knows, or a revision that SQL has not come to: the
state was lost, or is a copy's, and the last minute's bookings with it; every project then waits
out one window. It is looked at when a model is first used in a life of the server.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from msgspec import structs

from keypool_cli.core.day import day_of
from keypool_cli.core.model import UNLIMITED, Project
from keypool_cli.engine.engine import LOAD_CHUNK, new_epoch
from keypool_cli.engine.notes import LEAVING
from keypool_cli.engine.types import LiveProject
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.values import LiveEpoch
from keypool_cli.service.configured import Configured
from keypool_cli.service.loaded import models_in_reach
from keypool_cli.service.mirror import write_mirror
from keypool_cli.service.ports import Ports
from keypool_cli.service.standing import told_away

BEHIND_MS = 10_000
"""A store that forgot less than this is taken for whole: its last second may not have been kept."""

JUST_NOW_MS = 5000
"""So far apart daemons notice that the store's clock was set."""

LOCK_MS = 60_000
WAIT_FOR_LOCK_S = 20.0


async def read_configured(ports: Ports) -> Configured:
    """The registry as it is now, indexed."""
    catalog = await ports.call(ports.registry.catalog)
    return Configured(catalog, await ports.call(ports.registry.clients.token_hashes))


async def sync_model(ports: Ports, model: str, configured: Configured) -> None:
    """Bring one bucket model's live state to a revision of the registry, or rebuild it.

    Several processes may ask at once; one does the work.
    """
    async with _lock(ports, model):
        await sync_locked(ports, model, configured)


async def vouch(ports: Ports, model: str, configured: Configured) -> None:
    """See to it that what this life of the store holds of a model is what SQL knows."""
    if await ports.engine.vouched(model):
        return
    async with _lock(ports, model):
        if await ports.engine.vouched(model):
            return
        configured = await _newest(ports, configured)
        await sync_locked(ports, model, configured)
        # A cooldown of one model makes no new revision: the last second's may not have been kept.
        cooled = {each.project_id for each in configured.catalog.marks if each.model == model}
        found = [each for each in configured.counted.values() if each.id in cooled]
        await ports.engine.load(model, [configured.live_project(each, model) for each in found])
        await ports.engine.vouch(model)


async def reload(ports: Ports, model: str, configured: Configured, *, distrusted: bool) -> None:
    """Work out anew where each project stands after the store's clock was set.

    distrusted: it was set forward, so that bookings upstream still counts have left the windows;
    every project waits one window out, as after a loss.
    """
    async with _lock(ports, model):
        left = await ports.engine.rebuilt_until(model) - await ports.engine.now_ms()
        if distrusted and ports.engine.times.window_ms - JUST_NOW_MS < left:
            return  # another daemon has noticed too
        await _load(ports, model, await _newest(ports, configured), lost=distrusted)


async def _newest(ports: Ports, configured: Configured) -> Configured:
    if await ports.call(ports.registry.revision) != configured.revision:
        return await read_configured(ports)
    return configured.with_marks(await ports.call(ports.registry.marks.all))


async def sync_locked(ports: Ports, model: str, configured: Configured) -> None:
    """:func:`sync_model` for who has the right to load the model already."""
    live = await ports.engine.snapshot(model, [])
    known = await ports.call(ports.registry.live_epochs.get, model)
    found = await ports.engine.epoch(model)
    leaving = found is not None and found.startswith(LEAVING)
    if found is not None and leaving:
        # Somebody was about to forget it, or has removed a part: what is missing did not count.
        found = found.removeprefix(LEAVING) if known is not None else None
    lost = await _is_lost(ports, model, known, found)
    # Both are written together: a part is missing, as in a slot that is moved key by key.
    lost |= found is not None and live.revision < 0 and not leaving
    if live.revision > configured.revision:
        # SQL itself may have been set back; or what we hold is old.
        lost |= live.revision > await ports.call(ports.registry.revision)
    if not lost and known is not None and live.revision >= configured.revision:
        return
    if lost:
        configured = await _newest(ports, configured)
        await ports.engine.clear(model)
    await _load(ports, model, configured, lost=lost)
    epoch = found if found is not None and not lost and not leaving else new_epoch()
    if known is None or epoch != known.epoch:
        await _begin(ports, model, epoch)
    await _seal(ports, model, configured, epoch)


async def _is_lost(ports: Ports, model: str, known: LiveEpoch | None, found: str | None) -> bool:
    """Whether the store's state is not the one that was in use last."""
    if known is None or known.epoch != found:
        return known is not None or found is not None
    used_at = await ports.engine.used_at_ms(model)
    return used_at is not None and used_at < known.at_ms - BEHIND_MS


async def _begin(ports: Ports, model: str, epoch: str) -> None:
    at_ms = await ports.engine.now_ms()
    await ports.engine.witness(model, at_ms)
    await ports.engine.vouch(model)
    await ports.call(ports.registry.live_epochs.set, model, epoch, at_ms=at_ms)


async def _load(ports: Ports, model: str, configured: Configured, *, lost: bool) -> None:
    counts = await _day_counts(ports, model, configured) if lost else {}
    projects = [
        configured.live_project(each, model, counts.get(each.id, (0, 0)))
        for each in configured.counted.values()
    ]
    if lost:
        until = await ports.engine.rebuilding(model)
        projects = [_cooled(each, until) for each in projects]
    await ports.engine.load(model, projects)
    gone = await ports.engine.members(model) - configured.counted.keys()
    if gone:
        await ports.engine.unload(model, sorted(gone))


def _cooled(project: LiveProject, until_ms: int) -> LiveProject:
    """A project that waits out what the lost store had granted; no earlier reset voids that."""
    if project.cool_until_ms >= until_ms:
        return project
    return structs.replace(project, cool_until_ms=until_ms, cool_granted_at_ms=until_ms)


async def _seal(ports: Ports, model: str, configured: Configured, epoch: str) -> None:
    """Say as of when the model is loaded.

    Refused where someone newer was here while we stood still for longer than the lock lasts: what
    we wrote may have replaced theirs, and is written anew.
    """
    pools = configured.live_pools()
    if await ports.engine.seal(model, revision=configured.revision, pools=pools, epoch=epoch):
        await ports.engine.pump(model, "", [each.id for each in pools])
        return
    newest = await read_configured(ports)
    if newest.revision != configured.revision:
        await _load(ports, model, newest, lost=False)
        await _seal(ports, model, newest, epoch)


async def _day_counts(
    ports: Ports, model: str, configured: Configured
) -> dict[int, tuple[int, int]]:
    """What was counted today, and what a minute's quota allowed since it was last written."""
    now = await ports.engine.now_ms()
    counts = await ports.call(ports.registry.day_counts.load, model, day_of(now).isoformat())
    found: dict[int, tuple[int, int]] = {}
    for project in configured.counted.values():
        limits = configured.limits(project, model)
        # A project without a count may have been used just before the store was lost.
        if project.id in counts or limits.rpd.value != UNLIMITED:
            requests = counts.get(project.id, 0) + max(limits.rpm.value, 0)
            found[project.id] = (requests, requests)
    return found


async def sync_projects(
    ports: Ports, configured: Configured, project_ids: Collection[int], made: Sequence[int]
) -> None:
    """Write changed projects to every loaded model; ``made``: the revisions that the changes made.

    Ids that are no longer configured are unloaded. Where a model has missed another's change as
    well, it is loaded whole: whoever made that one may have died before writing it here.
    Raises UnreachableError for models out of reach when all others are written.
    """
    there, away = await models_in_reach(ports)
    for revisions in _runs(made):
        for model in await _amend(ports, configured, project_ids, revisions, there):
            async with _lock(ports, model):
                if await _is_older(ports, model, configured):
                    # Someone newer was here first: what we read must not overwrite theirs.
                    configured = await read_configured(ports)
                await _sync_some(ports, model, configured, project_ids, revisions)
    await write_mirror(ports, configured)
    await ports.engine.announce(configured.revision)
    if away:
        raise UnreachableError(told_away(away), hint="bring that node back")


def _runs(made: Sequence[int]) -> list[tuple[int, int]]:
    """Revisions without a gap, each run as the one before it and its last."""
    found: list[tuple[int, int]] = []
    for each in made:
        if found and found[-1][1] == each - 1:
            found[-1] = (found[-1][0], each)
        else:
            found.append((each - 1, each))
    return found


async def _amend(
    ports: Ports,
    configured: Configured,
    project_ids: Collection[int],
    revisions: tuple[int, int],
    models: list[str],
) -> list[str]:
    """Write changed projects with one call a model, many under way; the models that need more."""
    left = list[str]()
    step = LOAD_CHUNK // (len(project_ids) + 1)
    if not step:
        return models
    pools = configured.live_pools()
    kept, gone = _kept_and_gone(configured, project_ids)

    async def amend(model: str) -> bool:
        projects = [configured.live_project(each, model) for each in kept]
        return await ports.engine.amend(model, projects, gone, pools=pools, revisions=revisions)

    for start in range(0, len(models), step):
        part = models[start : start + step]
        done = await asyncio.gather(*map(amend, part))
        left += [model for model, is_done in zip(part, done, strict=True) if not is_done]
    return left


def _kept_and_gone(
    configured: Configured, project_ids: Collection[int]
) -> tuple[list[Project], list[int]]:
    projects = configured.counted
    kept = [projects[each] for each in project_ids if each in projects]
    return kept, [each for each in project_ids if each not in projects]


async def _sync_some(
    ports: Ports,
    model: str,
    configured: Configured,
    project_ids: Collection[int],
    revisions: tuple[int, int],
) -> None:
    if (await ports.engine.snapshot(model, [])).revision < 0:
        await sync_locked(ports, model, configured)
        return
    pools = configured.live_pools()
    kept, gone = _kept_and_gone(configured, project_ids)
    await ports.engine.load(model, [configured.live_project(each, model) for each in kept])
    await ports.engine.unload(model, gone)
    epoch = await ports.engine.epoch(model)
    sealed = epoch is not None and await ports.engine.seal(
        model, revision=revisions[1], pools=pools, epoch=epoch, only_from=revisions[0]
    )
    if not sealed:
        if epoch is not None and await _is_older(ports, model, configured):
            await _seal(ports, model, configured, epoch)
        else:
            await sync_locked(ports, model, configured)
    await ports.engine.pump(model, "", [each.id for each in pools])


async def _is_older(ports: Ports, model: str, configured: Configured) -> bool:
    """Whether the model is loaded from a newer registry than what we have read."""
    return (await ports.engine.snapshot(model, [])).revision > configured.revision


@asynccontextmanager
async def _lock(ports: Ports, model: str) -> AsyncIterator[None]:
    token = secrets.token_hex(8)
    deadline = monotonic() + WAIT_FOR_LOCK_S
    while not await ports.engine.lock(model, token, LOCK_MS):
        if monotonic() > deadline:
            raise UnreachableError(
                f"another process has been loading {model!r} for too long",
                hint="it gives up its turn within a minute; then try again",
            )
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        await ports.engine.unlock(model, token)
