"""What a lost live store must not take along: the day's counts, written to SQL as they grow."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from keypool_cli.core.day import day_of
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.values import DayCount
from keypool_cli.service.forgetting import forget_unused
from keypool_cli.service.instances import Activity
from keypool_cli.service.ports import Ports
from keypool_cli.service.projects import forget_removed

EVERY_S = 5.0
"""At most this much of a day's count is only in the live store (the design allows 10 s)."""

TIDY_EVERY_S = 600.0


class Bookkeeping:
    """Copies the day counts of projects that this daemon granted leases on, and lists its models.

    activity: what else is worth counting.
    """

    def __init__(self, ports: Ports) -> None:
        self.activity = Activity()
        self._ports = ports
        self._granted: dict[str, set[int]] = defaultdict(set)
        self._tidy_at = 0.0

    def note(self, model: str, project_id: int) -> None:
        """A lease was granted: the project's count on this bucket model has grown."""
        self._granted[model].add(project_id)
        self.activity.granted()

    async def run(self) -> None:
        """Write until cancelled; what cannot be written now is written next time."""
        while True:
            await asyncio.sleep(EVERY_S)
            with suppress(UnreachableError):
                await self.write()
                await self._ports.engine.enlist()
                await self._tidy()

    async def _tidy(self) -> None:
        """Now and then, forget past cooldowns and days, removed projects, and unused models."""
        if monotonic() >= self._tidy_at:
            self._tidy_at = monotonic() + TIDY_EVERY_S
            now = await self._ports.engine.now_ms()
            await self._ports.call(self._ports.registry.marks.expire, now)
            yesterday = (day_of(now) - timedelta(days=1)).isoformat()
            await self._ports.call(self._ports.registry.day_counts.forget, yesterday)
            await forget_removed(self._ports, now_ms=now)
            await forget_unused(self._ports)

    async def write(self) -> None:
        """Write the counts that may have grown."""
        away = await self._ports.engine.away(list(self._granted))
        for model in self._granted.keys() - away:
            granted = self._granted.pop(model)
            try:
                await self._write(model, granted)
            except BaseException:
                self._granted[model] |= granted
                raise

    async def _write(self, model: str, project_ids: set[int]) -> None:
        snapshot = await self._ports.engine.snapshot(model, sorted(project_ids))
        day = day_of(snapshot.now_ms).isoformat()
        counts = [
            DayCount(view.project_id, model, day, view.day_requests) for view in snapshot.views
        ]
        save = self._ports.registry.day_counts.save
        await self._ports.call(save, counts, read_at_ms=snapshot.now_ms)
        await self._note_use(model, snapshot.now_ms)

    async def _note_use(self, model: str, at_ms: int) -> None:
        """First in the store: a copy of it made earlier is then known by what it lacks."""
        engine, epochs = self._ports.engine, self._ports.registry.live_epochs
        if engine.store.life and not await engine.vouched(model):
            return  # it may be such a copy
        await engine.witness(model, at_ms)
        await self._ports.call(epochs.note_use, model, at_ms=at_ms)
