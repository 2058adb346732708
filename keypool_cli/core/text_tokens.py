"""Expected tokens of one text, by group of characters.

A text is words and gaps (:mod:`code_page`). Each is looked up among those whose cost was measured
with Gemma 3's vocabulary; the rest are summed from the weights of their letter pairs and triples.
Characters outside the page are counted by their script (:mod:`script_tokens`).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from keypool_cli.core.code_page import (
    SLOTS,
    UNKNOWN,
    arabic_runs,
    count_alone,
    cut_gaps,
    encode,
    gap_runs,
    is_marked,
    latin_runs,
    latin_words,
)
from keypool_cli.core.piece_memory import PieceMemory
from keypool_cli.core.script_tokens import count_scripts
from keypool_cli.core.text_noise import doubt_of_arabic, doubt_of_text
from keypool_cli.core.word_table import UNITS, Costs, PieceCosts, load_costs

GROUPS: Final = ("arabic", "tashkeel", "latin", "digits", "symbols", "other")
"""Groups that calibration scales apart; tatweel counts as tashkeel."""

UNUSUAL_SHARE: Final = 0.12
"""Above this share of characters outside the page, a text is of the stratum known poorly."""

MOST_TEXTS: Final = 4_096
"""Texts whose tokens are remembered; then all are forgotten."""

LONGEST_SLICE: Final = 16_384
"""Characters counted at once: a thread that counts must let the others run in between."""

_NOISE: Final = 0.45  # of base64's runs two thirds are new, of a new subject's words a third

# One sum holds both kinds of Arabic words, so that they need not be told apart in each text.
_MARKED_BITS: Final = 48
_HALF_MARKED: Final = 1 << (_MARKED_BITS - 1)

_UNKNOWN_BYTE: Final = bytes((UNKNOWN,))
_ON_PAGE: Final = re.compile(f"[{re.escape(''.join(SLOTS[:254]))}]+")

_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


class TextTokens(NamedTuple):
    """Tokens of one text in the order of GROUPS, its UTF-8 length, and whether it is unusual.

    scripts: the last group's tokens by script (:mod:`script_tokens`), before they were bounded.
    doubt: tokens by which a sample may have missed the whole, or that runs of letters which are no
    words, as of DNA, may cost more.
    """

    tokens: tuple[float, float, float, float, float, float]
    utf8_bytes: int
    unusual: bool = False
    scripts: Mapping[str, float] = _NOTHING
    doubt: float = 0.0


class TextCounter:
    """Counts texts with one table of costs; several threads may ask."""

    def __init__(self, costs: Costs) -> None:
        words, gaps = costs.words, costs.gaps
        self._texts: dict[int, TextTokens] = {}
        self._latin = PieceMemory(_Cut(words, latin_words), words.known, noise=_NOISE)
        self._arabic = PieceMemory(_ByMarks(words), words.known)
        self._gaps = PieceMemory(_Cut(gaps, cut_gaps), gaps.known, noise=_NOISE)

    def count(self, text: str) -> TextTokens:
        """Expected tokens of a text: at least 1 unless it is empty, at most its UTF-8 bytes."""
        if len(text) <= LONGEST_SLICE:
            return self._slice(text)
        return joined([(len(each), self._slice(each)) for each in _slices(text)])

    def _slice(self, text: str) -> TextTokens:
        page = encode(text)
        words, runs = latin_runs(page), gap_runs(page)
        latin = _tokens(self._latin(words))
        digits = float(b"".join(runs).count(b"0"))
        symbols = max(0.0, _tokens(self._gaps(runs)) - digits, count_alone(page))
        doubt = doubt_of_text(page, words, runs, latin)
        if text.isascii() and _UNKNOWN_BYTE not in page:
            return _bounded((0.0, 0.0, latin, digits, symbols, 0.0), len(text), doubt)
        arabic = self._arabic(arabic_runs(page))
        marked = (arabic + _HALF_MARKED) >> _MARKED_BITS
        plain = arabic - (marked << _MARKED_BITS)
        if plain > marked:
            doubt += doubt_of_arabic(page, _tokens(plain))
        unknown = page.count(_UNKNOWN_BYTE)
        scripts, noise = count_scripts(_ON_PAGE.sub("", text)) if unknown else ({}, 0.0)
        counted = _bounded(
            (_tokens(plain), _tokens(marked), latin, digits, symbols, sum(scripts.values())),
            len(text.encode("utf-8", "surrogatepass")),
            doubt + noise,
        )
        if not unknown:
            return counted
        return counted._replace(unusual=unknown > UNUSUAL_SHARE * len(text), scripts=scripts)

    def recall(self, text: str) -> TextTokens:
        """The same, remembered by the text's hash: no text is kept."""
        texts, mark = self._texts, hash(text)
        counted = texts.get(mark)
        if counted is None:
            if len(texts) >= MOST_TEXTS:
                texts.clear()
            counted = texts[mark] = self.count(text)
        return counted


