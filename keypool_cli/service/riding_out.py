"""Trouble with the live store that passes in a moment: tried again for a while, and then told."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from keypool_cli.engine.store import Store
from keypool_cli.errors import UnreachableError

RIDE_OUT_S = 3.0
"""How long a store may be away before whoever asks is told so. A call that is under way by then is
still waited for."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5

T = TypeVar("T")


class RidingOut:
    """Calls of a store that may restart, load, or be replaced meanwhile.

    While it is known to be away, one more try is all that a call gets.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._away = False

    async def call(self, work: Callable[[bool], Awaitable[T]]) -> T:
        """What ``work`` answers; it is told whether it was tried before, and may have been done."""
        until = monotonic() + (0.0 if self._away else RIDE_OUT_S)
        again, pause_s = False, 0.0
        while True:
            try:
                if again:
                    await self._store.ensure_running()
                answer = await work(again)
            except UnreachableError:
                if again and monotonic() + pause_s > until:
                    self._away = True
                    raise
                await asyncio.sleep(pause_s)
                again, pause_s = True, min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            else:
                self._away = False
                return answer
