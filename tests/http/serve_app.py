"""A server with one path for each thing the tests ask about; a JSON line tells its address.

Arguments: where it listens as JSON (the fields of Address), and the drain time in seconds.
"""

# ruff: noqa: T201, ARG001 - it talks through stdout; handlers share one signature
import asyncio
import gc
import sys
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from keypool_cli.errors import KeypoolError
from keypool_cli.http.address import Address
from keypool_cli.http.calls import Quick
from keypool_cli.http.connection import drop_client
from keypool_cli.http.message import (
    BodyTooLargeError,
    Problem,
    answer_json,
    answer_problem,
    query_pairs,
    read_body,
)
from keypool_cli.http.server import serve


async def echo(scope, proto):
    try:
        body = await read_body(scope.headers, proto, limit=1000)
    except BodyTooLargeError as err:
        answer_problem(proto, Problem(title="too large", status=413, detail=str(err)))
        return
    answer_json(proto, 200, {"size": len(body), "query": query_pairs(scope.query_string)})


async def slow(scope, proto):
    print("started", flush=True)
    await asyncio.sleep(0.5)
    answer_json(proto, 200, {"slow": True}, headers=[("x-extra", "1")])


async def stream(scope, proto):
    transport = proto.response_stream(200, [])
    await transport.send_bytes(b"first ")
    print("started", flush=True)
    await asyncio.sleep(1.5)
    await transport.send_bytes(b"last")


async def hang(scope, proto):
    print("started", flush=True)
    await asyncio.Event().wait()


async def hang_half_sent(scope, proto):
    transport = proto.response_stream(200, [])
    await transport.send_bytes(b"first ")
    await hang(scope, proto)


async def drop(scope, proto):
    transport = proto.response_stream(200, [])
    await transport.send_bytes(b"half")
    await asyncio.sleep(0.1)
    drop_client(scope.client)


PATHS = {
    "/slow": slow,
    "/stream": stream,
    "/hang": hang,
    "/hang-half-sent": hang_half_sent,
    "/drop": drop,
}


async def app(scope, proto):
    await PATHS.get(scope.path, echo)(scope, proto)


def quick(_scope, headers, proto, body):
    """Answers at once, or a while after the handler has returned."""
    text = body.decode()
    answer = partial(answer_json, proto, 200, {"quick": text, "kind": headers.get("x-kind")})
    if text == "later":
        print("started", flush=True)
        asyncio.get_running_loop().call_later(0.5, answer)
    else:
        answer()


def stalled(_scope, proto):
    answer_json(proto, 408, {}, headers=[("connection", "close")])


QUICK = dict.fromkeys(
    ("/quick", ":quick"), Quick(lambda headers: "x-stranger" not in headers, quick, stalled)
)


def _path(_, text):
    return Path(text)


def main():
    gc.disable()  # whatever needs it would hold connections: in the daemon it comes seldom
    address = msgspec.json.decode(sys.argv[1], type=Address, dec_hook=_path)
    ready = lambda bound: print(bound.url, flush=True)  # noqa: E731 - shorter than a def
    try:
        served = serve(app, address, on_ready=ready, drain_s=float(sys.argv[2]), quick=QUICK)
        uvloop.run(served)
    except KeypoolError as err:
        print(f"{type(err).__name__}: {err}", flush=True)
        raise SystemExit(err.exit_code) from err
    print("served", flush=True)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]
    main()
