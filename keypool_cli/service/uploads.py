"""Upload sessions: upstream's URL behind a token of ours, bound to who may go on with it."""

from collections.abc import Callable
from time import time

import msgspec

from keypool_cli.core.model import Client, Pool, Project
from keypool_cli.errors import KeypoolError, NotFoundError, NotPermittedError
from keypool_cli.service.egress import Egress
from keypool_cli.service.passage import Passage, opened
from keypool_cli.service.ports import Ports
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.forward import Forwarder, Outgoing

LASTS_S = 48 * 3600
"""How long an upload may take; what it makes lasts as long.

Source: https://ai.google.dev/gemini-api/docs/files
"""

_PURPOSE = "upload"
_LONGEST_TOKEN = 8192


class Session(msgspec.Struct, frozen=True, array_like=True):
    """An upload that upstream has begun. client_id 0: the daemon ran without authentication."""

    client_id: int
    project_id: int
    pool_id: int
    until_s: int
    url: str


_session = msgspec.json.Decoder(Session)


class Uploads:
    """Begins upload sessions for clients, and goes on with them on any daemon.

    A token is the session itself, sealed: no daemon has to remember it, and nobody can make one.
    """

    def __init__(
        self,
        ports: Ports,
        watch: Watch,
        forwarder: Forwarder,
        egress: Egress,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        self._clock = clock
        self._watch = watch
        self._forwarder = forwarder
        self._egress = egress
        self._seals = ports.registry.seals

    def token(self, url: str, project: Project, pool: Pool, client: Client | None) -> str:
        """A token for upstream's URL."""
        session = Session(
            client.id if client else 0, project.id, pool.id, int(self._clock()) + LASTS_S, url
        )
        return self._seals.token(msgspec.json.encode(session).decode(), _PURPOSE)

    async def session(self, token: str) -> Session:
        """The session of a token. Raises NotFoundError, also for one that is over."""
        try:
            if len(token) > _LONGEST_TOKEN:
                raise _unknown()
            found = _session.decode(self._seals.text(token, _PURPOSE))
        except (NotPermittedError, msgspec.DecodeError):
            raise _unknown() from None
        if found.until_s > self._clock():
            await self._hear_of(found)
            if self.project(found) is not None:
                return found
        raise _unknown()

    async def _hear_of(self, session: Session) -> None:
        """Those added a moment ago may be known only to the daemon where the upload began."""
        known = self._watch.configured.catalog
        client_known = not session.client_id or session.client_id in known.clients
        if session.project_id not in known.projects or not client_known:
            await self._watch.refresh()

    def project(self, session: Session) -> Project | None:
        """The project an upload goes to; None when it has been removed."""
        return self._watch.configured.catalog.projects.get(session.project_id)

    def client(self, session: Session) -> Client | None:
        """The client whose upload it is; None without authentication."""
        return self._watch.configured.catalog.clients.get(session.client_id)

    async def send(self, outgoing: Outgoing) -> Passage:
        """Send one step upstream. Raises UpstreamError."""
        return await opened(await self._forwarder.send(outgoing), None)

    def way_out(self, session: Session) -> str | None:
        """The egress proxy of the upload's project."""
        project = self.project(session)
        return self._egress.url(project) if project else None


def _unknown() -> KeypoolError:
    return NotFoundError("this upload is unknown or over", hint="begin the upload again")
