"""A daemon's copy of the ratios of live traffic: read at once, refreshed in the background."""

from collections.abc import Awaitable, Callable
from typing import Final

from keypool_cli.core.correction import NOTHING, Evidence, has_drifted
from keypool_cli.errors import UnreachableError
from keypool_cli.service.correcting_store import Kind, Known, Ratios

EVERY_S: Final = 1.0
"""How often evidence is written, and the ratios in use are read again."""

MOST_KINDS: Final = 10_000
"""Kinds that one daemon remembers; the oldest is forgotten first."""

Tell = Callable[[Kind, Evidence], Awaitable[None]]
"""Told once of a ratio that has moved."""


class Correcting:
    """Learns from requests, and knows what was learned of a kind. No call here waits but tick."""

    def __init__(self, ratios: Ratios, tell: Tell) -> None:
        self._ratios = ratios
        self._tell = tell
        self._known: dict[Kind, Known] = {}
        self._asked: set[Kind] = set()
        self._fresh: dict[Kind, Evidence] = {}

    def evidence(self, kind: Kind) -> Evidence:
        """What is known of a kind; nothing the first time, while it is being read."""
        if len(self._asked) < MOST_KINDS:
            self._asked.add(kind)
        known = self._known.get(kind)
        return NOTHING if known is None else known.evidence

    def learn(self, kind: Kind, evidence: Evidence) -> None:
        """One request of a kind was settled."""
        before = self._fresh.get(kind)
        self._fresh[kind] = evidence if before is None else before.plus(evidence)

    async def tick(self) -> None:
        """Write what was learned, at most once for each kind, and read what is in use."""
        fresh, self._fresh = self._fresh, {}
        asked, self._asked = self._asked - fresh.keys(), set()
        try:
            found = await self._ratios.add(fresh) if fresh else {}
        except UnreachableError:
            for kind, evidence in fresh.items():
                self.learn(kind, evidence)
            raise
        if asked:
            found |= await self._ratios.read(list(asked))
        self._remember(found)
        for kind in fresh:
            await self._tell_if_moved(kind, found[kind])

    def _remember(self, found: dict[Kind, Known]) -> None:
        self._known |= found
        while len(self._known) > MOST_KINDS:
            del self._known[next(iter(self._known))]

    async def _tell_if_moved(self, kind: Kind, known: Known) -> None:
        ratio = known.evidence.ratio
        if has_drifted(known.evidence, told=known.told) and await self._ratios.claim(kind, ratio):
            await self._tell(kind, known.evidence)
