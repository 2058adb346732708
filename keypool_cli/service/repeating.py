"""What must be written some time although a store is away now; nobody waits for it."""

import asyncio
import logging
from collections.abc import Collection, Iterator
from itertools import chain, repeat
from time import monotonic
from typing import Any

END_S = 15.0
"""How long a daemon that ends still tries."""

log = logging.getLogger("keypool.daemon")


def pauses() -> Iterator[float]:
    """Seconds between tries, without end: an outage may last hours."""
    return chain((0.1, 0.5, 2.0), repeat(5.0))


async def finish(under_way: Collection[asyncio.Future[Any]], what: str) -> None:
    """Wait for what is under way and what it starts; a store that stays away ends that.

    under_way: loses by itself what has ended. what: names it in the log.
    """
    until = monotonic() + END_S
    while under_way and monotonic() < until:
        await asyncio.wait(under_way, timeout=until - monotonic())
    for each in list(under_way):
        each.cancel()
    if under_way:
        log.error("not written, for a store stayed away: %s", what)
