"""Texts of a request, counted whole, or by a sample of slices where they are very long.

Counting takes about 0.1 s a million characters, and a request may hold 30 of them. A sample takes
the same time however long they are; what it may have missed by is part of the margin.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from math import ceil, sqrt
from typing import Final

from keypool_cli.core.text_tokens import TextTokens, count_slice, count_text, joined

SLICES: Final = 512
SLICE: Final = 2048
"""Characters of a slice, or a little more where it is made of short texts."""

MOST_TEXTS: Final = 32
"""Texts that a slice is made of at most: each costs time, however short it is."""

WHOLE: Final = SLICES * SLICE
"""Characters up to which everything is counted."""

_DEVIATIONS: Final = 3.0
_FACTOR, _SHIFT, _RANGE = 6364136223846793005, 1442695040888963407, 2**64


def count_texts(texts: Sequence[str]) -> Iterable[TextTokens]:
    """Expected tokens of each text; of all together where they are longer than WHOLE."""
    if sum(map(len, texts)) <= WHOLE:
        return map(count_text, texts)
    return _sampled(texts)


def _sampled(texts: Sequence[str]) -> Iterator[TextTokens]:
    """What is of scripts known well, and what is not, apart: their margins differ."""
    ends = list(accumulate(map(len, texts)))
    parts = [_part(each, ends[-1] / SLICES) for each in _slices(texts, ends)]
    doubt = _DEVIATIONS * _deviation([sum(sum(each.tokens) for _, each in part) for part in parts])
    for unusual in (False, True):
        counted = [each for part in parts for each in part if each[1].unusual is unusual]
        if counted:
            whole = joined(counted)
            yield whole._replace(doubt=whole.doubt + doubt)
            doubt = 0.0


def _part(texts: Sequence[str], length: float) -> list[tuple[float, TextTokens]]:
    """So many characters, as the slice that was taken of them tells."""
    weight = length / sum(map(len, texts))
    return [(len(each) * weight, _times(count_slice(each), weight)) for each in texts]


def _times(counted: TextTokens, weight: float) -> TextTokens:
    arabic, tashkeel, latin, digits, symbols, other = (each * weight for each in counted.tokens)
    return TextTokens(
        (arabic, tashkeel, latin, digits, symbols, other),
        ceil(counted.utf8_bytes * weight),
        counted.unusual,
        {script: tokens * weight for script, tokens in counted.scripts.items()},
        counted.doubt * weight,
    )


def _deviation(tokens: Sequence[float]) -> float:
    """One deviation of the sum of all parts' tokens, by how much each differs from the next.

    Where in its part a slice is taken is chance, but each part has one: what counts is how much
    places near each other differ.
    """
    return sqrt(sum((after - before) ** 2 for before, after in pairwise(tokens)) / 2)


def _slices(texts: Sequence[str], ends: Sequence[int]) -> Iterator[list[str]]:
    """One of each of SLICES equal parts, from a place that no client can foresee."""
    part, last = ends[-1] / SLICES, ends[-1] - SLICE
    # Python's hash of a text hangs on a secret of the process.
    chance = hash((hash(max(texts, key=len)), ends[-1])) % _RANGE
    for number in range(SLICES):
        chance = (chance * _FACTOR + _SHIFT) % _RANGE
        at = min(int(part * (number + chance / _RANGE)), last)
        index = bisect_right(ends, at)
        yield _slice(texts, index, at - (ends[index] - len(texts[index])))


def _slice(texts: Sequence[str], index: int, offset: int) -> list[str]:
    """What begins there; short texts are taken whole, as many as it takes."""
    found, left = [], SLICE
    for text in texts[index : index + MOST_TEXTS]:
        found.append(text if len(text) <= SLICE else text[offset : offset + left])
        left -= len(found[-1])
        offset = 0
        if left <= 0:
            break
    return found
