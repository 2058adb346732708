"""Short bodies that do not come: looked after all together, for a timer each would cost a call more."""

import asyncio
from time import monotonic
from typing import Any, Final

IDLE_S: Final = 30.0
"""Seconds within which a short body must be there, and something of a longer one."""

_LOOKS_S: Final = 2.0


class Awaited:
    """Bodies as granian promises them, and since when; those that do not come are cancelled.

    They are taken out by whoever gets them. What has been cancelled is not there any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.since: dict[Any, float] = {}
        self._loop = loop
        self._look()

    def _look(self) -> None:
        self._loop.call_later(_LOOKS_S, self._look)
        latest = monotonic() - IDLE_S
        # Others are added in other threads meanwhile.
        for body, since in self.since.copy().items():
            if since < latest and self.since.pop(body, None) is not None:
                body.cancel()
