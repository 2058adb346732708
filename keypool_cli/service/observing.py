"""What calls without a lease show of keys and projects: that one of them is shut.

Their 429s say nothing of the quota for generation, so only evidence that disables is acted on.
"""

import secrets

from keypool_cli.core.model import Key, Project
from keypool_cli.core.redact import redact
from keypool_cli.core.refusal import Action
from keypool_cli.engine.types import Settled
from keypool_cli.service.settling import Settling
from keypool_cli.service.verdicts import DAEMON, Evidence, meaning
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch


class Observing:
    """Acts on refusals of the daemon's own calls that had no lease."""

    def __init__(self, watch: Watch, waiting: Waiting, settling: Settling) -> None:
        self._watch = watch
        self._waiting = waiting
        self._settling = settling

    async def observe(self, project: Project, key: Key, status: int, error: object) -> None:
        """Disable a key or a project that upstream refuses; anything else changes nothing.

        Raises UnreachableError when a store is away.
        """
        verdict = meaning(status, error)
        if verdict is None or verdict.action is not Action.DISABLE:
            return
        if not await self._is_current(key):
            return
        secret = await self._watch.secret(key.id)
        await self._settling.apply(
            Evidence(
                model="",
                project=project,
                key=key,
                lease_id=f"{secrets.token_urlsafe(16)}.free",
                source=DAEMON,
                verdict=verdict,
                settled=_as_settled(project, key, await self._waiting.now_ms()),
                reason=redact(verdict.reason, (secret.text,)),
            )
        )
        await self._watch.refresh()

    async def _is_current(self, key: Key) -> bool:
        """Whether it has the secret still that was refused."""
        await self._watch.refresh()
        now = self._watch.configured.catalog.keys.get(key.id)
        return now is not None and now.fingerprint == key.fingerprint


def _as_settled(project: Project, key: Key, now_ms: int) -> Settled:
    return Settled(
        tokens=0,
        applied=True,
        until_ms=0,
        answer="",
        project_id=project.id,
        key_id=key.id,
        granted_at_ms=now_ms,
        first=True,
    )
