"""Egress proxies of projects: checked, sealed with their passwords, and shown without them."""

from collections.abc import Callable

from keypool_cli.config.urls import HIDDEN, masked_url, split
from keypool_cli.core.model import Project, Secret
from keypool_cli.errors import UsageError
from keypool_cli.registry.seals import Seals
from keypool_cli.registry.values import ProjectFields

SCHEMES = ("http", "https", "socks5", "socks5h")


def egress_columns(fields: ProjectFields, project: str, seals: Seals) -> dict[str, object]:
    """What the fields make of a project's two columns. Raises UsageError for what is no proxy."""
    if "egress_proxy" not in fields:
        return {}
    url = fields["egress_proxy"]
    if url is None:
        return {"egress_proxy": None, "egress_sealed": None}
    check_proxy(url)
    return sealed_columns(url, project, seals.seal)


def sealed_columns(
    url: Secret, project: str, seal: Callable[[Secret, str], bytes]
) -> dict[str, object]:
    """What a checked URL makes of a project's two columns. seal: a secret for a purpose."""
    return {"egress_proxy": shown_proxy(url), "egress_sealed": seal(url, _purpose(project))}


def shown_proxy(url: Secret) -> str:
    """A proxy's URL without its password."""
    return masked_url(url.text)


def egress_url(project: Project, seals: Seals) -> str | None:
    """The URL of a project's egress proxy, password and all; None where it has none."""
    if project.egress_sealed is None:
        return None
    return seals.unseal(project.egress_sealed, _purpose(project.name)).text


def _purpose(project: str) -> str:
    return f"egress proxy of {project}"


def check_proxy(secret: Secret) -> None:
    """Raise UsageError for what is no proxy's URL, or one whose password was left out."""
    url = secret.text
    parts = split(url)
    if HIDDEN in url:
        raise UsageError("the password of the egress proxy is hidden", hint="write it in its place")
    if parts is None or parts.scheme not in SCHEMES or not parts.hostname or parts.path.strip("/"):
        raise UsageError(
            f"{masked_url(url)!r} is no proxy's URL", hint="such as http://proxy.example:3128"
        )
