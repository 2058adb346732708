"""One connection that many calls share: each is sent at once and answered in its turn.

The client's own pool lends a connection to one command at a time and does for each what a
connection needs once; half of what a call costs the daemon is that.
"""

import asyncio
from asyncio import CancelledError, Future, Task, TimerHandle
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswerError

IDLE_S = 30.0
"""After so long without a call the connection may have died unheard: a new one is made."""


@dataclass(slots=True)
class _Line:
    """An open connection. asked: calls under way, oldest first, with the time each was sent."""

    connection: AbstractConnection
    asked: deque[tuple[Future[Any], float]] = field(default_factory=deque)
    used_at: float = 0.0
    reader: Task[None] | None = None

    def usable(self, now: float) -> bool:
        """Whether a call can be sent on it."""
        return self.connection.is_connected and bool(self.asked or self.used_at + IDLE_S >= now)

    def lost(self, err: Exception) -> None:
        """Tell everyone who waits."""
        while self.asked:
            future, _ = self.asked.popleft()
            if not future.done():
                future.set_exception(err)


class Lane:
    """Calls to one server, in the order they are made. answer_s: how long an answer may take.

    life: the run id of the server that the calls go to; empty where nobody asks.
    """

    def __init__(self, pool: ConnectionPool, *, answer_s: float, life: str = "") -> None:
        self.life = life
        self._pool = pool
        self._answer_s = answer_s
        self._line: _Line | None = None
        self._opening: Task[_Line] | None = None
        self._alarm: TimerHandle | None = None

    async def call(self, *words: Any) -> Any:  # noqa: ANN401  # as the server takes and answers
        """The server's answer, in bytes. Raises what redis-py raises for a single command."""
        loop = asyncio.get_running_loop()
        line = self._line
        if line is None or not line.usable(loop.time()):
            line = await self._open()
        future: Future[Any] = loop.create_future()
        line.used_at = loop.time()
        line.asked.append((future, line.used_at))
        if self._alarm is None:
            self._alarm = loop.call_later(self._answer_s, self._check)
        connection = line.connection
        try:
            await connection.send_packed_command(
                connection.pack_command(*words), check_health=False
            )
        except BaseException:
            future.cancel()
            raise
        return await future

    async def close(self) -> None:
        """Hang up; calls under way are told."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._line is not None:
            await self._hang_up(self._line)

    async def _open(self) -> _Line:
        """A new connection, the same for all who ask for one; they fail together, too."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, opening: Task[_Line]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # those who waited have been told, if they wait still

    async def _connect(self) -> _Line:
        if self._line is not None:
            await self._hang_up(self._line)
        # redis-py has no types here.
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        if self.life:
            self.life = await _run_id(connection)
        # From here on answers come in turn, and the alarm minds the time.
        connection.socket_timeout = None
        line = _Line(connection, used_at=asyncio.get_running_loop().time())
        line.reader = asyncio.create_task(self._read(line))
        self._line = line
        return line

    async def _read(self, line: _Line) -> None:
        end: Exception = LostError("the connection was closed")
        try:
            while True:
                answer, err = await _next(line.connection)
                future, _ = line.asked.popleft()
                if future.done():
                    continue
                if err is not None:
                    future.set_exception(err)
                    if isinstance(err, ReadOnlyError):
                        # A primary that was: by its name another is reached now.
                        raise err
                else:
                    future.set_result(answer)
        except (RedisError, OSError) as err:
            end = err
        finally:
            if self._line is line:
                self._line = None
            line.lost(end)
            await line.connection.disconnect(nowait=True)

    def _check(self) -> None:
        """Give up a connection whose oldest call has waited too long."""
        self._alarm, loop, line = None, asyncio.get_running_loop(), self._line
        if line is None or not line.asked:
            return
        due = line.asked[0][1] + self._answer_s
        if due > loop.time():
            self._alarm = loop.call_at(due, self._check)
            return
        self._line = None
        line.lost(NoAnswerError("no answer in time"))
        if line.reader is not None:
            line.reader.cancel()

    async def _hang_up(self, line: _Line) -> None:
        self._line = None
        if line.reader is not None:
            line.reader.cancel()
            with suppress(CancelledError):
                await line.reader


async def _run_id(connection: AbstractConnection) -> str:
    await connection.send_command("INFO", "server")
    told = await connection.read_response(disable_decoding=True)
    return next(
        (line[7:].decode() for line in told.split(b"\r\n") if line.startswith(b"run_id:")), ""
    )


async def _next(connection: AbstractConnection) -> tuple[Any, ResponseError | None]:
    """The next answer, or the error the server answers with; raises when the connection fails."""
    try:
        return await connection.read_response(disable_decoding=True), None
    except ResponseError as err:
        return None, err
