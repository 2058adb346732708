"""One connection that many calls share: each is sent at once and answered in its turn.

redis-py makes the connection, with all that its URL asks for. From then on we write and read it
ourselves: for each command the client's own way costs the daemon several times as much.
"""

import asyncio
from asyncio import Future, StreamWriter, Task, TimerHandle
from collections import deque
from typing import Any, Final, cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import InvalidResponse, ReadOnlyError
from redis.exceptions import TimeoutError as NoAnswerError

IDLE_S = 30.0
"""After so long without a call the connection may have died unheard: a new one is made."""

_NO_MORE: Final = object()


class _Line(asyncio.Protocol):
    """An open connection. asked: calls under way, oldest first, with the time each was sent."""

    def __init__(self, writer: StreamWriter, now: float) -> None:
        self.asked: deque[tuple[Future[Any], float]] = deque()
        self.used_at = now
        self._writer = writer
        self._write = writer.transport.write
        self._reader = hiredis.Reader(
            replyError=DefaultParser.parse_error,
            protocolError=InvalidResponse,
            notEnoughData=_NO_MORE,
        )
        self._ended = False
        writer.transport.set_protocol(self)

    def usable(self, now: float) -> bool:
        """Whether a call can be sent on it."""
        return not self._ended and bool(self.asked or self.used_at + IDLE_S >= now)

    def send(self, words: tuple[Any, ...], future: Future[Any], now: float) -> None:
        """Send one call; the future is told its answer."""
        self.used_at = now
        self.asked.append((future, now))
        self._write(hiredis.pack_command(words))

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are whole."""
        reader = self._reader
        reader.feed(data)
        try:
            while (answer := reader.gets()) is not _NO_MORE:
                future, _ = self.asked.popleft()
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                    if isinstance(answer, ReadOnlyError):
                        # A primary that was: by its name another is reached now.
                        self.end(answer)
                else:
                    future.set_result(answer)
        except (InvalidResponse, IndexError) as err:
            self.end(LostError(f"the server does not speak its protocol: {err}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self.end(exc or LostError("the connection was closed"))

    def end(self, err: Exception) -> None:
        """Hang up, and tell everyone who waits."""
        self._ended = True
        self._writer.close()
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
        now, line = loop.time(), self._line
        if line is None or not line.usable(now):
            line = await self._open()
        future: Future[Any] = loop.create_future()
        line.send(words, future, now)
        if self._alarm is None:
            self._alarm = loop.call_later(self._answer_s, self._check)
        return await future

    def leave(self) -> None:
        """Hang up on a server that is not the one to ask any more; calls under way are told."""
        self._hang_up(LostError("the primary is another now"))

    async def close(self) -> None:
        """Hang up; calls under way are told."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._hang_up(LostError("the connection was closed"))

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
        self._hang_up(LostError("the connection was closed"))
        # What ended ours may have ended those that lie idle, which are found out one by one.
        await self._pool.disconnect(inuse_connections=False)
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        if self.life:
            self.life = await _run_id(connection)
        self._line = _Line(_taken(connection), asyncio.get_running_loop().time())
        return self._line

    def _check(self) -> None:
        """Give up a connection whose oldest call has waited too long."""
        self._alarm, loop, line = None, asyncio.get_running_loop(), self._line
        if line is None or not line.asked:
            return
        due = line.asked[0][1] + self._answer_s
        if due > loop.time():
            self._alarm = loop.call_at(due, self._check)
            return
        self._hang_up(NoAnswerError("no answer in time"))

    def _hang_up(self, err: Exception) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.end(err)


async def _run_id(connection: AbstractConnection) -> str:
    await connection.send_command("INFO", "server")
    told = await connection.read_response(disable_decoding=True)
    return next(
        (line[7:].decode() for line in told.split(b"\r\n") if line.startswith(b"run_id:")), ""
    )


def _taken(connection: AbstractConnection) -> StreamWriter:
    """What a connection writes to; the connection itself is over, and must not close it."""
    # redis-py has no other way to its transport.
    writer = cast(StreamWriter, connection._writer)  # noqa: SLF001
    connection._reader = connection._writer = None  # noqa: SLF001
    return writer
