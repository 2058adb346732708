"""Many single calls, sent together.

Items that arrive while a call is under way go into the next one, so a batch grows with the load,
and an item that comes to an idle daemon waits for nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, partial
from typing import Generic, TypeVar

from keypool_cli.errors import UnreachableError

MOST_AT_ONCE = 32
"""Items in one call: more would hold up the store's other clients."""

MOST_NAMES = 1000
"""Batchers kept."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Batches the calls of a function that answers item by item, in their order.

    unclaimed: told of an answer that nobody waits for any more.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        unclaimed: Callable[[Item, Answer], None] = lambda _, __: None,
    ) -> None:
        self._unclaimed = unclaimed
        self._send = send
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._under_way: asyncio.Task[None] | None = None

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """Asked for once: asking asyncio for it is a call of the system each time."""
        return asyncio.get_running_loop()

    def ask(self, item: Item) -> asyncio.Future[Answer]:
        """Send one item with whatever else comes; raises what its batch met."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append((item, future))
        self._go_on()
        return future

    def _go_on(self) -> None:
        """Send what waits, unless a call is under way: more and smaller ones cost more."""
        if self._waiting and self._under_way is None:
            self._under_way = self._loop.create_task(self._deliver())

    async def _deliver(self) -> None:
        batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        answers: Sequence[Answer] = ()
        met: BaseException | None = None
        try:
            answers = await self._send([item for item, _ in batch])
        except BaseException as err:
            met = err
            if not isinstance(err, Exception):
                raise
        finally:
            if isinstance(met, UnreachableError):
                # They have waited for it as well: told one batch after the other, the last would
                # hear of it minutes later.
                batch, self._waiting = batch + self._waiting, []
            # Before anyone hears of this one: the store shall not wait for the daemon, nor whoever
            # asks again at once for a call that has ended.
            self._under_way = None
            self._go_on()
            self._hand_out(batch, answers, met)

    def _hand_out(
        self,
        batch: Sequence[tuple[Item, asyncio.Future[Answer]]],
        answers: Sequence[Answer],
        met: BaseException | None,
    ) -> None:
        for index, (item, future) in enumerate(batch):
            if met is not None:
                if not future.done():
                    future.set_exception(met)
            elif not future.done():
                future.set_result(answers[index])
            else:
                self._unclaimed(item, answers[index])


class Batchers(Generic[Item, Answer]):
    """A batcher for each name that is given; names may be invented without end."""

    def __init__(self, send: Callable[[str, Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._send = send
        self._made: dict[str, Batcher[Item, Answer]] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._made)

    def of(self, name: str) -> Batcher[Item, Answer]:
        """The batcher of this name."""
        found = self._made.get(name)
        if found is None:
            if len(self._made) >= MOST_NAMES:
                self._made.clear()  # what they have under way ends all the same
            found = self._made[name] = Batcher(partial(self._send, name))
        return found
