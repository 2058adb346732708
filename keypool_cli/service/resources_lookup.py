"""Looking for resources that keypool does not know: one free GET for each project of the pool."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import Literal

from keypool_cli.core.known_sizes import UNTOLD, Size
from keypool_cli.core.model import Pool
from keypool_cli.core.refusal import Fault
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.resources import Resource
from keypool_cli.service.egress import Egress
from keypool_cli.service.observing import Observing
from keypool_cli.service.passage import Passage, opened
from keypool_cli.service.tickets import Door, doors_of
from keypool_cli.service.verdicts import meaning
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.forward import Forwarder, Outgoing, UpstreamError
from keypool_cli.upstream.told_sizes import size_in

MOST_PROJECTS = 200
"""Projects asked for one name; in a larger pool only its first ones are."""

NOWHERE_S = 60.0
"""How long the answer that a name is nowhere is believed."""

_AT_ONCE = 8
_LOOKUPS = 4
_MOST_NOWHERE = 10_000
_ANSWERS_S = 15.0


class Lookup:
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

    async def find(self, name: str, pool: Pool) -> Resource | None:
        """What it is, in the project that has it; None for none. Raises UpstreamError if that is open."""
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

    async def _ask_all(self, name: str, doors: list[Door]) -> Resource | None:
        unsure = False
        for start in range(0, min(len(doors), MOST_PROJECTS), _AT_ONCE):
            some = doors[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._ask(each, name) for each in some))
            for door, told in zip(some, answers, strict=True):
                if isinstance(told, Size):
                    return Resource(name, door.project.id, size=told)
            unsure |= None in answers
        if unsure:
            raise UpstreamError(f"upstream does not tell which project {name} is in")
        return None

    async def _ask(self, door: Door, name: str) -> Size | Literal[False] | None:
        """How large it is where a project has it; False where it has not; None for no word of it."""
        secret = await self._watch.secret(door.key.id)
        headers = [("x-goog-api-key", secret.text), ("accept-encoding", "identity")]
        proxy = self._egress.url(door.project)
        call = Outgoing("GET", f"{self._url}/v1beta/{name}", headers, proxy=proxy)
        try:
            async with asyncio.timeout(_ANSWERS_S):
                passage = await opened(await self._forwarder.send(call), secret)
                size = await _size(passage)
        except (UpstreamError, TimeoutError):
            return None
        if passage.refusal is None:
            return size if passage.status == 200 else False
        error = passage.refusal.decode(errors="replace")
        with suppress(UnreachableError):  # it will be refused again
            await self._observing.observe(door.project, door.key, passage.status, error)
        verdict = meaning(passage.status, error)
        # That a key is dead, or upstream overloaded, says nothing of what the project has.
        return False if verdict is not None and verdict.fault is Fault.REQUEST else None


async def _size(passage: Passage) -> Size:
    """What an answer tells of a size, which is then let go. Raises UpstreamError."""
    try:
        return size_in(await passage.held()) if passage.refusal is None else UNTOLD
    finally:
        await passage.close()
