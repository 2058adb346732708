"""What a daemon does when the store below it is another, or its clock was set."""

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.types import Demand, Grant, Refused
from keypool_cli.registry.values import NewKey, QuotaScope
from keypool_cli.service import receipts as receipts_module
from keypool_cli.service import reserving as reserving_module
from keypool_cli.service import store_clock
from keypool_cli.service import waiting as waiting_module
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.reserving import Reserving
from keypool_cli.service.sync import read_configured
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch
from tests.support.daemon import BY
from tests.support.live_engine import NOON

M = "model-a"


@pytest.fixture
async def reserving(ports):
    key = ports.registry.keys.add(NewKey("p-key", Secret("secret-p"), "p"), by=BY)
    assert key.project_id == 1
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 1}, by=BY)
    waiting = Waiting(ports.engine)
    yield Reserving(ports, Watch(ports, await read_configured(ports)), waiting)
    await waiting.close()


class Clock:
    """The store's clock, and ours. ahead_ms: how far the store's was set forward."""

    def __init__(self):
        self.passed_ms, self.ahead_ms = 0, 0

    def steady_ms(self):
        return float(self.passed_ms)

    def store_ms(self):
        return NOON + self.passed_ms + self.ahead_ms


@pytest.fixture
def clock(ports, monkeypatch):
    found = Clock()
    for module in (receipts_module, reserving_module, store_clock, waiting_module):
        monkeypatch.setattr(module, "steady_ms", found.steady_ms)
    monkeypatch.setattr(ports.engine, "_now", found.store_ms)
    return found


async def ask(reserving):
    [answer] = await reserving.send(M, 1, [Demand(new_lease_id(M), 1, 1)])
    return answer


async def granted(reserving):
    grant = await ask(reserving)
    assert isinstance(grant, Grant)
    reserving.receipts.keep(M, grant)


async def another_server_without_leases(ports, reserving):
    """A replica that has heard of none of them, and is taken for the store now."""
    client = ports.engine.store.client
    await client.delete(*[each async for each in client.scan_iter(f"{tag(M)}:lease:*")])
    reserving._doubt(M)


async def test_a_replica_that_missed_seconds_of_leases_waits_a_window_out(ports, reserving, clock):
    """As after a partition in which this daemon was beside a primary that others had replaced."""
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 9}, by=BY)
    for _ in range(3):
        await granted(reserving)
        clock.passed_ms += 1000
    await another_server_without_leases(ports, reserving)
    for left_ms in (60_500, 50_500):
        refused = await ask(reserving)
        assert (refused.limit, refused.retry_at_ms - clock.store_ms()) == ("cooldown", left_ms)
        clock.passed_ms += 10_000
        reserving._doubt(M)  # what is waited out already begins no second wait
    clock.passed_ms += 40_500
    await granted(reserving)
    await another_server_without_leases(ports, reserving)
    assert isinstance(await ask(reserving), Grant)


async def test_a_replica_that_missed_the_last_second_serves_at_once(ports, reserving, clock):
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 9}, by=BY)
    for _ in range(2):
        await granted(reserving)
        clock.passed_ms += 1000
    await another_server_without_leases(ports, reserving)
    await granted(reserving)
    # What is forgiven once is not held against a server that is looked at later.
    clock.passed_ms += 5000
    await granted(reserving)
    reserving._doubt(M)
    assert isinstance(await ask(reserving), Grant)


async def test_leases_after_a_step_back_are_missed_like_others(ports, reserving, clock):
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 9}, by=BY)
    clock.ahead_ms = 3_600_000
    await granted(reserving)
    clock.ahead_ms = 0
    for _ in range(3):
        await granted(reserving)
        clock.passed_ms += 1000
    await another_server_without_leases(ports, reserving)
    refused = await ask(reserving)
    assert (refused.limit, refused.retry_at_ms - clock.store_ms()) == ("cooldown", 60_500)


async def test_leases_older_than_a_window_may_be_forgotten(ports, reserving, clock):
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 9}, by=BY)
    for _ in range(3):
        await granted(reserving)
        clock.passed_ms += 1000
    clock.passed_ms += 60_501
    await another_server_without_leases(ports, reserving)
    assert isinstance(await ask(reserving), Grant)


async def test_after_a_step_forward_nothing_is_granted_for_a_window(ports, reserving, clock):
    assert isinstance(await ask(reserving), Grant)
    clock.ahead_ms = 120_000
    for _ in range(2):
        refused = await ask(reserving)
        assert (refused.limit, refused.retry_at_ms - clock.store_ms()) == ("cooldown", 60_500)
    # What the store granted before anyone knew was given back.
    [view] = (await ports.engine.snapshot(M, [1])).views
    assert (view.requests, view.in_flight) == (0, 1)
    clock.passed_ms += 60_500
    assert isinstance(await ask(reserving), Grant)


async def test_after_a_step_far_back_a_full_project_opens_after_a_window(reserving, clock):
    clock.ahead_ms = 3_600_000
    assert isinstance(await ask(reserving), Grant)
    assert isinstance(await ask(reserving), Refused)
    clock.ahead_ms = 0
    assert isinstance(await ask(reserving), Refused)
    clock.passed_ms += 60_501
    assert isinstance(await ask(reserving), Grant)
