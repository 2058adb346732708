"""What is configured, mirrored in the live store: read there, it needs no SQLAlchemy.

One value holds the catalog as of one revision, without secrets or hashes of tokens. Whoever
changes the registry writes it anew, and so does a reader that had to turn to SQL. Nobody has to
believe it: its stamp is compared with the registry's own revision at each reading.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from keypool_cli.config import Settings
from keypool_cli.core.model import Catalog
from keypool_cli.engine import store
from keypool_cli.engine.engine import Engine
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.glance import Glance, glance
from keypool_cli.service.configured import Configured
from keypool_cli.service.loaded import models_from
from keypool_cli.service.ports import Ports, open_registry, times

if TYPE_CHECKING:
    from keypool_cli.registry.repository import Registry

MIRROR = "kp:mirror:1"
"""The key of the mirror, with the number of its form."""


class _Mirrored(msgspec.Struct, frozen=True, array_like=True):
    """The mirror's value. packed: the catalog as MessagePack, compressed."""

    stamp: str
    packed: bytes


async def write_mirror(ports: Ports, configured: Configured) -> None:
    """Mirror what is configured, unless it is no longer the newest; a full store goes without."""
    seen = await asyncio.to_thread(glance, ports.settings.database_url)
    if seen is None or seen.revision != configured.revision:
        return
    if await ports.engine.parts.away([MIRROR]):
        return
    value = await asyncio.to_thread(_pack, seen.stamp, configured.catalog)
    with suppress(UnreachableError), ports.engine.store.errors():
        await ports.engine.store.client.set(MIRROR, value)


async def renew_mirror(ports: Ports, configured: Configured) -> None:
    """:func:`write_mirror` where that was not done yet; a store that is away goes without."""
    with suppress(UnreachableError):
        seen = await asyncio.to_thread(glance, ports.settings.database_url)
        found = await _read_mirror(ports.engine)
        if seen is not None and (found is None or found.stamp != seen.stamp):
            await write_mirror(ports, configured)


async def _read_mirror(engine: Engine) -> _Mirrored | None:
    if await engine.parts.away([MIRROR]):
        return None
    with engine.store.errors():
        value = await engine.store.client.get(MIRROR)
    try:
        decode = msgspec.msgpack.decode
        return decode(value, type=_Mirrored) if isinstance(value, bytes) else None
    except msgspec.DecodeError:
        return None


def _pack(stamp: str, catalog: Catalog) -> bytes:
    packed = zlib.compress(msgspec.msgpack.encode(catalog), 1)
    return msgspec.msgpack.encode(_Mirrored(stamp, packed))


def _unpack(mirrored: _Mirrored) -> Configured | None:
    try:
        catalog = msgspec.msgpack.decode(zlib.decompress(mirrored.packed), type=Catalog)
    except (msgspec.DecodeError, zlib.error):  # another version's, or damaged
        return None
    return Configured(catalog)


class Look:
    """What is configured, as quickly as it can be had: known already, mirrored, or from SQL.

    away: why the database cannot be used, when what is shown is the mirror's word alone.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.engine = engine
        self.away: UnreachableError | None = None
        self._settings = settings
        self._registry: Registry | None = None
        self._known: tuple[str, Configured] | None = None

    async def configured(self) -> Configured:
        """The registry as it is now. Raises UnreachableError where neither SQL nor mirror is."""
        seen = await asyncio.to_thread(glance, self._settings.database_url)
        if seen is None:
            return await self._without_glance()
        self.away = None
        if self._known is None or self._known[0] != seen.stamp:
            self._known = (seen.stamp, await self._mirrored(seen) or await self._from_sql())
        return self._known[1].with_marks(seen.marks)

    async def models(self) -> list[str]:
        """The models in use, sorted."""

        async def from_sql() -> Iterable[str]:
            return await asyncio.to_thread((await self.registry()).live_epochs.all)

        return await models_from(self.engine, from_sql)

    async def _mirrored(self, seen: Glance) -> Configured | None:
        found = await _read_mirror(self.engine)
        return _unpack(found) if found is not None and found.stamp == seen.stamp else None

    async def _without_glance(self) -> Configured:
        try:
            configured = await self._from_sql()
        except UnreachableError as err:
            found = await _read_mirror(self.engine)
            mirrored = _unpack(found) if found is not None else None
            if mirrored is None:
                raise
            self.away = err
            return mirrored
        self.away = None
        return configured

    async def _from_sql(self) -> Configured:
        """Read the registry itself, and mirror it for whoever comes next."""
        registry = await self.registry()
        ports = Ports(self._settings, registry, self.engine)
        configured = Configured(await ports.call(registry.catalog))
        await write_mirror(ports, configured)
        return configured

    async def registry(self) -> "Registry":
        """The registry, opened when it is first asked for."""
        if self._registry is None:
            self._registry = await asyncio.to_thread(open_registry, self._settings)
        return self._registry

    def close(self) -> None:
        """Close the registry, if it was opened."""
        if self._registry is not None:
            self._registry.close()


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Look]:
    """The live store, started if it is embedded, and what is configured; closed at the end."""
    live = await store.connect(settings)
    look = Look(settings, Engine(live, times=times(settings)))
    try:
        yield look
    finally:
        look.close()
        await live.close()
