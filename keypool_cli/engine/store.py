"""The connection to the live store: embedded, single server, cluster or sentinel."""

import asyncio
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from types import MappingProxyType
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterPubSub
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as LostError

from keypool_cli.config import Settings, masked_url
from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.engine.following import EVERY_S, Following
from keypool_cli.engine.lane import Lane
from keypool_cli.engine.store_client import ANSWER_S, CONNECT_S, Client, client_of, hosts_of
from keypool_cli.engine.store_errors import errors_as_ours
from keypool_cli.errors import KeypoolError, UnreachableError

_OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}


class Store:
    """An open live store.

    client: answers are bytes. embedded: our share of it, if it is ours. info: what the server told
    of itself when it was asked first.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        embedded: EmbeddedServer | None = None,
        info: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.client = client
        self.url = url
        self.embedded = embedded
        self._info = info
        self._lane: Lane | None = None
        self._following: Following | None = None
        if isinstance(client, Redis):
            life = str(info.get("run_id", ""))
            self._lane = Lane(client.connection_pool, answer_s=ANSWER_S, life=life)

    @property
    def life(self) -> str:
        """Changes with every start of the server, and with a failover; empty for a cluster."""
        return self._lane.life if self._lane is not None else ""

    @property
    def doubt(self) -> str | None:
        """What an operator should know: a server that is full may forget what we count on."""
        policy = str(self._info.get("maxmemory_policy", "noeviction"))
        if policy == "noeviction" or not self._info.get("maxmemory"):
            return None
        return (
            f"the live store at {masked_url(self.url)} forgets windows and cooldowns when its "
            f"memory is full (maxmemory-policy {policy}): set maxmemory-policy to noeviction there"
        )

    async def call(self, *words: Any) -> Any:  # noqa: ANN401  # as the server takes and answers
        """One command, by the shortest way; what fails is for :meth:`errors`."""
        if self._lane is None:
            return await self.client.execute_command(*words)
        if self._following is not None and self._following.cut_off:
            raise LostError("most of its Sentinels do not answer, and may have chosen another")
        return await self._lane.call(*words)

    async def publish(self, channel: str, text: str | int) -> None:
        """Tell all who listen. Any node of a cluster does: not the one that the name leads to."""
        client = self.client
        if isinstance(client, RedisCluster):
            node = client.get_default_node()
            await client.execute_command("PUBLISH", channel, text, target_nodes=node)
        else:
            await client.publish(channel, text)

    def pubsub(self) -> PubSub | ClusterPubSub:
        """A connection to listen on, to any node as above."""
        client = self.client
        if isinstance(client, RedisCluster):
            return client.pubsub(node=client.get_default_node(), ignore_subscribe_messages=True)
        return client.pubsub(ignore_subscribe_messages=True)

    async def follow(self) -> None:
        """Keep to the primary that most of the Sentinels name, until cancelled.

        From now on :meth:`call` fails while they do not answer. Returns where none are asked.
        """
        if self._lane is None or not isinstance(self.client, Redis):
            return
        if isinstance(pool := self.client.connection_pool, SentinelConnectionPool):
            self._following = Following(pool, self._lane)
            while True:
                await asyncio.sleep(EVERY_S)
                with suppress(UnreachableError), self.errors():
                    await self._following.look()

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
        client, info = await _open(settings.redis_url)
        return Store(client, settings.redis_url, info=info)
    embedded = embedded or EmbeddedServer(settings.home)
    try:
        url = await asyncio.to_thread(embedded.join)
        client, info = await _open(url)
        return Store(client, url, embedded, info)
    except BaseException:
        await asyncio.to_thread(embedded.leave)
        raise


async def _open(url: str) -> tuple[Client, Mapping[str, Any]]:
    """A client that has been answered, and what the server told of itself."""
    with errors_as_ours(url):
        async with asyncio.timeout(CONNECT_S):
            client = client_of(url)
            await _look_up(hosts_of(url))
            try:
                info = await client.info("server", "memory")
                _check_version(info, url)
            except BaseException:
                await _hang_up(client)
                raise
            return client, info


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
