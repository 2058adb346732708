"""Spans of time as people read them."""


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
