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

_GENERATION = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?")
_NEWEST: Final = (3, 0)


@dataclass(frozen=True, slots=True)
class Media:
    """One inline file, or one named by its URI, as a request carries it.

    data: base64 text; None for a file that is only named. resolution: ``low``, ``medium``,
    ``high``, ``ultra_high`` or None. seconds: the clip's length where the request says it.
    fps: frames sampled a second of video.
    """

    mime_type: str
    data: str | None = None
    resolution: str | None = None
    seconds: float | None = None
    fps: float = 1.0


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


def media_tokens(media: Media, *, generation: tuple[int, int]) -> MediaTokens:
    """Tokens of one file for a model of this generation; an unknown kind counts as an image.

    A file named by URI hides its size: an image counts as one tile and reserves 6, audio and video
    count 60 s, a PDF 5 pages.
    """
    kind = media.mime_type.partition("/")[0].lower()
    if kind == "audio":
        return _audio(media)
    if kind == "video":
        return _video(media, generation)
    if media.mime_type.lower().partition(";")[0] == "application/pdf":
        return _pdf(media, generation)
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
    return _guessed(data, _AUDIO_BYTES_PER_S, AUDIO_TOKENS_PER_S)


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
    return _guessed(data, _VIDEO_BYTES_PER_S, per_second)


def _guessed(data: bytes, bytes_per_s: int, tokens_per_s: float) -> MediaTokens:
    seconds = ceil(len(data) / bytes_per_s) if data else _UNKNOWN_SECONDS
    return MediaTokens(seconds * tokens_per_s, seconds * tokens_per_s * _DOUBT)


def _pdf(media: Media, generation: tuple[int, int]) -> MediaTokens:
    newest = generation >= _NEWEST
    page = _PAGE_3.get(media.resolution or "medium", 560) if newest else TILE_TOKENS
    data = decode_base64(media.data) if media.data else b""
    pages = pdf_pages(data)
    if pages is not None:
        return MediaTokens(pages * page)
    guess = ceil(len(data) / _PDF_BYTES_PER_PAGE) if data else _UNKNOWN_PAGES
    return MediaTokens(guess * page, guess * page * _DOUBT)
