"""What a daemon does when the store below it is another, or its clock was set."""

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.engine.types import Demand, Grant, Refused
from keypool_cli.registry.values import NewKey, QuotaScope
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
    for module in (reserving_module, store_clock, waiting_module):
        monkeypatch.setattr(module, "steady_ms", found.steady_ms)
    monkeypatch.setattr(ports.engine, "_now", found.store_ms)
    return found


async def ask(reserving):
    [answer] = await reserving.send(M, 1, [Demand(new_lease_id(M), 1, 1)])
    return answer


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
