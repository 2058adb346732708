"""Ending tasks that would go on for ever."""

import asyncio
from collections.abc import Iterable

AGAIN_S = 0.3
"""After so long a task that goes on is cancelled again."""


async def stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until each has ended.

    Once is not enough: ``asyncio.wait_for``, in which redis-py sends, forgets before Python 3.12
    that it was cancelled where that comes together with the end of what it waits for.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
