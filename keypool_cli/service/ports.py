"""The adapters a use-case works through, opened together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from keypool_cli.config import Settings, ensure_home, has_master_key, master_key
from keypool_cli.engine import store
from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.notes import Times
from keypool_cli.errors import KeypoolError, UnreachableError

if TYPE_CHECKING:
    from keypool_cli.registry.repository import Registry

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ports:
    """The registry (sync, called from threads) and the engine (async) of one home."""

    settings: Settings
    registry: "Registry"
    _engine: Engine | None
    away: UnreachableError | None = None
    """Why the live store is not open although it is in use: it does not answer."""
    unheard: list[KeypoolError] = field(default_factory=list)
    """Why daemons may not have heard yet of a change that is made; whoever opened it tells."""

    @property
    def live(self) -> bool:
        """Whether the live store is open; changes of the registry do not need a stopped one."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The engine; only where the live store was asked for."""
        assert self._engine is not None, "opened without the live store"  # noqa: S101 - a caller's bug
        return self._engine

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the registry in a worker thread."""
        return await asyncio.to_thread(method, *args, **kwargs)


def times(settings: Settings) -> Times:
    """The engine's spans from the settings."""
    return Times(
        window_ms=int(settings.window_s * 1000),
        guard_ms=settings.guard_ms,
        starve_ms=int(settings.starve_s * 1000),
    )


def open_registry(settings: Settings) -> "Registry":
    """Open the registry; creates home and master key on first use."""
    from keypool_cli.registry.repository import Registry  # noqa: PLC0415 - slow, often not needed

    ensure_home(settings.home)
    if not has_master_key(settings):
        registry = Registry.open(settings.database_url, master_key=None)
        if registry.is_sealed():  # a new key would open nothing, and look like the lost one
            return registry
        registry.close()
    return Registry.open(settings.database_url, master_key=master_key(settings))


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    start: bool = True,
    embedded: EmbeddedServer | None = None,
    daemon: bool = False,
) -> AsyncIterator[Ports]:
    """Both adapters, closed at the end. Raises UnreachableError when either cannot be reached.

    start: an embedded server that does not run is started; without it, a change of the registry
    waits in SQL, where whoever starts the server finds it, and daemons when a store that is away
    answers again. embedded: see ``store.connect``. daemon: the spans of its windows are those of
    its settings; everyone else takes over what daemons work with.
    """
    registry = await asyncio.to_thread(open_registry, settings)
    try:
        live, away = await _connected(settings, embedded, start=start)
        if live is None:
            yield Ports(settings, registry, None, away)
            return
        try:
            engine = Engine(live, times=times(settings))
            with suppress(UnreachableError):  # where that node of a cluster is away
                told = None if daemon else await engine.told_times()
                engine.times = told or engine.times
            yield Ports(settings, registry, engine)
        finally:
            await live.close()
    finally:
        registry.close()


async def _connected(
    settings: Settings, embedded: EmbeddedServer | None, *, start: bool
) -> tuple[store.Store | None, UnreachableError | None]:
    """The live store; None where it may be done without, and why if it is away."""
    if not start and settings.redis_url is None and not _embedded_runs(settings):
        return None, None
    try:
        return await store.connect(settings, embedded), None
    except UnreachableError as err:
        if start:
            raise
        return None, err


def _embedded_runs(settings: Settings) -> bool:
    return EmbeddedServer(settings.home).running()
