"""What a good answer tells of new resources, of results, and of what is gone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import time

import msgspec

from keypool_cli.core.known_sizes import UNTOLD, Size
from keypool_cli.core.model import Project
from keypool_cli.daemon.resources_stream import NamedStream
from keypool_cli.http.message import UNREADABLE
from keypool_cli.registry.resources import Resource
from keypool_cli.service.passage import Passage, StreamedPassage
from keypool_cli.service.proxying import Attempt, Order
from keypool_cli.service.resources import Resources
from keypool_cli.upstream.calls import Call, Touch
from keypool_cli.upstream.names import named, results_in, root_of
from keypool_cli.upstream.told_sizes import size_in

_JSON = "application/json"
_LARGEST_FILE = 64 * 1024
"""Bytes of an answer that describes a file."""

_DAY_S = 24 * 3600
_AFTER_ITS_END_S = 30 * _DAY_S
"""A cache's end may be put off; what ends and cannot be put off is forgotten late too."""

# Days until upstream has surely forgotten; files last two, the others are a guess on the safe side.
# Collections that are not here last until they are deleted.
# Source: https://ai.google.dev/gemini-api/docs/files
_LASTS_DAYS = {
    "files": 3,
    "interactions": 90,
    "environments": 90,
    "batches": 90,
    "operations": 90,
    "models": 90,
}


class _Made(msgspec.Struct):
    """As much of an answer as names what was made."""

    name: str | None = None
    id: str | None = None
    environment_id: str | None = None
    file: "_Made | None" = None
    expirationTime: str | None = None  # noqa: N815  # upstream's own spelling
    expireTime: str | None = None  # noqa: N815


_made = msgspec.json.Decoder(_Made)


class Noting:
    """Writes down what answers tell, before their client learns it."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def note(self, call: Call, order: Order, attempt: Attempt) -> Passage | NamedStream:
        """The answer to pass on, once all it tells so far is noted. Raises UpstreamError."""
        passage, project = attempt.answer, attempt.ticket.project
        if attempt.told is not None:
            return passage
        client_id = order.client.id if order.client is not None else None
        if (
            call.touch is Touch.MAKE
            and isinstance(passage, StreamedPassage)
            and _is_events(passage)
        ):
            return NamedStream(
                passage, lambda name: self.made(name, project, client_id, until_ms=_until(name))
            )
        if call.touch is Touch.MAKE:
            await self.note_made(await passage.held(), project, client_id, among=call.resource)
        elif call.touch is Touch.REMOVE:
            await self._resources.forget(call.resource, project)
        elif call.touch is Touch.WATCH or order.method == "PATCH":
            await self._look(call, await passage.held(), project)
        elif call.resource.startswith("files/") and _is_small_json(passage):
            self._measure(call.resource, await passage.held(), project)
        return passage

    def _measure(self, name: str, body: bytes, project: Project) -> None:
        """How long a clip is, upstream knows only some time after its upload."""
        size = size_in(body)
        if size.seconds is not None:
            self._resources.measure_later(name, project, size)

    async def note_made(
        self, body: bytes, project: Project, client_id: int | None, *, among: str
    ) -> None:
        """Remember what a whole answer says was made. among: the collection, where it has an id."""
        told = _told(body)
        name = _name(told, among) if told is not None else None
        if told is not None and name is not None:
            size, until_ms = size_in(body), _until(name, told)
            await self.made(name, project, client_id, until_ms=until_ms, size=size)
        own = named("environments", told.environment_id or "") if told is not None else None
        if own is not None:
            await self.made(own, project, client_id, until_ms=_until(own))

    async def note_file(self, body: bytes, project: Project, client_id: int | None) -> None:
        """The same of an upload; one into a store makes nothing that has a name of its own."""
        told = _told(body)
        if told is not None and (_name(told, "files") or "").startswith("files/"):
            await self.note_made(body, project, client_id, among="files")

    async def made(
        self,
        name: str,
        project: Project,
        client_id: int | None,
        *,
        until_ms: int | None,
        size: Size = UNTOLD,
    ) -> None:
        """Remember a new resource."""
        await self._resources.keep([Resource(name, project.id, client_id, until_ms, size)])

    async def _look(self, call: Call, body: bytes, project: Project) -> None:
        """Results belong to whoever made the batch; an end may have been put off."""
        found: Sequence[Resource] = ()
        if call.touch is Touch.WATCH and (b"files" in body or b"file_id" in body):
            client_id = await self._resources.owner(call.resource, project)
            names = results_in(_json(body))
            found = [Resource(each, project.id, client_id, _until(each)) for each in names]
            await self._resources.keep(found, made=False)
        elif call.resource.startswith("cachedContents/"):
            client_id = await self._resources.owner(call.resource, project)
            until_ms, size = _until(call.resource, _told(body)), size_in(body)
            await self.made(call.resource, project, client_id, until_ms=until_ms, size=size)


def _is_small_json(passage: Passage) -> bool:
    is_json = ("content-type", _JSON) in [(n, v.partition(";")[0]) for n, v in passage.headers]
    return is_json and passage.length is not None and passage.length <= _LARGEST_FILE


def _is_events(passage: StreamedPassage) -> bool:
    kinds = [value for name, value in passage.headers if name == "content-type"]
    return any(each.startswith("text/event-stream") for each in kinds)


def _told(body: bytes) -> _Made | None:
    try:
        told = _made.decode(body)
    except UNREADABLE:
        return None
    return told.file or told


def _json(body: bytes) -> object:
    try:
        found: object = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    return found


def _name(told: _Made, among: str) -> str | None:
    if told.name is not None:
        return root_of(told.name)
    return named(among, told.id) if told.id is not None else None


def _until(name: str, told: _Made | None = None) -> int | None:
    """When it is surely gone, in ms since the epoch; None for what lasts."""
    ends = (told.expirationTime or told.expireTime) if told is not None else None
    if ends is not None:
        try:
            at = datetime.fromisoformat(ends) + timedelta(seconds=_AFTER_ITS_END_S)
        except (ValueError, OverflowError):
            return None
        return int(at.timestamp() * 1000) if at.tzinfo is not None else None
    days = _LASTS_DAYS.get(name.partition("/")[0])
    return int((time() + days * _DAY_S) * 1000) if days is not None else None
