"""What the bytes of an image, a recording or a PDF say about its size.

Every function answers None where the bytes do not say; none raises, whatever it is given.
"""

import binascii
import re
import zlib
from collections.abc import Iterator
from struct import unpack

_URLSAFE = str.maketrans("-_", "+/")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_PDF_COUNT = re.compile(rb"/Count\s+(\d{1,6})")
_PDF_OBJECTS = re.compile(rb"/Type\s*/ObjStm\b")
_WEBM_DURATION = re.compile(rb"\x44\x89(?:\x84(.{4})|\x88(.{8}))", re.DOTALL)
_LONGEST_MS = 86_400_000
_PDF_MOST_BYTES = 16 * 1024 * 1024
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MP3_FRAMES = re.compile(rb"(?:Xing|Info)\0\0\0[\1\3\5\7\11\13\15\17](.{4})", re.DOTALL)
_MP3_HZ = (
    (11_025, 12_000, 8_000, 0),
    (0,) * 4,
    (22_050, 24_000, 16_000, 0),
    (44_100, 48_000, 32_000, 0),
)
_MP3_LOW_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_MP3_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)


def decode_base64(text: str, *, limit_bytes: int | None = None) -> bytes:
    """Bytes of standard or URL-safe base64, at most the first ``limit_bytes`` of them.

    What is not base64 is skipped; an unfinished last group is dropped.
    """
    if limit_bytes is not None:
        text = text[: limit_bytes * 4 // 3 + 4]
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return _decode_loosely(text)


def _decode_loosely(text: str) -> bytes:
    clean = _NOT_BASE64.sub("", text.translate(_URLSAFE))
    clean = clean[: -1 if len(clean) % 4 == 1 else None]
    return binascii.a2b_base64(clean + "=" * (-len(clean) % 4))


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the header of a PNG, GIF, WebP or JPEG."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return _big(data[16:20]), _big(data[20:24])
    if data[:4] == b"GIF8" and len(data) >= 10:
        return _little(data[6:8]), _little(data[8:10])
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return None


def audio_seconds(data: bytes) -> float | None:
    """Length of a WAV, FLAC, Ogg, MP3 or MP4 recording, in seconds."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _ratio(len(data) - 44, _little(data[28:32]))
    if data[:4] == b"fLaC":
        return _ratio(_big(data[21:26]) & 0xFFFFFFFFF, _big(data[18:21]) >> 4)
    if data[:4] == b"OggS":
        return _ogg_seconds(data)
    return _mp3_seconds(data) or video_seconds(data)


def video_seconds(data: bytes) -> float | None:
    """Length of an MP4, MOV, M4A or WebM file from its header, in seconds."""
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return _webm_seconds(data[:4096])
    at = data.find(b"mvhd")
    if at < 0 or len(data) < at + 36:
        return None
    if data[at + 4] == 1:  # version 1 holds 64-bit times
        return _ratio(_big(data[at + 28 : at + 36]), _big(data[at + 24 : at + 28]))
    return _ratio(_big(data[at + 20 : at + 24]), _big(data[at + 16 : at + 20]))


def pdf_pages(data: bytes) -> int | None:
    """Pages of a PDF: its page objects, or the page tree's count where those cannot be read."""
    readable = [data, *_pdf_objects(data)]
    pages = sum(len(_PDF_PAGE.findall(each)) for each in readable)
    counts = (int(count) for each in readable for count in _PDF_COUNT.findall(each))
    return pages or max(counts, default=0) or None


def _pdf_objects(data: bytes) -> Iterator[bytes]:
    """What lies in compressed object streams; no more than so many bytes are unpacked."""
    view, left, end = memoryview(data), _PDF_MOST_BYTES, 0
    while left > 0 and (found := _PDF_OBJECTS.search(data, end)):
        start = data.find(b"stream", found.end())
        end = data.find(b"endstream", start)
        if not 0 <= start < end:
            return
        try:
            unpacked = zlib.decompressobj().decompress(
                view[_behind_line(data, start + 6) : end], left
            )
        except zlib.error:  # of another filter, or encrypted
            continue
        left -= len(unpacked)
        yield unpacked


def _behind_line(data: bytes, at: int) -> int:
    return at + (2 if data[at : at + 2] == b"\r\n" else 1)


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _ratio(amount: int, per_second: int) -> float | None:
    return amount / per_second if amount > 0 and per_second > 0 else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    if kind == b"VP8L":
        bits = _little(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            return _big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7])
        # 0xFF before a marker is padding; every other marker here carries its own length.
        at += 1 if marker == 0xFF else 2 + max(2, _big(data[at + 2 : at + 4]))
    return None


def _ogg_seconds(data: bytes) -> float | None:
    last = data.rfind(b"OggS")
    samples = _little(data[last + 6 : last + 14])
    if b"OpusHead" in data[:64]:
        return _ratio(samples, 48_000)  # Opus always counts at 48 kHz
    vorbis = data.find(b"\x01vorbis", 0, 128)
    return _ratio(samples, _little(data[vorbis + 12 : vorbis + 16])) if vorbis >= 0 else None


def _webm_seconds(head: bytes) -> float | None:
    """The segment's duration, in milliseconds as everyone writes it."""
    found = _WEBM_DURATION.search(head)
    if found is None:
        return None
    (units,) = unpack(">f", found[1]) if found[1] else unpack(">d", found[2])
    return units / 1000 if 0 < units < _LONGEST_MS else None


def _mp3_seconds(data: bytes) -> float | None:
    start = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        tag_bytes = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
        start = 10 + tag_bytes
    header = data[start : start + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    kbits = (_MP3_KBITS if version == 3 else _MP3_LOW_KBITS)[header[2] >> 4]
    frames = _MP3_FRAMES.search(data, start, start + 200)
    if frames is None:
        return _ratio(len(data) - start, kbits * 125)
    samples = 1152 if version == 3 else 576
    return _ratio(_big(frames[1]) * samples, _MP3_HZ[version][header[2] >> 2 & 3])