class _Cut(NamedTuple):
    """Costs of runs that are cut into pieces first."""

    costs: PieceCosts
    cut: Callable[[list[bytes]], list[bytes]]

    def each(self, runs: list[bytes]) -> list[int]:
        pieces = self.cut(runs)
        if len(pieces) == len(runs):
            return self.costs.each(pieces)
        return [self.costs.total(self.cut([run])) for run in runs]

    def total(self, runs: list[bytes]) -> int:
        return self.costs.total(self.cut(runs))


class _ByMarks(NamedTuple):
    """Costs of Arabic words; those with tashkeel or tatweel in the bits from _MARKED_BITS on."""

    costs: PieceCosts

    def each(self, runs: list[bytes]) -> list[int]:
        return [
            cost << _MARKED_BITS if is_marked(run) else cost
            for run, cost in zip(runs, self.costs.each(runs), strict=True)
        ]

    def total(self, runs: list[bytes]) -> int:
        return sum(self.each(runs))


@cache
def _shipped() -> TextCounter:
    return TextCounter(load_costs())


def count_text(text: str) -> TextTokens:
    """Expected tokens of a text: at least 1 unless it is empty, at most its UTF-8 bytes.

    Linear in the length, at any length; accepts every str, lone surrogates too. System
    instructions and the turns of a chat come again with each call, and are counted once.
    """
    return _shipped().recall(text)


def count_slice(text: str) -> TextTokens:
    """The same of what will hardly come again, and is not remembered."""
    return _shipped().count(text)


def _slices(text: str) -> Iterator[str]:
    """A text cut before spaces, where no token is, or anywhere in what has none."""
    start = 0
    while len(text) - start > LONGEST_SLICE:
        cut = text.rfind(" ", start + 1, start + LONGEST_SLICE)
        end = cut if cut > 0 else start + LONGEST_SLICE
        yield text[start:end]
        start = end
    yield text[start:]


def joined(slices: Sequence[tuple[float, TextTokens]]) -> TextTokens:
    """Slices as one text; each with its characters."""
    characters = sum(length for length, _ in slices)
    unusual = sum(length for length, each in slices if each.unusual)
    scripts = Counter[str]()
    for _, each in slices:
        scripts.update(each.scripts)
    arabic, tashkeel, latin, digits, symbols, other = map(
        sum, zip(*(each.tokens for _, each in slices), strict=True)
    )
    return TextTokens(
        (arabic, tashkeel, latin, digits, symbols, other),
        sum(each.utf8_bytes for _, each in slices),
        unusual=unusual > UNUSUAL_SHARE * characters,
        scripts=scripts,
        doubt=sum(each.doubt for _, each in slices),
    )


def _tokens(units: int) -> float:
    return units / UNITS if units > 0 else 0.0


def _bounded(
    tokens: tuple[float, float, float, float, float, float], utf8_bytes: int, doubt: float
) -> TextTokens:
    total = sum(tokens)
    if 1.0 <= total <= utf8_bytes or not utf8_bytes:
        return TextTokens(tokens, utf8_bytes, doubt=doubt)
    if total <= 0.0:
        return TextTokens((0.0, 0.0, 0.0, 0.0, 1.0, 0.0), utf8_bytes)
    scale = min(max(total, 1.0), utf8_bytes) / total
    arabic, tashkeel, latin, digits, symbols, other = (part * scale for part in tokens)
    return TextTokens((arabic, tashkeel, latin, digits, symbols, other), utf8_bytes)
