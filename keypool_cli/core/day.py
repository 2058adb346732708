"""The Pacific day, by which upstream counts requests per day; 23-, 24- and 25-hour days exist.

Source: https://ai.google.dev/gemini-api/docs/rate-limits (requests per day reset at midnight
Pacific time).
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")


@lru_cache(maxsize=8)
def _starts(day: date) -> tuple[int, ...]:
    """Starts of ``day`` and its neighbours: two before it, itself, three after; ms since epoch."""
    days = (day + timedelta(days=offset) for offset in range(-2, 4))
    midnights = (datetime.combine(each, time(), tzinfo=PACIFIC) for each in days)
    return tuple(int(midnight.timestamp()) * 1000 for midnight in midnights)


@lru_cache(maxsize=8)
def _day_of_hour(hour: int) -> date:
    return datetime.fromtimestamp(hour * 3600, tz=UTC).astimezone(PACIFIC).date()


def day_of(at_ms: int) -> date:
    """Return the Pacific date at an instant."""
    # Pacific time is whole hours behind UTC, so its days begin with one.
    return _day_of_hour(at_ms // 3_600_000)


def day_starts(at_ms: int) -> tuple[int, ...]:
    """Return the starts of six consecutive Pacific days around an instant, ascending, in ms."""
    return _starts(day_of(at_ms))


def day_end_ms(at_ms: int) -> int:
    """Return the next Pacific midnight after an instant, in ms since the epoch."""
    return day_starts(at_ms)[3]
