"""Tokens of images, audio, video and documents, by the published rules of each model generation.

Sources: ai.google.dev/gemini-api/docs/tokens (tiles, 263 video and 32 audio tokens a second, 258
a PDF page), …/docs/image-understanding (a rough formula for tiles) and …/docs/media-resolution
(Gemini 3 sizes), read 2026-11-22.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Final

from keypool_cli.core.media_headers import (
    audio_seconds,
    decode_base64,
    image_size,
    pdf_pages,
    video_seconds,
)

TILE_TOKENS: Final = 258
"""One image tile, one PDF page or one video frame before Gemini 3."""

AUDIO_TOKENS_PER_S: Final = 32

_ONE_TILE_PX: Final = 384
_TILE_SIDE_PX: Final = 768
_LEAST_SIDE_PX: Final = 256
_UNKNOWN_TILES: Final = 6
"""Reserved for a picture of unknown size: photographs of any size have 4 to 6 by that formula."""

_MAX_TILES: Final = 16
"""Larger pictures are scaled down first: more tiles than this were never recorded (13 were)."""

_IMAGE_3: Final = {"low": 280, "medium": 560, "high": 1120, "ultra_high": 2240}
_FRAME_3: Final = {"low": 70, "medium": 70, "high": 280, "ultra_high": 280}
_PAGE_3: Final = {"low": 280, "medium": 560, "high": 1120, "ultra_high": 2240}
_LOW_IMAGE_2: Final = 66
_VIDEO_2_PER_S: Final = 263
_LOW_VIDEO_2_PER_S: Final = 66

_HEADER_BYTES: Final = 512 * 1024
_UNKNOWN_SECONDS: Final = 60.0
_UNKNOWN_PAGES: Final = 5
_AUDIO_BYTES_PER_S: Final = 16_000
_VIDEO_BYTES_PER_S: Final = 125_000
_PDF_BYTES_PER_PAGE: Final = 50_000
_DOUBT: Final = 1.0
"""A size guessed from the file's length may be wrong by its own amount."""

# Bytes a token: of prose in any script 4 to 5, of markup and code 3, of figures 1.
_TEXT_BYTES: Final = 4.0
_LEAST_BYTES: Final = 2.6
_LEAST_BYTES_OF: Final = {
    "text/csv": 1.0, "text/tab-separated-values": 1.0, "application/json": 1.5,
}  # fmt: skip
_UNKNOWN_TEXT_BYTES: Final = 8 * 1024
_TEXT_TYPES: Final = frozenset(
    f"application/{name}"
    for name in ("json", "xml", "rtf", "yaml", "javascript", "x-javascript", "x-python", "x-sh")
)

_GENERATION = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?")
_NEWEST: Final = (3, 0)


@dataclass(frozen=True, slots=True)
class Media:
    """One inline file, or one named by its URI, as a request carries it.

    data: base64 text; None for a file that is only named, by ``uri``, and then size_bytes is its
    length where that is known. resolution: ``low``, ``medium``, ``high``, ``ultra_high`` or None.
    seconds: the clip's length where it is known. fps: frames sampled a second of video.
    """

    mime_type: str
    data: str | None = None
    resolution: str | None = None
    seconds: float | None = None
    fps: float = 1.0
    uri: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MediaTokens:
    """Expected tokens, and what to reserve on top where the size had to be guessed."""

    tokens: float
    margin: float = 0.0


@lru_cache(maxsize=256)
def generation_of(model: str) -> tuple[int, int]:
    """The model's generation, (2, 5) for ``gemini-2.5-flash``; a name without one is new."""
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST


def is_text(mime_type: str) -> bool:
    """Whether files of this type, in lower case, are read as text."""
    return mime_type.startswith("text/") or mime_type in _TEXT_TYPES or mime_type.endswith("+xml")


