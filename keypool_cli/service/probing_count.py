"""Counting a probe's samples through the pool's keys: several at once, honouring refusals."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from keypool_cli.config import masked_url
from keypool_cli.core.accuracy import Probe, is_possible
from keypool_cli.core.day import day_end_ms
from keypool_cli.core.model import DEFAULT_POOL, Pool, Secret
from keypool_cli.core.refusal import Action, Fault, Verdict, classify
from keypool_cli.core.refusal_rules import UNKNOWN_MODEL
from keypool_cli.errors import (
    KeypoolError,
    NotFoundError,
    UnreachableError,
    UsageError,
)
from keypool_cli.service.configured import Configured
from keypool_cli.service.egress import Egress
from keypool_cli.service.instances import Activity
from keypool_cli.service.instants import now_ms
from keypool_cli.service.observing import Observing
from keypool_cli.service.ports import Ports
from keypool_cli.service.probing_doors import Doors
from keypool_cli.service.settling import Settling
from keypool_cli.service.sync import read_configured
from keypool_cli.service.tickets import Door, FreeTicket
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.counting import CountRefusedError, TokenCounter
from keypool_cli.upstream.forward import UpstreamError

AT_ONCE: Final = 8
"""Calls under way together; countTokens has a rate limit of its own, which is not published."""

_ATTEMPTS: Final = 5
_SILENT_ATTEMPTS: Final = 2
_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 4.0

Heard = Callable[[Probe, int], None]
"""Told of each count as it comes."""


class Counting:
    """Counts samples for one model."""

    def __init__(
        self,
        watch: Watch,
        observing: Observing | None,
        counter: TokenCounter,
        egress: Egress,
        upstream_url: str,
    ) -> None:
        self._watch = watch
        self._observing = observing
        self._counter = counter
        self._egress = egress
        self._upstream = masked_url(upstream_url)
        self._answered = False

    async def count(
        self, probes: Sequence[Probe], *, pool: str | None, model: str, heard: Heard
    ) -> None:
        """Count every probe. What was heard of before an error is worth keeping.

        Raises NoCapacityError without a usable key, UnreachableError where upstream does not
        answer, NotFoundError for a model it does not know, UsageError for a sample it refuses.
        """
        doors = Doors(self._watch, _pool(self._watch.configured, pool), model)
        left = iter(probes)
        workers = [
            asyncio.create_task(self._work(left, doors, model, heard))
            for _ in range(min(AT_ONCE, len(probes)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, left: Iterator[Probe], doors: Doors, model: str, heard: Heard) -> None:
        for probe in left:
            heard(probe, await self._one(probe, doors, model))

    async def _one(self, probe: Probe, doors: Doors, model: str) -> int:
        for attempt in count(1):
            door = await doors.next()
            secret = await self._watch.secret(door.key.id)
            try:
                proxy = self._egress.url(door.project)
                tokens = await self._counter.count(
                    secret, model=model, body=probe.body, proxy=proxy
                )
            except CountRefusedError as err:
                if _obey(_verdict(err), door, doors, probe=probe, last=attempt >= _ATTEMPTS):
                    await self._observe(door, secret, err)
            except UpstreamError as err:
                if attempt >= (_ATTEMPTS if self._answered else _SILENT_ATTEMPTS):
                    raise self._silent(err) from err
            else:
                if not is_possible(probe, tokens):
                    raise self._absurd(probe, tokens)
                self._answered = True
                return tokens
            await asyncio.sleep(_pause_s(attempt))
        raise AssertionError  # the loop above ends by returning or raising

    async def _observe(self, door: Door, secret: Secret, err: CountRefusedError) -> None:
        if self._observing is not None:
            await FreeTicket(door, secret, self._observing).refused(err.status, err.body)

    def _absurd(self, probe: Probe, tokens: int) -> UnreachableError:
        return UnreachableError(
            f"{self._upstream} counts {tokens} tokens for the sample {probe.id!r}: "
            "no vocabulary can count so",
            hint="check what answers in Gemini's place: KEYPOOL_UPSTREAM_URL, a proxy; "
            "the calibration stays as it was",
        )

    def _silent(self, err: UpstreamError) -> UnreachableError:
        return UnreachableError(
            f"{self._upstream}: {err}",
            hint="check the network, a proxy, and KEYPOOL_UPSTREAM_URL; what was counted is kept. "
            "Without a network: keypool probe --offline",
        )


@asynccontextmanager
async def counting(ports: Ports) -> AsyncIterator[Counting]:
    """What is needed to count, closed at the end.

    Keys found dead are taken out of service where the live store is open; else nothing changes.
    """
    watch = Watch(ports, await read_configured(ports))
    url = ports.settings.upstream_url
    counter = TokenCounter(url)
    waiting = Waiting(ports.engine) if ports.live else None
    try:
        yield Counting(watch, _observing(ports, watch, waiting), counter, Egress(ports), url)
    finally:
        await counter.close()
        if waiting is not None:
            await waiting.close()


def _observing(ports: Ports, watch: Watch, waiting: Waiting | None) -> Observing | None:
    if waiting is None:
        return None
    return Observing(watch, waiting, Settling(ports, watch, waiting, Activity()))


def _pool(configured: Configured, name: str | None) -> Pool:
    """The pool of this name; without a name, everything: counting spends no pool's quota."""
    if name is None:
        return Pool(0, "any pool", project_ids=frozenset(configured.catalog.projects))
    if name == DEFAULT_POOL and name not in configured.pools:
        return Pool(0, f"pool {name}")
    return configured.pool(name)


def _verdict(err: CountRefusedError) -> Verdict | None:
    now = now_ms()
    return classify(
        err.status,
        err.body,
        now_at_ms=now,
        day_end_at_ms=day_end_ms(now),
        jitter=random.random(),  # noqa: S311 - spreads retries only
    )


def _obey(verdict: Verdict | None, door: Door, doors: Doors, *, probe: Probe, last: bool) -> bool:
    """Do as a refusal says; whether it is news that should be written down.

    Returns where the sample may be tried again, raises where not.
    """
    if verdict is None:
        raise UnreachableError("upstream's answer is not understood", hint="keypool doctor")
    match verdict.action:
        case Action.DISABLE | Action.EXCLUDE_MODEL:
            return doors.shut(door, verdict)
        case Action.COOL:
            now = now_ms()
            until = verdict.until_at_ms
            doors.rest(door, _LONGEST_PAUSE_S if until is None else (until - now) / 1000)
        case Action.RETRY:
            if last:
                raise UnreachableError(
                    f"upstream cannot count now: {verdict.reason}",
                    hint="run it again later: what was counted is kept",
                )
        case Action.RETURN:
            raise _hopeless(verdict, probe)
    return False


def _hopeless(verdict: Verdict, probe: Probe) -> KeypoolError:
    if verdict.rule == UNKNOWN_MODEL.rule:
        return NotFoundError(
            verdict.reason, hint="name a model that exists: keypool probe --model M"
        )
    if verdict.fault is Fault.NETWORK:
        return UnreachableError(verdict.reason, hint="keypool doctor")
    return UsageError(
        f"upstream refuses the sample {probe.id!r}: {verdict.reason}",
        hint="leave it out of --samples",
    )


def _pause_s(attempt: int) -> float:
    longest = min(_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S)
    return longest * random.random()  # noqa: S311 - spreads retries only
