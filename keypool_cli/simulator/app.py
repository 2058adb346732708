"""The simulator as a server: Gemini's paths, and its own below ``/simulator/v1``."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from keypool_cli.http.address import Address
from keypool_cli.http.rsgi import App, ClientGone, Exchange, Scope
from keypool_cli.http.server import serve
from keypool_cli.http.websocket import Handshake
from keypool_cli.simulator import admin, gemini, live
from keypool_cli.simulator.state import State
from keypool_cli.simulator.world import World

DRAIN_S = 5.0


async def run(
    world: World, *, host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[Address], None]
) -> None:
    """Serve ``world`` until SIGTERM or SIGINT; on_ready gets the address with the true port.

    Raises ConflictError or UsageError when it cannot listen there, UsageError when the world's
    file of token counts cannot be read.
    """
    app = application(State(world, time.time_ns))
    await serve(app, Address(host=host, port=port), on_ready=on_ready, drain_s=DRAIN_S)


def application(state: State) -> App:
    """The RSGI application over one state."""

    async def app(scope: Scope, exchange: Exchange) -> None:
        if scope.proto == "ws":
            await live.handle(state, scope, cast(Handshake, exchange))
            return
        side = admin if scope.path.startswith(admin.PREFIX + "/") else gemini
        with suppress(ClientGone):
            await side.handle(state, scope, exchange)

    return app
