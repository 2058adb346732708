"""What upstream keeps in one project: where it is, who may use it, and what has just been made."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from keypool_cli.core.known_sizes import Size
from keypool_cli.core.model import Client, Pool, Project
from keypool_cli.errors import ConflictError, NotPermittedError, UnreachableError
from keypool_cli.registry.resources import Resource
from keypool_cli.service.ports import Ports
from keypool_cli.service.repeating import finish, pauses
from keypool_cli.service.resources_lookup import Lookup
from keypool_cli.service.watch import Watch

log = logging.getLogger("keypool.proxy")


class ForeignResourceError(NotPermittedError):
    """Gemini's own refusal of what is another project's, or does not exist; so ours reads alike.

    Its words as users met them: github.com/snailyp/gemini-balance/issues/401.
    """

    def __init__(self, name: str) -> None:
        collection, _, own = name.partition("/")
        told = "The caller does not have permission"
        if collection == "files":
            told = f"You do not have permission to access the File {own} or it may not exist."
        elif collection == "cachedContents":
            told = "CachedContent not found (or permission denied)"
        super().__init__(told)


def isolated(pool: Pool, client: Client | None) -> bool:
    """Whether a client sees only its own there. Without authentication nobody is another."""
    return client is not None and not pool.shared_resources


class Held(NamedTuple):
    """The project that has what a request names, and its sizes by name, as far as they are known."""

    project: Project
    sizes: Mapping[str, Size]


class Resources:
    """Knows every resource's project, on every daemon alike."""

    def __init__(self, ports: Ports, watch: Watch, lookup: Lookup) -> None:
        self._ports = ports
        self._watch = watch
        self._lookup = lookup
        self._late: deque[tuple[Collection[Resource], bool]] = deque()
        self._catching_up: set[asyncio.Task[None]] = set()

    async def project_of(self, names: Sequence[str], pool: Pool, client: Client | None) -> Project:
        """The one project that all of them are in. Raises what ``holder`` raises."""
        return (await self.holder(names, pool, client)).project

    async def holder(self, names: Sequence[str], pool: Pool, client: Client | None) -> Held:
        """The one project that all of them are in, and how large they are.

        Raises ForeignResourceError for one that is not the client's, or is nowhere in the pool;
        ConflictError when they are in several projects.
        """
        known = await self._known(names, pool)
        places: dict[str, Resource] = {}
        for name in names:
            here = [each for each in known if each.name == name]
            places[name] = await self._place(name, here, pool, client)
        projects = {name: each.project_id for name, each in places.items()}
        if len(set(projects.values())) > 1:
            raise self._apart(projects)
        project = self._watch.configured.catalog.projects.get(projects[names[0]])
        if project is None:
            raise ForeignResourceError(names[0])
        return Held(project, {name: each.size for name, each in places.items()})

    async def known(self, names: Sequence[str], pool: Pool) -> list[str]:
        """Those that keypool knows; nobody is asked for others, for they may be Google's own."""
        return list({each.name for each in await self._known(names, pool)})

    async def home(self, pool: Pool, client: Client | None) -> str:
        """The id, as text, of the project where a client's next resource goes: to its others.

        Requests may name several, and then these must be in one project. Empty for none yet.
        """
        last = self._ports.registry.resources.last_project
        client_id = client.id if client is not None else None
        found = await self._ports.call(last, client_id, pool.project_ids)
        return "" if found is None else str(found)

    async def owner(self, name: str, project: Project) -> int | None:
        """The id of the client that made a resource; None when nobody knows."""
        found = await self._ports.call(self._ports.registry.resources.find, [name])
        return next((each.client_id for each in found if each.project_id == project.id), None)

    async def keep(self, found: Collection[Resource], *, made: bool = True) -> None:
        """Remember resources; later, while the database is away: upstream has them anyway."""
        if not found:
            return
        self._lookup.learn([each.name for each in found])
        if self._late:  # in their order, for a name may be given anew
            self._late.append((found, made))
            return
        try:
            await self._write(found, made=made)
        except (UnreachableError, ConflictError) as err:
            log.warning("resources are remembered later: %s", err)
            self._late.append((found, made))
            if len(self._late) == 1:
                self._start(self._catch_up())

    def measure_later(self, name: str, project: Project, size: Size) -> None:
        """An answer told how large one is; other daemons learn it from the registry."""
        self._start(self._measure(name, project, size))

    async def _measure(self, name: str, project: Project, size: Size) -> None:
        with suppress(UnreachableError, ConflictError):  # the next answer tells it again
            await self._ports.call(self._ports.registry.resources.measure, name, project.id, size)

    async def forget(self, name: str, project: Project) -> None:
        """A resource was deleted; while the database is away, upstream goes on telling so."""
        with suppress(UnreachableError):
            await self._ports.call(self._ports.registry.resources.forget, name, project.id)

    async def close(self) -> None:
        """Wait for what is under way."""
        await finish(self._catching_up, "which project and client resources belong to")

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._catching_up.add(task)
        task.add_done_callback(self._catching_up.discard)

    async def _known(self, names: Sequence[str], pool: Pool) -> list[Resource]:
        found = await self._ports.call(self._ports.registry.resources.find, names)
        return [each for each in found if each.project_id in pool.project_ids]

    async def _place(
        self, name: str, here: Sequence[Resource], pool: Pool, client: Client | None
    ) -> Resource:
        if here:
            own = [each for each in here if client and each.client_id == client.id]
            open_to_all = [
                each for each in here if each.client_id is None or not isolated(pool, client)
            ]
            for each in (*own, *open_to_all):
                return each
            raise ForeignResourceError(name)
        found = await self._lookup.find(name, pool)
        if found is None:
            raise ForeignResourceError(name)
        await self.keep([found], made=False)
        return found

    def _apart(self, places: dict[str, int]) -> ConflictError:
        projects = self._watch.configured.catalog.projects
        told = ", ".join(
            f"{name} is in project {projects[at].name if at in projects else at}"
            for name, at in sorted(places.items())
        )
        return ConflictError(
            f"this request needs several projects at once: {told}",
            hint="make them again in one project: send one x-keypool-affinity with each upload",
        )

    async def _write(self, found: Collection[Resource], *, made: bool) -> None:
        keep = self._ports.registry.resources.keep
        await self._ports.call(keep, list(found), made=made)

    async def _catch_up(self) -> None:
        for pause_s in pauses():
            await asyncio.sleep(pause_s)
            with suppress(UnreachableError, ConflictError):
                while self._late:
                    found, made = self._late[0]
                    await self._write(found, made=made)
                    self._late.popleft()
                return
