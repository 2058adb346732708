"""Ratios of live traffic in the live store, shared by all daemons. Plain commands only."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keypool_cli.core.correction import NOTHING, Evidence
from keypool_cli.engine.keyspace import RATIOS, quote
from keypool_cli.engine.store import Store

KEPT_S = 7 * 86_400
"""Ratios that no request adds to are forgotten after this long."""

FULL_TOKENS = 100_000
"""Evidence is halved beyond this, so that old traffic does not outweigh new."""

TOLD_S = 3600
"""One daemon tells of a step of a ratio; for this long no other tells of the same one."""


class Kind(NamedTuple):
    """Texts that err alike. client: its id, 0 for none. version: which calibration estimated."""

    model: str
    version: int
    client: int
    script: str

    @property
    def key(self) -> str:
        """Where the model's ratios are: a new calibration begins anew."""
        return f"{RATIOS}{quote(self.model)}:{self.version}"

    def field(self, name: str) -> str:
        """The hash's field of one number."""
        return f"{self.client}:{self.script}:{name}"


class Known(NamedTuple):
    """What the store knows of a kind. told: the ratio that was told last; 1 before the first."""

    evidence: Evidence = NOTHING
    told: float = 1.0


class Ratios:
    """Reads and adds evidence; every method raises UnreachableError while the store is away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, kinds: Sequence[Kind]) -> dict[Kind, Known]:
        """What is known of some kinds."""
        with self._store.errors():
            async with self._store.client.pipeline(transaction=False) as pipe:
                for kind in kinds:
                    pipe.hmget(kind.key, [kind.field(name) for name in "eant"])
                rows = await pipe.execute()
        return {kind: _known(row) for kind, row in zip(kinds, rows, strict=True)}

    async def add(self, fresh: Mapping[Kind, Evidence]) -> dict[Kind, Known]:
        """Add evidence, and return what is known then: one write for each kind, in one trip."""
        with self._store.errors():
            async with self._store.client.pipeline(transaction=False) as pipe:
                for kind, evidence in fresh.items():
                    pipe.hincrby(kind.key, kind.field("e"), evidence.expected)
                    pipe.hincrby(kind.key, kind.field("a"), evidence.actual)
                    pipe.hincrby(kind.key, kind.field("n"), evidence.requests)
                    pipe.hget(kind.key, kind.field("t"))
                    pipe.expire(kind.key, KEPT_S)
                rows = await pipe.execute()
        five = (rows[at : at + 5] for at in range(0, len(rows), 5))
        known = {kind: _known(row[:4]) for kind, row in zip(fresh, five, strict=True)}
        await self._halve([kind for kind, each in known.items() if _is_full(each)], known)
        return known

    async def claim(self, kind: Kind, ratio: float) -> bool:
        """Whether this daemon is the one to tell that a kind's ratio has come to this."""
        step = f"{kind.key}:{kind.field('told')}:{round(ratio * 50)}"
        with self._store.errors():
            first = await self._store.client.set(step, "1", nx=True, ex=TOLD_S)
            await self._store.client.hset(kind.key, kind.field("t"), str(round(ratio * 1000)))
        return bool(first)

    async def _halve(self, kinds: Sequence[Kind], known: Mapping[Kind, Known]) -> None:
        """Two daemons at once may forget more than half; the ratio then starts from little."""
        if not kinds:
            return
        with self._store.errors():
            async with self._store.client.pipeline(transaction=False) as pipe:
                for kind in kinds:
                    evidence = known[kind].evidence
                    pipe.hincrby(kind.key, kind.field("e"), -(evidence.expected // 2))
                    pipe.hincrby(kind.key, kind.field("a"), -(evidence.actual // 2))
                await pipe.execute()


def _is_full(known: Known) -> bool:
    return known.evidence.expected > FULL_TOKENS


def _known(row: Sequence[object]) -> Known:
    expected, actual, requests, told = (_whole(each) for each in row)
    return Known(Evidence(expected, actual, requests), told / 1000 if told > 0 else 1.0)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (bytes, str, int)) else 0
