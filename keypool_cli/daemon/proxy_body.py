"""A proxied call's body, as its client meant it: unpacked where it came compressed.

Gzip and deflate are what Gemini's clients send; whoever sends another learns what to send.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from keypool_cli.core.model import Client
from keypool_cli.daemon.bodies import Bodies
from keypool_cli.errors import UsageError
from keypool_cli.http.message import Arrived
from keypool_cli.http.rsgi import Exchange
from keypool_cli.service.estimating import LONG

METHODS = frozenset({"POST", "PUT", "PATCH"})

READ = "gzip, deflate"
"""What a body may be compressed as, in the words of Accept-Encoding."""

PIECE: Final = 256 * 1024
"""Bytes that are unpacked at a time: a short body may hold a thousand times its size."""

_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP, _ZLIB, _RAW = 31, 15, -15
"""What zlib calls the three wrappings of one compression."""


class UnreadableCodingError(UsageError):
    """The body is compressed in a way that is not read here."""

    def __init__(self, codings: list[str]) -> None:
        super().__init__(
            f"a body with Content-Encoding {', '.join(codings)!r} is not read",
            hint="send it plain, or as one of: gzip, deflate",
        )


async def read_plain(
    bodies: Bodies, arrived: Arrived, proto: Exchange, client: Client | None
) -> bytes:
    """The whole body, unpacked. Raises UnreadableCodingError, UsageError, and what reading does."""
    headers, body, arrived.body = arrived.headers, arrived.body, None
    coding = headers.get("content-encoding")
    if coding is None or (coding := coding.strip().lower()) in {"", "identity"}:
        return await bodies.read(headers, proto, client) if body is None else body
    codings = headers.get_all("content-encoding")
    if len(codings) > 1 or coding not in _CODINGS:
        raise UnreadableCodingError(codings)

    def unpack(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return unpacked(parts if body is None else _only(body), coding)

    return await bodies.read(headers, proto, client, unpack=unpack)


async def _only(part: bytes) -> AsyncIterator[bytes]:
    yield part


async def unpacked(packed: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """A compressed body in clear, in pieces. Raises UsageError."""
    begun, reader, size = b"", None, 0
    try:
        async for part in packed:
            begun += part
            if reader is None:
                if len(begun) < 2:
                    continue
                reader = zlib.decompressobj(_wrapping(begun, coding))
            while begun:
                work = partial(reader.decompress, begun, PIECE)
                piece = work() if size < LONG else await asyncio.to_thread(work)
                begun, size = reader.unconsumed_tail, size + len(piece)
                yield piece
    except zlib.error as err:
        raise _misnamed(coding) from err
    if reader is None or not reader.eof or reader.unused_data:
        raise _misnamed(coding)  # cut short, or more than one


def _misnamed(coding: str) -> UsageError:
    return UsageError(f"the body is not what its content-encoding {coding!r} says")


def _wrapping(begun: bytes, coding: str) -> int:
    """How what begins so is wrapped; deflate as zlib does, but some clients do not wrap it at all."""
    if coding != "deflate":
        return _GZIP
    return _ZLIB if begun[0] & 15 == 8 and (begun[0] << 8 | begun[1]) % 31 == 0 else _RAW
