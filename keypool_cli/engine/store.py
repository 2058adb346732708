"""The connection to the live store: embedded, single server, cluster or sentinel."""

import asyncio
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from keypool_cli.config import Settings, masked_url
from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.engine.lane import Lane
from keypool_cli.errors import KeypoolError, UnreachableError, UsageError

Client: TypeAlias = Redis | RedisCluster

CONNECT_S = 2.5
"""How long the first connection may take, name lookup and greeting included: 3 s with the rest."""

ANSWER_S = 5.0
"""How long any later answer may take."""

_CONNECTIONS = 128
_PORT, _SENTINEL_PORT = 6379, 26379
_OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}

_REFUSED_CREDENTIALS = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
    redis.exceptions.NoPermissionError,
)
_UNREACHABLE = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.InvalidResponse,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ClusterError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.NoPermissionError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
)
# Answers of a server that lives but takes no writes, which the client has no class for.
_TAKES_NO_WRITES = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "NOAUTH", "BUSY ")


class Store:
    """An open live store. client: answers are bytes. embedded: our share of it, if it is ours."""

    def __init__(
        self, client: Client, url: str, embedded: EmbeddedServer | None = None, life: str = ""
    ) -> None:
        self.client = client
        self.url = url
        self.embedded = embedded
        self._lane: Lane | None = None
        if isinstance(client, Redis):
            self._lane = Lane(client.connection_pool, answer_s=ANSWER_S, life=life)

    @property
    def life(self) -> str:
        """Changes with every start of the server, and with a failover; empty for a cluster."""
        return self._lane.life if self._lane is not None else ""

    async def call(self, *words: Any) -> Any:  # noqa: ANN401  # as the server takes and answers
        """One command, by the shortest way; what fails is for :meth:`errors`."""
        if self._lane is None:
            return await self.client.execute_command(*words)
        return await self._lane.call(*words)

    def errors(self) -> AbstractContextManager[None]:
        """A context manager: trouble with this store becomes UnreachableError."""
        return errors_as_ours(self.url)

    async def ensure_running(self) -> None:
        """After a lost connection: start the embedded server again if it has ended."""
        if self.embedded is not None:
            await asyncio.to_thread(self.embedded.ensure_running)

    async def close(self) -> None:
        """Disconnect; the last user of the embedded server shuts it down."""
        try:
            if self._lane is not None:
                await self._lane.close()
            await _hang_up(self.client)
        finally:
            if self.embedded is not None:
                await asyncio.to_thread(self.embedded.leave)


async def connect(settings: Settings, embedded: EmbeddedServer | None = None) -> Store:
    """The live store, having answered and being recent enough.

    embedded: the caller's share of the embedded server, to be joined if that is the store.
    Raises UnreachableError within CONNECT_S if it does not answer (an embedded server that loads
    much state may take longer), KeypoolError if its version is too old, UsageError if the URL is
    not understood.
    """
    if settings.redis_url is not None:
        client, life = await _open(settings.redis_url)
        return Store(client, settings.redis_url, life=life)
    embedded = embedded or EmbeddedServer(settings.home)
    try:
        url = await asyncio.to_thread(embedded.join)
        client, life = await _open(url)
        return Store(client, url, embedded, life)
    except BaseException:
        await asyncio.to_thread(embedded.leave)
        raise


async def _open(url: str) -> tuple[Client, str]:
    """A client that has been answered, and the server's run id."""
    with errors_as_ours(url):
        async with asyncio.timeout(CONNECT_S):
            client = _client(url)
            await _look_up(_hosts(url))
            try:
                info = await client.info("server")
                _check_version(info, url)
            except BaseException:
                await _hang_up(client)
                raise
            return client, str(info.get("run_id", ""))


def unreachable(err: BaseException, url: str) -> UnreachableError:
    """What to tell the user about ``err``, which came from the store at ``url``."""
    where = f"the live store at {masked_url(url)}"
    if isinstance(err, _REFUSED_CREDENTIALS) or str(err).startswith("NOAUTH"):
        return UnreachableError(
            f"{where} refuses these credentials",
            hint="check user, password and the user's permissions in KEYPOOL_REDIS_URL",
        )
    return UnreachableError(
        f"{where} cannot be reached: {_reason(err)}",
        hint="run it again; if that does not help, check the server, and KEYPOOL_REDIS_URL if set",
    )


