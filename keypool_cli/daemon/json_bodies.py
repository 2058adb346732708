"""JSON bodies, decoded: never into many times the memory that their bytes take.

Nor into another meaning than upstream's: which of two members with one name counts, each parser
decides for itself, and upstream's may join them.
"""

import json
from typing import Final, TypeVar

import msgspec

from keypool_cli.core.json_values import has_more_values
from keypool_cli.errors import UsageError
from keypool_cli.service.estimating import LARGE

MOST_VALUES: Final = 1_000_000
"""Lists, objects, members and elements of a body: decoded, each takes up to 200 bytes. Bodies below
LARGE cannot hold many more."""

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


_LONGEST_SHOWN: Final = 100


class TooManyValuesError(UsageError):
    """A body holds more values than are decoded."""

    def __init__(self) -> None:
        super().__init__(
            f"the body holds more than {MOST_VALUES} JSON values",
            hint="send long data as text or as a file, or in several calls",
        )


class RepeatedMemberError(UsageError):
    """An object of the body names a member twice."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Invalid JSON payload received. The member {name[:_LONGEST_SHOWN]!r} is there twice.",
            hint="name each member once: what reads the body next may believe the other one",
        )


def decoded(decoder: msgspec.json.Decoder[T], body: bytes | memoryview | str) -> T:
    """What a body says.

    Raises TooManyValuesError, RepeatedMemberError, and what ``UNREADABLE`` lists.
    """
    text = body.encode(errors="replace") if isinstance(body, str) else bytes(body)
    if len(text) >= LARGE and has_more_values(text, MOST_VALUES):
        raise TooManyValuesError
    value = decoder.decode(text)
    _check_members(text, value)
    return value


def _check_members(text: bytes, value: object) -> None:
    """Raise RepeatedMemberError where decoding has dropped one of two members.

    It drops their quotes with it, and a quote is written in two ways only. So as many on both sides
    mean that none was dropped; most texts are as quickly looked at as they are decoded.
    """
    quotes = text.count(b'"')
    if b"\\" in text:
        quotes += text.count(b"\\u0022")
    if quotes != _encode(value).count(b'"'):
        json.loads(text, object_pairs_hook=_check_pairs)


def _check_pairs(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) == len(pairs):
        return
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise RepeatedMemberError(name)
        seen.add(name)
