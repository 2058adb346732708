"""Affinity: a session keeps to the project it used last, as long as that costs no waiting."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import NamedTuple

from keypool_cli.core.model import Pool
from keypool_cli.errors import UnreachableError
from keypool_cli.service.batching import Batcher
from keypool_cli.service.ports import Ports
from keypool_cli.service.watch import Watch

KEPT_S = 3600

RECENT_S = 30.0
"""How long a daemon believes what it knows of a session; another may have moved it meanwhile."""

RENEWED_S = 600.0
"""How old a session's note in the store may be when the session goes on."""

MOST_RECENT = 10_000

PATIENCE_S = 0.25
"""A preference is worth no more waiting, as where one node of a cluster is away: a session then
goes on without."""


class _Recent(NamedTuple):
    """A session as this daemon knows it. noted_at: when it was last written; 0: not by us."""

    project: str
    read_at: float
    noted_at: float


class _Note(NamedTuple):
    name: str
    project: str


class Affinity:
    """Turns what a client calls its affinity into a project to prefer.

    The name of one of the pool's projects means that project; any other text is a session's
    name, which is remembered (hashed) for an hour after its last use.
    """

    def __init__(self, ports: Ports, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch
        self._recent: dict[str, _Recent] = {}
        self._reads: Batcher[str, str] = Batcher(self._recall)
        self._writes: Batcher[_Note, bool] = Batcher(self._remember)

    async def project(self, pool: Pool, affinity: str | None) -> str:
        """The id of the project to prefer, as text; empty for none."""
        if not affinity:
            return ""
        if (named := self._named(pool, affinity)) is not None:
            return str(named)
        name, now = _name(pool, affinity), monotonic()
        recent = self._recent.get(name)
        if recent is None or recent.read_at + RECENT_S < now:
            noted_at = recent.noted_at if recent is not None else 0.0
            recent = _Recent(await self._reads.ask(name), now, noted_at)
            self._know(name, recent)
        return recent.project

    async def keep(self, pool: Pool, affinity: str | None, project_id: int) -> None:
        """Remember which project a session was given."""
        if not affinity or self._named(pool, affinity) is not None:
            return
        name, project, now = _name(pool, affinity), str(project_id), monotonic()
        recent = self._recent.get(name)
        if recent is not None and recent.project == project and recent.noted_at + RENEWED_S > now:
            return
        kept = await self._writes.ask(_Note(name, project))
        self._know(name, _Recent(project, now, now if kept else 0.0))

    def _know(self, name: str, recent: _Recent) -> None:
        self._recent[name] = recent
        if len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]

    async def _recall(self, names: Sequence[str]) -> Sequence[str]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._ports.engine.recall(names)
        except (TimeoutError, UnreachableError):
            return [""] * len(names)

    async def _remember(self, notes: Sequence[_Note]) -> Sequence[bool]:
        with suppress(TimeoutError, UnreachableError):
            async with asyncio.timeout(PATIENCE_S):
                await self._ports.engine.remember(dict(notes), KEPT_S)
                return [True] * len(notes)
        return [False] * len(notes)

    def _named(self, pool: Pool, affinity: str) -> int | None:
        project = self._watch.configured.projects.get(affinity)
        return project.id if project is not None and project.id in pool.project_ids else None


def _name(pool: Pool, affinity: str) -> str:
    return f"{pool.id}:{sha256(affinity.encode()).hexdigest()[:32]}"