def _reason(err: BaseException) -> str:
    """The system's own words where there are any: the client's are long and repeat the address."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            named = isinstance(cause, socket.gaierror)
            return str(cause.strerror) if named else os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    words = re.split(r"\n| : <", str(err))[0].rstrip(".")
    return words or "no answer in time"


@contextmanager
def errors_as_ours(url: str) -> Iterator[None]:
    """Turn the client's connection errors into UnreachableError; others pass."""
    try:
        yield
    except _UNREACHABLE as err:
        raise unreachable(err, url) from err
    except redis.exceptions.ResponseError as err:
        if str(err).startswith("KPCLOCK"):
            raise KeypoolError(
                f"the clocks of this machine and of the live store at {masked_url(url)} "
                "differ by more than a day",
                hint="set them right: keypool counts the day's requests by both",
            ) from err
        if not str(err).startswith(_TAKES_NO_WRITES):
            raise
        raise unreachable(err, url) from err


def _client(url: str) -> Client:
    scheme, _, rest = url.partition("://")
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": CONNECT_S,
        "health_check_interval": 30,
        "protocol": 2,
        "driver_info": None,
        # A command whose answer was lost may have run: repeating it is for the caller to decide.
        # Connections found closed before anything was sent are replaced by the pool, once.
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        if scheme.endswith("+sentinel"):
            return _sentinel_client(url, options)
        if scheme.endswith("+cluster"):
            plain = f"{scheme.removesuffix('+cluster')}://{rest}"
            return RedisCluster.from_url(plain, max_connections=_CONNECTIONS, **options)
        # This pool waits for a free connection where the plain one raises.
        pool = BlockingConnectionPool.from_url(
            url, max_connections=_CONNECTIONS, timeout=ANSWER_S, **options
        )
        return Redis.from_pool(pool)
    except (ValueError, TypeError) as err:
        raise _not_understood(url) from err


def _not_understood(url: str) -> UsageError:
    return UsageError(
        f"the store URL {masked_url(url)} is not understood",
        hint="forms: redis://user:password@host:6379/0, unix:///path?db=0, "
        "redis+sentinel://host:26379,host:26379/service/0",
    )


def _sentinel_client(url: str, options: dict[str, Any]) -> Redis:
    """A client of the master that the sentinels in ``url`` name.

    Form: ``redis+sentinel://[user:password@]host[:port],…/service[/db]``, with
    ``?sentinel_username=`` and ``sentinel_password=`` where the sentinels want them.
    """
    parts = urlsplit(url)
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise _not_understood(url)
    words = dict(parse_qsl(parts.query))
    shared = {**options, "ssl": parts.scheme.startswith("rediss")}
    own = {"username": words.get("sentinel_username"), "password": words.get("sentinel_password")}
    login: dict[str, Any] = {name: unquote(text) for name in own if (text := getattr(parts, name))}
    sentinels = Sentinel(_hosts(url), sentinel_kwargs={**shared, **own})  # type: ignore[no-untyped-call]  # redis-py has no types here
    client: Redis = sentinels.master_for(unquote(service), db=int(db or 0), **shared, **login)
    return client


def _hosts(url: str) -> list[tuple[str, int]]:
    """The servers that ``url`` names, with ports; none for a unix socket."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return []
    default = _SENTINEL_PORT if parts.scheme.endswith("+sentinel") else _PORT
    each = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
    return [(host.hostname or "localhost", host.port or default) for host in each]


async def _look_up(hosts: list[tuple[str, int]]) -> None:
    """Fail while there is time if no name has an address.

    In a thread that nobody waits for: a name server that is down would hold asyncio's own
    lookup thread, and with it the end of the process, long past the deadline.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[None] = loop.create_future()

    def report(err: OSError | None) -> None:
        if not found.done():
            found.set_result(None) if err is None else found.set_exception(err)

    def look() -> None:
        err: OSError | None = None
        for host, port in hosts:
            try:
                socket.getaddrinfo(host, port)
            except OSError as failure:
                err = failure
            else:
                err = None
                break
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(report, err)

    threading.Thread(target=look, daemon=True).start()
    await found


def _check_version(info: Mapping[str, Any], url: str) -> None:
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info[f"{product.lower()}_version"])
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST[product]:
        raise KeypoolError(
            f"the live store at {masked_url(url)} is {product} {version}",
            hint="keypool needs Valkey 7.2 or later, or Redis 7.0 or later",
        )


async def _hang_up(client: Client) -> None:
    await client.aclose()
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        await client.connection_pool.sentinel_manager.aclose()
