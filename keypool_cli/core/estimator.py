"""Input tokens of a whole request before it is sent, with what to reserve on top.

The counts follow Gemma 3's vocabulary, which google-genai's LocalTokenizer uses for Gemini, and
the published rules: each content and a system instruction cost one token more, from 2.5 on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from math import ceil, sqrt
from operator import add, mul
from types import MappingProxyType
from typing import Final, NamedTuple

from keypool_cli.core.json_text import json_text
from keypool_cli.core.media_tokens import Media, generation_of, media_tokens
from keypool_cli.core.request_shape import RequestShape, read_request
from keypool_cli.core.sampling import count_texts
from keypool_cli.core.text_tokens import GROUPS, TextTokens

_FIRST_WITH_OVERHEAD: Final = (2, 5)

CACHED_TOKENS: Final = 1024
"""Counted for cached content of unknown size, the least that Gemini caches; reserved twice."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What ``keypool probe`` fits to a model's own counts; the defaults are Gemma 3's.

    factors: by group of GROUPS, 1.0 where absent; and by script, "other" where absent.
    per_content, per_system, per_tool: tokens each costs beside its text. tool_ratio: tokens of a
    declaration per token of its JSON (0.5 to 1.1 were recorded); tool_reserve: what is reserved of
    the same. z, unusual_z: how many deviations the margin is wide, for ordinary text and for
    scripts and symbols the estimator knows poorly.
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    per_content: float = 1.0
    per_system: float = 1.0
    per_tool: float = 0.0
    tool_ratio: float = 0.8
    tool_reserve: float = 1.3
    z: float = 1.2
    unusual_z: float = 6.0


DEFAULT: Final = Calibration()

_EXACT_SPARE: Final = 0.01  # upstream may count overheads that no probe has seen
_EXACT_PARTS: Final = frozenset({"text", "overhead"})
_UNUSUAL_SHARE: Final = 0.15
_ONES: Final = repeat(1.0)


class Unknown(NamedTuple):
    """What a request only names, by ``name``, and what it was guessed to cost. media: a file's kind."""

    name: str
    media: Media | None
    tokens: float
    margin: float


class Estimate(NamedTuple):
    """Expected input tokens of one request.

    margin: tokens to reserve on top, so that about one request in a hundred costs more.
    parts: expected tokens by group (``text`` where it was counted exactly), and ``overhead``,
    ``media``, ``tools``, ``cached``; calibrated.
    most: what the request can cost at all, by its bytes; None where that is not known.
    text: tokens of the text that was not counted exactly, calibrated; most of it is of ``script``.
    unknown: what the request only names.
    """

    tokens: int
    margin: int
    method: str
    parts: Mapping[str, float]
    most: int | None = None
    text: float = 0.0
    script: str = GROUPS[0]
    unknown: tuple[Unknown, ...] = ()


def estimate_text(text: str, *, calibration: Calibration = DEFAULT) -> Estimate:
    """Tokens of one text alone, without the token a content costs; 0 for an empty one."""
    ledger = _Ledger(calibration)
    ledger.add_texts([text])
    return ledger.close()


def estimate_request(
    body: Mapping[str, object],
    *,
    model: str,
    calibration: Calibration = DEFAULT,
    count_exactly: Callable[[str], int] | None = None,
) -> Estimate:
    """Input tokens of a whole request body; never raises, whatever JSON the body holds.

    Takes about 0.1 ms per 1,000 characters, up to a million of them: long ones belong in a thread.
    A response schema costs nothing on models from 2.5 on; before, some cost a part of their text.
    count_exactly: the model's own tokenizer; the method is then ``exact`` where the request holds
    text alone.
    """
    shape = read_request(body)
    ledger = _Ledger(calibration)
    if count_exactly is None:
        ledger.add_texts(shape.texts)
    else:
        for text in shape.texts:
            ledger.add_exact(count_exactly(text))
    if shape.tools:
        ledger.add_tools(shape.tools)
    generation = generation_of(model)
    for file in shape.files:
        counted = media_tokens(file, generation=generation)
        ledger.add("media", counted.tokens, counted.margin)
        if file.uri:
            ledger.unknown.append(Unknown(file.uri, file, counted.tokens, counted.margin))
    ledger.add("overhead", _overhead(shape, generation, calibration))
    for name in shape.cached:
        ledger.add("cached", CACHED_TOKENS, CACHED_TOKENS)
        ledger.unknown.append(Unknown(name, None, CACHED_TOKENS, CACHED_TOKENS))
    if shape.schemas and generation < _FIRST_WITH_OVERHEAD:
        ledger.add_doubted(map(json_text, shape.schemas))
    return ledger.close()


def has_overhead(model: str) -> bool:
    """Whether contents and system instructions of this model cost a token beside their text."""
    return generation_of(model) >= _FIRST_WITH_OVERHEAD


def deviation(tokens: float, *, share: float = 0.04) -> float:
    """One deviation of the estimate, in tokens; relative to length it shrinks towards ``share``."""
    return sqrt(2 * tokens + (share * tokens) ** 2)


