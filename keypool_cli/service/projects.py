"""Projects: listed, changed, removed."""

from collections.abc import Mapping
from functools import partial
from socket import gethostname

import msgspec

from keypool_cli.core.model import Project
from keypool_cli.core.natural import natural
from keypool_cli.registry.change import noting_revisions
from keypool_cli.registry.values import Actor, ProjectFields
from keypool_cli.service.changing import changing, spread
from keypool_cli.service.configured import Configured
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import read_configured
from keypool_cli.service.verdicts import DAEMON

KEPT_MS = 3 * 86_400_000
"""A removed project is kept so long: a request near the end of a day counts in the next, too."""


class ProjectView(msgspec.Struct, frozen=True):
    """A project as configured. keys: their names. egress_proxy: its URL, the password masked."""

    name: str
    tier: str | None
    priority: int
    billing_account: str | None
    labels: Mapping[str, str]
    enabled: bool
    egress_proxy: str | None
    pools: list[str]
    keys: list[str]


async def list_projects(ports: Ports) -> list[ProjectView]:
    """Every project, by name."""
    configured = await read_configured(ports)
    names = sorted(configured.projects, key=natural)
    return [_view(configured, configured.projects[name]) for name in names]


async def show_project(ports: Ports, name: str) -> ProjectView:
    """The project of this name. Raises NotFoundError."""
    project = await ports.call(ports.registry.projects.find, name)
    return _view(await read_configured(ports), project)


async def set_project(
    ports: Ports, name: str, fields: ProjectFields, *, by: Actor, create: bool = False
) -> ProjectView:
    """Change what ``fields`` name. create: make it first; raises ConflictError if it exists."""
    method = ports.registry.projects.create if create else ports.registry.projects.set
    project = await changing(
        ports, partial(method, name, by=by, **fields), touched=lambda project: [project.id]
    )
    return _view(await read_configured(ports), project)


async def remove_project(
    ports: Ports, name: str, *, by: Actor, with_keys: bool = False
) -> ProjectView:
    """Remove a project with its limits; answers it as it was. Raises ConflictError over keys.

    Added again before :func:`forget_removed`, it has the windows, days and cooldowns it left with.
    """
    was = await show_project(ports, name)
    await changing(
        ports,
        partial(ports.registry.projects.remove, name, by=by, with_keys=with_keys),
        touched=lambda project: [project.id],
    )
    return was


async def forget_removed(ports: Ports, *, now_ms: int) -> None:
    """Forget removed projects of which upstream can count nothing any more."""
    by = Actor(DAEMON, gethostname())
    with noting_revisions() as made:
        ids = await ports.call(ports.registry.projects.forget, now_ms - KEPT_MS, by=by)
    await spread(ports, ids, made)


def _view(configured: Configured, project: Project) -> ProjectView:
    return ProjectView(
        name=project.name,
        tier=project.tier,
        priority=project.priority,
        billing_account=project.billing_account,
        labels=project.labels,
        enabled=project.enabled,
        egress_proxy=project.egress_proxy,
        pools=[pool.name for pool in configured.pools_of.get(project.id, ())],
        keys=[key.name for key in configured.keys_of.get(project.id, ())],
    )
