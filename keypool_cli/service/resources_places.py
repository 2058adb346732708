"""Where a client's own of a collection lie, project after project, and how far a list has come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from keypool_cli.core.model import Client, Pool, Project
from keypool_cli.core.natural import natural
from keypool_cli.errors import NotPermittedError, UsageError
from keypool_cli.service.ports import Ports
from keypool_cli.service.resources import isolated
from keypool_cli.service.tickets import doors_of
from keypool_cli.service.watch import Watch

_PURPOSE = "page"


@dataclass(frozen=True, slots=True)
class Place:
    """A project to list. own: the names to show; None for all. token: upstream's, for its page."""

    project: Project
    own: frozenset[str] | None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a list can show. left_out: names of projects that hold more, and cannot be used now."""

    places: Sequence[Place]
    left_out: Sequence[str]


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    project_id: int
    token: str


_mark = msgspec.json.Decoder(_Mark)


class Places:
    """Leads a list through projects; its page tokens tell nothing to clients."""

    def __init__(self, ports: Ports, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch
        self._seals = ports.registry.seals

    async def of(self, pool: Pool, client: Client | None, collection: str) -> Reach:
        """The projects to list, in a fixed order, without those that cannot be used now."""
        own = None
        if client is not None and isolated(pool, client):
            made_by = self._ports.registry.resources.made_by
            own = await self._ports.call(made_by, client.id, collection)
        configured = self._watch.configured
        wanted = pool.project_ids if own is None else pool.project_ids & own.keys()
        open_ones = [each.project for each in doors_of(configured, pool)]
        shut = wanted - {each.id for each in open_ones}
        names = (configured.catalog.projects[each].name for each in shut)
        return Reach(
            places=[
                Place(each, None if own is None else frozenset(own[each.id]))
                for each in open_ones
                if each.id in wanted
            ],
            left_out=sorted(names, key=natural),
        )

    def at(self, token: str | None, places: Sequence[Place]) -> Place | None:
        """Where a list goes on; None at its end. Raises UsageError for a token that is not ours."""
        if not token:
            return places[0] if places else None
        try:
            mark = _mark.decode(self._seals.text(token, _PURPOSE))
        except (NotPermittedError, msgspec.DecodeError):
            raise UsageError("this page token is not valid") from None
        here = [each for each in places if each.project.id == mark.project_id]
        later = [each for each in places if each.project.id > mark.project_id]
        return replace(here[0], token=mark.token) if here else next(iter(later), None)

    def next(self, place: Place, places: Sequence[Place], token: str) -> Place | None:
        """What comes after a page that upstream ended with this token."""
        if token:
            return replace(place, token=token)
        later = (each for each in places if each.project.id > place.project.id)
        return next(later, None)

    def token(self, place: Place) -> str:
        """The token of the page that begins here."""
        mark = msgspec.json.encode(_Mark(place.project.id, place.token)).decode()
        return self._seals.token(mark, _PURPOSE)
