"""What the engine keeps with plain commands: locks, names, notices and small memories."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from redis.exceptions import ConnectionError as LostError

from keypool_cli.engine.keyspace import AFFINITY, CHANGES, MODELS, WAKE, tag
from keypool_cli.engine.parts import Parts
from keypool_cli.engine.store import Store
from keypool_cli.engine.store_client import ANSWER_S
from keypool_cli.engine.store_errors import is_over
from keypool_cli.errors import UnreachableError


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


USUAL_TIMES = Times()

TIMES = "kp:times"
"""What daemons last said of their spans, as the scripts take them."""

LEAVING = "~"
"""Before the epoch of a model that is being forgotten: whatever is missing, nothing was lost."""


def server_clock() -> int:
    """Stand for the store's own clock."""
    return 0


class Notes:
    """Plain keys beside the scripts'."""

    def __init__(self, store: Store, times: Times, now: Callable[[], int]) -> None:
        self.store = store
        self.parts = Parts(store)
        self.times = times
        self.unlisted = set[str]()
        """Models that may be missing in the list of those loaded."""
        self._now = now

    async def tell_times(self) -> None:
        """Say which spans are in force, to whoever changes something without being a daemon."""
        with self.store.errors():
            await self.store.client.set(TIMES, msgspec.json.encode(self.times.wire))

    async def told_times(self) -> Times | None:
        """What a daemon said last; None if none ever did."""
        with self.store.errors():
            told = await self.store.client.get(TIMES)
        if not told:
            return None
        minute, guard, starve = msgspec.json.decode(told, type=tuple[int, int, int])
        return Times(minute - guard, guard, starve)

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

    async def rebuilds(self, models: Sequence[str]) -> dict[str, int]:
        """Return :meth:`rebuilt_until` of many models."""
        found = await self._each(models, "rebuilt")
        return {model: int(at or 0) for model, at in found.items()}

    async def uses(self, models: Sequence[str]) -> dict[str, int]:
        """Return :meth:`used_at_ms` of many models; those of which nothing is known are left out."""
        found = await self._each(models, "used_at")
        return {model: int(at) for model, at in found.items() if at}

    async def _each(self, models: Sequence[str], name: str) -> dict[str, bytes | None]:
        """One of the plain keys of many models."""
        with self.store.errors():
            # Not MGET: the models lie all over a cluster.
            async with self.store.client.pipeline(transaction=False) as pipe:
                for model in models:
                    pipe.get(f"{tag(model)}:{name}")
                return dict(zip(models, await pipe.execute(), strict=True))

    async def witness(self, model: str, at_ms: int) -> None:
        """Note in the live store that a model was in use; older copies of it do not know."""
        with self.store.errors():
            await self.store.client.set(f"{tag(model)}:used_at", at_ms)

    async def used_at_ms(self, model: str) -> int | None:
        """Return when a model was in use last, as far as this live state knows."""
        with self.store.errors():
            found = await self.store.client.get(f"{tag(model)}:used_at")
        return int(found) if found else None

    async def vouch(self, model: str) -> None:
        """Note that the state this life of the store has of a model was compared with SQL."""
        with self.store.errors():
            await self.store.client.set(f"{tag(model)}:vouched", self.store.life)

    async def vouched(self, model: str) -> bool:
        """Whether that was done; unknown for a cluster, whose servers live and die one by one."""
        with self.store.errors():
            found = await self.store.client.get(f"{tag(model)}:vouched")
        return bool(self.store.life) and found == self.store.life.encode()

    async def now_ms(self) -> int:
        """Return the store's clock, in ms since the epoch."""
        if at := self._now():
            return at
        with self.store.errors():
            seconds, micros = await self.store.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def hears(self) -> None:
        """Raise UnreachableError unless we may listen to what is published."""
        with self.store.errors():
            async with self.store.client.pubsub() as heard:
                await heard.subscribe(CHANGES, f"{WAKE}probe")
                for _ in range(2):
                    await heard.get_message(timeout=ANSWER_S)

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
            await self.store.publish(CHANGES, revision)

    async def listen(self, channels: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
        """Yield what is published on channels, as channel and text, until the connection is lost."""
        with self.store.errors():
            async with self.store.pubsub() as heard:
                await heard.subscribe(*channels)
                while True:
                    message = await heard.get_message(timeout=60.0)
                    if message is not None:
                        yield _text(message["channel"]), _text(message["data"])
                    elif is_over(heard.connection):
                        raise LostError("the connection was given up")

    async def recall(self, names: Sequence[str]) -> list[str]:
        """Return what :meth:`remember` kept, in order; empty where there is nothing."""
        with self.store.errors():
            # Not MGET: the names lie all over a cluster.
            async with self.store.client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.get(f"{AFFINITY}{name}")
                return [_text(each or "") for each in await pipe.execute()]

    async def remember(self, values: Mapping[str, str], kept_s: int) -> None:
        """Keep small values under their names for a while."""
        with self.store.errors():
            async with self.store.client.pipeline(transaction=False) as pipe:
                for name, value in values.items():
                    pipe.set(f"{AFFINITY}{name}", value, ex=kept_s)
                await pipe.execute()

    async def away(self, models: Sequence[str]) -> dict[str, UnreachableError]:
        """Return the models whose node of a cluster does not answer, with the reason."""
        found = await self.parts.away(map(tag, models))
        return {model: found[tag(model)] for model in models if tag(model) in found}

    async def lists_models(self) -> bool:
        """Whether :meth:`models` can be asked: not while its own node of a cluster is away."""
        return not await self.parts.away([MODELS])

    async def enlist(self) -> None:
        """Put the unlisted models on the list, unless its own node of a cluster is away."""
        found = set(self.unlisted)
        if found and await self.lists_models():
            with self.store.errors():
                await self.store.client.sadd(MODELS, *found)
            self.unlisted -= found

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
            return int(await self.store.client.hlen(f"{tag(model)}:waiter"))

    async def not_in_line(self, model: str, lease_ids: Sequence[str]) -> list[str]:
        """Return those of the demands that do not wait."""
        if not lease_ids:
            return []
        with self.store.errors():
            found = await self.store.client.hmget(f"{tag(model)}:waiter", list(lease_ids))
        return [each for each, waiter in zip(lease_ids, found, strict=True) if waiter is None]

    async def members(self, model: str) -> set[int]:
        """Return the ids of the projects loaded on a model."""
        with self.store.errors():
            found = await self.store.client.smembers(f"{tag(model)}:members")
        return {int(each) for each in found}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
