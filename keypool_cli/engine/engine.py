"""The selection engine: live windows, leases and cooldowns, one method per script.

Everything is decided on the server, by its clock, in one call; this module only speaks to it.
Errors: :class:`UnreachableError` when the store cannot be reached or refuses to work.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from time import time_ns
from typing import Any

import msgspec
from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from keypool_cli.core.day import day_starts
from keypool_cli.engine.keyspace import AFFINITY, CHANGES, MODELS, tag
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
from keypool_cli.engine.wire import pack_demand, pack_settlement, read_outcome, read_result

LOOK_CHUNK = 100
"""Projects one snapshot call looks at: about 3 ms of the server's time."""

LOAD_CHUNK = 250
"""Projects one load call carries: about 10 ms of the server's time."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True, slots=True)
class Times:
    """The engine's spans: the minute, the guard added to it, and when a waiter counts as starved."""

    window_ms: int = 60_000
    guard_ms: int = 500
    starve_ms: int = 10_000

    @property
    def wire(self) -> list[int]:
        """As the scripts take them: minute and guard together first."""
        return [self.window_ms + self.guard_ms, self.guard_ms, self.starve_ms]


def _server_clock() -> int:
    return 0


class Engine:
    """One live store. ``now``: tests pass a clock in ms; 0 asks the server."""

    def __init__(
        self, store: Store, *, times: Times = Times(), now: Callable[[], int] = _server_clock
    ) -> None:
        self.store = store
        self.times = times
        self._now = now
        self._prefix, self._library = library()

    async def _call(self, verb: str, model: str, *args: object) -> list[Any]:
        return _unpack(await self._send(verb, model, _pack(args)))  # type: ignore[no-any-return]  # scripts answer arrays

    async def _send(self, verb: str, model: str, *words: bytes) -> Any:  # noqa: ANN401  # as scripts answer
        name, now = f"{self._prefix}_{verb}", self._now()
        with self.store.errors():
            try:
                return await self.store.client.fcall(name, 1, tag(model), now, *words)
            except ResponseError as err:
                if "Function not found" not in str(err):
                    raise
                await self.load_library()
                return await self.store.client.fcall(name, 1, tag(model), now, *words)

    async def load_library(self) -> None:
        """Put the scripts on the server; a cluster needs them on every primary."""
        await self.store.client.function_load(self._library, replace=True)

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
        known, now, loaded, *results = answer
        if not known:
            return Stale(loaded)
        return Acquired(now, loaded, [read_result(each) for each in results])

    async def settle(self, model: str, items: Sequence[Settlement]) -> list[Settled | LeaseEnd]:
        """Close leases with what upstream said; the first settlement of a lease wins."""
        head = _pack((self._days(),))
        _, *outcomes = await self._send("settle", model, head, *map(pack_settlement, items))
        return [read_outcome(each) for each in outcomes]

    async def release(self, model: str, client: int, lease_ids: Sequence[str]) -> list[LeaseEnd]:
        """Give back leases whose calls were never made, and forget demands that wait."""
        _, outcomes = await self._call("release", model, self._days(), client, lease_ids)
        if not outcomes:
            return [LeaseEnd.MISSING] * len(lease_ids)
        return [LeaseEnd(each) for each in outcomes]

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
        row = await self._call(
            "mark", model, self._days(), project_ids, mark, granted_at_ms, key_id
        )
        return int(row[1])

    async def reset(
        self,
        model: str,
        project_ids: Sequence[int],
        *,
        counters: bool = False,
        failures: bool = False,
    ) -> Snapshot:
        """Forget cooldowns (and, where asked, counts and failures); answers how it was before."""
        now, views = await self._call("reset", model, self._days(), project_ids, counters, failures)
        return Snapshot(now, msgspec.convert(views, list[View]), 0)

    async def load(self, model: str, projects: Sequence[LiveProject]) -> None:
        """Write what the registry says of projects; :meth:`seal` makes it count."""
        for start in range(0, len(projects), LOAD_CHUNK):
            chunk = projects[start : start + LOAD_CHUNK]
            await self._call("load", model, self._days(), self.times.wire, chunk)

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
        with self.store.errors():
            await self.store.client.sadd(MODELS, model)
        row = await self._call(
            "seal", model, self._days(), revision, only_from, self.times.wire, pools, epoch
        )
        return bool(row[1])

    async def pump(self, model: str, daemon: str, pool_ids: Sequence[int]) -> Pumped:
        """Bring due projects to the present, serve waiters, and fetch this daemon's grants."""
        head = _pack((self._days(), daemon, pool_ids))
        now, next_at, waiting, *grants = await self._send("pump", model, head)
        found = [read_result(each) for each in grants]
        return Pumped(now, found, next_at, waiting)  # type: ignore[arg-type]  # grants only

    async def snapshot(self, model: str, project_ids: Sequence[int]) -> Snapshot:
        """How projects stand on a model now."""
        now, revision, views = 0, -1, []
        for start in range(0, max(len(project_ids), 1), LOOK_CHUNK):
            chunk = project_ids[start : start + LOOK_CHUNK]
            row = await self._call("snapshot", model, self._days(), chunk)
            now, revision = row[0], row[2]
            views += msgspec.convert(row[1], list[View])
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

    async def rebuilding(self, model: str) -> int:
        """Note that a lost store is rebuilt; returns when its cooldown of one window ends, in ms."""
        until = await self.now_ms() + self.times.window_ms + self.times.guard_ms
        with self.store.errors():
            await self.store.client.set(f"{tag(model)}:rebuilt", until)
        return until

    async def rebuilt_until(self, model: str) -> int:
        """Return when the cooldown after a lost store ends, in ms; 0 when there was none."""
        with self.store.errors():
            return int(await self.store.client.get(f"{tag(model)}:rebuilt") or 0)

    async def now_ms(self) -> int:
        """Return the store's clock, in ms since the epoch."""
        if at := self._now():
            return at
        with self.store.errors():
            seconds, micros = await self.store.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def lock(self, model: str, token: str, ttl_ms: int) -> bool:
        """Take the right to load a model, unless another process has it."""
        with self.store.errors():
            name = f"{tag(model)}:loading"
            return bool(await self.store.client.set(name, token, nx=True, px=ttl_ms))

    async def unlock(self, model: str, token: str) -> None:
        """Give the right to load back, if it is still ours."""
        with self.store.errors():
            name = f"{tag(model)}:loading"
            if await self.store.client.get(name) == token.encode():
                await self.store.client.delete(name)

    async def announce(self, revision: int) -> None:
        """Tell every daemon that the registry changed."""
        with self.store.errors():
            await self.store.client.publish(CHANGES, revision)

    async def listen(self, channels: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
        """Yield what is published on channels, as channel and text, until the connection is lost."""
        client = self.store.client
        if isinstance(client, RedisCluster):
            await asyncio.Event().wait()  # the pump asks often enough there
            return
        with self.store.errors():
            async with client.pubsub(ignore_subscribe_messages=True) as heard:
                await heard.subscribe(*channels)
                while True:
                    message = await heard.get_message(timeout=60.0)
                    if message is not None:
                        yield _text(message["channel"]), _text(message["data"])

    async def recall(self, name: str) -> str:
        """Return what :meth:`remember` kept; empty when there is nothing."""
        with self.store.errors():
            return _text(await self.store.client.get(f"{AFFINITY}{name}") or "")

    async def remember(self, name: str, value: str, kept_s: int) -> None:
        """Keep a small value under a name for a while."""
        with self.store.errors():
            await self.store.client.set(f"{AFFINITY}{name}", value, ex=kept_s)

    async def models(self) -> list[str]:
        """Return the bucket models that have been loaded, sorted."""
        with self.store.errors():
            found = await self.store.client.smembers(MODELS)
        return sorted(_text(each) for each in found)

    async def epoch(self, model: str) -> str | None:
        """Return the name of this live state; None when there is none."""
        with self.store.errors():
            found = await self.store.client.get(f"{tag(model)}:epoch")
        return _text(found) if found else None

    async def queued(self, model: str) -> int:
        """Return how many demands wait for a model, in all pools and daemons."""
        with self.store.errors():
            return int(await self.store.client.get(f"{tag(model)}:waiting") or 0)

    async def members(self, model: str) -> set[int]:
        """Return the ids of the projects loaded on a model."""
        with self.store.errors():
            found = await self.store.client.smembers(f"{tag(model)}:members")
        return {int(each) for each in found}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def new_epoch() -> str:
    """Name a new live state."""
    return f"{random.getrandbits(64):016x}"
