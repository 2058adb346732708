"""What each daemon says of itself, in the live store: that it is there, and what it has done."""

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from socket import gethostname
from time import monotonic

import msgspec

from keypool_cli.core.refusal import Verdict
from keypool_cli.engine.engine import Engine
from keypool_cli.errors import UnreachableError
from keypool_cli.service.counters import Counts
from keypool_cli.service.instants import iso
from keypool_cli.service.waiting import Waiting

INSTANCES = "kp:instances"
"""Hash: a daemon's id -> what it last said of itself."""

EVERY_S = 1.0

SILENT_S = 5.0
"""A daemon that has said nothing for so long may be gone."""

GONE_S = 60.0
"""After so long it is no longer spoken of."""

_MINUTE = 60
_RATE_S = 10
"""Seconds that a rate is counted over."""


class Record(msgspec.Struct, frozen=True):
    """One daemon's word. leases: granted since it started; leases_per_s: over 10 s.

    refused: demands without room in the last minute, by the limit that lacked it. errors: what
    upstream answered in the last minute, by the rule that explains it. waiting: demands parked.
    """

    host: str
    pid: int
    started_at_ms: int
    at_ms: int
    leases: int
    leases_per_s: float
    waiting: int
    refused: Mapping[str, int]
    errors: Mapping[str, int]


class InstanceView(msgspec.Struct, frozen=True):
    """A daemon as it is shown. age_s: of what it said. reporting: whether that is recent."""

    instance: str
    host: str
    pid: int
    started_at: str
    age_s: float
    reporting: bool
    leases: int
    leases_per_s: float
    waiting: int
    refused: Mapping[str, int]
    errors: Mapping[str, int]


class Activity:
    """What a daemon did in the last minute, second by second. clock: seconds that never run back.

    counts: what it did since it started.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.leases = 0
        self.counts = Counts()
        self._clock = clock
        self._second = -1
        self._now: Counter[tuple[str, str]] = Counter()
        self._seconds: deque[tuple[int, Counter[tuple[str, str]]]] = deque()

    def granted(self) -> None:
        """A lease was granted."""
        self.leases += 1
        self._count("granted", "")

    def refused(self, limit: str) -> None:
        """A demand was turned away; ``limit``: what lacked room."""
        self._count("refused", limit)

    def settled(self, verdict: Verdict | None) -> None:
        """Upstream answered; ``verdict``: None on success."""
        if verdict is not None:
            self._count("error", verdict.rule)

    def per_second(self) -> float:
        """Leases granted a second, over the last 10 s."""
        return self._total("granted", within_s=_RATE_S)[""] / _RATE_S

    def last_minute(self, kind: str) -> dict[str, int]:
        """Refusals (``refused``) or answers that were errors (``error``), by what they name."""
        return dict(self._total(kind, within_s=_MINUTE).most_common())

    def _count(self, kind: str, name: str) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._now = second, Counter()
            self._seconds.append((second, self._now))
            while self._seconds[0][0] <= second - _MINUTE:
                self._seconds.popleft()
        self._now[kind, name] += 1

    def _total(self, kind: str, *, within_s: int) -> Counter[str]:
        since, found = int(self._clock()) - within_s, Counter[str]()
        for second, counts in self._seconds:
            if second > since:
                found.update({name: n for (each, name), n in counts.items() if each == kind})
        return found


class Reporting:
    """Tells the live store once a second that this daemon is there."""

    def __init__(self, engine: Engine, waiting: Waiting, activity: Activity) -> None:
        self._engine = engine
        self._waiting = waiting
        self._activity = activity
        self._host = gethostname()
        self._started_at_ms = 0

    async def run(self) -> None:
        """Report until cancelled; what cannot be written now is written next time."""
        while True:
            with suppress(UnreachableError):
                await self.report()
            await asyncio.sleep(EVERY_S)

    async def report(self) -> None:
        """Say what has been done so far."""
        now_ms = await self._waiting.now_ms()
        self._started_at_ms = self._started_at_ms or now_ms
        record = msgspec.msgpack.encode(self._record(now_ms))
        with self._engine.store.errors():
            client = self._engine.store.client
            await client.hset(INSTANCES, self._waiting.daemon, record)
            await client.expire(INSTANCES, int(2 * GONE_S))
        await self._engine.tell_times()

    def _record(self, now_ms: int) -> Record:
        return Record(
            host=self._host,
            pid=os.getpid(),
            started_at_ms=self._started_at_ms,
            at_ms=now_ms,
            leases=self._activity.leases,
            leases_per_s=self._activity.per_second(),
            waiting=self._waiting.parked,
            refused=self._activity.last_minute("refused"),
            errors=self._activity.last_minute("error"),
        )

    async def leave(self) -> None:
        """Take the record away: this daemon ends as it should."""
        with suppress(UnreachableError), self._engine.store.errors():
            await self._engine.store.client.hdel(INSTANCES, self._waiting.daemon)


async def read_instances(engine: Engine) -> list[InstanceView]:
    """The daemons that spoke within the last minute, by host and process.

    Records of daemons long gone are removed.
    """
    now_ms = await engine.now_ms()
    with engine.store.errors():
        found = await engine.store.client.hgetall(INSTANCES)
    records = {_text(name): _decoded(value) for name, value in found.items()}
    fresh = {
        name: record
        for name, record in records.items()
        if record is not None and now_ms - record.at_ms < GONE_S * 1000
    }
    await _forget(engine, sorted(records.keys() - fresh.keys()))
    views = [_view(name, record, now_ms) for name, record in fresh.items()]
    return sorted(views, key=lambda each: (each.host, each.pid))


async def _forget(engine: Engine, names: Sequence[str]) -> None:
    if names:
        with engine.store.errors():
            await engine.store.client.hdel(INSTANCES, *names)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _decoded(value: bytes | str) -> Record | None:
    try:
        return msgspec.msgpack.decode(value, type=Record) if isinstance(value, bytes) else None
    except msgspec.DecodeError:  # another version's
        return None


def _view(name: str, record: Record, now_ms: int) -> InstanceView:
    age_s = max(now_ms - record.at_ms, 0) / 1000
    return InstanceView(
        instance=name,
        host=record.host,
        pid=record.pid,
        started_at=iso(record.started_at_ms),
        age_s=age_s,
        reporting=age_s < SILENT_S,
        leases=record.leases,
        leases_per_s=record.leases_per_s,
        waiting=record.waiting,
        refused=record.refused,
        errors=record.errors,
    )
