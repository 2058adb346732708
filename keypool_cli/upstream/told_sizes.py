"""How large upstream says that something is which it keeps.

Fields: File, CachedContent and Interaction in the types of google-genai 3.4.
"""

import re
from typing import Final

import msgspec

from keypool_cli.core.known_sizes import UNTOLD, Size
from keypool_cli.core.usage import is_count

_MOST: Final = 10**12
_LONGEST_TYPE: Final = 200
_DURATION: Final = re.compile(r"(\d{1,7}(?:\.\d{1,9})?)s")


class _Usage(msgspec.Struct):
    totalTokenCount: int | None = None  # noqa: N815 - upstream's own spelling
    total_tokens: int | None = None


class _Video(msgspec.Struct):
    videoDuration: str | None = None  # noqa: N815


class _Told(msgspec.Struct):
    file: "_Told | None" = None
    usageMetadata: _Usage | None = None  # noqa: N815
    usage: _Usage | None = None
    mimeType: str = ""  # noqa: N815
    sizeBytes: int | None = None  # noqa: N815
    videoMetadata: _Video = msgspec.field(default_factory=_Video)  # noqa: N815


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_told = msgspec.json.Decoder(_Told, strict=False)


def size_in(answer: bytes) -> Size:
    """The size of what an answer describes, of a file, a cache or an interaction; else UNTOLD."""
    try:
        told = _told.decode(answer)
    except _UNREADABLE:
        return UNTOLD
    told = told.file or told
    usage = told.usageMetadata or told.usage or _Usage()
    tokens = usage.totalTokenCount or usage.total_tokens
    size, seconds = told.sizeBytes, _DURATION.fullmatch(told.videoMetadata.videoDuration or "")
    return Size(
        tokens=tokens if is_count(tokens) else None,
        mime_type=told.mimeType[:_LONGEST_TYPE] or None,
        size_bytes=size if size is not None and 0 <= size <= _MOST else None,
        seconds=float(seconds[1]) if seconds else None,
    )
