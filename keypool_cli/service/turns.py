"""Something there is only so much of, shared out between clients by turns."""

import asyncio
from collections import deque

_Line = deque[tuple[int, asyncio.Future[None]]]


class Room:
    """So much of something, for whoever needs some of it for a while. For one event loop.

    Where it does not suffice, the clients that wait get their turn one after the other, however
    many calls each of them has; the calls of one client keep the order in which they came. Nobody
    is passed over for being large.
    """

    def __init__(self, size: int) -> None:
        self.free = size
        self._lines: dict[int, _Line] = {}

    async def take(self, amount: int, client_id: int) -> None:
        """Wait until so much of it is free, and have it. Cancelled, nothing is taken.

        Whoever asks for more than the room's size waits for ever.
        """
        if amount <= self.free and not self._lines:
            self.free -= amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(client_id, deque()).append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self.give(0 if turn.cancelled() else amount)
            raise

    def give(self, amount: int) -> None:
        """Give back what :meth:`take` got; whoever waits next has it."""
        self.free += amount
        while self._lines:
            client_id, line = next(iter(self._lines.items()))
            wanted, turn = line[0]
            if not turn.done():
                if wanted > self.free:
                    return
                self.free -= wanted
                turn.set_result(None)
            self._pass_on(client_id, line)

    def _pass_on(self, client_id: int, line: _Line) -> None:
        """Take the first call out of its client's line, and put that client behind all others."""
        line.popleft()
        del self._lines[client_id]
        if line:
            self._lines[client_id] = line
