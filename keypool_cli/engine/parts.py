"""Which parts of the live store answer: the nodes of a cluster live and die one by one."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from time import monotonic

from redis.asyncio import RedisCluster
from redis.exceptions import SlotNotCoveredError

from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.store import Store
from keypool_cli.errors import UnreachableError

LOOK_S = 2.0
"""A node that takes longer to answer is taken for away."""

BELIEVED_S = 3.0
"""How long that is believed: otherwise each look would wait for it anew."""

_MOST_NAMES = 1000
"""Tried to find one on each node: some may have few slots."""


class Parts:
    """A cluster's nodes, asked by keys that lie on them. Any other store has one part."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._away: dict[str, tuple[float, UnreachableError]] = {}

    async def away(self, keys: Iterable[str]) -> dict[str, UnreachableError]:
        """Keys whose node does not answer, with the reason; none of a store that has one part.

        That one is away as a whole, as every call says.
        """
        client = self._store.client
        if not isinstance(client, RedisCluster):
            return {}
        on: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            on[_node(client, key) or key].append(key)
        found = await asyncio.gather(*(self._look(node, each[0]) for node, each in on.items()))
        troubles = zip(on.values(), found, strict=True)
        return {key: err for keys, err in troubles if err is not None for key in keys}

    def one_model_each(self) -> list[str]:
        """Names like those of models, one on each part."""
        client = self._store.client
        if not isinstance(client, RedisCluster):
            return ["probe"]
        count, found = len(client.get_primaries()), dict[str, str]()
        for name in map("probe{}".format, range(_MOST_NAMES)):
            found.setdefault(_node(client, tag(name)), name)
            if len(found) == count:
                break
        return list(found.values())

    async def _look(self, node: str, key: str) -> UnreachableError | None:
        known = self._away.get(node)
        if known is not None and known[0] > monotonic():
            return known[1]
        self._away.pop(node, None)
        try:
            with self._store.errors():
                async with asyncio.timeout(LOOK_S):
                    await self._store.client.exists(key)
        except UnreachableError as err:
            told = UnreachableError(
                f"node {node} of {err}" if node != key else str(err), hint=err.hint
            )
            self._away[node] = monotonic() + BELIEVED_S, told
            self._ask_another(node)
            return told
        return None

    def _ask_another(self, node: str) -> None:
        """Let what concerns no key, as the time, be asked of another node than this."""
        client = self._store.client
        if not isinstance(client, RedisCluster):
            return
        # There is none while the client has yet to learn the nodes anew.
        if getattr(client.get_default_node(), "name", None) == node:
            client.replace_default_node()


def _node(client: RedisCluster, key: str) -> str:
    """The name of the node that has a key; empty where none does."""
    try:
        node = client.get_node_from_key(key)
    except SlotNotCoveredError:
        return ""
    return str(node.name) if node is not None else ""
