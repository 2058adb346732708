"""One line for each call: who, what, how it ended, how long it took; never a query or a header."""

import re
import sys
from enum import StrEnum
from time import perf_counter, time_ns
from typing import cast

import msgspec

from keypool_cli.errors import UsageError
from keypool_cli.http.rsgi import App, Exchange, Header, Scope, Stream
from keypool_cli.http.websocket import Handshake

_ID = re.compile(r"(/leases/)[^/]{8,}")
"""A lease's id lets its client settle it: the log shows that there was one."""


class LogForm(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


def log_form(text: str) -> LogForm:
    """The form of this name. Raises UsageError."""
    try:
        return LogForm(text)
    except ValueError:
        raise UsageError("the access log is text or json") from None


class Line(msgspec.Struct, frozen=True):
    """One call. status: 101 for a WebSocket, unless it was refused; 0 where no answer was begun.

    ms: until its end.
    """

    at_ms: int
    client: str
    method: str
    path: str
    status: int
    ms: float


class _Noting:
    """An exchange that remembers the status it was answered with."""

    __slots__ = ("_inner", "client_disconnect", "status")

    def __init__(self, inner: Exchange) -> None:
        self._inner = inner
        self.status = 0
        self.client_disconnect = inner.client_disconnect

    def __call__(self) -> object:
        return self._inner()

    def __aiter__(self) -> object:
        return self._inner.__aiter__()

    def response_empty(self, status: int, headers: list[Header]) -> None:
        self.status = status
        self._inner.response_empty(status, headers)

    def response_bytes(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status = status
        self._inner.response_bytes(status, headers, body)

    def response_stream(self, status: int, headers: list[Header]) -> Stream:
        self.status = status
        return self._inner.response_stream(status, headers)


class _NotingHandshake:
    """A handshake that remembers how it was answered."""

    __slots__ = ("_inner", "accept", "status")

    def __init__(self, inner: Handshake) -> None:
        self._inner = inner
        self.accept = inner.accept
        self.status = 101

    def close(self, status: int | None) -> None:
        self.status = status or self.status
        self._inner.close(status)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def logged(app: App, form: LogForm) -> App:
    """The same application, with a line written at the end of each call."""
    shown = _as_json if form is LogForm.JSON else _as_text

    async def logging_app(scope: Scope, exchange: Exchange) -> None:
        begun, at_ms = perf_counter(), time_ns() // 1_000_000
        noting: _Noting | _NotingHandshake
        if scope.proto == "ws":
            noting = _NotingHandshake(cast(Handshake, exchange))
        else:
            noting = _Noting(exchange)
        try:
            await app(scope, cast(Exchange, noting))
        finally:
            spent_ms = round((perf_counter() - begun) * 1000, 3)
            path = _shown_path(scope.path)
            noted = Line(at_ms, scope.client, scope.method, path, noting.status, spent_ms)
            _to_stderr(shown(noted))

    return logging_app


def _shown_path(path: str) -> str:
    """The path on one line, without what could be used again."""
    clean = "".join(each if each.isprintable() else "?" for each in path)
    return _ID.sub(r"\1…", clean)


def _as_json(line: Line) -> str:
    return msgspec.json.encode(line).decode()


def _as_text(line: Line) -> str:
    return f"{line.client} {line.method} {line.path} {line.status} {line.ms:g} ms"
