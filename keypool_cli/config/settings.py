"""The settings: their names, what each accepts, and how they are shown."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from keypool_cli.config import urls
from keypool_cli.core.model import Secret


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What keypool runs with.

    home: data folder. redis_url: live store, or None for the embedded Valkey. database_url: for
    SQLAlchemy. master_key, master_key_file: where the sealing key comes from; neither set means
    the key file in home. upstream_url: base URL of Gemini, without a trailing slash.
    insecure_upstream: plain http beyond loopback is accepted. host, port: where ``serve``
    listens; port 0 lets the system choose. guard_ms: how long beyond the window a booked request
    still counts. window_s: the minute window, 60 but in tests. starve_s: how long a demand waits
    before room is held for it. tokenizer: a file to count with where it is proven exact, or
    ``google``. origins: by name, where each value was set.
    """

    home: Path
    redis_url: str | None
    database_url: str
    master_key: Secret | None
    master_key_file: Path | None
    upstream_url: str
    insecure_upstream: bool
    host: str
    port: int
    guard_ms: int
    window_s: float
    starve_s: float
    tokenizer: str | None
    origins: Mapping[str, str]

    def origin(self, name: str) -> str:
        """Where the value of ``name`` was set: a flag, a variable, a file, or ``default``."""
        return self.origins[name]

    def shown(self, name: str) -> str:
        """The value of ``name`` for display: passwords in URLs and keys are hidden."""
        value = getattr(self, name)
        if name == "redis_url" and value is None:
            return "embedded Valkey"
        if value is None:
            return ""
        if isinstance(value, Secret):
            return urls.HIDDEN
        if isinstance(value, bool):
            return str(value).lower()
        return urls.masked_url(str(value)) if name.endswith("_url") else str(value)

    def __repr__(self) -> str:
        """Every value as shown, so that no log or traceback holds a secret."""
        return f"Settings({', '.join(f'{name}={self.shown(name)}' for name in SETTING_NAMES)})"


SETTING_NAMES = tuple(field.name for field in fields(Settings) if field.name != "origins")

NEVER_IN_WORKING_FOLDER = frozenset(
    {
        "home",
        "redis_url",
        "database_url",
        "master_key",
        "master_key_file",
        "upstream_url",
        "insecure_upstream",
        "tokenizer",
    },
)
"""A cloned folder must not be able to send secrets elsewhere."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"KEYPOOL_{name.upper()}"
