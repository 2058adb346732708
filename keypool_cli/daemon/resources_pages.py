"""Pages of upstream's lists, read whole; and upstream's refusal of one, passed on."""

import msgspec

from keypool_cli.core.model import Project
from keypool_cli.daemon.gemini_errors import mark
from keypool_cli.daemon.proxy_relay import relay
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.proxying import Attempt, Order, Proxying, Ticketing

MOST_PAGES = 200
"""Pages read upstream for one page of ours; beyond, it may be empty although another follows."""


class RefusedPageError(Exception):
    """Upstream's own refusal, to be passed on."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__()
        self._attempt = attempt

    async def relay(self, scope: Scope, proto: Exchange) -> None:
        """Answer the client with it."""
        marks = mark(self._attempt.ticket.project.name, None)
        await relay(self._attempt.answer, scope, proto, marks=marks)


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
