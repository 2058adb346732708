"""Affinity: a session keeps to the project it used last, as long as that costs no waiting."""

from hashlib import sha256

from keypool_cli.core.model import Pool
from keypool_cli.service.ports import Ports
from keypool_cli.service.watch import Watch

KEPT_S = 3600


class Affinity:
    """Turns what a client calls its affinity into a project to prefer.

    The name of one of the pool's projects means that project; any other text is a session's
    name, which is remembered (hashed) for an hour after its last use.
    """

    def __init__(self, ports: Ports, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch

    async def project(self, pool: Pool, affinity: str | None) -> str:
        """The id of the project to prefer, as text; empty for none."""
        if not affinity:
            return ""
        if (named := self._named(pool, affinity)) is not None:
            return str(named)
        return await self._ports.engine.recall(_name(pool, affinity))

    async def keep(self, pool: Pool, affinity: str | None, project_id: int) -> None:
        """Remember which project a session was given."""
        if affinity and self._named(pool, affinity) is None:
            await self._ports.engine.remember(_name(pool, affinity), str(project_id), KEPT_S)

    def _named(self, pool: Pool, affinity: str) -> int | None:
        project = self._watch.configured.projects.get(affinity)
        return project.id if project is not None and project.id in pool.project_ids else None


def _name(pool: Pool, affinity: str) -> str:
    return f"{pool.id}:{sha256(affinity.encode()).hexdigest()[:32]}"
