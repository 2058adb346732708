"""Parked demands: grants that cross with answers, withdrawals, the store's clock."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.store import Store
from keypool_cli.engine.types import Acquired, Demand, Grant, LivePool, LiveProject, Waits
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.store_clock import steady_ms
from keypool_cli.service.waiting import Waiting
from tests.support.running import PATIENCE_S
from tests.support.valkey import private_valkey

M, POOL = "model-a", 1


@pytest.fixture
def url(tmp_path):
    with private_valkey(tmp_path) as found:
        yield found


@pytest.fixture
async def engine(url):
    client = Redis.from_url(url, protocol=2)
    found = Engine(Store(client, url))
    await loaded(found)
    yield found
    await found.store.close()


async def loaded(engine):
    """One project that takes one request a minute."""
    project = LiveProject(1, 1, -1, -1, -1, 1, 0, [10], [POOL])
    await engine.load(M, [project])
    await engine.seal(M, revision=1, pools=[LivePool(POOL, 0, [0])], epoch="e")


@pytest.fixture
async def waiting(engine):
    found = Waiting(engine)
    yield found
    await found.close()


async def ask(engine, demand):
    answer = await engine.acquire(M, POOL, [demand], revision=1, queue=10)
    assert isinstance(answer, Acquired)
    return answer.results[0]


async def a_demand(waiting, wait_s):
    deadline = await waiting.deadline(wait_s)
    return Demand(new_lease_id(M), 1, 5, deadline_ms=deadline, daemon=waiting.daemon)


async def line(engine):
    return int(await engine.store.client.hlen(f"{{kp:{M}}}:waiter"))


async def test_a_grant_that_comes_before_the_answer_that_it_waits_is_not_lost(engine, waiting):
    held = await ask(engine, await a_demand(waiting, 0))
    other = await a_demand(waiting, 5)
    with waiting.expecting(other) as unused:
        assert isinstance(await ask(engine, other), Waits)
        parked = asyncio.create_task(waiting.wait(M, POOL, other, unused))
        demand = await a_demand(waiting, 5)
        with waiting.expecting(demand) as grant:
            assert isinstance(await ask(engine, demand), Waits)
            await engine.release(M, 0, [other.lease_id])
            await engine.release(M, 0, [held.lease_id])
            # The pump that runs for the other one fetches it, before anyone waits for it here.
            waiting.wake(M)
            await asyncio.wait({grant}, timeout=PATIENCE_S)
            assert grant.done()
            found = await waiting.wait(M, POOL, demand, grant)
            assert isinstance(found, Grant)
            assert found.lease_id == demand.lease_id
        parked.cancel()
        await asyncio.gather(parked, return_exceptions=True)


async def test_a_demand_whose_time_runs_out_leaves_the_queue(engine, waiting):
    await ask(engine, await a_demand(waiting, 0))
    answer = None
    while answer != Waits():  # its time may be over before it is asked for
        demand = await a_demand(waiting, 0.5)
        with waiting.expecting(demand) as grant:
            answer = await ask(engine, demand)
            if answer == Waits():
                with pytest.raises(TimeoutError):
                    await waiting.wait(M, POOL, demand, grant)
    assert await line(engine) == 0


async def test_a_demand_whose_queue_was_lost_with_the_store_is_told(engine, waiting):
    await ask(engine, await a_demand(waiting, 0))
    demand = await a_demand(waiting, 30)
    with waiting.expecting(demand) as grant:
        assert isinstance(await ask(engine, demand), Waits)
        parked = asyncio.create_task(waiting.wait(M, POOL, demand, grant))
        await asyncio.sleep(0.1)
        assert not parked.done()
        await engine.store.client.flushall()
        assert await asyncio.wait_for(parked, PATIENCE_S) is None


async def test_a_demand_dropped_while_its_daemon_was_silent_is_told_though_others_wait(url):
    """The silence is a clock that goes on: another daemon's pump takes this one for dead."""
    ahead = [0]
    client = Redis.from_url(url, protocol=2)
    engine = Engine(Store(client, url), now=lambda: time.time_ns() // 1_000_000 + ahead[0])
    await loaded(engine)
    waiting, other = Waiting(engine), Waiting(engine)
    held = await ask(engine, await a_demand(waiting, 0))
    demands = [await a_demand(each, 60) for each in (waiting, other)]
    with waiting.expecting(demands[0]) as grant:
        assert [await ask(engine, each) for each in demands] == [Waits(), Waits()]
        parked = asyncio.create_task(waiting.wait(M, POOL, demands[0], grant))
        await asyncio.sleep(0.1)
        while await line(engine) != 1:  # its own pump may come between
            ahead[0] += 6000
            assert ahead[0] < 60_000
            await engine.pump(M, other.daemon, [])
            await engine.pump(M, other.daemon, [POOL])
        assert await asyncio.wait_for(parked, PATIENCE_S) is None
    assert isinstance(held, Grant)
    await waiting.close()
    await engine.store.close()


async def test_a_model_that_nobody_waits_for_is_looked_after_no_more(engine, waiting, monkeypatch):
    monkeypatch.setattr("keypool_cli.service.waiting.IDLE_S", 0.05)
    others = asyncio.all_tasks()
    for _ in range(2):
        held = await ask(engine, await a_demand(waiting, 0))
        demand = await a_demand(waiting, 30)
        with waiting.expecting(demand) as grant:
            assert isinstance(await ask(engine, demand), Waits)
            parked = asyncio.create_task(waiting.wait(M, POOL, demand, grant))
            await engine.release(M, 0, [held.lease_id])
            assert isinstance(await asyncio.wait_for(parked, PATIENCE_S), Grant)
        await engine.release(M, 0, [demand.lease_id])
        deadline = time.monotonic() + PATIENCE_S
        while asyncio.all_tasks() != others:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


async def test_a_demand_that_is_cancelled_leaves_the_queue(engine, waiting):
    await ask(engine, await a_demand(waiting, 0))
    demand = await a_demand(waiting, 30)
    with waiting.expecting(demand) as grant:
        assert isinstance(await ask(engine, demand), Waits)
        parked = asyncio.create_task(waiting.wait(M, POOL, demand, grant))
        await asyncio.sleep(0.05)
        assert await line(engine) == 1
        parked.cancel()
        await asyncio.gather(parked, return_exceptions=True)
    assert await line(engine) == 0


async def test_a_grant_nobody_wants_any_more_is_given_back(engine, waiting):
    held = await ask(engine, await a_demand(waiting, 0))
    demand = await a_demand(waiting, 30)
    assert isinstance(await ask(engine, demand), Waits)
    await engine.release(M, 0, [held.lease_id])
    await waiting.withdraw(M, demand)
    [view] = (await engine.snapshot(M, [1])).views
    assert (view.requests, view.in_flight) == (0, 0)


async def test_the_clock_is_the_stores(engine, waiting):
    now = await engine.now_ms()
    assert now - 1 <= await waiting.now_ms() <= await engine.now_ms()
    asked_at_ms = steady_ms()
    waiting.heard(now + 1_000_000, asked_at_ms=asked_at_ms)
    ahead_ms = await waiting.now_ms() - now
    assert -1 <= ahead_ms - 1_000_000 <= steady_ms() - asked_at_ms
    assert await waiting.deadline(0) == 0
    before, deadline = await waiting.now_ms(), await waiting.deadline(2.0)
    assert before + 2000 <= deadline <= await waiting.now_ms() + 2000
    assert time.time() * 1000 - now < 60_000
