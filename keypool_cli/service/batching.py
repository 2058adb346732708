"""Many single calls, sent together.

All items that arrive while a call is under way go into the next one, so a batch grows with the
load, and an item that comes to an idle daemon waits for nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

MOST_AT_ONCE = 64
"""Items in one call: more would hold up the store's other clients."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Batches the calls of a function that answers item by item, in their order."""

    def __init__(self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._send = send
        self._items: list[Item] = []
        self._asking: list[asyncio.Future[Answer]] = []
        self._last: asyncio.Task[Sequence[Answer]] | None = None

    async def ask(self, item: Item) -> Answer:
        """Send one item with whatever else comes; raises what its batch met."""
        if not self._items or len(self._items) >= MOST_AT_ONCE:
            self._begin()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._items.append(item)
        self._asking.append(future)
        return await future

    def _begin(self) -> None:
        self._items, self._asking = [], []
        self._last = asyncio.create_task(self._deliver(self._items, self._last))
        self._last.add_done_callback(partial(_hand_out, self._asking))

    async def _deliver(
        self, items: list[Item], previous: asyncio.Task[Sequence[Answer]] | None
    ) -> Sequence[Answer]:
        if previous is not None:
            await asyncio.wait({previous})
        if self._items is items:
            self._items, self._asking = [], []
        return await self._send(items)


def _hand_out(
    asking: Sequence[asyncio.Future[Answer]], task: asyncio.Task[Sequence[Answer]]
) -> None:
    err = asyncio.CancelledError() if task.cancelled() else task.exception()
    for index, future in enumerate(asking):
        if future.done():
            continue
        if err is not None:
            future.set_exception(err)
        else:
            future.set_result(task.result()[index])
