"""Affinity: a daemon asks the store once for a session it is busy with, and keeps its note alive."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest

from keypool_cli.core.model import Pool
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.store import Store
from keypool_cli.errors import UnreachableError
from keypool_cli.service import affinity as module
from keypool_cli.service.affinity import Affinity

POOL = Pool(id=1, name="main", project_ids=frozenset({7, 8}))


@pytest.fixture
async def client():
    client = fakeredis.FakeAsyncRedis()
    yield client
    await client.aclose()


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(module, "monotonic", lambda: now.at)
    return now


def a_daemon(client):
    """One daemon's affinity on the store they share."""
    watch: Any = SimpleNamespace(configured=SimpleNamespace(projects={}))
    ports: Any = SimpleNamespace(engine=Engine(Store(client, "redis://fake")))
    return Affinity(ports, watch)


async def test_what_one_daemon_keeps_another_knows(client, clock):
    one, two = a_daemon(client), a_daemon(client)
    assert await one.project(POOL, "s") == ""
    await one.keep(POOL, "s", 7)
    assert await one.project(POOL, "s") == "7"
    assert await two.project(POOL, "s") == "7"
    await two.keep(POOL, "s", 8)
    assert await one.project(POOL, "s") == "7"
    clock.at += module.RECENT_S + 1
    assert await one.project(POOL, "s") == "8"


async def test_a_session_that_goes_on_is_not_forgotten(client, clock):
    one = a_daemon(client)
    await one.keep(POOL, "s", 7)
    (name,) = await client.keys("kp:affinity:*")
    await client.expire(name, 5)
    await one.keep(POOL, "s", 7)
    assert await client.ttl(name) <= 5
    clock.at += module.RENEWED_S + 1
    await one.keep(POOL, "s", 7)
    assert await client.ttl(name) > 3000


async def test_a_session_that_could_not_be_noted_is_noted_with_its_next_call(client, clock):
    del clock
    one = a_daemon(client)
    engine = one._ports.engine

    async def away(*_):
        raise UnreachableError("away")

    engine.remember = away
    await one.keep(POOL, "s", 7)
    del engine.remember
    await one.keep(POOL, "s", 7)
    assert await a_daemon(client).project(POOL, "s") == "7"


async def test_a_daemon_remembers_a_bounded_number_of_sessions(client, clock, monkeypatch):
    del clock
    monkeypatch.setattr(module, "MOST_RECENT", 2)
    one = a_daemon(client)
    for session in ("a", "b", "c"):
        await one.keep(POOL, session, 7)
    assert len(one._recent) == 2
    assert await one.project(POOL, "a") == "7"


@pytest.mark.parametrize("away", [UnreachableError("away"), None], ids=["refused", "silent"])
async def test_a_preference_that_cannot_be_known_costs_neither_lease_nor_wait(away):
    """As where the node of a cluster that has it is cut off."""

    async def nothing(*_):
        if away is not None:
            raise away
        await asyncio.Event().wait()

    ports: Any = SimpleNamespace(engine=SimpleNamespace(recall=nothing, remember=nothing))
    watch: Any = SimpleNamespace(configured=SimpleNamespace(projects={}))
    one, begun = Affinity(ports, watch), time.monotonic()
    assert await one.project(POOL, "s") == ""
    await one.keep(POOL, "s", 7)
    assert time.monotonic() - begun < 20
    assert await one.project(POOL, "s") == "7"
