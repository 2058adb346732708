"""Keys with all that an import can take of them and their projects."""

from collections.abc import Mapping
from dataclasses import dataclass

from keypool_cli.core.model import Secret
from keypool_cli.registry.egress import egress_url
from keypool_cli.registry.values import Actor
from keypool_cli.service.keys import KeyView, list_keys, reveal_secrets
from keypool_cli.service.ports import Ports
from keypool_cli.service.projects import ProjectView, list_projects


@dataclass(frozen=True, slots=True)
class Exported:
    """A key and its project. secret: None unless it was to be revealed, as the proxy's password."""

    key: KeyView
    project: ProjectView
    egress_proxy: str | None
    secret: Secret | None


async def export_keys(ports: Ports, *, reveal: bool, by: Actor) -> list[Exported]:
    """Every key, by name; the audit log keeps that secrets were shown."""
    keys = await list_keys(ports)
    projects = {each.name: each for each in await list_projects(ports)}
    proxies = {each.name: each.egress_proxy for each in projects.values()}
    secrets: Mapping[str, Secret] = {}
    if reveal and keys:
        secrets = await reveal_secrets(ports, [each.name for each in keys], by=by)
        proxies = await ports.call(_proxies, ports)
    return [
        Exported(key, projects[key.project], proxies.get(key.project), secrets.get(key.name))
        for key in keys
        if key.project in projects
    ]


def _proxies(ports: Ports) -> dict[str, str | None]:
    found = ports.registry.catalog().projects.values()
    return {each.name: egress_url(each, ports.registry.seals) for each in found}
