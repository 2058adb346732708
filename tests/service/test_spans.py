"""The spans of windows: a daemon's settings hold, whatever the shell next to it has set."""

from dataclasses import replace

from keypool_cli.core.model import Secret
from keypool_cli.engine.types import Acquired, Demand, Grant, Refused
from keypool_cli.registry.values import NewKey, QuotaScope
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.ports import opened
from keypool_cli.service.quotas import set_quota
from keypool_cli.service.spans import put_in_force
from keypool_cli.service.sync import read_configured, sync_model
from tests.support.daemon import BY

M = "model-a"
LONG_MS = 5000


def with_guard(settings, guard_ms):
    return replace(settings, guard_ms=guard_ms)


async def ask(ports):
    revision = ports.registry.revision()
    demand = Demand(new_lease_id(M), 1, 10)
    answer = await ports.engine.acquire(M, 1, [demand], revision=revision)
    assert isinstance(answer, Acquired)
    return answer.results[0]


async def held_ms(ports, grant):
    """How long what a grant booked stays in its window of one request."""
    refused = await ask(ports)
    assert isinstance(refused, Refused)
    assert refused.retry_at_ms is not None
    return refused.retry_at_ms - grant.granted_at_ms


async def filled(ports):
    """A model that is loaded, with a window of one request that is full."""
    ports.registry.keys.add(NewKey("k1", Secret("s1"), "p1"), by=BY)
    ports.registry.quotas.set(QuotaScope(project="p1"), {"rpm": 1}, by=BY)
    await sync_model(ports, M, await read_configured(ports))
    grant = await ask(ports)
    assert isinstance(grant, Grant)
    return grant


async def test_a_change_from_elsewhere_leaves_the_spans_of_the_daemons(home):
    async with opened(with_guard(home.settings, LONG_MS), daemon=True) as daemon:
        await daemon.engine.tell_times()
        grant = await filled(daemon)
        before = await held_ms(daemon, grant)
        async with opened(home.settings) as command:
            await set_quota(command, QuotaScope(project="p1"), {"tpm": 1000}, by=BY)
        assert await held_ms(daemon, grant) == before > 60_000 + LONG_MS


async def test_a_daemon_that_starts_with_other_spans_puts_them_in_force(home):
    async with opened(home.settings, daemon=True) as first:
        await first.engine.tell_times()
        grant = await filled(first)
        short = await held_ms(first, grant)
        async with opened(with_guard(home.settings, LONG_MS), daemon=True) as second:
            await put_in_force(second, await read_configured(second))
        assert await held_ms(first, grant) == short - home.settings.guard_ms + LONG_MS
