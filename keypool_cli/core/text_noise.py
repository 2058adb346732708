"""What may be missed of text that is no language, or of one whose words the table does not know.

These are doubts: tokens that are reserved on top, and expected nowhere. They were set by random
characters of each kind, and by the Universal Declaration of Human Rights in 450 languages.
"""

from collections.abc import Sequence
from typing import Final

from keypool_cli.core.code_page import count_arabic, count_latin

_WORDY: Final = 12  # characters to a run where none can be long enough to matter

_LONG_RUN: Final = 40
_LONG_RUN_DOUBT: Final = 0.12  # of a letter: sequences of DNA cost 0.44, of which 0.32 are expected

_LONG_GAP: Final = 16
_MANY_SIGNS: Final = 10  # rules and tables are long, too, but of few signs
_LONG_GAP_DOUBT: Final = 0.4

_FEWEST: Final = 20
"""Letters that show how frequent some of them are."""

_FEWEST_FOREIGN: Final = 80
"""Letters that may show another language; the margin of fewer is wide enough."""

# Tokens a character below which nobody needs to count letters.
_DENSE_LATIN: Final = 0.2
_DENSE_ARABIC: Final = 0.45

# Tokens a letter: of English, code and JSON up to 0.29, of base64 from 0.5 on. Between them are the
# languages whose words are spelled, which cost a quarter more than expected at most.
_FOREIGN: Final = (0.29, 0.34, 0.44, 0.52)
_FOREIGN_DOUBT: Final = 0.25

_ACCENTED: Final = 0.3  # of all letters; Czech has 0.15
_FREQUENT: Final = (0.14, 0.2)
_ALONE: Final = 0.9  # tokens of an Arabic letter that makes no word with its neighbours


def doubt_of_text(
    page: bytes, words: Sequence[bytes], gaps: Sequence[bytes], tokens: float
) -> float:
    """The doubt of a text's Latin words, expected to cost so many tokens, and of its gaps."""
    of, doubt = len(page), 0.0
    if of < _FEWEST:
        return doubt
    # Runs that are longer than words, and than what stands between them.
    if of >= _WORDY * len(words):
        doubt += _LONG_RUN_DOUBT * sum(len(run) for run in words if len(run) >= _LONG_RUN)
    if of >= _WORDY * len(gaps):
        doubt += _LONG_GAP_DOUBT * sum(
            len(run) for run in gaps if len(run) >= _LONG_GAP and len(set(run)) >= _MANY_SIGNS
        )
    return doubt if tokens < _DENSE_LATIN * of else doubt + _doubt_of_latin(page, tokens)


def _doubt_of_latin(page: bytes, tokens: float) -> float:
    letters, accented = count_latin(page)
    if letters < _FEWEST:
        return 0.0
    doubt = max(0.0, accented - _ACCENTED * letters)
    if letters < _FEWEST_FOREIGN:
        return doubt
    low, from_here, to_here, high = _FOREIGN
    each = tokens / letters
    foreign = min(1.0, _rise(each, low, from_here), _rise(-each, -high, -to_here))
    return doubt + _FOREIGN_DOUBT * tokens * max(0.0, foreign)


def doubt_of_arabic(page: bytes, tokens: float) -> float:
    """The doubt of a text's Arabic letters without tashkeel, by what they are expected to cost."""
    if tokens < _DENSE_ARABIC * len(page):
        return 0.0
    letters, frequent = count_arabic(page)
    if letters < _FEWEST:
        return 0.0
    noise = min(1.0, 1.0 - _rise(frequent / letters, *_FREQUENT))
    return max(0.0, noise * (_ALONE * letters - tokens))


def _rise(value: float, start: float, end: float) -> float:
    """0 at the start, 1 at the end, and on."""
    return (value - start) / (end - start)
