"""An upstream that does exactly what a test tells it, byte by byte, and notes what it was sent."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.support.running import PATIENCE_S

Play = Callable[["Line"], None]


class Line:
    """One connection: what came, and what goes back."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""
        self.body = b""

    def read_request(self) -> bool:
        """Read one request with a declared length; False when the caller has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.sock.recv(65536)
            if not part:
                return False
            data += part
        self.head, _, self.body = data.partition(b"\r\n\r\n")
        lengths = [
            int(each.split(b":")[1])
            for each in self.head.lower().split(b"\r\n")
            if each.startswith(b"content-length:")
        ]
        while lengths and len(self.body) < lengths[0]:
            part = self.sock.recv(65536)
            if not part:
                return False
            self.body += part
        return True

    def headers(self) -> list[tuple[str, str]]:
        """The request's headers, names in lower case."""
        pairs = [each.decode().partition(": ") for each in self.head.split(b"\r\n")[1:]]
        return [(name.lower(), value) for name, _, value in pairs]

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def answer(
        self, body: bytes, *, status: str = "200 OK", kind: str = "application/json"
    ) -> None:
        """A whole answer."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def begin(self, *, kind: str = "text/event-stream") -> None:
        """Begin a chunked answer."""
        self.send(
            f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )

    def chunk(self, data: bytes) -> None:
        """One chunk; an empty one ends the answer."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def hung_up(self, within_s: float = PATIENCE_S) -> bool:
        """Whether the caller breaks the connection soon."""
        self.sock.settimeout(within_s)
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


class RawUpstream:
    """Plays ``play`` on every connection, request after request."""

    def __init__(self) -> None:
        self.play: Play = lambda line: line.answer(b"{}")
        self.seen: list[Line] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            while True:
                line = Line(sock)
                if not line.read_request():
                    return
                self.seen.append(line)
                self.play(line)

    def close(self) -> None:
        """Accept no more."""
        self._server.close()


@contextmanager
def raw_upstream() -> Iterator[RawUpstream]:
    """A raw upstream on a port of the system's choice."""
    running = RawUpstream()
    try:
        yield running
    finally:
        running.close()
