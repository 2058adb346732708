"""One WebSocket upstream: dialled, its messages both ways, and how it closed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from keypool_cli.upstream.forward import Header, UpstreamError

LARGEST_MESSAGE = 64 * 1024 * 1024
"""What the server side takes too; media comes in messages of some 100 KB."""

_MOST_HELD = 4
"""Frames held for a client that reads slowly; upstream waits for the rest."""

_OPEN_S, _CLOSE_S, _PING_S = 10.0, 2.0, 30.0

# The library logs headers when asked for debugging, and one of them is the key.
_log = logging.getLogger("keypool.websocket")
_log.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Closed:
    """How upstream ended the conversation. code None: the connection broke without a word."""

    code: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """Upstream would not speak WebSocket. status, body: its HTTP answer."""

    status: int
    body: str


class Wire:
    """An open WebSocket; whoever has it must close it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while upstream takes no more. A closed wire ignores it."""
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            return  # receive tells how

    async def receive(self) -> str | bytes | Closed:
        """The next message, or the end."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as err:
            return Closed(err.rcvd.code, err.rcvd.reason) if err.rcvd else Closed(None)

    async def close(self) -> None:
        """Say goodbye; may be repeated."""
        await self._connection.close()


class _Connect(connect):
    """Never follows a redirect: the key is for one host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(url: str, headers: Sequence[Header], proxy: str | None = None) -> Wire | Declined:
    """Open a WebSocket to an ``http`` or ``https`` URL. Raises UpstreamError when no answer comes.

    proxy: the egress proxy's URL; None goes as the machine does.
    """
    try:
        connection = await _Connect(
            _websocket_url(url),
            additional_headers=list(headers),
            user_agent_header=None,
            proxy=proxy or True,
            compression=None,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=_PING_S,
            # A client that reads slowly also delays the answer to a ping.
            ping_timeout=None,
            max_size=LARGEST_MESSAGE,
            max_queue=_MOST_HELD,
            logger=_log,
        )
    except InvalidStatus as err:
        body = bytes(err.response.body or b"").decode(errors="replace")
        return Declined(err.response.status_code, body)
    except (OSError, WebSocketException) as err:
        timed_out = isinstance(err, TimeoutError)
        raise UpstreamError("upstream did not answer", timed_out=timed_out) from None
    return Wire(connection)


def _websocket_url(url: str) -> str:
    return "ws" + url.removeprefix("http")
