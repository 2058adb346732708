"""Models that nobody uses any more leave the live store: any client can ask for any name.

Forgotten is what no quota row or mark names and of which nothing counts any more: no window, day,
cooldown, open lease or waiter. What is kept of settled leases runs out by itself before that.
"""

import secrets

from keypool_cli.core.day import day_starts
from keypool_cli.core.model import Catalog
from keypool_cli.engine.forgetting import is_over, remove_projects, remove_rest
from keypool_cli.engine.notes import LEAVING
from keypool_cli.service.configured import Configured
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import LOCK_MS, read_configured, sync_locked

KEPT_MS = 2 * 3_600_000
"""A lease lasts an hour at most after its last renewal, and its answer ten minutes more."""

_DAY_MS = 86_400_000


async def forget_unused(ports: Ports) -> None:
    """Forget every model that can be."""
    engine = ports.engine
    now, used = await engine.now_ms(), await engine.uses(await engine.models())
    before = min(now - KEPT_MS, day_starts(now)[2], now - now % _DAY_MS) - engine.times.guard_ms
    unused = {model for model, at_ms in used.items() if at_ms < before}
    if unused:
        unused -= await _named(ports)
    if unused:
        configured = await read_configured(ports)
        for model in sorted(unused):
            await _forget(ports, model, configured, since_ms=now - KEPT_MS)


async def _named(ports: Ports) -> set[str | None]:
    quotas = await ports.call(ports.registry.quotas.all)
    marks = await ports.call(ports.registry.marks.all)
    return {each.model for each in quotas} | {each.model for each in marks}


async def _forget(ports: Ports, model: str, configured: Configured, *, since_ms: int) -> None:
    token, clients = secrets.token_hex(8), sorted(configured.catalog.clients)
    if not await ports.engine.lock(model, token, LOCK_MS):
        return  # somebody loads it
    try:
        if not await is_over(ports.engine, model, clients, since_ms=since_ms):
            return
        if not await ports.engine.leave(model, token):
            return
        # Granted, and ended, between the two looks: it is in use, as it was.
        if not await is_over(ports.engine, model, clients, since_ms=since_ms):
            await sync_locked(ports, model, configured)
            return
        await _remove(ports, model, token, configured.catalog)
    finally:
        await ports.engine.unlock(model, token)


async def _remove(ports: Ports, model: str, token: str, catalog: Catalog) -> None:
    """Live state first, its epoch last: half-way, it still says that nothing was lost."""
    epoch = await ports.engine.epoch(model)
    if epoch is None or not await remove_projects(ports.engine, model, token):
        return
    await ports.call(ports.registry.live_epochs.forget, model, epoch.removeprefix(LEAVING))
    pools, clients = sorted(catalog.pools), sorted(catalog.clients)
    await remove_rest(ports.engine, model, token, pools=pools, clients=clients)
