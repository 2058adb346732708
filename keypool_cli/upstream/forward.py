"""The streaming forwarder: one HTTP call upstream, and its answer in parts as they come."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

import msgspec
from pyqwest import (
    Client,
    FullResponse,
    Headers,
    HTTPTransport,
    HTTPVersion,
    ReadError,
    RemoteProtocolError,
    Request,
    Response,
    WriteError,
)

from keypool_cli.errors import UnreachableError

Header = tuple[str, str]

_BROKEN = (ConnectionError, TimeoutError, ReadError, WriteError, RemoteProtocolError)

_MOST_IDLE = 256
"""Connections kept for the next call."""


class UpstreamError(UnreachableError):
    """No answer came, or it broke off. timed_out: because it took too long."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message, hint="try again; if it persists, see: keypool doctor")
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each phase of a call may take, in seconds.

    read_s: until the answer begins, and between two parts of it. A model may think for minutes
    before its first word, so only a connection that is surely dead is given up.
    """

    connect_s: float = 10.0
    read_s: float = 900.0
    idle_s: float = 60.0


class Outgoing(msgspec.Struct, frozen=True):
    """A call as it goes upstream. proxy: the egress proxy's URL; None goes as the machine does.

    headers hold the credential, which the repr does not show. body: None where there is none. whole: the
    answer is read to its end before any of it is given; twice as fast for small ones.
    """

    method: str
    url: str
    headers: Sequence[Header]
    body: bytes | AsyncIterator[bytes] | None = None
    proxy: str | None = None
    whole: bool = False

    def __repr__(self) -> str:
        """Tell nothing of the credential."""
        return f"Outgoing({self.method} …)"


class WholeAnswer:
    """An answer that has arrived; it can be read as one in parts."""

    __slots__ = ("_unread", "body", "headers", "status")

    def __init__(self, response: FullResponse) -> None:
        self.status = response.status
        self.headers: list[Header] = list(response.headers.items())
        self.body = response.content
        self._unread: bytes | None = self.body

    async def chunk(self) -> bytes | None:
        """The whole body, once."""
        body, self._unread = self._unread, None
        return body

    async def close(self) -> None:
        """Nothing is held."""


class StreamedAnswer:
    """An answer whose body is still arriving; whoever has it must close it."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers: list[Header] = list(response.headers.items())
        self._response = response
        self._parts = aiter(response.content)

    async def chunk(self) -> bytes | None:
        """The next part, as upstream sent it; None at the end. Raises UpstreamError."""
        try:
            return bytes(await anext(self._parts))
        except StopAsyncIteration:
            return None
        except _BROKEN as err:
            raise _ours(err, "upstream's answer broke off") from None

    async def close(self) -> None:
        """Let go of the connection; breaks it where the answer has not ended. May be repeated."""
        await self._response.aclose()


Answer = WholeAnswer | StreamedAnswer


class _Way(NamedTuple):
    """Connections through one egress proxy. whole: a call whose answer is read to its end."""

    transport: HTTPTransport
    whole: Callable[..., Coroutine[None, None, FullResponse]]


class Forwarder:
    """Keeps connections to upstream, apart for each egress proxy."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._ways: dict[str | None, _Way] = {}

    async def send(self, outgoing: Outgoing) -> Answer:
        """Send a call; returns when the answer's head has arrived, or all of it if so wanted.

        Raises UpstreamError. Cancelling it breaks the connection.
        """
        way = self._ways.get(outgoing.proxy) or self._way(outgoing.proxy)
        headers = Headers(outgoing.headers)
        try:
            if outgoing.whole:
                answer = await way.whole(outgoing.method, outgoing.url, headers, outgoing.body)
                return WholeAnswer(answer)
            request = Request(outgoing.method, outgoing.url, headers, outgoing.body)
            return StreamedAnswer(await way.transport.execute(request))
        except _BROKEN as err:
            # Not chained: what the client library says may hold the URL.
            raise _ours(err, "upstream did not answer") from None

    async def close(self) -> None:
        """Close every connection."""
        for way in self._ways.values():
            await way.transport.aclose()
        self._ways.clear()

    def _way(self, proxy: str | None) -> "_Way":
        transport = _transport(self._patience, proxy)
        way = self._ways[proxy] = _Way(transport, Client(transport).execute)
        return way


def start_client() -> None:
    """Start the client library's threads, which are scheduled as the one that starts them is.

    And tell it that this thread runs asyncio: else it asks at each call, and takes 2 us for it.
    """
    HTTPTransport(use_system_dns=False)  # its own resolver cannot do without them
    with suppress(ModuleNotFoundError):  # then it does not ask
        import_module("sniffio").thread_local.name = "asyncio"


def _transport(patience: Patience, proxy: str | None) -> HTTPTransport:
    """Build a transport that changes nothing of a call: no redirects, cookies, decompression.

    HTTP/1.1: every call has a connection to itself, so that breaking one hurts no other.
    """
    return HTTPTransport(
        tls_include_system_certs=True,
        http_version=HTTPVersion.HTTP1,
        proxy=proxy,
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        pool_idle_timeout=patience.idle_s,
        pool_max_idle_per_host=_MOST_IDLE,
        enable_gzip=False,
        enable_brotli=False,
        enable_zstd=False,
        use_system_dns=True,
        follow_redirects=False,
        enable_otel=False,
    )


def _ours(err: Exception, message: str) -> UpstreamError:
    if isinstance(err, TimeoutError):
        return UpstreamError(f"{message} in time", timed_out=True)
    return UpstreamError(message)
