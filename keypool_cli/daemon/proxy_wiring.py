"""The proxy's parts, put together, and taken apart when the daemon ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keypool_cli.daemon.auth import Auth
from keypool_cli.daemon.proxy import Proxy, Tickets
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.leasing import Leasing
from keypool_cli.service.observing import Observing
from keypool_cli.service.ports import Ports
from keypool_cli.service.proxying import Proxying
from keypool_cli.service.settling import Settling
from keypool_cli.service.tickets import Closing, FreeUse, Leases
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.calls import Cost
from keypool_cli.upstream.forward import Forwarder


@asynccontextmanager
async def proxy_of(
    ports: Ports, watch: Watch, waiting: Waiting, leasing: Leasing, settling: Settling, auth: Auth
) -> AsyncIterator[Proxy]:
    """The proxy; at the end every settlement under way is made."""
    forwarder, closing = Forwarder(), Closing(settling)
    proxying = Proxying(forwarder, ports.settings.upstream_url)
    free_use = FreeUse(watch, Observing(watch, waiting, settling))
    tickets: Tickets = {Cost.SPENDS: Leases(leasing, closing), Cost.FREE: free_use}
    try:
        yield Proxy(watch, auth, proxying, tickets, Affinity(ports, watch))
    finally:
        await closing.close()
        await forwarder.close()
