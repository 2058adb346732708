"""Pass an upstream answer on: small ones whole, all others part by part as they come."""

from collections.abc import Sequence
from typing import Protocol

from keypool_cli.http.connection import drop_client
from keypool_cli.http.pacing import Pace
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.service.passage import WholePassage
from keypool_cli.upstream.forward import UpstreamError

SMALL = 1024 * 1024
"""Bytes of a declared length that are held, so that an answer broken off can still be refused."""


class Relayed(Protocol):
    """An answer on its way; see :class:`keypool_cli.service.passage.StreamedPassage`."""

    status: int
    headers: list[Header]
    length: int | None
    refusal: bytes | None

    async def part(self) -> bytes | None:
        """The next part; None at the end. Raises UpstreamError."""
        ...


async def relay(
    passage: WholePassage | Relayed, scope: Scope, proto: Exchange, *, marks: Sequence[Header]
) -> None:
    """Answer the client. Raises UpstreamError when nothing has been sent yet, else ClientGone.

    An answer that breaks off breaks the client's connection too: it must not look complete.
    """
    headers = [*passage.headers, *marks]
    if passage.refusal is not None:
        proto.response_bytes(passage.status, headers, passage.refusal)
    elif isinstance(passage, WholePassage):
        proto.response_bytes(passage.status, headers, passage.body)
    elif passage.length is not None and passage.length <= SMALL:
        proto.response_bytes(passage.status, headers, await _whole(passage))
    else:
        await _stream(passage, scope, proto, headers)


async def _whole(passage: Relayed) -> bytes:
    parts = []
    while (part := await passage.part()) is not None:
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _stream(passage: Relayed, scope: Scope, proto: Exchange, headers: list[Header]) -> None:
    stream, pace = proto.response_stream(passage.status, headers), Pace(scope.client)
    try:
        while (part := await passage.part()) is not None:
            await stream.send_bytes(part)
            await pace.gave(len(part))
    except UpstreamError:
        drop_client(scope.client)
    finally:
        pace.close()
