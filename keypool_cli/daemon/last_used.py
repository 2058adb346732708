"""When clients were last heard, written to SQL now and then."""

import asyncio
from contextlib import suppress

from keypool_cli.daemon.auth import Auth
from keypool_cli.errors import UnreachableError
from keypool_cli.service.instants import now_ms
from keypool_cli.service.ports import Ports

EVERY_S = 5.0
"""How late a client's instant may be written, and how exact it is."""


class LastUsed:
    """Writes down whom this daemon has heard."""

    def __init__(self, ports: Ports, auth: Auth) -> None:
        self._ports = ports
        self._auth = auth

    async def run(self) -> None:
        """Write until cancelled; what cannot be written now is written next time."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write whom was heard since the last time."""
        heard = set(self._auth.heard)
        if not heard:
            return
        with suppress(UnreachableError):
            await self._ports.call(
                self._ports.registry.clients.used, dict.fromkeys(heard, now_ms())
            )
            self._auth.heard -= heard
