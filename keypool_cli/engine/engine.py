"""The selection engine: live windows, leases and cooldowns, one method per script.

Everything is decided on the server, by its clock, in one call; this module only speaks to it.
Errors: :class:`UnreachableError` when the store cannot be reached or refuses to work.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import time_ns
from typing import Any

import msgspec
from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from keypool_cli.core.day import day_starts
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.notes import LEAVING, USUAL_TIMES, Notes, Times, server_clock
from keypool_cli.engine.scripts import library
from keypool_cli.engine.store import Store
from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Explanation,
    LeaseEnd,
    LiveMark,
    LivePool,
    LiveProject,
    Pumped,
    Reason,
    Settled,
    Settlement,
    Snapshot,
    Stale,
    View,
)
from keypool_cli.engine.wire import (
    pack_demand,
    pack_settlement,
    read_acquired,
    read_grant,
    read_outcomes,
)
from keypool_cli.errors import UnreachableError

LOOK_CHUNK = 100
"""Projects one snapshot call looks at: about 3 ms of the server's time."""

SKIM_CHUNK = 1000
"""As many of which most are idle."""

LOAD_CHUNK = 250
"""Projects one call loads, marks or resets: about 10 ms of the server's time."""

_KEPT = ("loading", "rebuilt")
"""What belongs to the rebuilding itself."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_unpack_views = msgspec.msgpack.Decoder(tuple[int, list[View], int]).decode


class Engine(Notes):
    """One live store. ``now``: tests pass a clock in ms; 0 asks the server."""

    def __init__(
        self, store: Store, *, times: Times = USUAL_TIMES, now: Callable[[], int] = server_clock
    ) -> None:
        super().__init__(store, times, now)
        self._prefix, self._library = library()

    async def _call(self, verb: str, model: str, *args: object) -> list[Any]:
        return _unpack(await self._send(verb, model, _pack(args)))  # type: ignore[no-any-return]  # scripts answer arrays

    async def _send(self, verb: str, model: str, *words: bytes) -> Any:  # noqa: ANN401  # as scripts answer
        name, now = f"{self._prefix}_{verb}", self._now()
        with self.store.errors():
            try:
                return await self.store.call("FCALL", name, 1, tag(model), now, *words)
            except ResponseError as err:
                if "Function not found" not in str(err):
                    raise
                await self._load_library(model)
                return await self.store.call("FCALL", name, 1, tag(model), now, *words)

    async def _load_library(self, model: str) -> None:
        """Put the scripts on the server that has the model: others of a cluster may be away."""
        words, client = ("FUNCTION LOAD", "REPLACE", self._library), self.store.client
        if isinstance(client, RedisCluster):
            node = client.get_node_from_key(tag(model))
            await client.execute_command(*words, target_nodes=node)
        else:
            await client.function_load(self._library, replace=True)

    def _days(self) -> tuple[int, ...]:
        return day_starts(self._now() or time_ns() // 1_000_000)

    async def acquire(
        self, model: str, pool_id: int, demands: Sequence[Demand], *, revision: int, queue: int = 0
    ) -> Acquired | Stale:
        """Choose and reserve for each demand, park it, or say when one will fit.

        revision: the registry's, as the caller knows it. queue: how many may wait in the pool.
        """
        head = _pack((self._days(), revision, pool_id, queue))
        answer = await self._send("acquire", model, head, *map(pack_demand, demands))
        return read_acquired(answer, demands)

    async def settle(self, model: str, items: Sequence[Settlement]) -> list[Settled | LeaseEnd]:
        """Close leases with what upstream said; the first settlement of a lease wins."""
        head = _pack((self._days(),))
        answer = await self._send("settle", model, head, *map(pack_settlement, items))
        return read_outcomes(answer, len(items))

    async def release(self, model: str, client: int, lease_ids: Sequence[str]) -> list[LeaseEnd]:
        """Give back leases whose calls were never made, and forget demands that wait."""
        _, outcomes = await self._call("release", model, self._days(), client, lease_ids)
        if not outcomes:
            return [LeaseEnd.MISSING] * len(lease_ids)
        return [LeaseEnd(each) for each in outcomes]

    async def leases(self, model: str, lease_ids: Sequence[str]) -> list[bytes]:
        """Leases as they are stored, see ``wire.LEASE``; empty where there is none (any more)."""
        return await self._send("leases", model, _pack(lease_ids))  # type: ignore[no-any-return]  # an array

    async def renew(self, model: str, lease_ids: Sequence[str], *, ttl_ms: int) -> int:
        """Let open leases last at least so much longer; answers how many are open still."""
        row = await self._call("renew", model, ttl_ms, lease_ids)
        return int(row[1])

    async def mark(
        self,
        model: str,
        project_ids: Sequence[int],
        mark: LiveMark,
        *,
        granted_at_ms: int,
        key_id: int = 0,
    ) -> int:
        """Apply a refusal seen on another model; answers how many projects it took effect on."""
        count, words = 0, (mark, granted_at_ms, key_id)
        for start in range(0, len(project_ids), LOAD_CHUNK):
            chunk = project_ids[start : start + LOAD_CHUNK]
            row = await self._call("mark", model, self._days(), chunk, *words)
            count += int(row[1])
        return count

    async def reset(
        self,
        model: str,
        project_ids: Sequence[int],
        *,
        counters: bool = False,
        failures: bool = False,
    ) -> Snapshot:
        """Forget cooldowns (and, where asked, counts and failures); answers how it was before."""
        now, views = 0, list[View]()
        for start in range(0, max(len(project_ids), 1), LOAD_CHUNK):
            chunk = project_ids[start : start + LOAD_CHUNK]
            now, found = await self._call("reset", model, self._days(), chunk, counters, failures)
            views += msgspec.convert(found, list[View])
        return Snapshot(now, views, 0)

    async def load(self, model: str, projects: Sequence[LiveProject]) -> None:
        """Write what the registry says of projects; :meth:`seal` makes it count."""
        for start in range(0, len(projects), LOAD_CHUNK):
            chunk = projects[start : start + LOAD_CHUNK]
            await self._call("load", model, self._days(), self.times.wire, chunk)

    async def adopt(self, model: str, views: Sequence[View]) -> None:
        """Book what projects used under another name of the model, for a whole window from now."""
        bookings = [
            (v.project_id, v.requests, v.tokens, v.day_requests, v.utc_requests) for v in views
        ]
        await self._call("adopt", model, self._days(), bookings)

    async def clear(self, model: str) -> None:
        """Forget a state that is another life's; until it is loaded anew nothing is granted.

        Key by key: however another keypool has laid it out.
        """
        client, kept = self.store.client, {f"{tag(model)}:{name}".encode() for name in _KEPT}
        with self.store.errors():
            await client.delete(f"{tag(model)}:meta")
            found = [each async for each in client.scan_iter(f"{tag(model)}:*", SKIM_CHUNK)]
            gone = [each for each in found if each not in kept]
            for start in range(0, len(gone), SKIM_CHUNK):
                await client.unlink(*gone[start : start + SKIM_CHUNK])

    async def unload(self, model: str, project_ids: Sequence[int]) -> None:
        """Remove projects that are no longer configured."""
        for start in range(0, len(project_ids), LOAD_CHUNK):
            await self._call("unload", model, project_ids[start : start + LOAD_CHUNK])

    async def seal(
        self,
        model: str,
        *,
        revision: int,
        pools: Sequence[LivePool],
        epoch: str,
        only_from: int = -1,
    ) -> bool:
        """Say that the model is loaded as of a revision; False when something else changed too."""
        self.unlisted.add(model)
        # Where the list's own node of a cluster is away, the models of others go on without it.
        with suppress(UnreachableError):
            await self.enlist()
        row = await self._call(
            "seal", model, self._days(), revision, only_from, self.times.wire, pools, epoch
        )
        return bool(row[1])

    async def amend(
        self,
        model: str,
        projects: Sequence[LiveProject],
        gone: Sequence[int],
        *,
        pools: Sequence[LivePool],
        revisions: tuple[int, int],
    ) -> bool:
        """Load, unload and seal in one call: what changed from one revision to the next.

        False, and nothing is done, when another process loads the model or it has missed an
        earlier change. At most LOAD_CHUNK projects.
        """
        row = await self._call(
            "amend", model, self._days(), *revisions, self.times.wire, projects, gone, pools
        )
        if row[2]:
            await self.pump(model, "", [each.id for each in pools])
        return bool(row[1])

    async def is_over(self, model: str, states: Sequence[str], *, since_ms: int) -> bool:
        """Whether nothing known of projects and clients counts any more, nor changed since."""
        row = await self._call("over", model, self._days(), since_ms, self.times.wire, states)
        return bool(row[1])

    async def leave(self, model: str, token: str) -> bool:
        """Grant nothing until the model is loaded anew; False, and no change, while it is in use."""
        return bool((await self._call("leave", model, token, LEAVING))[1])

    async def forget(
        self, model: str, token: str, project_ids: Sequence[int], names: Sequence[str]
    ) -> bool:
        """Remove projects and other keys after :meth:`leave`; False once the right was lost."""
        return bool((await self._call("forget", model, token, project_ids, names))[1])

    async def pump(self, model: str, daemon: str, pool_ids: Sequence[int]) -> Pumped:
        """Bring due projects to the present, serve waiters, and fetch this daemon's grants."""
        head = _pack((self._days(), daemon, pool_ids))
        now, next_at, waiting, *grants = await self._send("pump", model, head)
        return Pumped(now, [*map(read_grant, grants)], next_at, waiting)

    async def snapshot(
        self, model: str, project_ids: Sequence[int], *, busy_only: bool = False
    ) -> Snapshot:
        """How projects stand on a model now.

        busy_only: without those that are neither in use nor held back, at a fifth of the cost.
        """
        now, revision, views = 0, -1, []
        step = SKIM_CHUNK if busy_only else LOOK_CHUNK
        for start in range(0, max(len(project_ids), 1), step):
            chunk = project_ids[start : start + step]
            answer = await self._send("snapshot", model, _pack((self._days(), chunk, busy_only)))
            now, found, revision = _unpack_views(answer)
            views += found
        return Snapshot(now, views, revision)

    async def explain(
        self, model: str, pool_id: int, demand: Demand, project_ids: Sequence[int]
    ) -> Explanation:
        """What acquire would do with a demand; reserves nothing."""
        head = _pack((self._days(), pool_id, project_ids))
        answer = await self._send("explain", model, head, pack_demand(demand))
        now, chosen, reasons = _unpack(answer)
        found = None if chosen == -1 else chosen
        return Explanation(now, found, msgspec.convert(reasons, list[Reason]))


def new_epoch() -> str:
    """Name a new live state."""
    return f"{random.getrandbits(64):016x}"
