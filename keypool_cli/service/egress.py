"""The proxies that projects' calls leave through."""

from keypool_cli.core.model import Project
from keypool_cli.registry.egress import egress_url
from keypool_cli.service.ports import Ports


class Egress:
    """Opens the sealed URL of a project's egress proxy, once each."""

    def __init__(self, ports: Ports) -> None:
        self._seals = ports.registry.seals
        self._urls: dict[bytes, str | None] = {}

    def url(self, project: Project) -> str | None:
        """The URL, password and all; None for the way the machine goes.

        Raises NotPermittedError when it was sealed for another project.
        """
        sealed = project.egress_sealed
        if sealed is None:
            return None
        if sealed not in self._urls:
            self._urls[sealed] = egress_url(project, self._seals)
        return self._urls[sealed]
