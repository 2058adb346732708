"""One page of a list, as pageSize and pageToken ask for it."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from keypool_cli.simulator.refusals import invalid_argument

LARGEST = 1000

T = TypeVar("T")


def page_of(
    items: Sequence[T], query: Mapping[str, str], *, default: int
) -> tuple[Sequence[T], str | None]:
    """The page and the next one's token; raises GeminiError for what is no number."""
    start, size = _number(query, "pageToken", 0), _number(query, "pageSize", default)
    end = start + min(size or default, LARGEST)
    return items[start:end], str(end) if end < len(items) else None


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not text.isdecimal():
        raise invalid_argument(f"Invalid value at '{name}' (TYPE_INT32), \"{text}\"")
    return int(text)
