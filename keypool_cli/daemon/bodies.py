"""Bodies of calls, read whole: no more of them at once than there is room for, none for ever.

A short body is read at once, whatever else goes on. A longer one waits for its room before it is
read: so long its bytes stay where they are, in the client's socket. It keeps its room until it is
let go, when upstream has it or nobody needs it any more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from time import monotonic
from typing import Final

from keypool_cli.core.model import Client
from keypool_cli.errors import KeypoolError, UnreachableError
from keypool_cli.http.calls import SHORT_DIGITS
from keypool_cli.http.message import BodyTooLargeError
from keypool_cli.http.rsgi import ClientGone, Exchange, Headers
from keypool_cli.http.stalling import IDLE_S, Awaited
from keypool_cli.service.alarms import Alarms
from keypool_cli.service.estimating import LARGE
from keypool_cli.service.turns import Room

LARGEST_BODY: Final = 32 * 1024 * 1024
"""Bytes of a body, unpacked; more is refused."""

SHORT: Final = 10**SHORT_DIGITS
"""Bytes of a body from which on it needs room; what is shorter is bounded by the connections."""

LONG_ROOM: Final = 64 * 1024 * 1024
"""Bytes of all bodies from SHORT up to LARGE: apart, so that these wait for no larger ones."""

LARGE_ROOM: Final = 192 * 1024 * 1024
"""Bytes of all bodies from LARGE on. Each worker has so much; upstream's connections hold up to as
much again while they send."""

WAIT_S: Final = 30.0
"""Seconds a body waits for its room."""

SLOWEST: Final = 1024
"""Bytes a second that a longer body must bring on the whole; a burst pays for IDLE_S at most."""

Parts = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]
"""Makes parts of a body from parts of what came."""


class StalledError(KeypoolError):
    """The body did not come."""

    def __init__(self) -> None:
        super().__init__(
            f"the body has not come: {IDLE_S:g} s are waited for more of it",
            hint="send it at once, as long as its content-length says",
        )


class CrowdedError(UnreachableError):
    """Too many large bodies are held already."""

    def __init__(self) -> None:
        super().__init__(
            f"too many large bodies are under way: no room for this one in {WAIT_S:g} s",
            hint="try again, with fewer at once; files are better uploaded than sent inline",
        )


class Bodies:
    """Reads the bodies of one worker's calls. Made on the loop that they come on."""

    def __init__(self) -> None:
        self._alarms = Alarms()
        self._awaited = Awaited(asyncio.get_running_loop()).since
        self._long, self._large = Room(LONG_ROOM), Room(LARGE_ROOM)

    async def read(
        self,
        headers: Headers,
        proto: Exchange,
        client: Client | None,
        *,
        limit: int = LARGEST_BODY,
        unpack: Parts | None = None,
    ) -> bytes:
        """The whole body, unpacked; whoever gets it must let it go by its size.

        Raises BodyTooLargeError beyond ``limit`` bytes without holding it, StalledError,
        CrowdedError, ClientGone, and what ``unpack`` raises.
        """
        declared = headers.get("content-length")
        if declared is None or unpack is not None:
            return await self._growing(proto, _id(client), limit, unpack)
        # The server has checked that it is a number and that the body is no longer.
        size = int(declared)
        if size < SHORT:
            return await self._short_one(proto)
        if size > limit:
            raise BodyTooLargeError(limit)
        return await self._long_one(proto, _id(client), size)

    def let_go(self, size: int) -> None:
        """A body of so many bytes, as it was read, is held no longer."""
        if size >= SHORT:
            self._room(size).give(size)

    async def parts(self, proto: Exchange) -> AsyncIterator[bytes]:
        """A body in parts as they come, which needs no room. Raises StalledError."""
        incoming, left_s = aiter(proto), IDLE_S
        while True:
            begun = self._alarms.loop.time()
            try:
                with self._alarms.within(left_s):
                    part = await anext(incoming)
            except TimeoutError:
                raise StalledError from None
            except StopAsyncIteration:
                return
            left_s -= self._alarms.loop.time() - begun
            left_s = min(IDLE_S, left_s + len(part) / SLOWEST)
            yield bytes(part)

    async def _short_one(self, proto: Exchange) -> bytes:
        body, awaited = proto(), self._awaited
        awaited[body] = monotonic()
        try:
            return await body
        except asyncio.CancelledError:
            if body in awaited:
                raise
            raise StalledError from None
        finally:
            awaited.pop(body, None)

    async def _long_one(self, proto: Exchange, client_id: int, size: int) -> bytes:
        """A body that says its size: it has its room before it is read."""
        room = self._room(size)
        await self._take(room, size, client_id)
        try:
            read = BytesIO()
            async for part in self.parts(proto):
                read.write(part)
        except BaseException:
            room.give(size)
            raise
        if read.tell() < size:
            room.give(size)
            raise ClientGone
        return read.getvalue()

    async def _growing(
        self, proto: Exchange, client_id: int, limit: int, unpack: Parts | None
    ) -> bytes:
        """A body of unknown size: it takes the room of the largest it may be, in two steps.

        None is held up for ever: who waits for the second step holds some of the first, but who
        has the second waits for nothing.
        """
        read, steps = BytesIO(), [(SHORT, self._long, LARGE), (LARGE, self._large, limit)]
        taken: list[tuple[Room, int]] = []
        try:
            parts = self.parts(proto)
            async for part in unpack(parts) if unpack is not None else parts:
                read.write(part)
                if read.tell() > limit:
                    raise BodyTooLargeError(limit)
                while steps and read.tell() >= steps[0][0]:
                    _, room, amount = steps.pop(0)
                    await self._take(room, amount, client_id)
                    taken.append((room, amount))
            if read.tell() >= SHORT:
                self._room(read.tell()).free -= read.tell()
        finally:
            for room, amount in taken:
                room.give(amount)
        return read.getvalue()

    async def _take(self, room: Room, size: int, client_id: int) -> None:
        try:
            with self._alarms.within(WAIT_S):
                await room.take(size, client_id)
        except TimeoutError:
            raise CrowdedError from None

    def _room(self, size: int) -> Room:
        return self._large if size >= LARGE else self._long


def _id(client: Client | None) -> int:
    return client.id if client is not None else 0
