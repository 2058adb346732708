"""``GET /``: one page that shows the pools live; it loads nothing and remembers nothing."""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from keypool_cli.http.rsgi import Exchange, Header, Scope

_BLOCK = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


async def show_dashboard(_scope: Scope, proto: Exchange) -> None:
    """Answer with the page; what it shows it asks for itself, with the token typed into it."""
    page, headers = _page()
    proto.response_bytes(200, headers, page)


@cache
def _page() -> tuple[bytes, list[Header]]:
    page = files("keypool_cli.daemon").joinpath("dashboard.html").read_bytes()
    hashes = {name.decode(): _hash(text) for name, text in _BLOCK.findall(page)}
    policy = (
        f"default-src 'none'; style-src '{hashes['style']}'; script-src '{hashes['script']}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
    ]


def _hash(text: bytes) -> str:
    return "sha256-" + b64encode(sha256(text).digest()).decode()
