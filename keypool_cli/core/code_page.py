"""One byte a character for the scripts keypool knows well, so that text is measured at C speed.

The page holds ASCII, Arabic with its marks and digits, common European letters and punctuation.
Its bytes fall into words (runs of letters) and gaps (everything between two words).
"""

import codecs
import re
from collections.abc import Iterable
from typing import Final

UNKNOWN: Final = 255
"""The byte of every character the page does not hold."""

_SPARE: Final = chr(0xE0FE)
_QUESTION: Final = 254
"""Where question marks wait while the codec writes its own for unknown characters."""


def _span(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


ARABIC_LETTERS: Final = (
    _span(0x621, 0x63A) + _span(0x641, 0x64A) + "".join(map(chr, (
        0x671, 0x679, 0x67E, 0x686, 0x688, 0x691, 0x698, 0x6A9, 0x6AF, 0x6BA, 0x6BE, 0x6C1,
        0x6C0, 0x6CC, 0x6D0, 0x6D2, 0x6C3, 0x6D5,
    )))
)  # fmt: skip
TATWEEL: Final = chr(0x640)
TASHKEEL: Final = _span(0x64B, 0x652) + "".join(map(chr, (0x670, 0x653, 0x6E1, 0x6D6, 0x6DA)))
_ARABIC_SIGNS: Final = "".join(map(chr, (0x60C, 0x61B, 0x61F, 0x66A, 0x66B, 0x66C, 0x6D4)))
_ARABIC_DIGITS: Final = _span(0x660, 0x669) + _span(0x6F0, 0x6F9)
_PUNCTUATION: Final = "".join(map(chr, (
    0x2019, 0x2018, 0x201C, 0x201D, 0x2013, 0x2014, 0x2026, 0xAB, 0xBB, 0xA0, 0x200C,
)))  # fmt: skip
_BIDI: Final = (
    "".join(map(chr, (0x200E, 0x200F, 0x61C))) + _span(0x202A, 0x202E) + _span(0x2066, 0x2069)
)
ACCENTED: Final = "éèàêçñáíóúüöäâôãõåæøßžščćřěůłąęńğış"

# A NUL in slot 0 keeps charmap_build on its fast path; white space keeps its slots because
# bytes.split cuts there.
_WHITE_SPACE: Final = (9, 10, 11, 12, 13)
_BORROWED: Final = [slot for slot in range(1, 32) if slot not in _WHITE_SPACE] + [127]


def _slots() -> list[str]:
    slots = list(_span(0, 127) + ARABIC_LETTERS + TATWEEL + TASHKEEL + _ARABIC_SIGNS)
    slots += list(_ARABIC_DIGITS + _PUNCTUATION + _BIDI)
    accented = list(ACCENTED)
    for slot in _BORROWED:
        slots[slot] = accented.pop(0)
    slots += accented
    return slots + ["\ufffe"] * (_QUESTION - len(slots)) + [_SPARE, "\ufffe"]


SLOTS: Final = _slots()
_ENCODING: Final = codecs.charmap_build("".join(SLOTS))
_UNSWAP: Final = bytes(
    UNKNOWN if slot == ord("?") else ord("?") if slot == _QUESTION else slot for slot in range(256)
)
_LATIN: Final = frozenset(_span(0x41, 0x5A) + _span(0x61, 0x7A) + ACCENTED)
_ARABIC: Final = frozenset(ARABIC_LETTERS + TASHKEEL + TATWEEL)
_GAP_NAMES: Final = {" ": "S", "\n": "N", "\t": "T", "\r": "R", "\x0b": "N", "\x0c": "N"}
_UPPER: Final = ord("U")
_LOWER: Final = ord("l")


def _only(letters: Iterable[str]) -> bytes:
    """A translation that keeps these letters and turns everything else into spaces."""
    return bytes(slot if char in letters else 32 for slot, char in enumerate(SLOTS))


def _gap_byte(slot: int, char: str) -> int:
    if slot == UNKNOWN or char in _LATIN or char in _ARABIC:
        return 32
    if char.isdecimal():
        return ord("0")
    return ord(_GAP_NAMES.get(char, chr(slot)))


def _case_byte(char: str) -> int:
    if "A" <= char <= "Z":
        return _UPPER
    return _LOWER if "a" <= char <= "z" else 32


_LATIN_ONLY: Final = _only(_LATIN)
_ARABIC_ONLY: Final = _only(_ARABIC)
_GAPS: Final = bytes(_gap_byte(slot, char) for slot, char in enumerate(SLOTS))
_CASES: Final = bytes(map(_case_byte, SLOTS))
_BORROWED_BYTES: Final = bytes(_BORROWED)
_ACCENTED_BYTES: Final = bytes(slot for slot, char in enumerate(SLOTS) if char in ACCENTED)
_FREQUENT_ARABIC: Final = bytes(SLOTS.index(chr(each)) for each in (0x627, 0x644, 0x648, 0x64A))
_MARKS: Final = bytes(slot for slot, char in enumerate(SLOTS) if char in TASHKEEL + TATWEEL)
# Runs without a capital right behind a small letter; the second form begins with a small one.
_TAIL: Final = rb"(?:[a-z]+(?:[^a-zA-Z ][^a-z ]*)?)"
_WORD: Final = re.compile(rb"[^a-z ]+" + _TAIL + rb"*|" + _TAIL + rb"+")


_NBSP: Final = SLOTS.index(chr(0xA0)).to_bytes()
_ALONE: Final = bytes(
    slot
    for slot, char in enumerate(SLOTS)
    if char in "\0\x0b\x0c\u00a0\u200e\u061c\u202a\u2066\u2067\u2068\u2069"
)


def encode(text: str) -> bytes:
    """The page's byte for each character, UNKNOWN where it has none."""
    if text.isascii():
        page = text.encode()
        if len(page.translate(None, _BORROWED_BYTES)) == len(page):
            return page
    page, _ = codecs.charmap_encode(text, "ignore", _ENCODING)
    if len(page) == len(text):
        return page
    page, _ = codecs.charmap_encode(text.replace("?", _SPARE), "replace", _ENCODING)
    return page.translate(_UNSWAP)


def latin_runs(page: bytes) -> list[bytes]:
    """Runs of Latin letters as they stand."""
    return page.translate(_LATIN_ONLY).split()


def count_latin(page: bytes) -> tuple[int, int]:
    """Latin letters, and how many of them have an accent."""
    letters = page.translate(_LATIN_ONLY, b" ").translate(None, b" ")
    return len(letters), len(letters) - len(letters.translate(None, _ACCENTED_BYTES))


def latin_words(runs: Iterable[bytes]) -> list[bytes]:
    """Runs as words in lower case, camelCase cut apart; only ALL CAPS keeps its case."""
    words: list[bytes] = []
    for run in runs:
        # Most runs are of one case, and asking that is much faster than the pattern.
        if run.islower() or run.istitle() or run.isupper():
            words.append(run)
        else:
            words += _WORD.findall(run)
    return [
        word if word.isupper() and b"UU" in word.translate(_CASES) else word.lower()
        for word in words
    ]


def arabic_runs(page: bytes) -> list[bytes]:
    """Runs of Arabic letters, tashkeel and tatweel."""
    return page.translate(_ARABIC_ONLY).split()


def count_arabic(page: bytes) -> tuple[int, int]:
    """Arabic letters with their marks, and the four that are a third of Arabic.

    Those are a fifth of the script's other languages.
    """
    letters = page.translate(_ARABIC_ONLY, b" ").translate(None, b" ")
    return len(letters), len(letters) - len(letters.translate(None, _FREQUENT_ARABIC))


def is_marked(letters: bytes) -> bool:
    """Whether an Arabic word carries tashkeel or tatweel."""
    return len(letters.translate(None, _MARKS)) != len(letters)


def gap_runs(page: bytes) -> list[bytes]:
    """What stands between words.

    S, N, T and R stand for space, newline, tab and carriage return, 0 for every digit.
    """
    return page.translate(_GAPS).split()


def cut_gaps(runs: Iterable[bytes]) -> list[bytes]:
    """Gaps cut behind each digit."""
    return b" ".join(runs).replace(b"0", b"0 ").split()


def count_alone(page: bytes) -> int:
    """Tokens of characters that are never part of a longer token, however many follow each other.

    A no-break space is two.
    """
    return len(page) - len(page.translate(None, _ALONE)) + page.count(_NBSP)
