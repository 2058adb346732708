"""JSON bodies, decoded: never into many times the memory that their bytes take."""

from typing import Final, TypeVar

import msgspec

from keypool_cli.core.json_values import has_more_values
from keypool_cli.errors import UsageError
from keypool_cli.service.estimating import LARGE

MOST_VALUES: Final = 1_000_000
"""Lists, objects, members and elements of a body: decoded, each takes up to 200 bytes. Bodies below
LARGE cannot hold many more."""

T = TypeVar("T")


class TooManyValuesError(UsageError):
    """A body holds more values than are decoded."""

    def __init__(self) -> None:
        super().__init__(
            f"the body holds more than {MOST_VALUES} JSON values",
            hint="send long data as text or as a file, or in several calls",
        )


def decoded(decoder: msgspec.json.Decoder[T], body: bytes | memoryview | str) -> T:
    """What a body says. Raises TooManyValuesError, and what ``UNREADABLE`` lists."""
    if len(body) >= LARGE:
        text = body.encode(errors="replace") if isinstance(body, str) else body
        if has_more_values(text, MOST_VALUES):
            raise TooManyValuesError
    return decoder.decode(body)
