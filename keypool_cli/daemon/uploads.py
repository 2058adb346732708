"""Uploads over HTTP: begun with a client's token, gone on with by the URL alone, streamed."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import msgspec

from keypool_cli.daemon.bodies import Bodies, StalledError
from keypool_cli.daemon.gemini_errors import mark
from keypool_cli.daemon.proxy_demand import Wanted
from keypool_cli.daemon.proxy_ordering import Asked, Ordering
from keypool_cli.daemon.proxy_relay import relay
from keypool_cli.daemon.proxy_request import token_of
from keypool_cli.daemon.resources import Noting
from keypool_cli.errors import NotPermittedError, UsageError
from keypool_cli.http.connection import has_hung_up
from keypool_cli.http.message import query_pairs
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.service.passage import Passage
from keypool_cli.service.proxying import Attempt, Order, Proxying, Ticketing
from keypool_cli.service.uploads import Session, Uploads
from keypool_cli.upstream.forward import Outgoing, UpstreamError
from keypool_cli.upstream.headers import to_upstream

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:]+\](?::\d{1,5})?")
_GOOGLE = ".googleapis.com"

_FAREWELL_S = 0.05
"""TLS says goodbye a moment before the connection ends."""


def upload_token(scope: Scope) -> str | None:
    """The token of an upload to go on with; None for a call that begins one."""
    return next((v for n, v in query_pairs(scope.query_string) if n == "upload_id"), None)


class UploadCalls:
    """Handlers of what lies below ``/upload``."""

    def __init__(
        self,
        ordering: Ordering,
        proxying: Proxying,
        tickets: Ticketing,
        uploads: Uploads,
        noting: Noting,
        bodies: Bodies,
    ) -> None:
        self._ordering = ordering
        self._proxying = proxying
        self._tickets = tickets
        self._uploads = uploads
        self._noting = noting
        self._bodies = bodies

    async def begin(self, asked: Asked, proto: Exchange) -> None:
        """Begin an upload, or pass on one that comes whole."""
        _refuse_older_protocol(asked.scope)
        if _only_begins(asked.scope):
            _, order = await self._ordering.order(asked, proto)
            try:
                await self._send(asked, order, proto)
            finally:
                self._ordering.let_go(order)
            return
        body = self._incoming(asked.scope, proto)
        order = await self._ordering.of(asked, Wanted("", 0), aiter(body))
        order = msgspec.structs.replace(order, headers=[*order.headers, *_length_of(asked.scope)])
        with body.blamed():
            await self._send(asked, order, proto)

    async def _send(self, asked: Asked, order: Order, proto: Exchange) -> None:
        attempt = await self._proxying.answer(order, self._tickets)
        try:
            await self._ordering.keep(order, attempt)
            headers = self._session_headers(attempt, order, asked.scope)
            await self._note(attempt.answer, attempt, order)
            await relay(attempt.answer, asked.scope, proto, marks=headers)
        finally:
            await attempt.close()

    async def go_on(self, token: str, scope: Scope, proto: Exchange) -> None:
        """One step of an upload: more of it, its end, or a question how far it has come."""
        session = await self._uploads.session(token)
        self._check(session, scope)
        headers = [*to_upstream(scope.headers.items()), *_length_of(scope)]
        body = self._incoming(scope, proto)
        proxy = self._uploads.way_out(session)
        outgoing = Outgoing(scope.method, session.url, headers, aiter(body), proxy)
        with body.blamed():
            passage = await self._uploads.send(outgoing)
        try:
            project = self._uploads.project(session)
            if project is not None and _is_final(passage):
                body_of = await passage.held()
                await self._noting.note_file(body_of, project, session.client_id or None)
            await relay(passage, scope, proto, marks=mark(project.name, None) if project else [])
        finally:
            await passage.close()

    def _incoming(self, scope: Scope, proto: Exchange) -> "_Incoming":
        return _Incoming(scope, self._bodies.parts(proto))

    def _check(self, session: Session, scope: Scope) -> None:
        """Raise NotPermittedError when the session's client is gone, or somebody else calls."""
        client = self._uploads.client(session)
        if session.client_id and (client is None or client.revoked_at_ms is not None):
            raise NotPermittedError("the client of this upload has been revoked")
        headers = scope.headers
        if token_of(scope, headers):
            caller = self._ordering.caller(scope, headers).client
            if caller is not None and caller.id != session.client_id:
                raise NotPermittedError("this upload belongs to another client")

    def _session_headers(self, attempt: Attempt, order: Order, scope: Scope) -> list[Header]:
        project = attempt.ticket.project
        headers = mark(project.name, None)
        url = attempt.answer.told("x-goog-upload-url")
        if attempt.told is None and url is not None:
            if not _is_upstreams(url, self._proxying.url):
                raise UpstreamError("upstream wants the upload to go somewhere else")
            token = self._uploads.token(url, project, order.pool, order.client)
            headers.append(("x-goog-upload-url", _own_url(scope, token)))
        return headers

    async def _note(self, passage: Passage, attempt: Attempt, order: Order) -> None:
        if attempt.told is None:
            client_id = order.client.id if order.client is not None else None
            await self._noting.note_file(await passage.held(), attempt.ticket.project, client_id)


