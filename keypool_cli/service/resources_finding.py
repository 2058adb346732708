"""Finding resources that keypool does not know: one free GET for each project of the pool."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from keypool_cli.core.model import Pool
from keypool_cli.core.refusal import Fault, classify
from keypool_cli.errors import UnreachableError
from keypool_cli.service.observing import Observing
from keypool_cli.service.passage import opened
from keypool_cli.service.proxying_egress import Egress
from keypool_cli.service.tickets import Door, doors_of
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.forward import Forwarder, Outgoing, UpstreamError

MOST_PROJECTS = 200
"""Projects asked for one name; in a larger pool only its first ones are."""

NOWHERE_S = 60.0
"""How long the answer that a name is nowhere is believed."""

_AT_ONCE = 8
_LOOKUPS = 4
_MOST_NOWHERE = 10_000
_ANSWERS_S = 15.0


class Finding:
    """Asks the projects of a pool, a few at a time."""

    def __init__(
        self,
        watch: Watch,
        forwarder: Forwarder,
        egress: Egress,
        observing: Observing,
        upstream: str,
    ) -> None:
        self._observing = observing
        self._watch = watch
        self._forwarder = forwarder
        self._egress = egress
        self._url = upstream.rstrip("/")
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self._nowhere: dict[tuple[int, str], float] = {}

    async def find(self, name: str, pool: Pool) -> int | None:
        """The id of the project that has it; None for none. Raises UpstreamError if that is open."""
        if self._nowhere.get((pool.id, name), 0.0) > monotonic():
            return None
        async with self._lookups:
            found = await self._ask_all(name, doors_of(self._watch.configured, pool))
        if found is None:
            if len(self._nowhere) >= _MOST_NOWHERE:
                self._nowhere.clear()
            self._nowhere[pool.id, name] = monotonic() + NOWHERE_S
        return found

    def learn(self, names: Iterable[str]) -> None:
        """These exist now, whatever was found out before."""
        new = set(names)
        for place in [each for each in self._nowhere if each[1] in new]:
            del self._nowhere[place]

    async def _ask_all(self, name: str, doors: list[Door]) -> int | None:
        unsure = False
        for start in range(0, min(len(doors), MOST_PROJECTS), _AT_ONCE):
            some = doors[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._has(each, name) for each in some))
            for door, has in zip(some, answers, strict=True):
                if has:
                    return door.project.id
            unsure |= None in answers
        if unsure:
            raise UpstreamError(f"upstream does not tell which project {name} is in")
        return None

    async def _has(self, door: Door, name: str) -> bool | None:
        """Whether a project has it; None when it does not say."""
        secret = await self._watch.secret(door.key.id)
        headers = [("x-goog-api-key", secret.text), ("accept-encoding", "identity")]
        proxy = self._egress.url(door.project)
        call = Outgoing("GET", f"{self._url}/v1beta/{name}", headers, proxy=proxy)
        try:
            async with asyncio.timeout(_ANSWERS_S):
                passage = await opened(await self._forwarder.send(call), secret)
                await passage.close()
        except (UpstreamError, TimeoutError):
            return None
        if passage.refusal is None:
            return passage.status == 200
        error = passage.refusal.decode(errors="replace")
        with suppress(UnreachableError):  # it will be refused again
            await self._observing.observe(door.project, door.key, passage.status, error)
        verdict = classify(passage.status, error, now_at_ms=0, day_end_at_ms=0, jitter=0.0)
        # That a key is dead, or upstream overloaded, says nothing of what the project has.
        return False if verdict is not None and verdict.fault is Fault.REQUEST else None
