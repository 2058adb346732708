"""Demands as the engine answers them: on a store whose state is known to be right, or not at all."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from keypool_cli.engine.types import Acquired, Demand, Grant, Refused, Stale, Waits
from keypool_cli.errors import KeypoolError
from keypool_cli.service.ports import Ports
from keypool_cli.service.receipts import Receipts
from keypool_cli.service.riding_out import RidingOut
from keypool_cli.service.store_clock import steady_ms
from keypool_cli.service.sync import reload, sync_model, vouch
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch

MOST_WAITING = 10_000
"""Demands that may wait in one pool and model; beyond, the answer comes at once."""

_ATTEMPTS = 4


class _Life(NamedTuple):
    """A server from its start to its end, between two steps of its clock."""

    run_id: str
    steps: tuple[int, int]


class Reserving:
    """Sends demands for one daemon, which keeps receipts of what it is granted."""

    def __init__(self, ports: Ports, watch: Watch, waiting: Waiting) -> None:
        self.receipts = Receipts(ports.engine)
        self._ports = ports
        self._watch = watch
        self._waiting = waiting
        self._lives: dict[str, _Life] = {}
        self._withdrawing: set[asyncio.Task[None]] = set()
        self._riding_out = RidingOut(ports.engine.store)
        waiting.on_step = self._vouched

    async def send(
        self, model: str, pool_id: int, demands: Sequence[Demand]
    ) -> Sequence[Grant | Refused | Waits]:
        """The engine's answers to demands, in their order.

        Raises UnreachableError when the store stays away.
        """
        for _ in range(_ATTEMPTS):
            answer = await self._riding_out.call(
                lambda again: self._try(model, pool_id, demands, again=again)
            )
            if isinstance(answer, Acquired):
                return answer.results
            await self._watch.refresh()
            await sync_model(self._ports, model, self._watch.configured)
        raise KeypoolError(f"the live state of {model!r} keeps changing", hint="try again")

    async def _try(
        self, model: str, pool_id: int, demands: Sequence[Demand], *, again: bool
    ) -> Acquired | Stale:
        # Reservations of a call whose answer was lost run out by themselves, if they must.
        if again:
            await self._take_back(model, demands)
            self._doubt(model)
        life, asked_at_ms = await self._vouched(model), steady_ms()
        answer = await self._acquire(model, pool_id, demands)
        if isinstance(answer, Acquired):
            self._waiting.heard(answer.now_ms, asked_at_ms=asked_at_ms)
        if life == self._life():
            return answer
        # A server answered that nobody had looked at: another one, with another's state, or one
        # whose clock was set.
        return await self._try(model, pool_id, demands, again=True)

    def _life(self) -> "_Life":
        return _Life(self._ports.engine.store.life, self._waiting.steps)

    def _doubt(self, model: str) -> None:
        if (known := self._lives.get(model)) is not None:
            self._lives[model] = known._replace(run_id="in doubt")

    async def _vouched(self, model: str) -> "_Life":
        """The life of the store in which the model's state is known to be right."""
        life, known = self._life(), self._lives.get(model)
        if known == life:
            return life
        configured = self._watch.configured
        await vouch(self._ports, model, configured)
        forgetful = await self.receipts.are_unknown(model)
        if forgetful or (known is not None and known.steps != life.steps):
            forward = known is not None and known.steps[0] != life.steps[0]
            await reload(self._ports, model, configured, distrusted=forgetful or forward)
        if forgetful:
            self.receipts.drop(model)
        self._lives[model] = life
        return life

    async def _take_back(self, model: str, demands: Sequence[Demand]) -> None:
        """Undo what a call whose answer was lost may have done: no id is granted or queued twice."""
        for client in {each.client for each in demands}:
            ids = [each.lease_id for each in demands if each.client == client]
            await self._ports.engine.release(model, client, ids)

    async def _acquire(
        self, model: str, pool_id: int, demands: Sequence[Demand]
    ) -> Acquired | Stale:
        revision = self._watch.configured.revision
        return await self._ports.engine.acquire(
            model, pool_id, demands, revision=revision, queue=MOST_WAITING
        )

    def unclaimed(self, model: str, demand: Demand, answer: Grant | Refused | Waits) -> None:
        """Give back what was granted to a client that hung up meanwhile."""
        if isinstance(answer, Grant):
            task = asyncio.create_task(self._waiting.withdraw(model, demand))
            self._withdrawing.add(task)
            task.add_done_callback(self._withdrawing.discard)
