"""Where a client's own of a collection lie, project after project, and how far a list has come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from keypool_cli.core.model import Client, Pool, Project
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

    async def of(self, pool: Pool, client: Client | None, collection: str) -> list[Place]:
        """The projects to list, in a fixed order; one that cannot be used now is left out."""
        doors = doors_of(self._watch.configured, pool)
        if client is None or not isolated(pool, client):
            return [Place(each.project, None) for each in doors]
        made_by = self._ports.registry.resources.made_by
        own = await self._ports.call(made_by, client.id, collection)
        return [
            Place(each.project, frozenset(own[each.project.id]))
            for each in doors
            if each.project.id in own
        ]

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
