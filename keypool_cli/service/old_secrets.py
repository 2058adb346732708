"""Evidence about a secret that its key no longer has: it says nothing of the new one."""

from contextlib import suppress

from keypool_cli.core.refusal import Action, Scope, Verdict
from keypool_cli.engine.open_leases import grant_of
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.values import EventFilter
from keypool_cli.service.ports import Ports
from keypool_cli.service.watch import POLL_S, Watch

STALE_MS = int(2 * POLL_S * 1000)
"""So long after a rotation a daemon that has not heard of it may lease the old secret."""


async def is_about_old_secret(
    ports: Ports, watch: Watch, model: str, lease_id: str, verdict: Verdict
) -> bool:
    """Whether a verdict on a key is evidence from before the key was given another secret.

    Where the registry cannot be asked the verdict stands: a dead key in use costs more than a good
    one at rest.
    """
    if verdict.action is not Action.DISABLE or verdict.scope is not Scope.KEY:
        return False
    grant = await grant_of(ports.engine, model, lease_id)
    key = watch.configured.catalog.keys.get(grant.key_id) if grant is not None else None
    if grant is None or key is None:
        return False
    since_ms = grant.granted_at_ms - STALE_MS
    wanted = EventFilter(since_ms=since_ms, kind="key.rotated", subject=key.name, limit=1)
    with suppress(UnreachableError):
        return bool(await ports.call(ports.registry.events.read, wanted))
    return False
