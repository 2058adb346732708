"""Demands as the engine answers them: on a store whose state is known to be right, or not at all."""

import asyncio
from collections.abc import Sequence

from keypool_cli.engine.types import Acquired, Demand, Grant, Refused, Stale, Waits
from keypool_cli.errors import KeypoolError
from keypool_cli.service.ports import Ports
from keypool_cli.service.riding_out import RidingOut
from keypool_cli.service.sync import sync_model, vouch
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch

MOST_WAITING = 10_000
"""Demands that may wait in one pool and model; beyond, the answer comes at once."""

_ATTEMPTS = 4


class Reserving:
    """Sends demands for one daemon."""

    def __init__(self, ports: Ports, watch: Watch, waiting: Waiting) -> None:
        self._ports = ports
        self._watch = watch
        self._waiting = waiting
        self._lives: dict[str, str] = {}
        self._withdrawing: set[asyncio.Task[None]] = set()
        self._riding_out = RidingOut(ports.engine.store)

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
                self._waiting.heard(answer.now_ms)
                return answer.results
            await self._watch.refresh()
            await sync_model(self._ports, model, self._watch.configured)
        raise KeypoolError(f"the live state of {model!r} keeps changing", hint="try again")

    async def _try(
        self, model: str, pool_id: int, demands: Sequence[Demand], *, again: bool
    ) -> Acquired | Stale:
        # Reservations of a call whose answer was lost run out by themselves, if they must.
        if again:
            self._lives.pop(model, None)
            await self._take_back(model, demands)
        life = await self._vouched(model)
        answer = await self._acquire(model, pool_id, demands)
        if life == self._ports.engine.store.life:
            return answer
        # A server answered that nobody had looked at: another one, or with another's state.
        return await self._try(model, pool_id, demands, again=True)

    async def _vouched(self, model: str) -> str:
        """The life of the store whose state of the model is known to be right."""
        store = self._ports.engine.store
        if self._lives.get(model) != store.life:
            life = store.life
            await vouch(self._ports, model, self._watch.configured)
            self._lives[model] = life
        return self._lives[model]

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
