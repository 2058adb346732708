"""One upstream answer on its way to the client, and what it tells about its cost at the end."""

from collections.abc import Mapping

import msgspec

from keypool_cli.core.model import Secret
from keypool_cli.core.redact import REDACTED, redact_body
from keypool_cli.core.redact_parts import PartsRedactor
from keypool_cli.upstream.forward import Answer, Header, StreamedAnswer, UpstreamError, WholeAnswer
from keypool_cli.upstream.headers import to_client
from keypool_cli.upstream.tail import (
    KEPT,
    Tail,
    begins_with_error,
    error_in,
    may_become_error,
    usage_in,
)

LARGEST_REFUSAL = 1024 * 1024
"""Bytes of an error's body that are passed on."""

LARGEST_HELD = 64 * 1024 * 1024
"""Bytes of an answer that are read before any of it is passed on, where it tells of new names."""


class Ending(msgspec.Struct, frozen=True):
    """What the end of a good answer told: the usage, and the error that ended it, if any."""

    usage: Mapping[str, object] | None
    error: object


class WholePassage:
    """An answer that has arrived. refusal: the body where upstream says no, also inside a 2xx."""

    def __init__(self, answer: WholeAnswer, secret: Secret | None) -> None:
        self.status = _checked(answer.status)
        self.headers = _without(secret, to_client(answer.headers))
        self.body = body = _hidden(secret, answer.body)
        self.length = len(body)
        self.refusal: bytes | None = None
        if self.status >= 400:
            self.refusal = _refusal(secret, body[:LARGEST_REFUSAL])
        elif begins_with_error(body):
            self.refusal = _refusal(secret, body[:KEPT])
        self._raw = answer.headers

    async def held(self) -> bytes:
        """All of it."""
        return self.body

    def told(self, name: str) -> str | None:
        """One of upstream's own headers, which clients may not see; name in lower case."""
        return _told(self._raw, name)

    def ending(self) -> Ending:
        """What it tells."""
        return _ending(self.body[-KEPT:])

    async def close(self) -> None:
        """Nothing is held."""


class StreamedPassage:
    """An answer on its way: its body comes in parts; whoever has it must close it.

    refusal: the whole body where upstream says no, also inside a 2xx; else None.
    """

    def __init__(self, answer: StreamedAnswer, secret: Secret | None) -> None:
        self.status = _checked(answer.status)
        self.headers = _without(secret, to_client(answer.headers))
        self.length = _length(answer.headers)
        self.refusal: bytes | None = None
        self._answer = answer
        self._raw = answer.headers
        self._secret = secret
        self._redactor = PartsRedactor(secret.text.encode()) if secret is not None else None
        self._first: bytes | None = None
        self._tail = Tail()

    async def begin(self) -> None:
        """Read as much as tells whether upstream says no. Raises UpstreamError."""
        if self.status >= 400:
            self.refusal = await self._rest(b"", LARGEST_REFUSAL)
            return
        first = await self._read() or b""
        while may_become_error(first) and (part := await self._read()) is not None:
            first += part
        if begins_with_error(first):
            self.refusal = await self._rest(first, KEPT)
        self._first = first

    async def part(self) -> bytes | None:
        """The next part of a good answer; None at its end. Raises UpstreamError."""
        part, self._first = self._first, None
        if part is None:
            part = await self._read()
        if part is not None:
            self._tail.add(part)
        return part or None

    async def held(self) -> bytes:
        """The whole of a good answer, which is still to be passed on. Raises UpstreamError.

        Of a very large one its beginning; the rest comes in parts as it would have.
        """
        body = bytearray(self._first or b"")
        while len(body) < LARGEST_HELD and (part := await self._read()) is not None:
            body += part
        self._first = bytes(body)
        return self._first

    def told(self, name: str) -> str | None:
        """One of upstream's own headers, which clients may not see; name in lower case."""
        return _told(self._raw, name)

    def ending(self) -> Ending:
        """What the parts that have passed tell."""
        return _ending(self._tail.kept())

    async def close(self) -> None:
        """Let go of upstream; breaks the connection where the answer has not ended."""
        await self._answer.close()

    async def _read(self) -> bytes | None:
        """The next part without the key: upstream's own words may repeat it, wherever cut."""
        if self._redactor is None:
            return await self._answer.chunk()
        while (part := await self._answer.chunk()) is not None:
            if shown := self._redactor.part(part):
                return shown
        return self._redactor.rest() or None

    async def _rest(self, first: bytes, limit: int) -> bytes:
        body = bytearray(first)
        while len(body) < limit and (part := await self._read()) is not None:
            body += part
        await self._answer.close()
        return _refusal(self._secret, bytes(body[:limit]))


Passage = WholePassage | StreamedPassage
"""An answer: its status and headers, and its body, whole or in parts."""


async def opened(answer: Answer, secret: Secret | None) -> Passage:
    """An answer's passage, once so much is read as tells whether upstream says no.

    Raises UpstreamError.
    """
    if isinstance(answer, WholeAnswer):
        return WholePassage(answer, secret)
    try:
        passage = StreamedPassage(answer, secret)
        await passage.begin()
    except BaseException:
        await answer.close()
        raise
    return passage


def _checked(status: int) -> int:
    if not 200 <= status < 600:  # 101 would make the client's connection something else
        raise UpstreamError("upstream answered what is no answer")
    return status


def _told(headers: list[Header], name: str) -> str | None:
    return next((value for each, value in headers if each.lower() == name), None)


def _ending(tail: bytes) -> Ending:
    text = tail.decode(errors="replace")
    return Ending(usage_in(text), error_in(text))


def _hidden(secret: Secret | None, body: bytes) -> bytes:
    """A body without the key, which upstream's own words may repeat."""
    return body.replace(secret.text.encode(), REDACTED.encode()) if secret is not None else body


def _refusal(secret: Secret | None, body: bytes) -> bytes:
    """The same of an error, which is where upstream repeats it: however it is written."""
    return redact_body(body, secret.text) if secret is not None else body


def _without(secret: Secret | None, headers: list[Header]) -> list[Header]:
    if secret is None or secret.text not in "\n".join([value for _, value in headers]):
        return headers
    return [(name, value.replace(secret.text, REDACTED)) for name, value in headers]


def _length(headers: list[Header]) -> int | None:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    return int(lengths[0]) if len(lengths) == 1 and lengths[0].isdecimal() else None
