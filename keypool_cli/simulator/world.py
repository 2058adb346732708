"""What a simulator knows at its start: projects, keys, limits, models and how it behaves."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from keypool_cli.errors import UsageError
from keypool_cli.simulator.limiter import Limits

ANY_MODEL = "*"

Tier = Literal["free", "tier1", "tier2", "tier3"]

# Free and tier-1 limits seen in 429 bodies and AI Studio, December 2025 to October 2026; where
# none was seen, the official table of late 2025. None: not seen, not limited here.
LIMITS: Mapping[str, Mapping[str, Limits]] = {
    "free": {
        "gemini-2.5-pro": Limits(0, 0, 0),
        "gemini-2.5-flash": Limits(5, 250_000, 20),
        "gemini-2.5-flash-lite": Limits(15, 250_000, 20),
        "gemini-3.1-pro": Limits(0, 0, 0),
        "gemini-3.1-flash-lite": Limits(15, 250_000, 500),
        "gemini-3.5-flash": Limits(5, 250_000, 20),
        "gemini-3.8-flash": Limits(5, 250_000, 20),
        "gemini-embedding-1.0": Limits(100, None, 1_000),
    },
    "paid": {
        "gemini-2.5-pro": Limits(150, 2_000_000, 10_000),
        "gemini-2.5-flash": Limits(1_000, 1_000_000, 10_000),
        "gemini-2.5-flash-lite": Limits(4_000, 4_000_000, None),
        "gemini-3.1-pro": Limits(None, 2_000_000, 250),
        "gemini-3.1-flash-lite": Limits(4_000, 4_000_000, None),
        "gemini-3.5-flash": Limits(1_000, 1_000_000, 10_000),
        "gemini-3.8-flash": Limits(1_000, 1_000_000, 10_000),
        "gemini-embedding-1.0": Limits(),
    },
}

# A request's model name and the name its quota is counted under, as seen in 429 bodies.
ALIASES: Mapping[str, str] = {
    "gemini-3.1-pro-preview": "gemini-3.1-pro",
    "gemini-3.1-pro-preview-customtools": "gemini-3.1-pro",
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-embedding-001": "gemini-embedding-1.0",
}


class ProjectSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project: its keys, its tier, and its limits by model.

    models: ``*`` stands for every model not named. None takes the tier's table.
    """

    keys: tuple[str, ...] = ()
    tier: Tier = "free"
    models: Mapping[str, Limits] | None = None

    def limits(self, model: str) -> Limits:
        """The limits of one model; no limits at all where nothing is said of it."""
        if self.models is None:
            return LIMITS["free" if self.tier == "free" else "paid"].get(model, Limits())
        return self.models.get(model, self.models.get(ANY_MODEL, Limits()))


class World(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a simulator is told at its start.

    models: names offered besides those in limits and aliases. aliases: model to the name its
    quota is counted under. key_prefix: accept any key ``<prefix><project>-<anything>`` and create
    its project from ``template`` on first use. window_s: length of the RPM and TPM window.
    day_zone: where the RPD day ends. day_hint: what the retry hint of a spent day says: seconds to
    the next minute (``short``, misleading, as real ones may be), or the time to midnight ``utc``
    or to the true end of the day (``true``). first_byte_s, chunk_s: delays of every answer.
    counts: a JSONL file of true token counts.
    """

    projects: Mapping[str, ProjectSpec] = msgspec.field(default_factory=dict)
    models: tuple[str, ...] = tuple(LIMITS["free"])
    aliases: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(ALIASES))
    key_prefix: str | None = None
    template: ProjectSpec = ProjectSpec()
    window_s: float = 60.0
    day_zone: str = "America/Los_Angeles"
    day_hint: Literal["short", "utc", "true"] = "short"
    first_byte_s: float = 0.0
    chunk_s: float = 0.0
    counts: Path | None = None

    def __post_init__(self) -> None:
        """Refuse values that no simulator could work with."""
        if self.window_s <= 0:
            raise UsageError("window_s must be greater than 0")
        try:
            ZoneInfo(self.day_zone)
        except (KeyError, ValueError) as err:
            raise UsageError(f"no time zone is called {self.day_zone!r}") from err


def default_world() -> World:
    """What ``keypool simulate`` starts with: any key ``sim-<project>-<anything>``, free tier."""
    return World(key_prefix="sim-")


def load_world(path: Path) -> World:
    """The world of a JSON or TOML file (by its suffix); its fields are :class:`World`'s.

    Raises UsageError when the file cannot be read or says something else.
    """
    try:
        data = path.read_bytes()
        plain = tomllib.loads(data.decode()) if path.suffix == ".toml" else _json(data)
        return msgspec.convert(plain, World, dec_hook=_path)
    except OSError as err:
        raise UsageError(f"cannot read the world {path}: {err.strerror}") from err
    except (ValueError, msgspec.MsgspecError) as err:
        raise UsageError(f"{path} is no world: {err}") from err


def _json(data: bytes) -> object:
    plain: object = msgspec.json.decode(data)
    return plain


def _path(_type: type, text: str) -> Path:
    return Path(text)
