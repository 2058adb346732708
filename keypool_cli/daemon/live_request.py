"""What a Live conversation's handshake and setup say: whose it is, its model, its tokens."""

import re
from dataclasses import dataclass

import msgspec

from keypool_cli.daemon.json_bodies import decoded
from keypool_cli.daemon.proxy_request import the_one, token_of
from keypool_cli.errors import UsageError
from keypool_cli.http.message import UNREADABLE, query_pairs
from keypool_cli.http.rsgi import Scope
from keypool_cli.service.estimating import Estimates
from keypool_cli.upstream.calls import LONGEST_NAME
from keypool_cli.upstream.names import may_mention, mentioned

# Google's Python client puts a second slash before it when the base URL ends with one.
_PATH = re.compile(
    r"/{1,2}(ws/google\.ai\.generativelanguage\.(?:v1beta|v1alpha|v1)"
    r"\.GenerativeService\.BidiGenerateContent)"
)

_object = msgspec.json.Decoder(dict[str, object])


@dataclass(frozen=True, slots=True)
class Setup:
    """What a setup message asks for. resumes: the handle of the conversation it goes on with.

    mentions: names of what only one project has.
    """

    model: str
    tokens: int
    resumes: str = ""
    mentions: tuple[str, ...] = ()


def upstream_path(path: str) -> str | None:
    """The path for upstream; None for what is no Live conversation that can be forwarded.

    ``…Constrained`` takes a token that one project has minted, so it is not.
    """
    found = _PATH.fullmatch(path)
    return f"/{found[1]}" if found else None


def live_token(scope: Scope) -> str | None:
    """The client token, from where Gemini's clients put their key; browsers have only the query."""
    tokens = [v for n, v in query_pairs(scope.query_string) if n == "access_token"]
    return the_one([*tokens, token_of(scope, scope.headers) or ""])


def setup_of(message: str | bytes, estimates: Estimates) -> Setup:
    """What a first message asks for. Raises UsageError for one that is no setup."""
    try:
        setup = decoded(_object, message).get("setup")
    except UNREADABLE as err:
        raise UsageError("the first message must be a JSON object with a setup") from err
    if not isinstance(setup, dict):
        raise UsageError("the first message must be a setup")
    model = setup.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= LONGEST_NAME:
        raise UsageError("the setup must name a model")
    name = model.removeprefix("models/")
    estimate = estimates.request(setup, model=name)
    resumption = setup.get("sessionResumption", setup.get("session_resumption"))
    handle = resumption.get("handle") if isinstance(resumption, dict) else None
    resumes = handle if isinstance(handle, str) else ""
    tokens = max(estimate.tokens + estimate.margin, 1)
    return Setup(name, tokens, resumes, tuple(mentioned(setup)))


def mentions_of(message: str | bytes) -> list[str]:
    """Names of what only one project has, in a message of a client.

    Raises UsageError for one that may hold some where nobody can tell: upstream reads more than JSON.
    """
    raw = message.encode(errors="replace") if isinstance(message, str) else message
    if not may_mention(raw):
        return []
    try:
        return mentioned(decoded(_object, raw))
    except UNREADABLE as err:
        raise UsageError("the message is not understood: send a JSON object") from err
