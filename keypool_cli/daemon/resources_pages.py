"""Pages of upstream's lists, read whole; and upstream's refusal of one, passed on."""

from collections.abc import Mapping
from urllib.parse import quote, unquote_plus, urlencode

import msgspec

from keypool_cli.core.model import Project
from keypool_cli.daemon.gemini_errors import mark
from keypool_cli.daemon.proxy_relay import relay
from keypool_cli.daemon.proxy_request import target_of
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.service.proxying import Attempt, Order, Proxying, Ticketing
from keypool_cli.service.resources_places import Reach

MOST_PAGES = 200
"""Pages read upstream for one page of ours; beyond, it may be empty although another follows."""

MOST_NAMED = 20
"""Projects named in a header."""


class RefusedPageError(Exception):
    """Upstream's own refusal, to be passed on."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__()
        self._attempt = attempt

    async def relay(self, scope: Scope, proto: Exchange) -> None:
        """Answer the client with it."""
        marks = mark(self._attempt.ticket.project.name, None)
        await relay(self._attempt.answer, scope, proto, marks=marks)


def left_out(reach: Reach) -> list[Header]:
    """The header that tells of projects whose items are missing, percent-encoded; or none."""
    names = [quote(each, safe="") for each in reach.left_out]
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    text = ", ".join(names[:MOST_NAMED]) + more
    return [("x-keypool-left-out", text)] if names else []


def page_target(scope: Scope, theirs: frozenset[str], ours: Mapping[str, str | int]) -> str:
    """A list's own target, with our words for the page in the place of theirs; empty ones left out."""
    path, _, query = target_of(scope).partition("?")
    kept = [e for e in query.split("&") if e and unquote_plus(e.partition("=")[0]) not in theirs]
    paged = urlencode({name: value for name, value in ours.items() if value})
    return f"{path}?{'&'.join([*kept, paged])}"


class ListPages:
    """Reads pages."""

    def __init__(self, proxying: Proxying, tickets: Ticketing) -> None:
        self._proxying = proxying
        self._tickets = tickets

    async def read(self, order: Order, project: Project, target: str) -> bytes:
        """A project's page. Raises RefusedPageError, and what proxying raises."""
        attempt = await self._proxying.answer(
            msgspec.structs.replace(order, only=project, target=target, whole=True), self._tickets
        )
        try:
            passage = attempt.answer
            if attempt.told is not None:
                raise RefusedPageError(attempt)
            return await passage.held()
        finally:
            await attempt.close()
