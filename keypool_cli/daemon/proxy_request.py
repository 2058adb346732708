"""What a proxied request says: whose it is, where it goes, and how long it may take."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_plus

from keypool_cli.errors import UsageError
from keypool_cli.http.message import query_pairs
from keypool_cli.http.rsgi import Headers, Scope

LONGEST_WAIT_S = 300.0
LONGEST_SESSION = 200
DEADLINE_S = 600.0
"""How long a call without a deadline of its own may take until its answer begins."""

_PATH_SAFE = "/:@!$&'()*+,;=-._~"

# Google's front end takes these beside ``key``: other credentials, and (with a dollar sign)
# parameters that replace the method and the headers. A callback would wrap the answer in a script.
_NOT_FORWARDED = frozenset({"key", "access_token", "oauth_token", "bearer_token", "callback"})
_HARMLESS_SYSTEM = frozenset({"$alt", "$fields", "$prettyprint"})
_PARTIAL = frozenset({"fields", "$fields"})
_ALT = frozenset({"alt", "$alt"})
_READABLE = frozenset({"", "json", "media", "sse"})

_NUMBER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


def token_of(scope: Scope, headers: Headers) -> str | None:
    """The client token, from where Gemini's clients put their key; None where there is none.

    headers: the scope's. An empty token is as none. Raises UsageError for two that differ, as
    Gemini does.
    """
    tokens = headers.get_all("x-goog-api-key")
    if query := scope.query_string:
        tokens += [value for name, value in query_pairs(query) if name == "key"]
    for value in headers.get_all("authorization"):
        kind, _, token = value.partition(" ")
        tokens.append(token if kind.lower() == "bearer" else value)
    return tokens[0].strip() if len(tokens) == 1 else the_one(tokens)


def the_one(tokens: Iterable[str]) -> str | None:
    """The token that was sent, however often; None for none. Raises UsageError for two."""
    found = {each.strip() for each in tokens} - {""}
    if len(found) > 1:
        raise UsageError(
            "Multiple authentication credentials received. Please pass only one.",
            hint="send the client token once, where the API key goes",
        )
    return next(iter(found), None)


def target_of(scope: Scope, *, whole: bool = False) -> str:
    """Path and query for upstream, without any credential.

    whole: the answer must not leave anything out. Raises UsageError for a form of answers that
    cannot be read here.
    """
    path = _quoted(scope.path)
    query = scope.query_string
    if not query:
        return path
    kept = [each for each in query.split("&") if each and not _stays_here(each, whole=whole)]
    return f"{path}?{'&'.join(kept)}" if kept else path


@lru_cache(maxsize=256)
def _quoted(path: str) -> str:
    return quote(path, safe=_PATH_SAFE)


def _stays_here(pair: str, *, whole: bool) -> bool:
    """Whether a parameter is not forwarded. Some servers also take ``;`` for an ``&``."""
    for each in pair.split(";"):
        said, _, value = each.partition("=")
        name = unquote_plus(said).strip().lower()
        if name in _NOT_FORWARDED or (whole and name in _PARTIAL):
            return True
        # Google's own REST clients ask for ``json;enum-encoding=int``.
        form = unquote_plus(value).partition(";")[0].strip().lower()
        if name in _ALT and form not in _READABLE:
            raise UsageError(f"{name}={value[:20]} is not forwarded", hint="ask for json, or sse")
        if name.startswith("$") and name not in _HARMLESS_SYSTEM:
            return True
    return False


def wants_sse(scope: Scope) -> bool:
    """Whether a stream is asked for as server-sent events."""
    return any(
        name.lower() in {"alt", "$alt"} and value.lower() == "sse"
        for name, value in query_pairs(scope.query_string)
    )


def wait_s(headers: Headers, default: float) -> float:
    """How long the call may wait for room. Raises UsageError for what is no such number."""
    said = headers.get("x-keypool-wait-s")
    if said is None:
        return default
    if not _NUMBER.fullmatch(said) or float(said) > LONGEST_WAIT_S:
        raise UsageError(f"x-keypool-wait-s is a number of seconds from 0 to {LONGEST_WAIT_S:g}")
    return float(said)


def name_in(headers: Headers, header: str) -> str | None:
    """A name of any script, as a header holds it: percent-encoded where it is not ASCII.

    Raises UsageError for one that came otherwise: to pass over it would mean another pool.
    """
    said = headers.get(header)
    if said is None:
        if header in headers:
            raise UsageError(
                f"{header} holds other characters than ASCII",
                hint="percent-encode the name as UTF-8, as in URLs",
            )
        return None
    try:
        return unicodedata.normalize("NFC", unquote(said, errors="strict")) if "%" in said else said
    except UnicodeDecodeError:
        raise UsageError(f"{header} is not percent-encoded UTF-8") from None


def session_of(headers: Headers) -> str | None:
    """What the client calls its session, for calls of it to keep to one project."""
    said = name_in(headers, "x-keypool-affinity")
    if said is not None and not 0 < len(said) <= LONGEST_SESSION:
        raise UsageError(f"x-keypool-affinity is 1 to {LONGEST_SESSION} characters long")
    return said


def deadline_s(headers: Headers) -> float:
    """How long the client waits for an answer, as Google's clients announce it."""
    said = headers.get("x-server-timeout")
    return min(float(said), DEADLINE_S) if said and _NUMBER.fullmatch(said) else DEADLINE_S
