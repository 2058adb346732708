"""Settling what nobody waits for: leases of the daemon's own calls, once these have ended."""

import asyncio
import logging
from collections.abc import Coroutine
from time import perf_counter
from typing import Any

from keypool_cli.engine.types import LeaseEnd, Settled
from keypool_cli.errors import ConflictError, NotFoundError, UnreachableError
from keypool_cli.service.holding import Holding
from keypool_cli.service.repeating import finish, pauses
from keypool_cli.service.settling import Report, Settling

CLIENT_CLOSED = 499
"""Stands for upstream's answer where the client went away first: Google's code of a cancelled call."""

log = logging.getLogger("keypool.proxy")


class Closing:
    """Settlements that nobody waits for: made in the background, repeated while a store is away.

    holding: what keeps the leases until then.
    """

    def __init__(self, settling: Settling, holding: Holding) -> None:
        self.holding = holding
        self._settling = settling
        self._under_way: set[asyncio.Future[Any]] = set()

    def later(self, report: Report) -> None:
        """Settle as soon as possible."""
        self.holding.let_go(report.lease_id)
        if not report.is_good:
            self._start(self._persist(report))
            return
        asked, begun = self._settling.settle_good(report), perf_counter()
        self._under_way.add(asked)
        asked.add_done_callback(lambda each: self._settled(report, each, begun))

    def _settled(
        self, report: Report, asked: asyncio.Future[Settled | LeaseEnd], begun: float
    ) -> None:
        self._under_way.discard(asked)
        if asked.cancelled():
            return  # the daemon has waited long enough
        if asked.exception() is not None:
            self._start(self._persist(report))
        else:
            self._settling.count(report, asked.result(), None, perf_counter() - begun)

    async def now(self, report: Report) -> None:
        """Settle before going on; later, while a store is away."""
        self.holding.let_go(report.lease_id)
        # A client that hangs up meanwhile must not keep a refusal from being written down.
        await asyncio.shield(self._start(self._try(report)))

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(_made(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _try(self, report: Report) -> None:
        try:
            await self._settling.settle(report)
        except UnreachableError:
            self.later(report)

    async def close(self) -> None:
        """Wait for what is under way."""
        await finish(self._under_way, "settlements of proxied calls")

    async def _persist(self, report: Report) -> None:
        for pause_s in pauses():
            try:
                await self._settling.settle(report)
            except UnreachableError:
                await asyncio.sleep(pause_s)
            else:
                return


async def _made(work: Coroutine[object, object, None]) -> None:
    """Do work whose trouble nobody else would see, or that upstream's answer must not wait for."""
    try:
        await work
    except (ConflictError, NotFoundError):
        return  # the lease is over, or was lost with the store
    except Exception:
        # It runs out by itself, its reservation kept.
        log.exception("a proxied call could not be settled")
