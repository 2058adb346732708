"""``GET /metrics``: Prometheus text, made when asked for."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from keypool_cli.daemon.auth import Auth
from keypool_cli.daemon.metrics_families import Seen, families
from keypool_cli.engine.types import View
from keypool_cli.errors import UnreachableError
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.service.counters import Counts
from keypool_cli.service.counters_shared import EVERY_S, Seat, added_up, tally_of
from keypool_cli.service.ports import Ports
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch

MOST_PROJECTS = 1000
"""Projects whose windows one scrape looks at: those this daemon has leased keys of."""

_TYPE: Header = ("content-type", "text/plain; version=0.0.4; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Counting:
    """The counters of this process. seat: its place among several workers; None where it is alone."""

    counts: Counts
    seat: Seat | None = None


class Metrics:
    """Answers scrapes."""

    def __init__(
        self, ports: Ports, watch: Watch, waiting: Waiting, auth: Auth, counting: Counting
    ) -> None:
        self._ports = ports
        self._watch = watch
        self._waiting = waiting
        self._auth = auth
        self._counting = counting

    async def run(self) -> None:
        """Tell the other workers again and again, until cancelled."""
        while self._counting.seat is not None:
            self._counting.seat.write(tally_of(self._counting.counts, self._waiting.parked))
            await asyncio.sleep(EVERY_S)

    async def handle(self, scope: Scope, proto: Exchange) -> None:
        """Answer one scrape; windows are left out while their part of the live store is away."""
        self._auth.check_scraper(scope)
        counts, waiting = self._added_up()
        try:
            views = await self._views(counts)
        except UnreachableError:
            views = {}
        seen = Seen(counts, self._watch.configured, views, waiting, await self._now())
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Ready(seen))
        proto.response_bytes(200, [_TYPE], generate_latest(registry))

    def _added_up(self) -> tuple[Counts, int]:
        """What all workers have counted; where there is one, what it has."""
        seat, counts, waiting = self._counting.seat, self._counting.counts, self._waiting.parked
        if seat is None:
            return counts, waiting
        seat.write(tally_of(counts, waiting))
        return added_up(seat.read())

    async def _now(self) -> int:
        try:
            return await self._waiting.now_ms()
        except UnreachableError:
            return 0

    async def _views(self, counts: Counts) -> dict[str, list[View]]:
        """How the projects in use stand, by model."""
        chosen: dict[str, dict[int, None]] = {}
        for count, (_, project, _, model) in enumerate(counts.uses):
            if project and count < MOST_PROJECTS:
                chosen.setdefault(model, {})[project] = None
        found, away = {}, await self._ports.engine.away(list(chosen))
        for model in chosen.keys() - away.keys():
            snapshot = await self._ports.engine.snapshot(model, list(chosen[model]))
            found[model] = snapshot.views
        return found


class _Ready(Collector):
    """What the library asks for families."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        return families(self._seen)
