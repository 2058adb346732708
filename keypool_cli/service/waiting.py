"""Demands of one daemon that wait in the store's queues, and the pump that serves them."""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.types import Demand, Grant
from keypool_cli.errors import UnreachableError
from keypool_cli.service.stopping import stop
from keypool_cli.service.store_clock import Step, StoreClock, steady_ms

SOONEST_S = 0.005
"""The pump rests at least this long."""

IDLE_S = 1.0
"""How often models in use are looked after when nothing is due: leases that ended, old scores."""

SILENT_MS = 5000
"""A daemon silent for longer is taken for dead: the engine's own bound."""

LEFT_S = 1.0
"""How long, once a demand's time is over, the store is waited for at each thing left to do."""

GRACE_S = 0.25
"""How long past its deadline a grant may still be on its way."""


T = TypeVar("T")


async def at_last(work: Awaitable[T]) -> T:
    """What a store answers when a demand's time is over. Raises UnreachableError for none soon."""
    try:
        async with asyncio.timeout(LEFT_S):
            return await work
    except TimeoutError:
        raise UnreachableError("the live store does not answer", hint="try again") from None


async def _nothing(_model: str) -> None:
    """Stands in until someone can set a model right."""


log = logging.getLogger("keypool.waiting")


class Waiting:
    """Knows the store's clock, parks demands, and wakes them when their grants arrive.

    on_step: what sets a model right whose queue is looked after when the clock was set.
    """

    def __init__(self, engine: Engine) -> None:
        self.daemon = secrets.token_hex(8)
        self._engine = engine
        self._clock = StoreClock()
        self._stepped: dict[Step, int] = dict.fromkeys(Step, 0)
        self._parked: dict[str, asyncio.Future[Grant | None]] = {}
        self._in_line: dict[str, dict[str, int]] = defaultdict(dict)
        self._pools: dict[str, dict[int, int]] = defaultdict(dict)
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._wake: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._seen_ms: dict[str, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.on_step: Callable[[str], Awaitable[object]] = _nothing

    @property
    def parked(self) -> int:
        """How many demands wait here."""
        return sum(count for pools in self._pools.values() for count in pools.values())

    @property
    def steps(self) -> tuple[int, int]:
        """How often the store's clock was set forward, and how often far back."""
        return self._stepped[Step.FORWARD], self._stepped[Step.BACK]

    def heard(self, now_ms: int, *, asked_at_ms: float) -> None:
        """Note the store's clock from an answer; asked_at_ms: by ``steady_ms``."""
        step = self._clock.heard(now_ms, asked_at_ms=asked_at_ms)
        if step is not None:
            self._stepped[step] += 1
            log.warning("the live store's clock was set %s", step.value)

    async def now_ms(self) -> int:
        """The store's clock, without asking it each time."""
        if not self._clock.known:
            asked_at_ms = steady_ms()
            self.heard(await self._engine.now_ms(), asked_at_ms=asked_at_ms)
        return self._clock.now_ms()

    async def deadline(self, wait_s: float) -> int:
        """When a wait that starts now ends, on the store's clock; 0 for no wait."""
        return await self.now_ms() + int(wait_s * 1000) if wait_s > 0 else 0

    def _look_after(self, model: str) -> None:
        if model not in self._pumps:
            self._pumps[model] = asyncio.create_task(self._run(model))

    def wake(self, model: str) -> None:
        """There are grants to fetch, or room may have appeared."""
        if model in self._pumps:
            self._wake[model].set()

    def wake_tag(self, name: str) -> None:
        """Wake the model of a hash tag."""
        for model in self._pumps:
            if tag(model) == name:
                self.wake(model)

    @contextmanager
    def expecting(self, demand: Demand) -> Iterator[asyncio.Future[Grant | None]]:
        """The grant of a demand that is about to be sent; it may arrive before the answer does.

        None: the queue that it waits in was lost with the store.
        """
        grant: asyncio.Future[Grant | None] = asyncio.get_running_loop().create_future()
        self._parked[demand.lease_id] = grant
        try:
            yield grant
        finally:
            del self._parked[demand.lease_id]
            grant.cancel()

    async def wait(
        self, model: str, pool_id: int, demand: Demand, grant: asyncio.Future[Grant | None]
    ) -> Grant | None:
        """Wait for a parked demand's grant, which may be None. Cancelling withdraws the demand.

        Raises TimeoutError when its time ran out.
        """
        pools = self._pools[model]
        self._in_line[model][demand.lease_id] = demand.deadline_ms
        pools[pool_id] = pools.get(pool_id, 0) + 1
        self._look_after(model)
        self.wake(model)
        now_ms = await self.now_ms()
        self._seen_ms.setdefault(model, now_ms)
        left_s = (demand.deadline_ms - now_ms) / 1000
        try:
            return await asyncio.wait_for(asyncio.shield(grant), left_s + GRACE_S)
        except TimeoutError:
            leaving = asyncio.create_task(self.withdraw(model, demand))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.wait({leaving}, timeout=LEFT_S)
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self.withdraw(model, demand))
            raise
        finally:
            del self._in_line[model][demand.lease_id]
            pools[pool_id] -= 1
            if pools[pool_id] == 0:
                del pools[pool_id]

    async def withdraw(self, model: str, demand: Demand) -> None:
        """Take a demand out of its queue, or give back its grant: nobody will use it."""
        with suppress(UnreachableError):
            await self._engine.release(model, demand.client, [demand.lease_id])

    async def _run(self, model: str) -> None:
        """Serve the model for as long as anyone waits for it here.

        And once more: a grant may be there for who has just left, and must not lie about.
        """
        awaited = True
        while awaited or self._pools[model]:
            awaited, delay = bool(self._pools[model]), IDLE_S
            try:
                delay = await self._pump(model)
            except UnreachableError:
                pass
            except Exception:
                # A bug must not leave every later waiter of this model unserved.
                log.exception("the queues of %r could not be served", model)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake[model].wait(), delay)
            self._wake[model].clear()
        del self._pumps[model], self._pools[model]
        for known in (self._in_line, self._wake, self._seen_ms):
            known.pop(model, None)

    async def _pump(self, model: str) -> float:
        """Fetch and hand out grants; how long to rest, in seconds."""
        asked_at_ms = steady_ms()
        pools, in_line = list(self._pools[model]), dict(self._in_line[model])
        pumped = await self._engine.pump(model, self.daemon, pools)
        steps = self.steps
        self.heard(pumped.now_ms, asked_at_ms=asked_at_ms)
        if steps != self.steps:
            await self.on_step(model)
        self._hand_over(pumped.grants)
        lost = [each for each, until in in_line.items() if until > pumped.now_ms]
        silent_ms = pumped.now_ms - self._seen_ms.get(model, pumped.now_ms)
        if pumped.waiting > 0:
            lost = await self._dropped(model, lost) if silent_ms > SILENT_MS else []
        self._seen_ms[model] = pumped.now_ms
        self._tell_lost(lost)
        if not pools or pumped.next_at_ms == 0:
            return IDLE_S
        return min(max((pumped.next_at_ms - pumped.now_ms) / 1000, SOONEST_S), IDLE_S)

    def _hand_over(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            future = self._parked.get(grant.lease_id)
            if future is not None and not future.done():
                future.set_result(grant)

    async def _dropped(self, model: str, lease_ids: Sequence[str]) -> list[str]:
        """Those of the demands that left the line while this daemon was taken for dead."""
        dropped = await self._engine.not_in_line(model, lease_ids)
        # One that was served meanwhile is not in line either, but its grant lies ready.
        self._hand_over((await self._engine.pump(model, self.daemon, [])).grants)
        return dropped

    def _tell_lost(self, lease_ids: Iterable[str]) -> None:
        """Demands that wait here, though nobody waits there."""
        for future in filter(None, map(self._parked.get, lease_ids)):
            if not future.done():
                future.set_result(None)

    async def close(self) -> None:
        """Stop looking after models."""
        await stop([*self._pumps.values(), *self._leaving])
