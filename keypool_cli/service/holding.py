"""Leases of this daemon's own calls: they last as long as the calls, and not much longer than it."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from time import monotonic

from keypool_cli.engine.engine import Engine
from keypool_cli.errors import UnreachableError
from keypool_cli.service.lease_ids import model_of

LONGEST_S = 3600.0
"""Longer than upstream keeps any call."""

_SHARE = 0.75
"""A lease's length, as a share of the window: the slots in flight of a daemon that died come free
no later than the requests it had booked."""

_CHECKS = 4
"""Renewals in the life of a lease: some may fail."""

_AT_ONCE = 250
"""Leases renewed in one call: about 3 ms of the store's time."""


class Holding:
    """Renews leases until they are let go.

    One that could not be renewed in time, with the store away, is over: its slot in flight is
    given to others, its reservation stays, and it can be settled as any other.
    """

    def __init__(self, engine: Engine) -> None:
        self.ttl_s = engine.times.window_ms / 1000 * _SHARE
        self._engine = engine
        self._every_s = self.ttl_s / _CHECKS
        self._held: dict[str, float] = {}

    def hold(self, lease_id: str) -> None:
        """A call begins."""
        self._held[lease_id] = monotonic()

    def let_go(self, lease_id: str) -> None:
        """It has ended."""
        self._held.pop(lease_id, None)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            with suppress(UnreachableError):
                await self._renew()

    async def _renew(self) -> None:
        of_models = defaultdict(list)
        for lease_id, since in list(self._held.items()):
            lasted_s = monotonic() - since
            if lasted_s > LONGEST_S:
                self.let_go(lease_id)
            elif lasted_s >= self._every_s:
                of_models[model_of(lease_id)].append(lease_id)
        ttl_ms = int(self.ttl_s * 1000)
        for model in await self._engine.away(list(of_models)):
            del of_models[model]  # the others are not to miss theirs
        for model, ids in of_models.items():
            for start in range(0, len(ids), _AT_ONCE):
                await self._engine.renew(model, ids[start : start + _AT_ONCE], ttl_ms=ttl_ms)