def media_tokens(media: Media, *, generation: tuple[int, int]) -> MediaTokens:
    """Tokens of one file for a model of this generation; an unknown kind counts as an image.

    A file named by URI hides its size until it is looked up: an image counts as one tile and
    reserves 6, audio and video count 60 s, a PDF 5 pages, text 8 KiB.
    """
    mime_type = media.mime_type.lower().partition(";")[0].strip()
    kind = mime_type.partition("/")[0]
    if kind == "audio":
        return _audio(media)
    if kind == "video":
        return _video(media, generation)
    if mime_type == "application/pdf":
        return _pdf(media, generation)
    if media.data is None and is_text(mime_type):
        return _text(mime_type, media.size_bytes)
    return _image(media, generation)


def _image(media: Media, generation: tuple[int, int]) -> MediaTokens:
    if generation >= _NEWEST:
        return MediaTokens(_IMAGE_3.get(media.resolution or "high", 1120))
    if media.resolution == "low":
        return MediaTokens(_LOW_IMAGE_2)
    if media.resolution == "medium":
        return MediaTokens(TILE_TOKENS)
    size = image_size(decode_base64(media.data or "", limit_bytes=_HEADER_BYTES))
    least, most = _tiles(*size) if size else (1, _UNKNOWN_TILES)
    return MediaTokens(least * TILE_TOKENS, (most - least) * TILE_TOKENS)


def _tiles(width: int, height: int) -> tuple[int, int]:
    """Tiles of 768 px; and those of the docs' rough formula, whose tiles are smaller."""
    if max(width, height) <= _ONE_TILE_PX:
        return 1, 1
    rough_px = min(max(min(width, height) * 2 // 3, _LEAST_SIDE_PX), _TILE_SIDE_PX)
    least, most = (
        min(_MAX_TILES, ceil(width / side) * ceil(height / side))
        for side in (_TILE_SIDE_PX, rough_px)
    )
    return least, most


def _audio(media: Media) -> MediaTokens:
    data = decode_base64(media.data) if media.data else b""
    seconds = media.seconds or audio_seconds(data)
    if seconds is not None:
        return MediaTokens(ceil(seconds) * AUDIO_TOKENS_PER_S)
    return _guessed(_length(media, data), _AUDIO_BYTES_PER_S, AUDIO_TOKENS_PER_S)


def _video(media: Media, generation: tuple[int, int]) -> MediaTokens:
    if generation >= _NEWEST:
        frame = _FRAME_3.get(media.resolution or "low", 70)
    else:
        frame = _LOW_VIDEO_2_PER_S if media.resolution == "low" else _VIDEO_2_PER_S
    per_second = frame * media.fps + AUDIO_TOKENS_PER_S
    data = decode_base64(media.data) if media.data else b""
    seconds = media.seconds or video_seconds(data)
    if seconds is not None:
        return MediaTokens(ceil(seconds) * per_second)
    return _guessed(_length(media, data), _VIDEO_BYTES_PER_S, per_second)


def _text(mime_type: str, size_bytes: int | None) -> MediaTokens:
    size = _UNKNOWN_TEXT_BYTES if size_bytes is None else size_bytes
    least = _LEAST_BYTES_OF.get(mime_type, _LEAST_BYTES)
    return MediaTokens(size / _TEXT_BYTES, size / least - size / _TEXT_BYTES)


def _length(media: Media, data: bytes) -> int:
    return len(data) if data else media.size_bytes or 0


def _guessed(length: int, bytes_per_s: int, tokens_per_s: float) -> MediaTokens:
    seconds = ceil(length / bytes_per_s) if length else _UNKNOWN_SECONDS
    return MediaTokens(seconds * tokens_per_s, seconds * tokens_per_s * _DOUBT)


def _pdf(media: Media, generation: tuple[int, int]) -> MediaTokens:
    newest = generation >= _NEWEST
    page = _PAGE_3.get(media.resolution or "medium", 560) if newest else TILE_TOKENS
    data = decode_base64(media.data) if media.data else b""
    pages = pdf_pages(data)
    if pages is not None:
        return MediaTokens(pages * page)
    length = _length(media, data)
    guess = ceil(length / _PDF_BYTES_PER_PAGE) if length else _UNKNOWN_PAGES
    return MediaTokens(guess * page, guess * page * _DOUBT)
