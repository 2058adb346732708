"""Texts of one JSON value a line, where an error names its line."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")


def numbered_values(text: str, decoder: msgspec.json.Decoder[T]) -> Iterator[tuple[int, T]]:
    """The value of each line that is not blank, with the line's number.

    Raises msgspec.DecodeError, whose message begins with the number.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, decoder.decode(line)
            except msgspec.DecodeError as err:
                raise msgspec.DecodeError(f"line {number}: {err}") from err
