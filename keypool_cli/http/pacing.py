"""No more for a client than it takes: an RSGI stream holds whatever it is given, however much.

Whether a client keeps up shows in its socket, which this process owns: one that takes no more
bytes has a full buffer, and a server that holds the rest.
"""

import asyncio
import socket

from keypool_cli.http.connection import socket_of

AHEAD = 1024 * 1024
"""Bytes given at a time; most answers are shorter, and never looked after."""


class Pace:
    """Holds up whoever sends to one client until that can take more; must be closed."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._left = AHEAD
        self._socket: socket.socket | None = None

    async def gave(self, size: int) -> None:
        """So many bytes were sent; returns when more may be."""
        self._left -= size
        if self._left > 0:
            return
        self._left = AHEAD
        if self._socket is None:
            self._socket = socket_of(self._client)
        if self._socket is not None:
            await _room(self._socket)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()


async def _room(sock: socket.socket) -> None:
    """Wait until there is room for more, or nobody there any more; who sends will find that out."""
    loop, found = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(sock, found.set)
    try:
        await found.wait()
    finally:
        loop.remove_writer(sock)
