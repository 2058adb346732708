"""How a Live conversation is ended towards the client: a close code and a reason."""

from dataclasses import dataclass

import msgspec

from keypool_cli.daemon.gemini_errors import meaning_of
from keypool_cli.errors import KeypoolError
from keypool_cli.http.websocket import (
    BAD_PAYLOAD,
    GOING_AWAY,
    INTERNAL,
    POLICY,
    TOO_BIG,
    TRY_LATER,
    Peer,
)
from keypool_cli.service.live_refusal import refusal_of_close
from keypool_cli.upstream.websocket import Closed

# As Gemini closes: 1007 for what it does not understand, 1008 for what may not be, 1011 for spent
# quota and for errors inside; 1009 is RFC 6455's for what is too big.
_CODES = {400: BAD_PAYLOAD, 413: TOO_BIG, 429: INTERNAL, 500: INTERNAL}


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The end of a conversation. early: its setup was never answered.

    status, name: what HTTP would have said, for clients over TLS.
    """

    code: int
    reason: str
    status: int
    name: str
    early: bool


GOING = Goodbye(GOING_AWAY, "this daemon is ending", 200, "OK", early=False)
"""To clients of a daemon that ends; they may go on elsewhere, by their handle of resumption."""


def goodbye_passed_on(closed: Closed, *, early: bool) -> Goodbye:
    """Upstream's own goodbye; a connection that broke is told as an error inside."""
    if closed.code is None:
        return Goodbye(INTERNAL, "upstream's connection broke", 503, "UNAVAILABLE", early)
    refusal = refusal_of_close(closed)
    if refusal is None:
        return Goodbye(closed.code, closed.reason, 200, "OK", early)
    return Goodbye(closed.code, closed.reason, refusal.status, refusal.name, early)


def goodbye_of(err: KeypoolError) -> Goodbye:
    """What an error of ours is to a client of the Live API."""
    meaning = meaning_of(err)
    code = TRY_LATER if meaning.code >= 503 else _CODES.get(meaning.code, POLICY)
    return Goodbye(code, err.told, meaning.code, meaning.status, early=True)


async def say_goodbye(peer: Peer, goodbye: Goodbye) -> None:
    """Close with code and reason. Over TLS no code can be sent: an error is told in a last message.

    Google's Python client raises a message that has a ``code`` as the error it names; but the first
    message of all it takes for the answer to its setup, whatever it says.
    """
    if peer.sealed and goodbye.status >= 400:
        told = {"code": goodbye.status, "message": goodbye.reason, "status": goodbye.name}
        for _ in range(2 if goodbye.early else 1):
            await peer.send(msgspec.json.encode(told))
    await peer.close(goodbye.code, goodbye.reason)
