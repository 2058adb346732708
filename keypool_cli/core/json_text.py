"""A decoded JSON value as text again, as upstream counts it."""

import json
from collections.abc import Iterator


def json_text(value: object) -> str:
    """Compact JSON of a decoded value, or all its strings where it nests too deep for that."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), skipkeys=True)
    except (RecursionError, TypeError, ValueError):
        return " ".join(_strings(value))


def _strings(value: object) -> Iterator[str]:
    """Every key and leaf of a nested value; iterative, so depth cannot exhaust the stack."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
            left.extend(key for key in item if isinstance(key, str))
        elif isinstance(item, list):
            left.extend(item)
        elif isinstance(item, str):
            yield item
        elif isinstance(item, int):
            yield f"{item:x}"  # decimal refuses huge numbers
