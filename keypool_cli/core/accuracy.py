"""What a probe counts, and how near the estimator comes to upstream's own counts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from keypool_cli.core.estimator import Calibration, estimate_request
from keypool_cli.core.request_shape import read_request

STRUCTURE: Final = "structure"
"""Kind of the probes that measure overhead: the same texts, arranged differently."""

STRATA: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ar_prose": "Arabic",
        "ar_dialect": "Arabic",
        "ar_mixed": "Arabic",
        "ar_ui": "Arabic",
        "ar_digits": "Arabic",
        "ar_tashkeel": "tashkeel",
        "arabizi": "Arabizi",
        "en_prose": "English",
        "en_prompt": "English",
        "code": "code",
        "json": "code",
        "logs": "code",
    }
)
"""Kinds judged together; any other kind is a stratum of its own."""


_LONGEST_TOKEN: Final = 64
_MOST_TOOL_RATIO: Final = 3  # 2.23 tokens were recorded for each of a declaration's JSON
_MOST_OVERHEAD: Final = 64  # tokens; 27 were recorded for a declaration of a tool


@dataclass(frozen=True, slots=True)
class Probe:
    """One request whose input tokens upstream is asked for.

    id: unique within a run. kind: its class. body: a generateContent body.
    """

    id: str
    kind: str
    body: Mapping[str, object]

    @property
    def digest(self) -> str:
        """16 hex digits that name the body's exact content; counts are stored under it."""
        canonical = json.dumps(self.body, sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()[:16]

    @property
    def stratum(self) -> str:
        """What the probe is judged with."""
        return STRATA.get(self.kind, self.kind)


def is_possible(probe: Probe, tokens: int) -> bool:
    """Whether any vocabulary may count so many tokens: none has a token of less than a byte.

    None was seen with tokens of more than 31 bytes either, but for runs of one sign.
    """
    shape = read_request(probe.body)
    if shape.files:
        return tokens > 0
    text_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in shape.texts)
    declared_bytes = sum(len(tool.encode("utf-8", "surrogatepass")) for tool in shape.tools)
    most = text_bytes + _MOST_TOOL_RATIO * declared_bytes
    most += _MOST_OVERHEAD * (shape.contents + shape.systems + len(shape.tools))
    return text_bytes // _LONGEST_TOKEN <= tokens <= most and (tokens > 0 or not text_bytes)


@dataclass(frozen=True, slots=True)
class Counted:
    """A probe with upstream's count of its input tokens."""

    probe: Probe
    tokens: int


@dataclass(frozen=True, slots=True)
class Scored:
    """What the estimator says about a counted probe. All but characters are tokens."""

    probe: Probe
    characters: int
    actual: int
    expected: int
    reserved: int

    @property
    def error(self) -> float:
        """Relative error of the estimate; negative where it is too low."""
        return (self.expected - self.actual) / self.actual

    @property
    def is_under(self) -> bool:
        """Whether the request costs more than would be reserved."""
        return self.actual > self.reserved


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The errors of several estimates.

    mape: mean absolute relative error. bias: mean relative error. under: how many cost more than
    reserved. over: tokens reserved in excess, by all tokens. Ratios, 0.01 is one percent.
    """

    samples: int
    characters: int
    tokens: int
    mape: float
    bias: float
    under: int
    over: float

    @property
    def characters_per_token(self) -> float:
        """Characters a token, by volume; 0.0 where nothing was counted."""
        return self.characters / self.tokens if self.tokens else 0.0


def text_probe(sample_id: str, text: str, *, kind: str) -> Probe:
    """A probe of one text in one content."""
    return Probe(sample_id, kind, {"contents": [{"role": "user", "parts": [{"text": text}]}]})


def score(counted: Counted, *, model: str, calibration: Calibration) -> Scored:
    """One probe under a calibration."""
    probe = counted.probe
    estimate = estimate_request(probe.body, model=model, calibration=calibration)
    return Scored(
        probe,
        sum(map(len, read_request(probe.body).texts)),
        max(1, counted.tokens),
        estimate.tokens,
        estimate.tokens + estimate.margin,
    )


def accuracy(scored: Sequence[Scored]) -> Accuracy:
    """The errors of several probes taken together; zeros where there are none."""
    tokens = sum(one.actual for one in scored)
    errors = [one.error for one in scored]
    count = max(1, len(scored))
    return Accuracy(
        samples=len(scored),
        characters=sum(one.characters for one in scored),
        tokens=tokens,
        mape=sum(map(abs, errors)) / count,
        bias=sum(errors) / count,
        under=sum(one.is_under for one in scored),
        over=sum(one.reserved for one in scored) / tokens - 1 if tokens else 0.0,
    )


def together(parts: Sequence[Accuracy]) -> Accuracy:
    """The errors of several groups of probes as one group."""
    samples = sum(part.samples for part in parts)
    tokens = sum(part.tokens for part in parts)
    return Accuracy(
        samples=samples,
        characters=sum(part.characters for part in parts),
        tokens=tokens,
        mape=sum(part.mape * part.samples for part in parts) / max(1, samples),
        bias=sum(part.bias * part.samples for part in parts) / max(1, samples),
        under=sum(part.under for part in parts),
        over=sum(part.over * part.tokens for part in parts) / max(1, tokens),
    )


def by_kind(scored: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Scores by kind, in order of appearance."""
    return _grouped((one.probe.kind, one) for one in scored)


def by_stratum(scored: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Scores by stratum, in order of appearance."""
    return _grouped((one.probe.stratum, one) for one in scored)


def _grouped(pairs: Iterable[tuple[str, Scored]]) -> dict[str, list[Scored]]:
    groups: dict[str, list[Scored]] = {}
    for name, one in pairs:
        groups.setdefault(name, []).append(one)
    return groups
