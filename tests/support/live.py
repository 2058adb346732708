"""A Live API as tests see it: two daemons before a simulator, one of them with TLS; and clients."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google import genai
from google.genai import types
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.daemon import FLASH, Daemon
from tests.support.proxy import Proxy, a_proxy
from tests.support.serving import Certificate, Served, a_certificate, serving

LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
HELLO = "مرحبا hello"


@dataclass(frozen=True, slots=True)
class Stage:
    """proxy: in clear; sealed: over TLS with the certificate. Both serve the same home."""

    proxy: Proxy
    sealed: Served
    certificate: Certificate

    @property
    def daemon(self) -> Daemon:
        """The daemon that speaks in clear."""
        return self.proxy.daemon

    def google(self, token: str | None = None, **headers: str) -> genai.Client:
        """Google's client; its Live API speaks TLS only."""
        context = ssl.create_default_context(cafile=self.certificate.cert)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        options = types.HttpOptions(
            base_url=self.sealed.url, headers=named, async_client_args={"ssl": context}
        )
        return genai.Client(api_key=token or self.proxy.home.token, http_options=options)

    @asynccontextmanager
    async def raw(
        self, *, query: str = "", path: str = LIVE, **headers: str
    ) -> AsyncIterator[ClientConnection]:
        """A plain WebSocket in clear."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = "ws" + self.daemon.url.removeprefix("http") + path + query
        async with connect(url, additional_headers=named, proxy=None) as wire:
            yield wire

    @asynccontextmanager
    async def set_up(self, pool: str, model: str = FLASH) -> AsyncIterator[ClientConnection]:
        """A plain WebSocket whose setup has been sent."""
        token = self.proxy.home.token
        async with self.raw(x_goog_api_key=token, x_keypool_pool=pool) as wire:
            await set_up(wire, model)
            yield wire


@contextmanager
def a_stage(path: Path) -> Iterator[Stage]:
    """Everything started; ended on leaving."""
    with a_proxy(path) as proxy:
        certificate = a_certificate(path)
        with serving(proxy.home, *certificate.words) as sealed:
            yield Stage(proxy, sealed, certificate)


def a_setup(model: str = FLASH, **more: Any) -> str:
    """A first message."""
    return json.dumps({"setup": {"model": f"models/{model}", **more}})


async def set_up(wire: ClientConnection, model: str = FLASH) -> None:
    """Send the first message; a daemon that closes without reading it is heard by `goodbye`."""
    with suppress(ConnectionClosed):
        await wire.send(a_setup(model))


def a_turn(text: str = HELLO) -> str:
    """A message that asks for an answer."""
    turn = {"role": "user", "parts": [{"text": text}]}
    return json.dumps({"clientContent": {"turns": [turn], "turnComplete": True}})


async def heard(wire: ClientConnection, word: str) -> dict[str, Any]:
    """The next message that has a member of this name."""
    async with asyncio.timeout(30):
        while True:
            message: dict[str, Any] = json.loads(await wire.recv())
            if word in message:
                return message


async def goodbye(wire: ClientConnection) -> tuple[int | None, str]:
    """Code and reason of the close, whatever comes before it."""
    async with asyncio.timeout(30):
        with suppress(ConnectionClosed):
            while True:
                await wire.recv()
    return wire.close_code, wire.close_reason or ""
