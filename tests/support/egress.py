"""A small forward proxy: it notes what passes, and asks for a password where it has one.

Plain HTTP calls, one for each connection, and CONNECT.
"""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class EgressProxy:
    """A running proxy."""

    def __init__(self, credentials: str | None) -> None:
        self.targets: list[str] = []
        self.refused = 0
        self._wanted = base64.b64encode(credentials.encode()) if credentials else None
        self._server = socket.create_server(("127.0.0.1", 0))
        host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.url = f"http://{credentials}@{host}" if credentials else f"http://{host}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = sock.recv(65536)
                if not part:
                    return
                head += part
            if self._wanted is not None and self._wanted not in head:
                self.refused += 1
                sock.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
                )
                return
            method, target, version = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.targets.append(f"{method} {urlsplit(target).path}")
            if method == "CONNECT":
                _tunnel(sock, target)
                return
            self._pass(sock, head, target, f"{method} {_path(target)} {version}".encode())

    def _pass(self, sock: socket.socket, head: bytes, target: str, line: bytes) -> None:
        parts = urlsplit(target)
        with socket.create_connection((parts.hostname, parts.port)) as upstream:
            rest = head.split(b"\r\n", 1)[1].replace(
                b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1
            )
            upstream.sendall(line + b"\r\n" + rest)
            back = threading.Thread(target=_pump, args=(upstream, sock), daemon=True)
            back.start()
            _pump(sock, upstream)
            back.join(30)

    def close(self) -> None:
        """Accept no more."""
        self._server.close()


def _path(target: str) -> str:
    parts = urlsplit(target)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _tunnel(sock: socket.socket, target: str) -> None:
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port))) as upstream:
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_pump, args=(upstream, sock), daemon=True)
        back.start()
        _pump(sock, upstream)
        back.join(30)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def egress_proxy(credentials: str | None = None) -> Iterator[EgressProxy]:
    """A forward proxy on a port of the system's choice; credentials: ``user:password``."""
    running = EgressProxy(credentials)
    try:
        yield running
    finally:
        running.close()
