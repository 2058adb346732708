"""The servers that the proxy is measured beside.

A constant answer, a bare forwarder, and the least that an exact proxy can do: it knows its caller,
reads the request, reserves a token a character with the daemon's own engine, and settles with the
usage that the answer tells. It reads no refusal, hides no key, and tries once.
"""

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
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
from keypool_cli.http.rsgi import App, Exchange, Header, Scope
from keypool_cli.http.server import serve
from keypool_cli.service.batching import Batcher
from keypool_cli.upstream.forward import Forwarder, Outgoing, start_client

MODEL = "m"
STAYING = frozenset(
    {"host", "x-goog-api-key", "content-length", "connection", "keep-alive", "date", "server"}
)
ANSWER = (Path(__file__).parent / "answer.json").read_bytes()
JSON = [("content-type", "application/json")]


class _Part(msgspec.Struct):
    text: str


class _Turn(msgspec.Struct):
    parts: list[_Part]


class _Request(msgspec.Struct):
    contents: list[_Turn]


class _Usage(msgspec.Struct):
    promptTokenCount: int  # noqa: N815 - Gemini's name


class _Answer(msgspec.Struct):
    usageMetadata: _Usage  # noqa: N815 - Gemini's name


_read = msgspec.json.Decoder(_Request).decode
_read_answer = msgspec.json.Decoder(_Answer).decode


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


def least(url: str, engine: Engine, token: str) -> App:
    """Forward under a lease."""
    forwarder, ids = Forwarder(), count()
    asking = Batcher(partial(_acquire, engine))
    settling = Batcher(partial(engine.settle, MODEL))

    async def app(scope: Scope, proto: Exchange) -> None:
        body, headers = await proto(), scope.headers
        assert headers.get("x-goog-api-key") == token
        tokens = sum(len(part.text) for turn in _read(body).contents for part in turn.parts)
        grant = await asking.ask(Demand(f"{next(ids):024x}", 1, tokens))
        assert isinstance(grant, Grant), grant
        sent = [*_kept(headers.items()), ("x-goog-api-key", "upstream's")]
        call = Outgoing(scope.method, url + scope.path, sent, body, whole=True)
        answer = await forwarder.send(call)
        said = await answer.chunk() or b""
        proto.response_bytes(answer.status, _kept(answer.headers), said)
        used = _read_answer(said).usageMetadata.promptTokenCount
        settling.ask(Settlement(grant.lease_id, 0, used, success=True))

    return app


def _kept(headers: Iterable[Header]) -> list[Header]:
    return [each for each in headers if each[0] not in STAYING]


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
    elif name == "least":
        app = least(args[0], await _with_one_project(args[1]), args[2])
    await serve(app, Address(), on_ready=lambda where: print(where.url, flush=True))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
