"""What the engine does with plain commands: locks, epochs, affinity, notices. No script, no server."""

import asyncio

import fakeredis
import pytest

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.keyspace import CHANGES, tag
from keypool_cli.engine.store import Store

MODEL = "gemini-2.5-flash"


@pytest.fixture
async def engine():
    client = fakeredis.FakeAsyncRedis()
    yield Engine(Store(client, "redis://fake"))
    await client.aclose()


async def test_one_process_at_a_time_loads_a_model(engine):
    assert await engine.lock(MODEL, "first", 60_000)
    assert not await engine.lock(MODEL, "second", 60_000)
    assert await engine.lock("another-model", "second", 60_000)


async def test_a_lock_is_given_back_only_by_its_owner(engine):
    await engine.lock(MODEL, "first", 60_000)
    await engine.unlock(MODEL, "second")
    assert not await engine.lock(MODEL, "second", 60_000)
    await engine.unlock(MODEL, "first")
    assert await engine.lock(MODEL, "second", 60_000)


async def test_a_model_that_was_never_loaded_has_no_epoch(engine):
    assert await engine.epoch(MODEL) is None
    await engine.store.client.set(f"{tag(MODEL)}:epoch", "abc")
    assert await engine.epoch(MODEL) == "abc"


async def test_an_affinity_is_remembered_for_a_while(engine):
    assert await engine.recall(["1:session", "1:other"]) == ["", ""]
    await engine.remember({"1:session": "7", "2:session": "8"}, 3600)
    assert await engine.recall(["1:session", "1:other", "2:session"]) == ["7", "", "8"]
    assert 0 < await engine.store.client.ttl("kp:affinity:1:session") <= 3600


async def test_a_rebuild_notes_when_its_cooldown_ends(engine):
    assert await engine.rebuilt_until(MODEL) == 0
    until = await engine.rebuilding(MODEL)
    assert await engine.rebuilt_until(MODEL) == until
    assert until - await engine.now_ms() == pytest.approx(60_500, abs=5_000)


async def test_every_daemon_hears_of_a_change(engine):
    heard = engine.listen([CHANGES])
    first = asyncio.ensure_future(anext(heard))
    await asyncio.sleep(0)
    while not await engine.store.client.publish(CHANGES, 41):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    assert await asyncio.wait_for(first, 20) == (CHANGES, "41")
    await heard.aclose()
