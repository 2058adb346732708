"""Where a server listens, and the socket it listens on."""

import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from keypool_cli.errors import ConflictError, KeypoolError, UsageError
from keypool_cli.http.tls import Tls

_LAST_PORT = 65_535

BACKLOG = 1024
"""Connections the kernel holds until they are accepted."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP host and port, or a unix socket when ``uds`` is set.

    port: 0 lets the system choose. reuse_port: several processes may listen on the same port,
    and the kernel spreads connections over them (Linux). tls: None speaks in clear.
    """

    host: str = "127.0.0.1"
    port: int = 0
    uds: Path | None = None
    reuse_port: bool = False
    tls: Tls | None = None

    @property
    def url(self) -> str:
        """The base URL of a server that listens here, without a trailing slash."""
        if self.uds is not None:
            return f"http+unix://{self.uds}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.tls is not None else "http"
        return f"{scheme}://{host}:{self.port}"


def listen(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket, and the address with the port the system chose.

    Raises ConflictError when something else listens there, UsageError for a host or path that
    cannot be listened on.
    """
    if not 0 <= address.port <= _LAST_PORT:
        raise UsageError(
            f"{address.port} is no port", hint=f"a port is a number from 0 to {_LAST_PORT}"
        )
    try:
        if address.uds is not None:
            return _listen_unix(address.uds), address
        sock = _listen_tcp(address)
    except OSError as err:
        raise _refused(address, err) from err
    return sock, replace(address, port=sock.getsockname()[1])


def _listen_tcp(address: Address) -> socket.socket:
    family, kind, proto, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. Without it the second of two small parts waits some 40 ms
    # for the client to acknowledge the first, in streams and WebSockets alike.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _bound(sock, where)


def _listen_unix(path: Path) -> socket.socket:
    if _is_stale(path):
        path.unlink()
    sock = _bound(socket.socket(socket.AF_UNIX), os.fspath(path))
    path.chmod(0o600)
    return sock


def _bound(sock: socket.socket, where: object) -> socket.socket:
    try:
        sock.bind(where)  # type: ignore[arg-type]  # typeshed knows no union of addresses
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)  # noqa: FBT003 - its only form
    return sock


def _is_stale(path: Path) -> bool:
    """Whether a socket file is left over from a server that is gone."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(FileNotFoundError):
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return path.is_socket()
    return False


def _refused(address: Address, err: OSError) -> KeypoolError:
    where = address.uds if address.uds is not None else f"{address.host}:{address.port}"
    what = f"cannot listen on {where}: {err.strerror}"
    if err.errno == errno.EADDRINUSE:
        return ConflictError(what, hint="another server listens there; choose another port")
    return UsageError(what, hint="name a host of this machine and a port you may use")
