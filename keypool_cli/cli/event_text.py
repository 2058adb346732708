"""An event in a person's words: when, what, to what, by whom, and why."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keypool_cli.service.events import EventView

WIDTHS = (19, 16, 20)
"""Cells of time, kind and subject while following, when what comes next is not known yet."""


def when(event: "EventView") -> str:
    """To the second, in UTC."""
    return event.at[:19].replace("T", " ")


def who(event: "EventView") -> str:
    """The actor and the host it worked from."""
    return f"{event.actor}@{event.host}"


def detail_text(detail: Mapping[str, object]) -> str:
    """The members of a detail that say something, as ``name=value``."""
    words = (_member(name, value) for name, value in detail.items())
    return " ".join(each for each in words if each)


def _member(name: str, value: object) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, Mapping):
        return f"{name}=({detail_text(value)})"
    if isinstance(value, list):
        plain = all(isinstance(each, str | int | float) for each in value)
        return f"{name}={','.join(map(str, value))}" if plain else f"{name}:{len(value)}"
    return f"{name}={value}"


def line_of(event: "EventView") -> str:
    """One line for a person who follows."""
    texts = when(event), event.kind, event.subject
    start = "  ".join(text.ljust(width) for text, width in zip(texts, WIDTHS, strict=True))
    rest = [who(event), event.reason or "", detail_text(event.detail)]
    return f"{start}  {'  '.join(each for each in rest if each)}"
