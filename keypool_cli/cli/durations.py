"""Spans of time as people read and write them."""

from keypool_cli.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float:
    """Seconds from ``90s``, ``15m``, ``2h``, ``3d``, or a plain number. Raises UsageError."""
    number = text.strip().lower()
    unit = _UNITS.get(number[-1:], 0)
    try:
        seconds = float(number[:-1]) * unit if unit else float(number)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e9:
        raise UsageError(f"a span of time is like 90s, 15m, 2h or 3d, not {text!r}")
    return seconds


def in_words(seconds: float | None) -> str:
    """``41 s``, ``12 min``, ``7 h 05 min``, ``2 d 3 h``; nothing for None."""
    if seconds is None:
        return ""
    whole = max(round(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60:02} min"
    return f"{hours // 24} d {hours % 24} h"
