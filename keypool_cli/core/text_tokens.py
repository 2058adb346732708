"""Expected tokens of one text, by group of characters.

A text is words and gaps (:mod:`code_page`). Each is looked up among those whose cost was measured
with Gemma 3's vocabulary; the rest are summed from the weights of their letter pairs and triples.
Characters outside the page are counted by the first byte of their UTF-8 form, which tells scripts
apart.
"""

import re
from itertools import repeat
from typing import Final, NamedTuple

from keypool_cli.core.code_page import (
    SLOTS,
    UNKNOWN,
    arabic_words,
    encode,
    gaps,
    is_marked,
    latin_words,
)
from keypool_cli.core.word_table import UNITS, Costs, PieceCosts, load_costs

GROUPS: Final = ("arabic", "tashkeel", "latin", "digits", "symbols", "other")
"""Groups that calibration scales apart; tatweel counts as tashkeel."""

UNUSUAL_SHARE: Final = 0.12
"""Above this share of characters outside the page, a text is of the stratum known poorly."""

_ZEROS: Final = repeat(0)
_UNKNOWN_BYTE: Final = bytes((UNKNOWN,))
_ON_PAGE: Final = re.compile(f"[{re.escape(''.join(SLOTS[:254]))}]+")

# First bytes of UTF-8 from the key to the next key; tokens a character. Fitted like the table.
_BY_FIRST_BYTE: Final = {
    0x00: 1.00, 0xC2: 0.90, 0xC3: 1.30, 0xCB: 1.45, 0xCE: 0.50, 0xD0: 0.30, 0xD4: 0.60, 0xD8: 0.90,
    0xDC: 0.60, 0xE0: 0.34, 0xE1: 0.60, 0xE2: 0.90, 0xE3: 0.41, 0xE4: 0.63, 0xEA: 0.63, 0xEE: 0.90,
    0xEF: 1.07, 0xF0: 1.10,
}  # fmt: skip
_FIRST_BYTES: Final = bytes(
    max((first for first in _BY_FIRST_BYTE if first <= byte), default=0) for byte in range(256)
)
_LATER_BYTES: Final = bytes(range(0x80, 0xC2))


class TextTokens(NamedTuple):
    """Tokens of one text in the order of GROUPS, its UTF-8 length, and whether it is unusual."""

    tokens: tuple[float, float, float, float, float, float]
    utf8_bytes: int
    unusual: bool


def count_text(text: str, *, costs: Costs | None = None) -> TextTokens:
    """Expected tokens of a text: at least 1 unless it is empty, at most its UTF-8 bytes.

    Linear in the length, at any length; accepts every str, lone surrogates too. ``costs`` other
    than the shipped table serve measurements.
    """
    costs = costs or load_costs()
    page = encode(text)
    latin = _cost(costs.words, latin_words(page))
    between = gaps(page)
    digits = float(b"".join(between).count(b"0"))
    symbols = max(0.0, _cost(costs.gaps, between) - digits)
    if text.isascii() and _UNKNOWN_BYTE not in page:
        return _bounded((0.0, 0.0, latin, digits, symbols, 0.0), len(text), unusual=False)
    plain, marked = _arabic(costs.words, page)
    unknown = page.count(_UNKNOWN_BYTE)
    return _bounded(
        (plain, marked, latin, digits, symbols, _other(text) if unknown else 0.0),
        len(text.encode("utf-8", "surrogatepass")),
        unusual=unknown > UNUSUAL_SHARE * len(text),
    )


def _cost(costs: PieceCosts, pieces: list[bytes]) -> float:
    known = costs.known
    unknown = [piece for piece in pieces if piece not in known]
    total = sum(map(known.get, pieces, _ZEROS))
    if unknown:
        total += costs.spelled(unknown)
    return total / UNITS if total > 0 else 0.0


def _arabic(costs: PieceCosts, page: bytes) -> tuple[float, float]:
    """Tokens of plain words, and of those with tashkeel or tatweel, which are never in the table."""
    words = arabic_words(page)
    known = costs.known
    unknown = [word for word in words if word not in known]
    total = sum(map(known.get, words, _ZEROS))
    marked = [word for word in unknown if is_marked(word)] if is_marked(page) else []
    if len(marked) < len(unknown):
        apart = frozenset(marked)
        total += costs.spelled([word for word in unknown if word not in apart])
    marked_total = costs.spelled(marked) if marked else 0
    return max(0, total) / UNITS, max(0, marked_total) / UNITS


def _other(text: str) -> float:
    unknown = _ON_PAGE.sub("", text).encode("utf-8", "surrogatepass")
    firsts = unknown.translate(_FIRST_BYTES, _LATER_BYTES)
    return sum(weight * firsts.count(first) for first, weight in _BY_FIRST_BYTE.items())


def _bounded(
    tokens: tuple[float, float, float, float, float, float], utf8_bytes: int, *, unusual: bool
) -> TextTokens:
    total = sum(tokens)
    if 1.0 <= total <= utf8_bytes or not utf8_bytes:
        return TextTokens(tokens, utf8_bytes, unusual)
    if total <= 0.0:
        return TextTokens((0.0, 0.0, 0.0, 0.0, 1.0, 0.0), utf8_bytes, unusual)
    scale = min(max(total, 1.0), utf8_bytes) / total
    arabic, tashkeel, latin, digits, symbols, other = (part * scale for part in tokens)
    return TextTokens((arabic, tashkeel, latin, digits, symbols, other), utf8_bytes, unusual)
