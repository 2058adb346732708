"""The servers that the proxy is measured beside.

A constant answer, a bare forwarder, and one that also reserves and settles a lease for each call
with the daemon's own engine: no token is checked, nothing estimated, no usage read.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path

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
from keypool_cli.http.address import Address
from keypool_cli.http.calls import patient_threads
from keypool_cli.http.rsgi import App, Exchange, Scope
from keypool_cli.http.server import serve
from keypool_cli.service.batching import Batcher
from keypool_cli.upstream.forward import Forwarder, Outgoing, start_client

MODEL = "m"
ANSWER = (Path(__file__).parent / "answer.json").read_bytes()
JSON = [("content-type", "application/json")]


async def constant(_scope: Scope, proto: Exchange) -> None:
    """Always the same answer."""
    await proto()
    proto.response_bytes(200, JSON, ANSWER)


def bare(url: str) -> App:
    """Forward, and nothing else."""
    forwarder = Forwarder()

    async def app(scope: Scope, proto: Exchange) -> None:
        body = await proto()
        call = Outgoing(scope.method, url + scope.path, JSON, body, whole=True)
        answer = await forwarder.send(call)
        proto.response_bytes(answer.status, JSON, await answer.chunk() or b"")

    return app


def reserving(url: str, engine: Engine) -> App:
    """Forward under a lease of 100 tokens, settled with 17."""
    forwarder, ids = Forwarder(), count()
    asking = Batcher(partial(_acquire, engine))
    settling = Batcher(partial(engine.settle, MODEL))

    async def app(scope: Scope, proto: Exchange) -> None:
        body = await proto()
        grant = await asking.ask(Demand(f"{next(ids):024x}", 1, 100))
        assert isinstance(grant, Grant), grant
        call = Outgoing(scope.method, url + scope.path, JSON, body, whole=True)
        answer = await forwarder.send(call)
        proto.response_bytes(answer.status, JSON, await answer.chunk() or b"")
        settling.ask(Settlement(grant.lease_id, 0, 17, success=True))

    return app


async def _acquire(engine: Engine, demands: Sequence[Demand]) -> list[Grant | Refused | Waits]:
    answer = await engine.acquire(MODEL, 1, demands, revision=1)
    assert isinstance(answer, Acquired)
    return answer.results


async def _with_one_project(store_url: str) -> Engine:
    pool = BlockingConnectionPool.from_url(store_url, protocol=2)
    engine = Engine(Store(Redis.from_pool(pool), store_url))
    await engine.load(MODEL, [LiveProject(1, 10**9, 10**12, -1, -1, 1, 0, [1], [1])])
    await engine.seal(MODEL, revision=1, pools=[LivePool(1, 0, [0])], epoch="e")
    return engine


async def main(name: str, *args: str) -> None:
    """Serve the app of this name until the process is ended; prints its URL."""
    with patient_threads():
        start_client()
    app: App = constant
    if name == "bare":
        app = bare(*args)
    elif name == "reserving":
        app = reserving(args[0], await _with_one_project(args[1]))
    await serve(app, Address(), on_ready=lambda where: print(where.url, flush=True))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
