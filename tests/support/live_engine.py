"""The real engine on a real server, with a clock that only the test moves, without async."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

from redis.asyncio import Redis

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.notes import Times
from keypool_cli.engine.scripts import library
from keypool_cli.engine.store import Store
from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Explanation,
    Grant,
    LeaseEnd,
    LivePool,
    LiveProject,
    Pumped,
    Refused,
    Settled,
    Settlement,
    View,
    Waits,
)

NOON = 1_764_014_400_000
"""12:00 in California on 24 November 2025."""

USUAL_TIMES = Times()

T = TypeVar("T")
_numbers = count(1)


def a_demand(tokens: int = 10, **options: Any) -> Demand:
    """A demand with a lease id of its own."""
    return Demand(f"lease-{next(_numbers):08d}", options.pop("requests", 1), tokens, **options)


def a_project(number: int = 1, **options: Any) -> LiveProject:
    """A usable project with one key in pool 1: 5 requests and 1,000 tokens a minute."""
    values = {
        "rpm": 5, "tpm": 1000, "rpd": -1, "in_flight": -1,
        "flags": 1, "priority": 0, "keys": [number * 10], "pools": [1],
    }  # fmt: skip
    return LiveProject(id=number, **{**values, **options})


def raw(reply: bytes | str | None) -> bytes:
    """A reply of a client that decodes nothing."""
    assert isinstance(reply, bytes)
    return reply


async def _awaited(call: Awaitable[T]) -> T:
    return await call


class LiveEngine:
    """An engine on one model; ``now`` is its clock in ms."""

    def __init__(self, runner: asyncio.Runner, url: str, *, times: Times = USUAL_TIMES) -> None:
        self.now = NOON
        self.model = "m"
        self._runner = runner
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.engine = Engine(Store(self.client, url), times=times, now=lambda: self.now)

    def run(self, call: Awaitable[T]) -> T:
        return self._runner.run(_awaited(call))

    def fresh(self, *projects: LiveProject, pools: Sequence[LivePool] | None = None) -> None:
        """A new model holding these projects, at noon."""
        self.run(self.client.flushall())
        self.now, self.model = NOON, f"m{next(_numbers)}"
        self.load(*projects, pools=pools)

    def load(self, *projects: LiveProject, pools: Sequence[LivePool] | None = None) -> None:
        priorities = sorted({each.priority for each in projects}, reverse=True)
        self.run(self.engine.load(self.model, projects))
        found = pools or [LivePool(1, 0, priorities)]
        self.run(self.engine.seal(self.model, revision=1, pools=found, epoch="e"))

    def acquire_all(
        self, *demands: Demand, pool: int = 1, queue: int = 0
    ) -> list[Grant | Refused | Waits]:
        answer = self.run(self.engine.acquire(self.model, pool, demands, revision=1, queue=queue))
        assert isinstance(answer, Acquired)
        return answer.results

    def acquire(self, tokens: int = 10, **options: Any) -> Grant | Refused | Waits:
        pool, queue = options.pop("pool", 1), options.pop("queue", 0)
        return self.acquire_all(a_demand(tokens, **options), pool=pool, queue=queue)[0]

    def grant(self, tokens: int = 10, **options: Any) -> Grant:
        """A demand that must be granted."""
        result = self.acquire(tokens, **options)
        assert isinstance(result, Grant), result
        return result

    def refusal(self, tokens: int = 10, **options: Any) -> Refused:
        """A demand that must be refused."""
        result = self.acquire(tokens, **options)
        assert isinstance(result, Refused), result
        return result

    def settle(
        self, lease_id: str, tokens: int | None = None, **options: Any
    ) -> Settled | LeaseEnd:
        values = {"client": 0, "success": True, **options}
        items = [Settlement(lease_id, tokens=tokens, **values)]
        return self.run(self.engine.settle(self.model, items))[0]

    def release(self, lease_id: str, *, client: int = 0) -> LeaseEnd:
        return self.run(self.engine.release(self.model, client, [lease_id]))[0]

    def renew(self, *lease_ids: str, ttl_ms: int) -> int:
        return self.run(self.engine.renew(self.model, lease_ids, ttl_ms=ttl_ms))

    def pump(self, daemon: str = "d", pools: Sequence[int] = (1,)) -> Pumped:
        return self.run(self.engine.pump(self.model, daemon, pools))

    def view(self, project: int = 1) -> View:
        return self.run(self.engine.snapshot(self.model, [project])).views[0]

    def busy(self, *projects: int) -> list[View]:
        """Those of the projects that are not idle."""
        return self.run(self.engine.snapshot(self.model, projects, busy_only=True)).views

    def explain(self, demand: Demand, *projects: int, pool: int = 1) -> Explanation:
        return self.run(self.engine.explain(self.model, pool, demand, projects))

    def keys(self) -> set[str]:
        """Names of the model's keys, without the tag."""
        found = self.run(self.client.keys("{kp:*"))
        return {raw(name).decode().split(":", 2)[2] for name in found}

    def hash_of(self, lease_id: str) -> str:
        """The one hash that holds a lease."""
        names = [f"{{kp:{self.model}}}:{each}" for each in self.keys() if each.startswith("lease:")]
        found = self.pipeline(*(("HEXISTS", each, lease_id) for each in names))
        holding = [name for name, holds in zip(names, found, strict=True) if holds]
        assert len(holding) == 1, (lease_id, holding)
        return holding[0]

    def pipeline(self, *commands: Sequence[object]) -> list[Any]:
        """The answers to plain commands, in bytes."""
        pipe = self.client.pipeline(transaction=False)
        for each in commands:
            pipe.execute_command(*each)
        return self.run(pipe.execute())

    def mutate(self, *pairs: tuple[str, str]) -> None:
        """Run another library: the engine's own with pieces of its text replaced."""
        prefix, source = library()
        for text, replacement in pairs:
            assert source.count(text) == 1, (source.count(text), text)
            source = source.replace(text, replacement)
        self._run(prefix, source)

    def move(self) -> None:
        """Run the same library as another server does, which remembers nothing of earlier calls."""
        self._run(self.engine._prefix, self.engine._library)

    def _run(self, prefix: str, source: str) -> None:
        other = f"{prefix}_{next(_numbers)}"
        self.engine._prefix = other
        self.engine._library = source.replace(prefix, other)


@contextmanager
def live_engine(url: str, *, times: Times = USUAL_TIMES) -> Iterator[LiveEngine]:
    """An engine on the server at ``url``, closed afterwards."""
    with asyncio.Runner() as runner:
        live = LiveEngine(runner, url, times=times)
        try:
            yield live
        finally:
            live.run(live.engine.store.close())
