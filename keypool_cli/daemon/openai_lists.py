"""Lists as OpenAI's clients read them: ``after`` an id, ``limit`` items, ``has_more``.

Several projects' collections are shown one after another, and each client sees only its own.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import msgspec

from keypool_cli.daemon.proxy_demand import Wanted
from keypool_cli.daemon.proxy_ordering import Asked, Ordering
from keypool_cli.daemon.resources_pages import (
    MOST_PAGES,
    ListPages,
    RefusedPageError,
    left_out,
    page_target,
)
from keypool_cli.errors import UsageError
from keypool_cli.http.message import UNREADABLE, answer_json, query_pairs
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.proxying import Order
from keypool_cli.service.resources_places import Place, Places
from keypool_cli.upstream.calls import Touch
from keypool_cli.upstream.forward import UpstreamError
from keypool_cli.upstream.names import named

_LIMITS = {"files": 10_000, "batches": 20}  # where none is said, as OpenAI has them
_LONGEST_LIMIT = 5
_PAGING = frozenset({"limit", "after"})
_PAGE = 100
"""Items asked of upstream at once."""


class _Item(msgspec.Struct):
    id: str


class _Page(msgspec.Struct):
    data: list[msgspec.Raw] = []
    has_more: bool = False


_page = msgspec.json.Decoder(_Page)
_item = msgspec.json.Decoder(_Item)


class OpenAiLists:
    """Handles GET of ``openai/files`` and ``openai/batches``."""

    def __init__(self, ordering: Ordering, pages: ListPages, places: Places) -> None:
        self._ordering = ordering
        self._pages = pages
        self._places = places

    async def answer(self, asked: Asked, proto: Exchange) -> None:
        """Answer with one page. Raises UsageError, and what finding ``after`` raises."""
        collection, query = asked.call.resource, dict(query_pairs(asked.scope.query_string))
        limit, after = _limit(query, collection), query.get("after") or ""
        order = await self._ordering.of(_about(asked, after), Wanted("", 0), None)
        reach = await self._places.of(asked.pool, asked.caller.client, collection)
        try:
            items = await self._collected(asked, order, reach.places, limit + 1)
        except RefusedPageError as refused:
            await refused.relay(asked.scope, proto)
            return
        shown = items[:limit]
        ends = {"first_id": _id(shown[0]), "last_id": _id(shown[-1])} if shown else {}
        more = {**ends, "has_more": len(items) > limit}
        page = {"object": "list", "data": shown, **more}
        answer_json(proto, 200, page, headers=left_out(reach))

    async def _collected(
        self, asked: Asked, order: Order, places: Sequence[Place], most: int
    ) -> list[msgspec.Raw]:
        """The items behind ``after``, which the order's own project has."""
        found: list[msgspec.Raw] = []
        first = order.only.id if order.only is not None else 0
        for place in places:
            if place.project.id < first:
                continue
            after = _after(asked.scope) if place.project.id == first else ""
            async for item in self._items(asked, order, place, after):
                found.append(item)
                if len(found) == most:
                    return found
        return found

    async def _items(
        self, asked: Asked, order: Order, place: Place, after: str
    ) -> AsyncIterator[msgspec.Raw]:
        """What the client may see of one project's."""
        collection = asked.call.resource
        for _ in range(MOST_PAGES):
            target = page_target(asked.scope, _PAGING, {"limit": _PAGE, "after": after})
            page = _decoded(await self._pages.read(order, place.project, target))
            # An upstream that does not know the word sends what was there before, too.
            ids = [_id(each) for each in page.data]
            new = page.data[ids.index(after) + 1 :] if after in ids else page.data
            for each in new:
                if place.own is None or named(collection, _id(each)) in place.own:
                    yield each
            if not page.has_more or not new:
                return
            after = _id(new[-1])


def _about(asked: Asked, after: str) -> Asked:
    """The call, about the item that the page before ended with; so it is found as any other."""
    if not after:
        return asked
    name = named(asked.call.resource, after)
    if name is None:
        raise UsageError("after is the id of the last item on the page before")
    return msgspec.structs.replace(asked, call=replace(asked.call, touch=Touch.USE, resource=name))


def _after(scope: Scope) -> str:
    return dict(query_pairs(scope.query_string)).get("after") or ""


def _limit(query: dict[str, str], collection: str) -> int:
    said = query.get("limit") or str(_LIMITS[collection])
    if not said.isdecimal() or len(said) > _LONGEST_LIMIT or int(said) == 0:
        raise UsageError("limit is a whole number, 1 or more")
    return int(said)


def _decoded(body: bytes) -> _Page:
    try:
        page = _page.decode(body)
        for each in page.data:
            _item.decode(each)
    except UNREADABLE as err:
        raise UpstreamError("upstream's list cannot be read") from err
    return page


def _id(item: msgspec.Raw) -> str:
    return _item.decode(item).id
