"""The servers that the proxy is measured beside: a constant answer, and a bare forwarder."""

import sys
from pathlib import Path

import uvloop

from keypool_cli.http.address import Address
from keypool_cli.http.rsgi import App, Exchange, Scope
from keypool_cli.http.server import serve
from keypool_cli.upstream.forward import Forwarder, Outgoing

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


if __name__ == "__main__":
    app = constant if sys.argv[1] == "constant" else bare(sys.argv[2])
    uvloop.run(serve(app, Address(), on_ready=lambda where: print(where.url, flush=True)))
