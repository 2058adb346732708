"""Instants by this machine's clock, and as people and programs read them."""

from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns


def now_ms() -> int:
    """Return this machine's time, in milliseconds since the epoch; the store has its own."""
    return time_ns() // 1_000_000


@lru_cache(maxsize=4096)
def _to_the_second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(at_ms: int) -> str:
    """Return an instant as ISO-8601 in UTC, to the millisecond."""
    at_s, ms = divmod(at_ms, 1000)
    # Every lease says two of them; most share a second with the last one.
    return f"{_to_the_second(at_s)}.{ms:03d}Z"


def iso_or_none(at_ms: int | None) -> str | None:
    """Return :func:`iso`, or None for no instant (None or 0)."""
    return iso(at_ms) if at_ms else None
