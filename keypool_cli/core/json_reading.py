"""Decoded JSON read as what it should be: what has another type is as if it were not there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def mapping_of(value: object) -> Mapping[str, object]:
    """An object; empty where it is none."""
    # Decoded JSON holds dicts only; asking for Mapping would cost as much as counting the text.
    return value if isinstance(value, dict) else _NOTHING


def list_of(value: object) -> list[object]:
    """A list; empty where it is none."""
    return value if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A text; empty where it is none."""
    return value if isinstance(value, str) else ""


def number_of(value: object) -> float | None:
    """A number, which protobuf's JSON takes as a string, too; None unless it is above zero."""
    if isinstance(value, str) and len(value) < 32:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value <= 1000 else None


def first_of(holder: Mapping[str, object], *names: str) -> object:
    """The first of these members that is there; None where none is."""
    for name in names:
        if name in holder:
            return holder[name]
    return None
