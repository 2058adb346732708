"""A daemon's view of the registry, kept fresh."""

import asyncio
from contextlib import suppress
from itertools import islice

from keypool_cli.core.model import Client, Secret
from keypool_cli.errors import KeypoolError, UnreachableError
from keypool_cli.service.configured import Configured
from keypool_cli.service.mirror import renew_mirror
from keypool_cli.service.newcomers import Newcomers
from keypool_cli.service.ports import Ports
from keypool_cli.service.spans import put_in_force
from keypool_cli.service.sync import read_configured

POLL_S = 0.5
"""How often the revision is asked for, should a notice have been lost."""


_LOOKED_AT_ONCE = 1000
_UNSEALED_AT_ONCE = 200


class Watch:
    """The newest revision known, and its keys' secrets, unsealed once each."""

    def __init__(self, ports: Ports, configured: Configured) -> None:
        self.configured = configured
        self._ports = ports
        self._reading = asyncio.Lock()
        self._secrets: dict[tuple[int, str], Secret] = {}
        self._noticed = asyncio.Event()
        self._newcomers = Newcomers()

    def admit(self, client: Client | None, model: str) -> None:
        """Raise NotPermittedError if a client asks for too many models that nobody configured."""
        self._newcomers.check(client, model, self.configured)

    def notice(self) -> None:
        """Someone announced a change: look at once."""
        self._noticed.set()

    async def refresh(self) -> None:
        """Read the registry again if it changed."""
        async with self._reading:
            if await self._ports.call(self._ports.registry.revision) != self.configured.revision:
                self.configured = await read_configured(self._ports)

    async def newest(self) -> tuple[Configured, UnreachableError | None]:
        """What is configured, with the marks of this moment; or as last heard of, and why."""
        try:
            await self.refresh()
            marks = await self._ports.call(self._ports.registry.marks.all)
        except UnreachableError as err:
            return self.configured, err
        return self.configured.with_marks(marks), None

    async def run(self) -> None:
        """Refresh until cancelled; while the database is away, what is known stays in force."""
        with suppress(UnreachableError):
            await put_in_force(self._ports, self.configured)
        # What was changed while no live store ran is mirrored nowhere.
        await renew_mirror(self._ports, self.configured)
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._noticed.wait(), POLL_S)
            self._noticed.clear()
            with suppress(UnreachableError):
                await self.refresh()

    async def unseal(self) -> None:
        """Know each secret before its key is leased, for the database may be away by then.

        Goes on until cancelled.
        """
        revision = -1
        while True:
            if self.configured.revision != revision:
                revision = self.configured.revision
                await self._unseal_new()
            await asyncio.sleep(POLL_S)

    async def _unseal_new(self) -> None:
        keys = iter(self.configured.catalog.keys)
        # Looking through 100,000 at once would hold up every lease for 40 ms.
        while part := list(islice(keys, _LOOKED_AT_ONCE)):
            await self._unseal([each for each in part if self.known_secret(each) is None])
            await asyncio.sleep(0)

    async def _unseal(self, wanted: list[int]) -> None:
        for start in range(0, len(wanted), _UNSEALED_AT_ONCE):
            part = wanted[start : start + _UNSEALED_AT_ONCE]
            # Whoever leases a key whose secret cannot be had is told why.
            with suppress(KeypoolError):
                found = await self._ports.call(self._ports.registry.keys.secrets, part)
                for key_id, secret in found.items():
                    self._keep(key_id, secret)

    def _keep(self, key_id: int, secret: Secret) -> None:
        key = self.configured.catalog.keys.get(key_id)
        if key is not None:
            self._secrets[key_id, key.fingerprint] = secret

    def known_secret(self, key_id: int) -> Secret | None:
        """The secret of a key if it is unsealed already."""
        key = self.configured.catalog.keys.get(key_id)
        return self._secrets.get((key_id, key.fingerprint)) if key is not None else None

    async def secret(self, key_id: int) -> Secret:
        """The secret of a key, unsealed at most once. Raises NotFoundError when the key is gone."""
        found = self.known_secret(key_id)
        if found is not None:
            return found
        if key_id not in self.configured.catalog.keys:
            await self.refresh()
        secret = await self._ports.call(self._ports.registry.keys.secret, key_id)
        if key_id not in self.configured.catalog.keys:
            raise KeypoolError("a key was removed while it was being leased", hint="try again")
        self._keep(key_id, secret)
        return secret
