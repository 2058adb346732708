"""Lists over HTTP: several projects' collections as one, of which each client sees its own."""

from collections.abc import Sequence

import msgspec

from keypool_cli.daemon.openai_lists import OpenAiLists
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
from keypool_cli.http.rsgi import Exchange
from keypool_cli.service.proxying import Order, Proxying, Ticketing
from keypool_cli.service.resources_places import Place, Places
from keypool_cli.upstream.calls import Family
from keypool_cli.upstream.forward import UpstreamError
from keypool_cli.upstream.names import named, root_of

_PAGE = 50
_PAGING = frozenset({"pageSize", "page_size", "pageToken", "page_token"})
_MEMBERS = {"batches": "operations"}  # where upstream lists them under another name

_page = msgspec.json.Decoder(dict[str, msgspec.Raw])
_item = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_items = msgspec.json.Decoder(list[msgspec.Raw] | None)
_token_text = msgspec.json.Decoder(str | None)


class Lists:
    """Handles GET of a collection."""

    def __init__(
        self, ordering: Ordering, proxying: Proxying, tickets: Ticketing, places: Places
    ) -> None:
        self._ordering = ordering
        self._places = places
        self._pages = ListPages(proxying, tickets)
        self._openai = OpenAiLists(ordering, self._pages, places)

    async def answer(self, asked: Asked, proto: Exchange) -> None:
        """Answer with one page."""
        if asked.call.family is Family.OPENAI:
            await self._openai.answer(asked, proto)
            return
        order = await self._ordering.of(asked, Wanted("", 0), None)
        try:
            reach = await self._places.of(asked.pool, asked.caller.client, asked.call.resource)
            items, following = await self._collected(asked, order, reach.places)
        except RefusedPageError as refused:
            await refused.relay(asked.scope, proto)
            return
        member = _MEMBERS.get(asked.call.resource, asked.call.resource)
        page: dict[str, object] = {member: items} if items else {}
        if following is not None:
            page["nextPageToken"] = following
        answer_json(proto, 200, page, headers=left_out(reach))

    async def _collected(
        self, asked: Asked, order: Order, places: Sequence[Place]
    ) -> tuple[list[msgspec.Raw], str | None]:
        collection, query = asked.call.resource, dict(query_pairs(asked.scope.query_string))
        size = _size(query)
        place = self._places.at(query.get("pageToken"), places)
        items: list[msgspec.Raw] = []
        for _ in range(MOST_PAGES):
            if place is None:
                break
            body = await self._page(asked, order, place, size - len(items) or _PAGE)
            shown, token = _read(body, collection, place)
            # A token is only given for a page with something on it: Google's own client fails
            # at an empty one.
            if shown and len(items) >= size:
                break
            items += shown
            place = self._places.next(place, places, token)
        return items, self._places.token(place) if place is not None else None

    async def _page(self, asked: Asked, order: Order, place: Place, size: int) -> bytes:
        paging: dict[str, str | int] = {"pageSize": size, "pageToken": place.token}
        target = page_target(asked.scope, _PAGING, paging)
        return await self._pages.read(order, place.project, target)


def _read(body: bytes, collection: str, place: Place) -> tuple[list[msgspec.Raw], str]:
    """What of a page is to be shown, and the token of the next. Raises UpstreamError."""
    try:
        page = _page.decode(body)
        return _visible(page, collection, place), _token(page)
    except UNREADABLE as err:
        raise UpstreamError("upstream's list cannot be read") from err


def _visible(page: dict[str, msgspec.Raw], collection: str, place: Place) -> list[msgspec.Raw]:
    raw = page.get(_MEMBERS.get(collection, collection))
    items = _items.decode(raw) or [] if raw is not None else []
    if place.own is None:
        return items
    return [each for each in items if _name(each, collection) in place.own]


def _name(item: msgspec.Raw, collection: str) -> str | None:
    """Its name; or, for an agent, its id."""
    try:
        told = _item.decode(item)
        if "name" in told:
            return root_of(_text.decode(told["name"]))
        return named(collection, _text.decode(told["id"]))
    except (KeyError, *UNREADABLE):
        return None


def _token(page: dict[str, msgspec.Raw]) -> str:
    raw = page.get("nextPageToken")
    return _token_text.decode(raw) or "" if raw is not None else ""


def _size(query: dict[str, str]) -> int:
    said = query.get("pageSize", query.get("page_size")) or "0"
    if not said.isdecimal() or len(said) > 6:
        raise UsageError("pageSize is a whole number")
    return int(said) or _PAGE
