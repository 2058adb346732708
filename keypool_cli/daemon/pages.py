"""The daemon's paths beside leases and proxy: metrics, events, its description, the dashboard."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from keypool_cli.daemon.dashboard import show_dashboard
from keypool_cli.daemon.events import EventLog
from keypool_cli.daemon.last_used import LastUsed
from keypool_cli.daemon.live import Desk, Live
from keypool_cli.daemon.metrics import Metrics
from keypool_cli.daemon.openapi import show_description
from keypool_cli.daemon.parts import Parts
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.counters import Counts
from keypool_cli.service.live import Conversing
from keypool_cli.service.resources import Resources
from keypool_cli.service.stopping import stop

Page = Callable[[Scope, Exchange], Awaitable[None]]


class Pages:
    """Handlers by path, each of which sees to its own authentication; and the Live API's.

    proxied: notes how long a proxied call took, in seconds.
    """

    def __init__(self, pages: dict[str, Page], live: Live, counts: Counts) -> None:
        self.get = pages.get
        self.live = live
        self.proxied = counts.proxied_s.observe


@asynccontextmanager
async def pages_of(parts: Parts, resources: Resources) -> AsyncIterator[Pages]:
    """All of them; at the end every conversation is settled."""
    ports, watch, auth, closing = parts.ports, parts.watch, parts.auth, parts.closing
    conversing = Conversing(parts.leasing, closing, parts.egress)
    desk = Desk(watch, auth, parts.affinity, parts.estimating, resources)
    live = Live(desk, conversing, ports.settings.upstream_url)
    metrics = Metrics(ports, watch, parts.waiting, auth, parts.counting)
    found: dict[str, Page] = {
        "/": show_dashboard,
        "/metrics": metrics.handle,
        "/keypool/v1/events": EventLog(ports, auth).handle,
        "/keypool/v1/openapi.json": show_description,
    }
    last_used = LastUsed(ports, auth)
    telling = [asyncio.create_task(each.run()) for each in (metrics, last_used)]
    try:
        yield Pages(found, live, parts.counting.counts)
    finally:
        await stop(telling)
        await last_used.write()
        await live.close()
        await closing.close()
