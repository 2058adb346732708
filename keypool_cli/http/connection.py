"""Reach below RSGI to a client's connection: break it, write to it, or see whether it ended.

RSGI ends a chunked answer properly even when the application fails in the middle of it, and
gives no handle on the connection; an answer cut short must never look complete. The process does
own its sockets, so it shuts them down.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK

_DESCRIPTORS = Path("/dev/fd")

_CHUNK = 1024 * 1024

_PAUSE_S = 0.3

_numbers: dict[str, int] = {}
"""Descriptors by who was connected to them when all were last looked at: only hints, for a number
may have been used again. Looking at all for each client would take a second for a few hundred."""


def drop_client(client: str) -> bool:
    """Break the TCP connection of ``scope.client``; False when there is none (any more)."""
    if (sock := socket_of(client)) is None:
        return False
    with sock, suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    return True


def stop_reading(client: str) -> None:
    """Let what ``scope.client`` still owes of its body never come: answered, its connection ends.

    Whoever waited for that body may be let go of only at the server's next call, which may be late.
    """
    if (sock := socket_of(client)) is not None:
        with sock, suppress(OSError):
            sock.shutdown(socket.SHUT_RD)


def socket_of(client: str) -> socket.socket | None:
    """Our own handle on the socket of ``scope.client``; None where there is none (any more).

    Whoever has it must close it: the connection lasts as long.
    """
    sock = _at(_numbers.get(client), client)
    if sock is None:
        _numbers.clear()
        _numbers.update(_connected())
        sock = _at(_numbers.get(client), client)
    return sock


def _at(number: int | None, client: str) -> socket.socket | None:
    """Our own handle on the socket of this number, if it is this client's."""
    if number is not None:
        with suppress(OSError):
            sock = _own_socket(number)
            if _peer(sock) == client:
                return sock
            sock.close()
    return None


def _connected() -> Iterator[tuple[str, int]]:
    for number, sock in _own_sockets():
        with sock:
            if peer := _peer(sock):
                yield peer, number


def write_to_client(client: str, data: bytes) -> bool:
    """Write raw bytes to ``scope.client`` behind what was sent; False when it cannot be done now."""
    if (sock := socket_of(client)) is None:
        return False
    with sock, suppress(OSError):
        # Never blocks: the descriptor is shared with the server, which made it so.
        return sock.send(data) == len(data)
    return False


async def discard(client: str, longest_s: float) -> None:
    """Take what ``scope.client`` sends until it pauses, at most so long.

    Nobody else may be reading.
    """
    if (sock := socket_of(client)) is None:
        return
    loop = asyncio.get_running_loop()
    with sock, suppress(OSError, TimeoutError):
        async with asyncio.timeout(longest_s):
            while await asyncio.wait_for(loop.sock_recv(sock, _CHUNK), _PAUSE_S):
                pass


def has_hung_up(client: str) -> bool:
    """Whether ``scope.client`` sends nothing more: it said so, or its connection is gone.

    RSGI ends a chunked request alike when its last chunk has come and when its connection broke.
    """
    if (sock := socket_of(client)) is None:
        return True
    with sock:
        return _has_ended(sock)


def _has_ended(sock: socket.socket) -> bool:
    """Looks, and leaves what is there to the server."""
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def drop_clients_of(server: object) -> int:
    """Break every connection accepted on ``server``, a socket's own name; how many there were."""
    dropped = 0
    for _, sock in _own_sockets():
        # A descriptor that is no connected socket, or is gone by now, has no peer.
        with sock, suppress(OSError):
            sock.getpeername()
            if sock.getsockname() == server:
                sock.shutdown(socket.SHUT_RDWR)
                dropped += 1
    return dropped


def _own_sockets() -> Iterator[tuple[int, socket.socket]]:
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names only, no paths
        with suppress(OSError):
            yield int(name), _own_socket(int(name))


def _own_socket(number: int) -> socket.socket:
    """Our own handle on a socket. Raises OSError for what is none (any more)."""
    # Files must not even be duplicated: closing the copy would let go of every lock this process
    # has on them (POSIX), and SQLite's readers would go blind.
    if not S_ISSOCK(os.fstat(number).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    # Duplicated: the number may be closed and used again while it is looked at.
    descriptor = os.dup(number)
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise


def _peer(sock: socket.socket) -> str:
    """Who is connected, as RSGI writes it; empty where nobody is."""
    try:
        return _text(sock.getpeername())
    except OSError:
        return ""


def _text(name: object) -> str:
    """A socket's name as RSGI writes it: ``host:port``, IPv6 hosts in brackets."""
    match name:
        case (str(host), int(port)):
            return f"{host}:{port}"
        case (str(host), int(port), _, _):
            return f"[{host}]:{port}"
        case _:
            return ""
