"""What each setting accepts, turned from text or TOML into its type.

A parser raises ValueError with the words for what it wants; it never repeats the value, which
may be a secret.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from keypool_cli.config import urls
from keypool_cli.core.model import Secret

Number = TypeVar("Number", int, float)

DEFAULT_WINDOW_S = 60.0

DEFAULTS: Mapping[str, object] = {
    "redis_url": None,
    "master_key": None,
    "master_key_file": None,
    "upstream_url": "https://generativelanguage.googleapis.com",
    "insecure_upstream": False,
    "host": "127.0.0.1",
    "port": 8787,
    "guard_ms": 500,
    "window_s": DEFAULT_WINDOW_S,
    "starve_s": 10.0,
    "tokenizer": None,
}
"""The values of settings that nobody set; ``home`` and ``database_url`` depend on the machine."""

REDIS_SCHEMES = frozenset(
    {
        "redis",
        "rediss",
        "unix",
        "redis+cluster",
        "rediss+cluster",
        "redis+sentinel",
        "rediss+sentinel",
    },
)

_SWITCH = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def text(value: object) -> str:
    """A text that is not empty, without white space around it."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError("a text")


def path(value: object) -> Path:
    """A path; ``~`` is the user's own folder."""
    if isinstance(value, Path):
        return value
    return Path(text(value)).expanduser()


def secret(value: object) -> Secret:
    """A text that hides itself."""
    return value if isinstance(value, Secret) else Secret(text(value))


def switch(value: object) -> bool:
    """True or false, in TOML's way or in the words of environment variables."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError("true or false")


def whole(low: int, high: int) -> Callable[[object], int]:
    """A parser of whole numbers from ``low`` to ``high``."""
    return _number(int, f"a whole number from {low} to {high}", low, high)


def seconds(low: float, high: float) -> Callable[[object], float]:
    """A parser of seconds from ``low`` to ``high``."""
    return _number(float, f"seconds from {low:g} to {high:g}", low, high)


def _number(
    kind: type[Number],
    wanted: str,
    low: float,
    high: float,
) -> Callable[[object], Number]:
    def parse(value: object) -> Number:
        try:
            # By way of its text, so that True is no 1 and 8.5 is no 8.
            number = kind(str(value))
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= number <= high:
            raise ValueError(wanted)
        return number

    return parse


def redis_url(value: object) -> str:
    """A URL of the live store, in one of REDIS_SCHEMES."""
    url = text(value)
    if url.partition("://")[0] in REDIS_SCHEMES and "://" in url:
        return url
    raise ValueError(
        "a URL such as redis://, rediss://, unix://, redis+cluster://, redis+sentinel://"
    )


def database_url(value: object) -> str:
    """An SQLAlchemy URL."""
    url = text(value)
    if "://" in url:
        return url
    raise ValueError("a URL such as sqlite:///… or postgresql+psycopg://…")


def upstream_url(value: object) -> str:
    """An http or https URL without credentials, query, version or trailing slash."""
    url = text(value).rstrip("/")
    parts = urls.split(url)
    if (
        parts is None
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ValueError("an http:// or https:// URL without credentials or query")
    if parts.path.rpartition("/")[2] in {"v1", "v1alpha", "v1beta", "openai"}:
        raise ValueError("a URL without v1beta and the like, which each call adds")
    return url


PARSERS: Mapping[str, Callable[[object], object]] = {
    "home": path,
    "redis_url": redis_url,
    "database_url": database_url,
    "master_key": secret,
    "master_key_file": path,
    "upstream_url": upstream_url,
    "insecure_upstream": switch,
    "host": text,
    "port": whole(0, 65535),
    "guard_ms": whole(0, 10_000),
    "window_s": seconds(0.1, 3600),
    "starve_s": seconds(0, 3600),
    "tokenizer": text,
}
