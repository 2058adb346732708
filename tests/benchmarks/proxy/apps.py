"""The servers that the proxy is measured beside.

A constant answer, a bare forwarder, and the least that an exact proxy can do: it knows its caller,
reads the request, reserves a token a character with the daemon's own engine, and settles with the
usage that the answer tells. It reads no refusal, hides no key, and tries once.
"""

import sys
from collections.abc import Iterable
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import uvloop

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.types import Demand, Settlement
from keypool_cli.http.address import Address
from keypool_cli.http.calls import patient_threads
from keypool_cli.http.rsgi import App, Exchange, Header, Scope
from keypool_cli.http.server import serve
from keypool_cli.service.batching import Batcher
from keypool_cli.upstream.forward import Forwarder, Outgoing, start_client
from tests.benchmarks.one_project import MODEL, engine_at, granting

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
    asking = granting(engine)
    settling = Batcher(partial(engine.settle, MODEL))

    async def app(scope: Scope, proto: Exchange) -> None:
        body, headers = await proto(), scope.headers
        assert headers.get("x-goog-api-key") == token
        tokens = sum(len(part.text) for turn in _read(body).contents for part in turn.parts)
        grant = await asking.ask(Demand(f"{next(ids):024x}", 1, tokens))
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


async def main(name: str, *args: str) -> None:
    """Serve the app of this name until the process is ended; prints its URL."""
    with patient_threads():
        start_client()
    app: App = constant
    if name == "bare":
        app = bare(*args)
    elif name == "least":
        app = least(args[0], await engine_at(args[1]), args[2])
    await serve(app, Address(), on_ready=lambda where: print(where.url, flush=True))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
