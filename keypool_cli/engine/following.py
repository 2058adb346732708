"""Keeping to the primary that most of the Sentinels name, while they can be asked."""

from time import monotonic
from typing import cast

from redis.asyncio.sentinel import SentinelConnectionPool

from keypool_cli.engine.lane import Lane
from keypool_cli.engine.sentinels import Sentinels

EVERY_S = 0.5
"""How often they are asked: a primary that was replaced may go on answering for ten seconds after
a partition has healed."""

CUT_OFF_S = 3.0
"""So long after most of them were heard last, others may have chosen another primary."""

ENOUGH = 3
"""Fewer of them, named in the URL, cannot be told apart from Sentinels that are merely down."""


class Following:
    """One process's: a daemon's, which must not grant beside those who have another primary."""

    def __init__(self, pool: SentinelConnectionPool, lane: Lane) -> None:
        self._pool = pool
        self._lane = lane
        self._sentinels = cast(Sentinels, pool.sentinel_manager)
        self._primary = pool.master_address
        self._begun_at = monotonic()

    @property
    def cut_off(self) -> bool:
        """Whether this may be the wrong side of a partition."""
        heard_at = max(self._sentinels.heard_at, self._begun_at)
        return len(self._sentinels.sentinels) >= ENOUGH and monotonic() - heard_at > CUT_OFF_S

    async def look(self) -> None:
        """Ask once, and leave a primary that is none any more. Raises what redis-py raises."""
        primary = await self._pool.get_master_address()  # type: ignore[no-untyped-call]  # redis-py has no types here
        if primary != self._primary:
            self._primary = primary
            self._lane.leave()
            await self._pool.disconnect()
