"""Exact quota of one project and model: a sliding log of requests and tokens, and a day count.

Pure: every call is given the instant, in milliseconds since the epoch, which never runs back.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=0)] | None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project may do with a model; None is no limit, 0 in any of them is not offered.

    rpm, tpm: requests and input tokens in one window. rpd: requests in one day.
    """

    rpm: Limit = None
    tpm: Limit = None
    rpd: Limit = None

    @property
    def is_offered(self) -> bool:
        """Whether the project may use the model at all."""
        return 0 not in (self.rpm, self.tpm, self.rpd)


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a request would exceed: ``rpm``, ``tpm`` or ``rpd``, and its value."""

    limit: str
    value: int


@dataclass(slots=True)
class SlidingLog:
    """What was added in the last ``window_ms``, and the most there ever was at one instant.

    An amount added at t is in the window from t on and out of it at t + window_ms.
    """

    window_ms: int
    tokens: int = 0
    highest_requests: int = 0
    highest_tokens: int = 0
    _entries: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def requests(self) -> int:
        """How many were in the window when it was last moved."""
        return len(self._entries)

    def move(self, now_ms: int) -> None:
        """Let go of what left the window."""
        gone_ms = now_ms - self.window_ms
        while self._entries and self._entries[0][0] <= gone_ms:
            self.tokens -= self._entries.popleft()[1]

    def add(self, tokens: int, now_ms: int) -> None:
        """Count one request of ``tokens``."""
        self.move(now_ms)
        self._entries.append((now_ms, tokens))
        self.tokens += tokens
        self.highest_requests = max(self.highest_requests, self.requests)
        self.highest_tokens = max(self.highest_tokens, self.tokens)


@dataclass(slots=True)
class DayCount:
    """Requests of the current day in ``zone``."""

    zone: ZoneInfo
    requests: int = 0
    _ends_ms: int = 0

    def move(self, now_ms: int) -> None:
        """Begin a new day if the last one is over."""
        if now_ms >= self._ends_ms:
            self._ends_ms = day_end_ms(now_ms, self.zone)
            self.requests = 0

    def add(self, now_ms: int) -> None:
        """Count one request."""
        self.move(now_ms)
        self.requests += 1


@dataclass(slots=True)
class Ledger:
    """Everything one project has used of one model."""

    window: SlidingLog
    day: DayCount

    def excesses(self, limits: Limits, tokens: int, *, now_ms: int) -> tuple[Excess, ...]:
        """The limits that one more request of ``tokens`` would exceed; empty when it fits."""
        self.window.move(now_ms)
        self.day.move(now_ms)
        asked = (
            ("tpm", limits.tpm, self.window.tokens + tokens),
            ("rpm", limits.rpm, self.window.requests + 1),
            ("rpd", limits.rpd, self.day.requests + 1),
        )
        return tuple(
            Excess(name, limit) for name, limit, used in asked if limit is not None and used > limit
        )

    def book(self, tokens: int, *, now_ms: int) -> None:
        """Count one request of ``tokens``."""
        self.window.add(tokens, now_ms)
        self.day.add(now_ms)


def day_end_ms(now_ms: int, zone: ZoneInfo) -> int:
    """The first instant of the next day in ``zone``; days there may have 23, 24 or 25 hours."""
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), zone)
    return int(midnight.astimezone(UTC).timestamp() * 1000)
