"""A proxied call's body, as its client meant it: read, and unpacked where it came compressed.

Gzip and deflate are what Gemini's clients send; whoever sends another learns what to send.
"""

import asyncio
import zlib

from keypool_cli.daemon.leases import LARGEST_BODY
from keypool_cli.errors import UsageError
from keypool_cli.http.message import BodyTooLargeError, read_body
from keypool_cli.http.rsgi import Exchange, Headers
from keypool_cli.service.estimating import LONG

METHODS = frozenset({"POST", "PUT", "PATCH"})

READ = "gzip, deflate"
"""What a body may be compressed as, in the words of Accept-Encoding."""

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


async def read_plain(headers: Headers, proto: Exchange) -> bytes:
    """The whole body, unpacked. Raises UnreadableCodingError, UsageError, BodyTooLargeError."""
    packed = await read_body(headers, proto, limit=LARGEST_BODY)
    coding = (headers.get("content-encoding") or "identity").strip().lower()
    if coding in {"", "identity"}:
        return packed
    codings = headers.get_all("content-encoding")
    if len(codings) > 1 or coding not in _CODINGS:
        raise UnreadableCodingError(codings)
    if len(packed) < LONG:
        return unpacked(packed, coding)
    return await asyncio.to_thread(unpacked, packed, coding)


def unpacked(packed: bytes, coding: str) -> bytes:
    """A compressed body in clear. Raises UsageError, and BodyTooLargeError before it is held."""
    try:
        if coding != "deflate":
            return _inflated(packed, _GZIP)
        # The standard wraps it as zlib does; some clients do not wrap it at all.
        wrapped = len(packed) > 1 and packed[0] & 15 == 8 and (packed[0] << 8 | packed[1]) % 31 == 0
        return _inflated(packed, _ZLIB if wrapped else _RAW)
    except zlib.error as err:
        raise UsageError(f"the body is not what its content-encoding {coding!r} says") from err


def _inflated(packed: bytes, wrapping: int) -> bytes:
    reader = zlib.decompressobj(wrapping)
    plain = reader.decompress(packed, LARGEST_BODY + 1)
    if len(plain) > LARGEST_BODY:
        raise BodyTooLargeError(LARGEST_BODY)
    if not reader.eof or reader.unused_data:
        raise zlib.error("cut short, or more than one")
    return plain
