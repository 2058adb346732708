"""What tests of the registry, and of what stands on it, share."""

from collections.abc import Iterable, Mapping

from keypool_cli.registry.clients import token_hash
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import Actor, LearnedLimits, Refusal
from keypool_cli.service.configured import Configured

MASTER_KEY = bytes(range(32))
BY = Actor("amal", "host-1", "a test")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def teach(
    registry: Registry,
    limits: Iterable[LearnedLimits] = (),
    aliases: Mapping[str, str] | None = None,
) -> None:
    """Let a refusal tell limits and aliases (request model to bucket's model)."""
    told = Refusal("a project", limits=tuple(limits), aliases=aliases or {})
    registry.marks.record([told], by=BY)


def client_of(registry: Registry, token: str):
    """Whose token this is, as a daemon finds it."""
    configured = Configured(registry.catalog(), registry.clients.token_hashes())
    return configured.client_of(token_hash(token))
