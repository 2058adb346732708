"""The proxy's parts, put together, and taken apart when the daemon ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keypool_cli.daemon.parts import Parts
from keypool_cli.daemon.proxy import Desks, Proxy, Tickets
from keypool_cli.daemon.proxy_ordering import Ordering
from keypool_cli.daemon.resources import Noting
from keypool_cli.daemon.resources_lists import Lists
from keypool_cli.daemon.uploads import UploadCalls
from keypool_cli.http.calls import patient_threads
from keypool_cli.service.observing import Observing
from keypool_cli.service.proxying import Proxying
from keypool_cli.service.resources import Resources
from keypool_cli.service.resources_lookup import Lookup
from keypool_cli.service.resources_places import Places
from keypool_cli.service.tickets import FreeUse, Leases
from keypool_cli.service.uploads import Uploads
from keypool_cli.upstream.calls import Cost
from keypool_cli.upstream.forward import Forwarder, start_client


@asynccontextmanager
async def proxy_of(parts: Parts) -> AsyncIterator[Proxy]:
    """The proxy; at the end every settlement under way is made."""
    with patient_threads():
        start_client()
    ports, watch, forwarder, egress = parts.ports, parts.watch, Forwarder(), parts.egress
    url, estimating, bodies = ports.settings.upstream_url, parts.estimating, parts.bodies
    proxying = Proxying(forwarder, url, egress)
    observing = Observing(watch, parts.waiting, parts.settling)
    free_use = FreeUse(watch, observing)
    resources = Resources(ports, watch, Lookup(watch, forwarder, egress, observing, url))
    leases = Leases(parts.leasing, parts.closing, estimating, resources.measure_later)
    tickets: Tickets = {Cost.SPENDS: leases, Cost.FREE: free_use}
    ordering = Ordering(watch, parts.auth, parts.affinity, resources, estimating, bodies)
    noting = Noting(resources)
    uploads = Uploads(ports, watch, forwarder, egress)
    desks = Desks(
        resources,
        noting,
        Lists(ordering, proxying, free_use, Places(ports, watch)),
        UploadCalls(ordering, proxying, free_use, uploads, noting, bodies),
    )
    try:
        yield Proxy(ordering, proxying, tickets, desks)
    finally:
        await parts.closing.close()
        await resources.close()
        await forwarder.close()
