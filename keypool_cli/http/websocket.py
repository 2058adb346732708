"""WebSockets over RSGI, and the close frame that RSGI has no word for.

RSGI ends a WebSocket without code or reason (granian 2.8). The process owns its sockets, so where
it speaks in clear the frame is written by hand, behind everything that was sent; TLS keeps its
keys to itself, and there only the last message can tell why.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Protocol

from keypool_cli.errors import KeypoolError
from keypool_cli.http.connection import discard, drop_client, has_hung_up, write_to_client
from keypool_cli.http.rsgi import ClientGone, Scope

LONGEST_REASON = 123
"""Bytes of a close frame's reason (RFC 6455, 5.5)."""

GOING_AWAY, BAD_PAYLOAD, POLICY, TOO_BIG = 1001, 1007, 1008, 1009
INTERNAL, TRY_LATER = 1011, 1013
"""Codes we send (RFC 6455, 7.4.1, and IANA's registry)."""

UNSENDABLE = frozenset({1004, 1005, 1006, 1015})
"""Codes that only stand for what was not sent."""

_ECHO_S = 2.0
"""How long the other side may take to answer a close frame."""


class UnreadableFrameError(KeypoolError):
    """The client sent what the server does not take; nothing more can be read of it.

    granian (2.8) stops reading there, says nothing, and leaves the connection open. Its limits
    are tungstenite's own.
    """

    def __init__(self) -> None:
        super().__init__("a frame may hold 16 MiB, a message 64 MiB", hint="send it in parts")


class Message(Protocol):
    """One message. kind: 0 the client closes, 1 bytes, 2 text; data is missing in the first."""

    kind: int
    data: bytes | str


class Transport(Protocol):
    """An accepted WebSocket. Everything raises ``ClientGone`` once the client has."""

    def receive(self) -> Awaitable[Message]:
        """The next message."""
        ...

    def send_bytes(self, data: bytes) -> Awaitable[None]:
        """Send a binary message; done when it is handed to the network."""
        ...

    def send_str(self, data: str) -> Awaitable[None]:
        """Send a text message; done when it is handed to the network."""
        ...


class Handshake(Protocol):
    """What an application gets for a ``ws`` scope."""

    def accept(self) -> Awaitable[Transport]:
        """Agree to speak WebSocket."""
        ...

    def close(self, status: int | None) -> None:
        """Refuse with an HTTP status; once accepted, end without code or reason."""
        ...


class Peer:
    """A client's side of an accepted WebSocket; whoever has it must :meth:`leave` it.

    Cancelling :meth:`receive` loses no message: granian would.
    """

    def __init__(self, scope: Scope, transport: Transport) -> None:
        self._scope = scope
        self._transport = transport
        self._next: asyncio.Task[str | bytes | None] | None = None
        self._unreadable = False

    @property
    def sealed(self) -> bool:
        """Whether this very server encrypts the connection."""
        return self._scope.scheme in {"https", "wss"}

    def reading(self) -> asyncio.Task[str | bytes | None]:
        """The next message on its way; it stays the next one until it is received."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
        return self._next

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client closes.

        Raises ClientGone when it has gone, UnreadableFrameError where it goes on unheard.
        """
        message = await asyncio.shield(self.reading())
        self._next = None
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message as what it is; done when the network has it. Raises ClientGone."""
        if isinstance(message, str):
            await self._transport.send_str(message)
        else:
            await self._transport.send_bytes(message)

    async def _read(self) -> str | bytes | None:
        try:
            message = await self._transport.receive()
        except ClientGone:
            if has_hung_up(self._scope.client):
                raise
            self._unreadable = True
            raise UnreadableFrameError from None
        return message.data if message.kind else None

    async def close(self, code: int, reason: str) -> None:
        """Close with code and reason, and let the client answer; sealed: nothing can be said."""
        told = not self.sealed and write_to_client(self._scope.client, frame(code, reason))
        if self._unreadable:
            # What it still sends must be taken: a break on unread bytes would overtake our words.
            await discard(self._scope.client, _ECHO_S)
            drop_client(self._scope.client)
        elif told:
            await self._hear_out()

    async def _hear_out(self) -> None:
        """Wait a little for the client's own goodbye."""
        with suppress(ClientGone, UnreadableFrameError, TimeoutError):
            async with asyncio.timeout(_ECHO_S):
                while await self.receive() is not None:
                    pass

    async def leave(self) -> None:
        """Read no more, and let go: granian keeps the connection as long as anything holds it."""
        reading, self._next = self._next, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        # Whoever still holds this (the traceback of an error, for one) must not hold the client.
        del self._transport


def frame(code: int, reason: str) -> bytes:
    """A close frame as a server sends it; a code that may not be sent becomes an empty one."""
    if code in UNSENDABLE:
        return b"\x88\x00"
    told = code.to_bytes(2, "big") + shortened(reason).encode()
    return b"\x88" + bytes([len(told)]) + told


def shortened(reason: str) -> str:
    """As much of a reason as fits, cut between characters."""
    return reason.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore")
