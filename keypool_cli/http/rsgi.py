"""What an RSGI application is given, as far as ours use it.

Source: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md (version 1.6).
granian ships these as untyped re-exports of its Rust module.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from granian.rsgi import ProtocolClosed as ClientGone  # type: ignore[attr-defined]  # a re-export

__all__ = ["App", "ClientGone", "Exchange", "Header", "Headers", "Scope", "Stream"]

Header = tuple[str, str]


class Headers(Protocol):
    """The request's headers; names in lower case."""

    def __contains__(self, name: str) -> bool:
        """Whether the header was sent."""
        ...

    def items(self) -> list[Header]:
        """All of them, repeated ones repeated."""
        ...

    def get_all(self, name: str) -> list[str]:
        """Every value sent under one name."""
        ...

    def get(self, name: str, default: str | None = None) -> str | None:
        """One value, or the default."""
        ...


class Scope(Protocol):
    """One request, without its body.

    proto: ``http`` or ``ws``. path: percent-decoded; query_string: as sent, without the ``?``.
    client, server: ``host:port``.
    """

    proto: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        ...


class Stream(Protocol):
    """An answer sent in parts; it ends when the application returns.

    Both raise ``ClientGone`` once the client has.
    """

    def send_bytes(self, data: bytes) -> Awaitable[None]:
        """Send one part."""
        ...

    def send_str(self, data: str) -> Awaitable[None]:
        """Send one part."""
        ...


class Exchange(Protocol):
    """Reads the request's body and answers it, once. granian calls it the protocol object."""

    def __call__(self) -> Awaitable[bytes]:
        """The whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in parts, as they come."""
        ...

    def client_disconnect(self) -> Awaitable[None]:
        """Wait until the client has gone."""
        ...

    def response_empty(self, status: int, headers: list[Header]) -> None:
        """Answer without a body."""
        ...

    def response_bytes(self, status: int, headers: list[Header], body: bytes) -> None:
        """Answer with a body."""
        ...

    def response_stream(self, status: int, headers: list[Header]) -> Stream:
        """Begin an answer sent in parts."""
        ...


App = Callable[[Scope, Exchange], Awaitable[None]]
"""An RSGI application: one call per request, answered through the exchange."""