def _refuse_older_protocol(scope: Scope) -> None:
    """Its answers carry the session's URL where nobody looks for it."""
    named = {(name, value.lower()) for name, value in query_pairs(scope.query_string)}
    if ("uploadType", "resumable") in named:
        raise UsageError(
            "uploadType=resumable is not forwarded",
            hint="send X-Goog-Upload-Protocol: resumable, as Google's clients do",
        )


def _only_begins(scope: Scope) -> bool:
    """Whether the body only describes what is to be uploaded."""
    return (scope.headers.get("x-goog-upload-command") or "").strip().lower() == "start"


def _is_final(passage: Passage) -> bool:
    is_good = passage.refusal is None and passage.status < 300
    return is_good and passage.told("x-goog-upload-status") == "final"


def _length(scope: Scope) -> int | None:
    """The length that the body announces; None for one in chunks, which end when they end."""
    said = scope.headers.get("content-length")
    if said is None and "transfer-encoding" in scope.headers:
        return None
    return int(said or 0)


def _length_of(scope: Scope) -> list[Header]:
    length = _length(scope)
    return [] if length is None else [("content-length", str(length))]


class _Incoming:
    """A body on its way upstream, in parts as they come.

    What breaks it off reaches the sender as ConnectionError, which breaks the upload.
    """

    def __init__(self, scope: Scope, parts: AsyncIterator[bytes]) -> None:
        self._client, self._length = scope.client, _length(scope)
        self._parts = parts
        self._stalled: StalledError | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The parts."""
        left = self._length or 0
        try:
            async for part in self._parts:
                left -= len(part)
                yield part
        except StalledError as err:
            self._stalled = err
            raise ConnectionError("the client sends nothing more") from None
        if left > 0 or (self._length is None and await self._is_cut()):
            raise ConnectionError("the client hung up")

    async def _is_cut(self) -> bool:
        """Whether a body in chunks, which end when they end, has lost its client by its end."""
        await asyncio.sleep(_FAREWELL_S)
        return has_hung_up(self._client)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What fails for want of the body is StalledError."""
        try:
            yield
        except UpstreamError:
            if self._stalled is not None:
                raise self._stalled from None
            raise


def _is_upstreams(url: str, upstream: str) -> bool:
    wanted, found = urlsplit(upstream), urlsplit(url)
    same = (found.scheme, found.netloc) == (wanted.scheme, wanted.netloc)
    google = (wanted.hostname or "").endswith(_GOOGLE) and (found.hostname or "").endswith(_GOOGLE)
    return same or (google and found.scheme == "https")


def _own_url(scope: Scope, token: str) -> str:
    """The way back to us, as the client sees us."""
    headers = scope.headers
    host = headers.get("x-forwarded-host") or headers.get("host") or ""
    kind = headers.get("x-forwarded-proto") or scope.scheme
    if not _HOST.fullmatch(host) or kind not in {"http", "https"}:
        host, kind = scope.server, scope.scheme
    path = quote(scope.path, safe="/:")
    return f"{kind}://{host}{path}?upload_id={token}&upload_protocol=resumable"
