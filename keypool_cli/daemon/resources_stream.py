"""A stream of events, whose first ones name an interaction and what else upstream keeps of it."""

from collections.abc import Awaitable, Callable

import msgspec

from keypool_cli.http.message import UNREADABLE
from keypool_cli.service.passage import StreamedPassage
from keypool_cli.upstream.names import named

_LONGEST_LINE = 1024 * 1024
"""Bytes of a line in which names are looked for; what is longer holds an answer, and is let go."""


class _Named(msgspec.Struct):
    id: str | None = None
    environment_id: str | None = None


class _Event(msgspec.Struct):
    interaction: _Named | None = None
    interaction_id: str | None = None


_event = msgspec.json.Decoder(_Event)


class NamedStream:
    """Passes a stream on; a part with a name only after ``note`` has kept it."""

    def __init__(self, passage: StreamedPassage, note: Callable[[str], Awaitable[None]]) -> None:
        self.status, self.headers, self.length = passage.status, passage.headers, passage.length
        self.refusal = passage.refusal
        self._passage = passage
        self._note = note
        self._noted: set[str] = set()
        self._begun: list[bytes] = []
        self._size = 0

    async def part(self) -> bytes | None:
        """The next part; None at the end. Raises UpstreamError."""
        part = await self._passage.part()
        if part is not None:
            for name in self._names_in(part):
                if name not in self._noted:
                    self._noted.add(name)
                    await self._note(name)
        return part

    def _names_in(self, part: bytes) -> list[str]:
        first, *others = part.split(b"\n")
        self._hold(first)
        if not others:
            return []
        lines = [b"".join(self._begun), *others]
        self._begun, self._size = [], 0
        self._hold(lines.pop())
        return [name for line in lines if _may_name(line) for name in _names_of(line)]

    def _hold(self, begun: bytes) -> None:
        """Keep what a line begins with until its end comes; of one that is too long, nothing."""
        self._size += len(begun)
        if self._size > _LONGEST_LINE:
            self._begun = []
        elif begun:
            self._begun.append(begun)


def _may_name(line: bytes) -> bool:
    return line.startswith(b"data:") and (b"interaction" in line or b"environment" in line)


def _names_of(line: bytes) -> list[str]:
    try:
        event = _event.decode(line.removeprefix(b"data:"))
    except UNREADABLE:
        return []
    told = event.interaction or _Named(event.interaction_id)
    names = (("interactions", told.id), ("environments", told.environment_id))
    roots = (named(collection, own) for collection, own in names if own is not None)
    return [each for each in roots if each is not None]
