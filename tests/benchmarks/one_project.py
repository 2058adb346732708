"""The engine with one project without limits, for servers that a benchmark measures the daemon beside."""

from collections.abc import Sequence
from functools import partial

from redis.asyncio import BlockingConnectionPool, Redis

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.store import Store
from keypool_cli.engine.types import Acquired, Demand, Grant, LivePool, LiveProject
from keypool_cli.service.batching import Batcher

MODEL = "m"

Granting = Batcher[Demand, Grant]


async def engine_at(store_url: str) -> Engine:
    """Load the project into an empty store."""
    pool = BlockingConnectionPool.from_url(store_url, protocol=2)
    engine = Engine(Store(Redis.from_pool(pool), store_url))
    await engine.load(MODEL, [LiveProject(1, 10**9, 10**12, -1, -1, 1, 0, [1], [1])])
    await engine.seal(MODEL, revision=1, pools=[LivePool(1, 0, [0])], epoch="e")
    return engine


def granting(engine: Engine) -> Granting:
    """What asks the store for leases, many at once as the daemon does."""
    return Batcher(partial(_acquire, engine))


async def _acquire(engine: Engine, demands: Sequence[Demand]) -> list[Grant]:
    answer = await engine.acquire(MODEL, 1, demands, revision=1)
    assert isinstance(answer, Acquired)
    return [each for each in answer.results if isinstance(each, Grant)]
