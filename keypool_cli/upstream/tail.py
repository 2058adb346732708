"""The end of an answer, where upstream tells usage and errors, whatever form the answer has.

Whole objects, JSON arrays and server-sent events are read alike: what is looked for is a member
with its quotes, and inside a JSON string those would be escaped.
"""

import json
import re
from collections import deque
from collections.abc import Mapping

from keypool_cli.core.usage import in_gemini_names

KEPT = 64 * 1024
"""Bytes of an answer that are kept; usage comes last, after the text it counts."""

_READ = json.JSONDecoder()
_USAGE = re.compile(r'"(?:usageMetadata|usage_metadata|usage)"\s*:\s*(?=\{)')
_ERROR_START = re.compile(r'\{\s*"(?:error"\s*:|event_type"\s*:\s*"error")')
# None of these goes back (``*+``): what a long answer is made of must not hold the daemon up.
_NOTHING_MORE = re.compile(r"(?:[\s\],]|(?::|event:|id:|retry:)[^\n]*+|data:\s*+\[DONE\])*+")
# Comments, ids and the like may stand before the first event: upstream's proxies keep lines open so.
_BEGINS_WITH_ERROR = re.compile(
    rb"[\s\[]*+(?:(?::|event:|id:|retry:)[^\n]*+\n\s*+)*+(?:data:)?+[\s\[]*+"
    rb'\{\s*+"(?:error"\s*+:|event_type"\s*+:\s*+"error")'
)

# Whatever may still become that, once more of it is there.
_MAY_BECOME_ERROR = re.compile(
    rb"[\s\[]*+(?:(?::|event:|id:|retry:)[^\n]*+(?:\n|\Z)\s*+)*+(?:[a-z]{0,5}+:?+)?+[\s\[]*+"
    rb'(?:\{\s*+(?:"[a-z_]{0,10}+(?:"\s*+:?+\s*+(?:"[a-z]{0,5}+)?+)?+)?+)?+'
)


class Tail:
    """Keeps the last bytes of an answer as its parts pass by."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0

    def add(self, part: bytes) -> None:
        """Note a part; forgets what has become too old."""
        self._parts.append(part)
        self._size += len(part)
        while self._size - len(self._parts[0]) >= KEPT:
            self._size -= len(self._parts.popleft())

    def kept(self) -> bytes:
        """The last :data:`KEPT` bytes."""
        return b"".join(self._parts)[-KEPT:]


def usage_in(text: str) -> Mapping[str, object] | None:
    """The last usage in an answer's end, in Gemini's own names; None where there is none."""
    # From the end, where it is: searching for plain text is a hundred times as fast as a pattern.
    at = text.rfind('"usage')
    while at >= 0:
        match = _USAGE.match(text, at)
        found = _object_at(text, match.end()) if match is not None else None
        if found is not None:
            return in_gemini_names(found)
        at = text.rfind('"usage', 0, at)
    return None


def error_in(text: str) -> object:
    """The error that ends an answer which began well; None where it ended well."""
    if '"error"' not in text:
        return None
    for match in reversed(list(_ERROR_START.finditer(text))):
        found = _object_at(text, match.start(), to_the_end=True)
        if found is not None:
            return found
    return None


def begins_with_error(part: bytes) -> bool:
    """Whether the first part of a 2xx answer is an error after all."""
    return _BEGINS_WITH_ERROR.match(part) is not None


def may_become_error(part: bytes) -> bool:
    """Whether so little of a 2xx answer has come that it may be an error all the same."""
    return len(part) < KEPT and _MAY_BECOME_ERROR.fullmatch(part) is not None


def _object_at(text: str, start: int, *, to_the_end: bool = False) -> dict[str, object] | None:
    try:
        found, end = _READ.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or (to_the_end and not _NOTHING_MORE.fullmatch(text, end)):
        return None
    return found
