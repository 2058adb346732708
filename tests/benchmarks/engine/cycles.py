"""Acquire and settle from one async client: run ``python -m tests.benchmarks.engine.cycles``.

64 callers in one process lease and settle in turn, batched as the daemon batches. The floor is two
``EVALSHA return 1`` of each caller in the same rounds: by redis.asyncio, as any client would, and
over the one shared connection that the engine itself uses. One server of its own, 1,000 projects.
"""

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.store import Store
from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Grant,
    LivePool,
    LiveProject,
    Refused,
    Settlement,
    Waits,
)
from keypool_cli.service.batching import Batcher
from tests.support.valkey import private_valkey

MODEL, PROJECTS, CALLERS, SECONDS, ROUNDS = "m", 1_000, 64, 3.0, 5

Cycle = Callable[[], Awaitable[None]]


async def rate(cycle: Cycle) -> float:
    """Cycles a second of callers that go on one after the other."""
    done, begun = 0, time.monotonic()

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < begun + SECONDS:
            await cycle()
            done += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (time.monotonic() - begun)


async def filled(engine: Engine) -> None:
    wide = [LiveProject(n, 10**6, 10**9, -1, -1, 1, 0, [n], [1]) for n in range(1, PROJECTS + 1)]
    await engine.load(MODEL, wide)
    await engine.seal(MODEL, revision=1, pools=[LivePool(1, 0, [0])], epoch="e")


async def _acquire(engine: Engine, demands: Sequence[Demand]) -> list[Grant | Refused | Waits]:
    answer = await engine.acquire(MODEL, 1, demands, revision=1)
    assert isinstance(answer, Acquired)
    return answer.results


def cycles(store: Store, engine: Engine, sha: str) -> dict[str, Cycle]:
    """What is measured, by name."""
    asking = Batcher(partial(_acquire, engine))
    settling = Batcher(partial(engine.settle, MODEL))

    async def by_client() -> None:
        for _ in range(2):
            await store.client.evalsha(sha, 0)

    async def by_lane() -> None:
        for _ in range(2):
            await store.call("EVALSHA", sha, 0)

    async def by_engine() -> None:
        grant = await asking.ask(Demand(secrets.token_urlsafe(16), 1, 100))
        assert isinstance(grant, Grant), grant
        await settling.ask(Settlement(grant.lease_id, 0, 60, success=True))

    return {
        "two EVALSHA return 1, redis.asyncio": by_client,
        "two EVALSHA return 1, the engine's connection": by_lane,
        "acquire and settle": by_engine,
    }


async def measure(url: str) -> dict[str, list[float]]:
    pool = BlockingConnectionPool.from_url(url, max_connections=128, protocol=2)
    client = Redis.from_pool(pool)
    store = Store(client, url)
    engine = Engine(store)
    await filled(engine)
    measured = cycles(store, engine, await client.script_load("return 1"))
    rates: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, cycle in measured.items():
            rates[name].append(await rate(cycle))
    await store.close()
    return rates


def main() -> int:
    """Measure, print, and check the promise."""
    with tempfile.TemporaryDirectory() as folder, private_valkey(Path(folder)) as url:
        rates = uvloop.run(measure(url))
    for name, each in rates.items():
        print(f"{name:<48}{median(each):9,.0f} cycles/s")
    client, lane, ours = rates.values()
    ratio = median(mine / raw for mine, raw in zip(ours, client, strict=True))
    same = median(mine / raw for mine, raw in zip(ours, lane, strict=True))
    holds = ratio >= 0.30
    print(f"{'ok  ' if holds else 'FAIL'} to redis.asyncio's own, at least 0.3: {ratio:.2f}")
    print(f"     to its own connection's: {same:.2f}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
