"""The streaming forwarder: one HTTP call upstream, and its answer in parts as they come."""

from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from keypool_cli.errors import UnreachableError

Header = tuple[str, str]


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


@dataclass(frozen=True, slots=True, repr=False)
class Outgoing:
    """A call as it goes upstream. proxy: the egress proxy's URL; None goes straight there.

    headers hold the credential, so this has no repr. body: None where there is none.
    """

    method: str
    url: str
    headers: Sequence[Header]
    body: bytes | AsyncIterable[bytes] | None = None
    proxy: str | None = None


class Answer:
    """An answer whose body is still arriving; whoever has it must close it."""

    def __init__(self, request: StreamRequest, response: Response) -> None:
        self.status = response.status
        self.headers: list[Header] = list(response.headers.items())
        self._request = request
        self._reader = response.body_reader
        self._open = True

    async def chunk(self) -> bytes | None:
        """The next part, as upstream sent it; None at the end. Raises UpstreamError."""
        try:
            part = await self._reader.read_chunk()
        except PyreqwestError as err:
            raise _ours(err, "upstream's answer broke off") from None
        return None if part is None else part.to_bytes()

    async def close(self) -> None:
        """Let go of the connection; breaks it where the answer has not ended. May be repeated."""
        if self._open:
            self._open = False
            with suppress(PyreqwestError):
                await self._request.__aexit__(None, None, None)


class Forwarder:
    """Keeps connections to upstream, apart for each egress proxy."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._clients: dict[str | None, Client] = {}

    async def send(self, outgoing: Outgoing) -> Answer:
        """Send a call; returns when the answer's head has arrived. Raises UpstreamError."""
        request = _request(self._client(outgoing.proxy), outgoing)
        try:
            response = await request.__aenter__()
        except PyreqwestError as err:
            # Not chained: what the client library says may hold the URL.
            raise _ours(err, "upstream did not answer") from None
        return Answer(request, response)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    def _client(self, proxy: str | None) -> Client:
        client = self._clients.get(proxy)
        if client is None:
            client = self._clients[proxy] = _client(self._patience, proxy)
        return client


def _client(patience: Patience, proxy: str | None) -> Client:
    """Build a client that changes nothing of a call: no redirects, cookies or decompression.

    HTTP/1.1: every call has a connection to itself, so that breaking one hurts no other.
    """
    builder = (
        ClientBuilder()
        .no_proxy()
        .follow_redirects(enable=False)
        .referer(enable=False)
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .connect_timeout(timedelta(seconds=patience.connect_s))
        .read_timeout(timedelta(seconds=patience.read_s))
        .pool_idle_timeout(timedelta(seconds=patience.idle_s))
    )
    if proxy is not None:
        builder = builder.proxy(ProxyBuilder.all(proxy))
    return builder.build()


def _request(client: Client, outgoing: Outgoing) -> StreamRequest:
    builder = client.request(outgoing.method, outgoing.url).headers(outgoing.headers)
    if isinstance(outgoing.body, bytes):
        builder = builder.body_bytes(outgoing.body)
    elif outgoing.body is not None:
        builder = builder.body_stream(outgoing.body)
    # Any read-ahead would hold back parts of a stream until the buffer is full.
    return builder.streamed_read_buffer_limit(0).build_streamed()


def _ours(err: PyreqwestError, message: str) -> UpstreamError:
    if isinstance(err, TimeoutError):
        return UpstreamError(f"{message} in time", timed_out=True)
    return UpstreamError(message)
