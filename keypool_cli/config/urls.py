"""URLs in settings: hiding what is secret in them, and telling whether they leave the machine."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

HIDDEN = "***"

_SECRET_PARAMETER = re.compile(r"(?i)([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&]*")


def masked_url(url: str) -> str:
    """``url`` with every password in it hidden; safe to print, also when it is malformed.

    Works on the text, not on a parse of it: a password with an unescaped ``/``, ``#`` or ``@``
    breaks the URL, and must not show in the error that says so.
    """
    text = _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", url)
    scheme, separator, rest = text.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not (separator and at):
        return text
    user, colon, _ = credentials.partition(":")
    # Without a colon the one word may be a password put in the user's place.
    shown = f"{user}:{HIDDEN}" if colon else HIDDEN
    return f"{scheme}://{shown}@{host}"


def is_loopback(host: str | None) -> bool:
    """Whether ``host``, a name or an address, is this machine as seen from itself."""
    if host is None:
        return False
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def split(url: str) -> SplitResult | None:
    """The parts of ``url``, or None if it is none: no scheme, or a port that is no number."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return None
    return parts if parts.scheme and "://" in url else None
