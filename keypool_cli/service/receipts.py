"""Leases that this daemon was granted lately: what a store must know that has forgotten nothing.

A primary that others have replaced may go on granting to the daemons on its side of a partition.
The one that replaced it has heard of none of that, and looks whole to everybody else.
"""

from collections import defaultdict, deque
from typing import NamedTuple

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.types import Grant
from keypool_cli.service.store_clock import steady_ms

APART_MS = 1000
"""One lease in so long is kept."""

FORGIVEN_MS = 2000
"""What was granted so shortly before the last lease may be missing: a replica trails by about a
second, and so may what a machine had on its disk."""


class _Receipt(NamedTuple):
    """A lease by its id. granted_at_ms: by the store's clock; kept_at_ms: by ours."""

    lease_id: str
    granted_at_ms: int
    kept_at_ms: float


class Receipts:
    """One daemon's, of the last window, by model."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, deque[_Receipt]] = defaultdict(deque)

    def keep(self, model: str, grant: Grant) -> None:
        """Note a lease, unless there was one just now."""
        kept = self._kept[model]
        if kept and 0 <= grant.granted_at_ms - kept[-1].granted_at_ms < APART_MS:
            return
        now_ms = steady_ms()
        kept.append(_Receipt(grant.lease_id, grant.granted_at_ms, now_ms))
        self._drop_old(kept, now_ms)

    async def are_unknown(self, model: str) -> bool:
        """Whether the store has forgotten more of the last window than can be forgiven."""
        kept = self._kept[model]
        self._drop_old(kept, steady_ms())
        if not kept:
            return False
        asked = list(kept)
        found = await self._engine.leases(model, [each.lease_id for each in asked])
        missing = [each for each, lease in zip(asked, found, strict=True) if not lease]
        last_ms = asked[-1].granted_at_ms
        if any(last_ms - each.granted_at_ms >= FORGIVEN_MS for each in missing):
            return True
        # Forgiven once: beside later leases they would look long gone.
        self._kept[model] = deque(each for each in self._kept[model] if each not in missing)
        return False

    def drop(self, model: str) -> None:
        """Begin anew: what the store had forgotten is waited out."""
        self._kept.pop(model, None)

    def _drop_old(self, kept: deque[_Receipt], now_ms: float) -> None:
        times = self._engine.times
        while kept and kept[0].kept_at_ms < now_ms - times.window_ms - times.guard_ms:
            kept.popleft()
