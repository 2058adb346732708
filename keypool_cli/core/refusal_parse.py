"""Reading what an upstream error says: windows, limits, reasons, when to come back.

Nothing is decided here: :mod:`keypool_cli.core.refusal` does that. Shapes are those of late 2026:
https://ai.google.dev/gemini-api/docs/generate-content/api-errors, the bodies in
packages/core/src/utils/googleErrors.test.ts of github.com/google-gemini/gemini-cli, and refusals
that users published; ``tests/support/bodies.py`` holds one of each.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from keypool_cli.core.model import MAX_LIMIT
from keypool_cli.core.refusal_body import ErrorBody, objects_of, open_body, text_of

_MAX_NAME = 200
_MAX_DELAY = 60
_MAX_HINT_S = 1e9

# These search lower-case text: a pattern that ignores case is several times slower.
_WINDOW = re.compile(r"per[ _]?(?:day|minute)|daily")
_DAY = re.compile(r"per[ _]?day|daily")
_LIMIT_ZERO = re.compile(r"limit:\s*0(?!\d|\.\d)")
_COUNT = re.compile(r"[0-9]{1,13}")
_CONSUMER = re.compile(r"projects/([0-9]{1,20})")

# Go durations leave zero parts out: 21h59.998s is 21 h 0 min 59.998 s.
_PART = r"([0-9]{1,9}(?:\.[0-9]{1,18})?)(h|ms|m|s)"
_PARTS = re.compile(_PART)
_DURATION = re.compile(rf"(?:{_PART})+")
_SPOKEN_DELAY = re.compile(rf"retry in ((?:{_PART})+)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

# Only these stems speak of the model's own requests and input tokens: a tool's quota (search,
# images) cools like any other but must not be learned as the model's.
_TAUGHT_ID = re.compile(
    r"(?:Generate(?:Content)?|EmbedContent|Predict)(?:(?:Free|Paid)Tier[0-9]*)?"
    r"(Requests|InputTokens)(?:Per\w*?)?Per(Day|Minute)"
)
_TAUGHT_PROSE = re.compile(r"\(limit: ([0-9]{1,13}) ([a-z ]{1,40}?) per (day|minute) on ")


class Dimension(StrEnum):
    """What a learned limit counts."""

    RPM = "rpm"
    TPM = "tpm"
    RPD = "rpd"


_DIMENSION = {
    ("requests", "minute"): Dimension.RPM,
    ("requests", "day"): Dimension.RPD,
    ("inputtokens", "minute"): Dimension.TPM,
    ("input tokens", "minute"): Dimension.TPM,
}


@dataclass(frozen=True, slots=True)
class LearnedLimit:
    """A limit that a refusal named: how many of ``dimension`` upstream allows."""

    dimension: Dimension
    value: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """What one upstream answer that says no contains; nothing here is judged yet.

    status: the HTTP status, or the error's own where it came inside a 2xx (``inside``); 0 where
    no answer came. message: upstream's text, "" if none; raw, it may echo a key.
    reasons: every ErrorInfo reason, in order. daily, per_minute: the windows that refused.
    not_offered: a limit of 0 was named. hint_ms: when upstream says to come back, counted from
    now; None where it does not say or not in a readable way.
    """

    status: int
    inside: bool
    message: str
    reasons: tuple[str, ...]
    daily: bool
    per_minute: bool
    not_offered: bool
    hint_ms: int | None
    limits: tuple[LearnedLimit, ...]
    bucket_model: str | None
    project_number: str | None


@dataclass(frozen=True, slots=True)
class _Violation:
    """One exceeded quota; name: its id and metric. value: None where upstream names none."""

    name: str
    value: int | None
    model: str | None


def read_refusal(status: int, body: object) -> Refusal | None:
    """What ``body`` says, or None where status and body are an answer that says yes.

    A 2xx is a refusal only if its outermost object (or an element of its array) holds ``error``
    or is an ``error`` event; its status is then the error's own.
    """
    error = open_body(body)
    if not 200 <= status < 300:
        return _refusal(error, status, inside=False)
    return _refusal(error, error.status, inside=True) if error.named else None


def _refusal(error: ErrorBody, status: int, *, inside: bool) -> Refusal:
    text, details = error.message.lower(), error.details
    violations = list(_violations(details))
    named = " ".join(violation.name for violation in violations).lower()
    windows = named if _WINDOW.search(named) else text
    daily = bool(_DAY.search(windows))
    return Refusal(
        status=status,
        inside=inside,
        message=error.message,
        reasons=tuple(filter(None, (text_of(detail.get("reason")) for detail in details))),
        daily=daily,
        per_minute=not daily and bool(_WINDOW.search(windows)),
        not_offered=bool(_LIMIT_ZERO.search(text)) or any(v.value == 0 for v in violations),
        hint_ms=_hint_ms(text, details),
        limits=_limits(violations, text),
        bucket_model=next((v.model for v in violations if v.model), None),
        project_number=next(filter(None, map(_project_number, details)), None),
    )


def _violations(details: Sequence[dict[str, object]]) -> Iterator[_Violation]:
    for detail in details:
        for item in objects_of(detail.get("violations")):
            yield _violation(item, ("quotaId", "quotaMetric", "quotaValue"))
        # Until early 2025 the quota stood in ErrorInfo's metadata.
        metadata = detail.get("metadata")
        if isinstance(metadata, dict) and "quota_limit" in metadata:
            yield _violation(metadata, ("quota_limit", "quota_metric", "quota_limit_value"))


def _violation(item: dict[str, object], members: tuple[str, str, str]) -> _Violation:
    quota_id, metric, value = (item.get(member) for member in members)
    dimensions = item.get("quotaDimensions")
    model = text_of(dimensions.get("model")) if isinstance(dimensions, dict) else ""
    return _Violation(
        name=f"{text_of(quota_id)[:_MAX_NAME]} {text_of(metric)[:_MAX_NAME]}",
        value=_count(value),
        model=model.removeprefix("models/")[:_MAX_NAME] or None,
    )


def _count(value: object) -> int | None:
    """A limit as upstream writes it, a string of digits; None where it is no such count."""
    if isinstance(value, str) and _COUNT.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MAX_LIMIT else None


def _limits(violations: Sequence[_Violation], text: str) -> tuple[LearnedLimit, ...]:
    """The limits named, the lowest of each dimension.

    A limit of 0 is not taught: it says that the model is not offered, and a learned 0 would
    keep it so after the tier has changed.
    """
    taught = [
        (match[1], match[2], violation.value)
        for violation in violations
        if (match := _TAUGHT_ID.match(violation.name))
    ]
    taught += [(unit, window, _count(n)) for n, unit, window in _TAUGHT_PROSE.findall(text)]
    lowest: dict[Dimension, int] = {}
    for unit, window, value in taught:
        dimension = _DIMENSION.get((unit.lower(), window.lower()))
        if dimension and value:
            lowest[dimension] = min(value, lowest.get(dimension, value))
    return tuple(LearnedLimit(dimension, lowest[dimension]) for dimension in sorted(lowest))


def _hint_ms(text: str, details: Sequence[dict[str, object]]) -> int | None:
    """RetryInfo's delay, else the one in the message."""
    delays = (_seconds(detail.get("retryDelay")) for detail in details)
    told = next((delay for delay in delays if delay is not None), None)
    match = _SPOKEN_DELAY.search(text)
    said = _seconds(match[1]) if match else None
    # RetryInfo is cut to whole seconds where the message keeps the fraction: "75659s" came with
    # "21h59.998565413s" (July 2026), and coming back early is refused again.
    if told is None or (said is not None and told <= said < told + 1):
        told = said
    return None if told is None else math.ceil(told * 1000)


def _seconds(delay: object) -> float | None:
    """A proto or Go duration in seconds; None where it is negative, endless or unreadable."""
    if isinstance(delay, str) and len(delay) <= _MAX_DELAY and _DURATION.fullmatch(delay):
        delay = sum(float(n) * _SECONDS[unit] for n, unit in _PARTS.findall(delay))
    return float(delay) if isinstance(delay, int | float) and 0 <= delay < _MAX_HINT_S else None


def _project_number(detail: dict[str, object]) -> str | None:
    metadata = detail.get("metadata")
    consumer = text_of(metadata.get("consumer")) if isinstance(metadata, dict) else ""
    match = _CONSUMER.fullmatch(consumer)
    return match[1] if match else None
