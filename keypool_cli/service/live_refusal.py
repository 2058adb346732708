"""What upstream means when it closes a Live conversation: a code and a few words stand for a 4xx.

Google gives no table of them; the codes below were seen with the texts that follow them. The text
decides, for 1011 alone was seen for spent quota, spent credit, bad keys and unknown models.
"""

import re
from dataclasses import dataclass

from keypool_cli.upstream.websocket import Closed

_GOOD = frozenset({1000, 1001, 1005})

_BY_TEXT = tuple(
    (re.compile(pattern, re.IGNORECASE), status)
    for pattern, status in (
        (r"API key (?:not valid|expired|not found)", 400),
        (r"reported as leaked|has been suspended|denied access|are blocked|PERMISSION_DENIED", 403),
        (r"is not found|no longer available", 404),
        (r"credits are depleted|spending cap|rate limit|quota|exhausted", 429),
        (r"overloaded|unavailable|try again later", 503),
    )
)
_BY_CODE = {1002: 400, 1003: 400, 1007: 400, 1008: 400, 1009: 400, 1013: 503}

_NAMES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


@dataclass(frozen=True, slots=True)
class CloseRefusal:
    """A close as an HTTP answer would say it. status 0: no answer came; name: Google's of it."""

    status: int
    name: str
    reason: str

    @property
    def body(self) -> dict[str, object] | None:
        """Google's error object; None where no answer came."""
        if not self.status:
            return None
        return {"error": {"code": self.status, "message": self.reason, "status": self.name}}


def refusal_of_close(closed: Closed) -> CloseRefusal | None:
    """The refusal a close stands for; None for a good end."""
    if closed.code is None:
        return CloseRefusal(0, "UNAVAILABLE", "")
    if closed.code in _GOOD:
        return None
    found = (status for pattern, status in _BY_TEXT if pattern.search(closed.reason))
    status = next(found, _BY_CODE.get(closed.code, 500))
    return CloseRefusal(status, _NAMES.get(status, "INTERNAL"), closed.reason)
