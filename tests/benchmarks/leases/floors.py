"""The floors of the lease benchmark, on the daemon's own HTTP server.

A constant JSON answer; and the least that grants leases: it knows its one caller and its one
project, and reserves with the daemon's own engine. It looks up no key, limit or pool.
"""

import sys
from asyncio import Future
from functools import partial
from itertools import count

import msgspec
import uvloop

from keypool_cli.engine.types import Demand, Grant
from keypool_cli.http.address import Address
from keypool_cli.http.calls import Quick
from keypool_cli.http.message import answer_json
from keypool_cli.http.rsgi import Exchange, Headers, Scope
from keypool_cli.http.server import serve
from tests.benchmarks.one_project import engine_at, granting

ANSWER = {"lease_id": "x" * 40, "model": "gemini-2.5-flash", "tokens_reserved": 100}
PATH = "/keypool/v1/leases"


class _Asked(msgspec.Struct):
    model: str
    tokens: int


_read = msgspec.json.Decoder(_Asked).decode


async def app(scope: Scope, proto: Exchange) -> None:
    """Always the same answer."""
    del scope
    await proto()
    answer_json(proto, 201, ANSWER)


async def least(store_url: str, token: str) -> Quick:
    """Grant leases to whoever has the token."""
    asking, ids = granting(await engine_at(store_url)), count()

    def admits(headers: Headers) -> bool:
        return headers.get("authorization") == f"Bearer {token}"

    def take(_scope: Scope, headers: Headers, proto: Exchange, body: bytes) -> None:
        assert admits(headers)
        asked = _read(body)
        granted = asking.ask(Demand(f"{next(ids):024x}", 1, asked.tokens))
        granted.add_done_callback(partial(answer, proto, asked))

    def answer(proto: Exchange, asked: _Asked, granted: Future[Grant]) -> None:
        grant = granted.result()
        told = {"model": asked.model, "tokens_reserved": asked.tokens}
        answer_json(proto, 201, {"lease_id": grant.lease_id, "key": "k" * 39, **told})

    return Quick(admits, take, lambda _scope, _proto: None)


async def main(*args: str) -> None:
    """Serve until ended; prints the URL. args: of the least, none for the constant answer."""
    quick = {PATH: await least(*args)} if args else {}
    address = Address(host="127.0.0.1", port=0)
    await serve(app, address, on_ready=lambda it: print(it.url, flush=True), quick=quick)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