def _overhead(shape: RequestShape, generation: tuple[int, int], calibration: Calibration) -> float:
    if generation < _FIRST_WITH_OVERHEAD:
        return 0.0
    return shape.contents * calibration.per_content + shape.systems * calibration.per_system


class _Ledger:
    """Sums the parts of one estimate."""

    __slots__ = (
        "_bytes_left", "_calibration", "_doubt", "_factors", "_groups", "_ordinary", "_parts",
        "_spare", "_unusual", "unknown",
    )  # fmt: skip

    def __init__(self, calibration: Calibration) -> None:
        factors = calibration.factors
        self._calibration = calibration
        self._factors = tuple(map(factors.get, GROUPS, _ONES)) if factors else ()
        self._groups: Sequence[float] = ()
        self._parts: dict[str, float] = {}
        self._ordinary = 0.0
        self._unusual = 0.0
        self._bytes_left = 0.0
        self._spare = 0.0
        self._doubt = 0.0
        self.unknown: list[Unknown] = []

    def add(self, part: str, tokens: float, margin: float = 0.0) -> None:
        """Book a part whose margin is known, or needs none."""
        if tokens:
            self._parts[part] = self._parts.get(part, 0.0) + tokens
        self._spare += margin

    def add_texts(self, texts: Sequence[str]) -> None:
        """Book texts: their groups scaled, their deviation in the stratum of their script."""
        for counted in count_texts(texts):
            self._add_counted(counted)

    def _add_counted(self, counted: TextTokens) -> None:
        tokens = self._scaled(counted) if self._factors else counted.tokens
        self._groups = tuple(map(add, self._groups, tokens)) if self._groups else tokens
        total = sum(tokens)
        if counted.doubt:
            self._doubt += counted.doubt * total / sum(counted.tokens)
        self._bytes_left += max(0.0, counted.utf8_bytes - total)
        if counted.unusual:
            self._unusual += total
        else:
            self._ordinary += total

    def _scaled(self, counted: TextTokens) -> Sequence[float]:
        scaled = list(map(mul, counted.tokens, self._factors))
        if counted.scripts:
            scaled[-1] = counted.tokens[-1] * self._factor_of(counted.scripts)
        # Byte fallback makes one token a byte at most, however the factors scale.
        excess = sum(scaled) / max(1, counted.utf8_bytes)
        return [tokens / excess for tokens in scaled] if excess > 1.0 else scaled

    def _factor_of(self, scripts: Mapping[str, float]) -> float:
        """The factor of a text's characters outside the page, by how much is of which script."""
        factors, other = self._calibration.factors, self._factors[-1]
        scaled = sum(tokens * factors.get(script, other) for script, tokens in scripts.items())
        return scaled / sum(scripts.values())

    def add_exact(self, tokens: int) -> None:
        """Book one text whose tokens are known."""
        self.add("text", tokens, tokens * _EXACT_SPARE)

    def add_tools(self, declarations: Sequence[str]) -> None:
        """Book tool declarations, which upstream counts in a form of its own."""
        calibration = self._calibration
        counted = list(count_texts(declarations))
        json_tokens = sum(sum(each.tokens) for each in counted)
        doubt = sum(each.doubt for each in counted)
        reserve = calibration.tool_reserve
        self.add(
            "tools",
            json_tokens * calibration.tool_ratio + calibration.per_tool * len(declarations),
            json_tokens * (reserve - calibration.tool_ratio) + doubt * reserve,
        )

    def add_doubted(self, texts: Iterable[str]) -> None:
        """Reserve for texts of which upstream rarely counts any."""
        self.add("", 0.0, sum(sum(each.tokens) + each.doubt for each in count_texts(list(texts))))

    def close(self) -> Estimate:
        """The estimate; the text's reservation never exceeds its UTF-8 bytes."""
        groups = self._groups
        parts = dict(compress(zip(GROUPS, groups), groups))  # noqa: B905 - none without a text
        text, script = sum(groups), GROUPS[groups.index(max(groups)) if groups else 0]
        parts |= self._parts
        total = text + sum(self._parts.values())
        tokens = max(1, round(total)) if total > 0 else 0
        room = max(0, ceil(self._bytes_left + total - tokens))
        spare = ceil(self._spare)
        margin = min(ceil(self._wanted()), room) + spare
        method = "exact" if "text" in parts and parts.keys() <= _EXACT_PARTS else "estimator"
        most = tokens + room + spare
        shown = MappingProxyType(parts)
        return Estimate(tokens, margin, method, shown, most, text, script, tuple(self.unknown))

    def _wanted(self) -> float:
        """The margin of the text alone."""
        calibration = self._calibration
        wanted = calibration.z * deviation(self._ordinary) + self._doubt
        if self._unusual:
            wanted += calibration.unusual_z * deviation(self._unusual, share=_UNUSUAL_SHARE)
        return wanted
