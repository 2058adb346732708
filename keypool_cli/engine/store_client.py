"""The client that a store's URL asks for: of one server, of a cluster, or of what sentinels name."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Self, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from keypool_cli.config import masked_url
from keypool_cli.engine.sentinels import Sentinels
from keypool_cli.errors import UsageError

Client: TypeAlias = Redis | RedisCluster

CONNECT_S = 2.5
"""How long the first connection may take, name lookup and greeting included: 3 s with the rest."""

ANSWER_S = 5.0
"""How long any later answer may take."""

_KEEPALIVE = {
    number: value
    for name, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPALIVE", 5),  # the same on macOS
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 10_000),  # ms
    )
    if (number := getattr(socket, name, None)) is not None
}
"""What only listens, for what is published, would not hear for a quarter of an hour that the other
side is cut off; in seconds."""

_CONNECTIONS = 128
_PORT, _SENTINEL_PORT = 6379, 26379


class _Cluster(RedisCluster):
    """A cluster's client that reads the key of a function call off the call.

    Its own way is to ask the default node: a round trip more for each call, and when that node
    dies, no call gets far enough to find out who took over.
    """

    __slots__ = ("_turn",)

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # as the client has it
        super().__init__(*args, **options)
        self._turn = asyncio.Lock()

    async def initialize(self, *args: Any, **words: Any) -> Self:  # noqa: ANN401  # as the client has it
        """Learn which node has what, from those that answer first.

        Its own way asks them in turn, and one for all: a node that stands still then holds up all
        calls, of every model.
        """
        async with self._turn:
            if self._initialize:
                await self._learn(self.nodes_manager, *args, **words)
        return self

    async def _learn(self, manager: NodesManager, *args: Any, **words: Any) -> None:  # noqa: ANN401  # as above
        silent = dict(manager.startup_nodes)
        for name in await _first_answering(manager.startup_nodes):
            del silent[name]
        for name in silent:
            del manager.startup_nodes[name]
        try:
            # When it is done, every node of the cluster is among them again.
            await manager.initialize(*args, **words)
            primaries = {each.name: each for each in self.get_primaries()}
            self.set_default_node(primaries[(await _first_answering(primaries))[0]])
            await self.commands_parser.initialize(self.get_default_node())
        except BaseException:
            manager.startup_nodes.update(silent)
            await manager.aclose()
            await manager.aclose("startup_nodes")
            raise
        self._initialize = False
        # The first time, those of the URL are replaced by what the cluster calls its nodes.
        kept = {id(each) for each in manager.startup_nodes.values()}
        gone = [each for each in silent.values() if id(each) not in kept]
        await asyncio.gather(*(each.disconnect() for each in gone))

    async def _determine_slot(self, command: str, *args: Any) -> int:  # noqa: ANN401  # as the client has it
        if command == "FCALL":
            return int(self.keyslot(args[2]))
        return await super()._determine_slot(command, *args)


async def _first_answering(nodes: Mapping[str, ClusterNode]) -> list[str]:
    """Who answers first, by name; several when they come together. Raises what all meet."""
    asked = {
        asyncio.create_task(node.execute_command("PING")): name for name, node in nodes.items()
    }
    pending = set(asked)
    for each in asked:
        each.add_done_callback(_heard)
    try:
        while True:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            errors = {asked[each]: each.exception() for each in done}
            # Whoever refuses a command, for want of permission, is there.
            found = [
                n for n, err in errors.items() if err is None or isinstance(err, ResponseError)
            ]
            if found:
                return found
            if not pending:
                raise next(filter(None, errors.values()))
    finally:
        for each in pending:
            each.cancel()


def _heard(asked: asyncio.Task[Any]) -> None:
    """Its error is not told of as one that nobody asked for: it may come when nobody does."""
    if not asked.cancelled():
        asked.exception()


def client_of(url: str) -> Client:
    """A client that has not connected yet. Raises UsageError for a URL that is not understood."""
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
    if not url.startswith("unix:"):
        options["socket_keepalive_options"] = _KEEPALIVE
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith("+sentinel"):
            return _sentinel_client(parts, options)
        if parts.scheme.endswith("+cluster"):
            return _cluster_client(parts, options)
        if parts.scheme != "unix":
            int(parts.path.strip("/") or 0)  # the client takes a word for database 0
        # This pool waits for a free connection where the plain one raises.
        pool = BlockingConnectionPool.from_url(
            url, max_connections=_CONNECTIONS, timeout=ANSWER_S, **options
        )
        return Redis.from_pool(pool)
    except (ValueError, TypeError) as err:
        raise UsageError(
            f"the store URL {masked_url(url)} is not understood",
            hint="forms: redis://user:password@host:6379/0, unix:///path?db=0, "
            "redis+cluster://host:6379,host:6379, redis+sentinel://host:26379,host:26379/service/0",
        ) from err


def _cluster_client(url: SplitResult, options: dict[str, Any]) -> RedisCluster:
    """A client of the cluster that any of the nodes in ``url`` belongs to.

    Form: ``redis+cluster://[user:password@]host[:port],…``, with redis-py's options as a query.
    """
    login, at, hosts = url.netloc.rpartition("@")
    first = f"{login}{at}{hosts.partition(',')[0]}"
    plain = url._replace(scheme=url.scheme.removesuffix("+cluster"), netloc=first).geturl()
    nodes = [ClusterNode(host, port) for host, port in hosts_of(url.geturl())]
    return _Cluster.from_url(plain, startup_nodes=nodes, max_connections=_CONNECTIONS, **options)


def _sentinel_client(url: SplitResult, options: dict[str, Any]) -> Redis:
    """A client of the master that the sentinels in ``url`` name.

    Form: ``redis+sentinel://[user:password@]host[:port],…/service[/db]``, with
    ``?sentinel_username=`` and ``sentinel_password=`` where the sentinels want them, and
    ``ssl_ca_certs=`` and the like.
    """
    service, _, db = url.path.strip("/").partition("/")
    if not service:
        raise ValueError("no service is named")
    words = dict(parse_qsl(url.query))
    tls = {name: value for name, value in words.items() if name.startswith("ssl_")}
    shared = {**options, **tls, "ssl": url.scheme.startswith("rediss")}
    own = {"username": words.get("sentinel_username"), "password": words.get("sentinel_password")}
    login: dict[str, Any] = {name: unquote(text) for name in own if (text := getattr(url, name))}
    asked = {**shared, **own, "socket_timeout": CONNECT_S}
    sentinels = Sentinels(hosts_of(url.geturl()), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]  # redis-py has no types here
    client: Redis = sentinels.master_for(unquote(service), db=int(db or 0), **shared, **login)
    return client


def hosts_of(url: str) -> list[tuple[str, int]]:
    """The servers that ``url`` names, with ports; none for a unix socket."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return []
    default = _SENTINEL_PORT if parts.scheme.endswith("+sentinel") else _PORT
    each = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
    return [(host.hostname or "localhost", host.port or default) for host in each]
