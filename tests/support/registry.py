"""What tests of the registry, and of what stands on it, share."""

from keypool_cli.registry.values import Actor

MASTER_KEY = bytes(range(32))
BY = Actor("amal", "host-1", "a test")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms
