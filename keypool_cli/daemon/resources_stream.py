"""A stream of events whose first ones name an interaction that upstream keeps."""

from collections.abc import Awaitable, Callable

import msgspec

from keypool_cli.http.message import UNREADABLE
from keypool_cli.service.passage import StreamedPassage
from keypool_cli.upstream.names import root_of

_SEARCHED = 256 * 1024
"""Bytes of a stream in which its name is looked for."""


class _Named(msgspec.Struct):
    id: str | None = None


class _Event(msgspec.Struct):
    interaction: _Named | None = None
    interaction_id: str | None = None


_event = msgspec.json.Decoder(_Event)


class NamedStream:
    """Passes a stream on; the part with the name only after ``note`` has kept it."""

    def __init__(self, passage: StreamedPassage, note: Callable[[str], Awaitable[None]]) -> None:
        self.status, self.headers, self.length = passage.status, passage.headers, passage.length
        self.refusal = passage.refusal
        self._passage = passage
        self._note = note
        self._unread = b""
        self._left = _SEARCHED

    async def part(self) -> bytes | None:
        """The next part; None at the end. Raises UpstreamError."""
        part = await self._passage.part()
        if part is not None and self._left > 0:
            self._left -= len(part)
            name = self._name_in(part)
            if name is not None:
                self._left = 0
                await self._note(name)
        return part

    def _name_in(self, part: bytes) -> str | None:
        *whole, self._unread = (self._unread + part).split(b"\n")
        names = (_name_of(line) for line in whole if line.startswith(b"data:"))
        return next((each for each in names if each is not None), None)


def _name_of(line: bytes) -> str | None:
    try:
        event = _event.decode(line.removeprefix(b"data:"))
    except UNREADABLE:
        return None
    found = event.interaction.id if event.interaction is not None else event.interaction_id
    return root_of(f"interactions/{found}") if found else None
