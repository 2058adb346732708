"""Taking secrets out of text and JSON before anyone logs, stores or shows it.

Upstream's own texts may echo a key (``Consumer 'api_key:AIza…' has been suspended``), so text
from upstream passes here before it goes anywhere.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"

_MAX_DEPTH = 64
_LABELLED = re.compile(
    r"(key[\"']?\s*=\s*[\"']?"
    r"|api[_-]?key[\"']?\s*:\s*[\"']?"
    r"|x-goog-api-key(?:[\s:=,\"']|b(?=[\"']))++"
    r"|\bBearer\s+)[^\s\"'&,;<>(){}\[\]\\]+",
    re.IGNORECASE,
)
# Shapes that Google publishes (https://ai.google.dev/gemini-api/docs/api-key): AIza + 35
# characters, and AQ.; kp_ is keypool's own token.
# Shorter tails count too, so that a key cut off in the middle is not shown either.
_SHAPED = re.compile(r"(?:AIza|AQ\.|kp_)[0-9A-Za-z_.-]{16,}")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_SECRET_NAMES = frozenset({"x-goog-api-key", "api_key", "api-key", "apikey", "authorization"})


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with every secret replaced by ``[redacted]``.

    Hidden are the given secrets (plain and URL-encoded), whatever follows ``key=``, ``api_key:``,
    ``x-goog-api-key`` or ``Bearer``, and strings of a published key shape. An empty secret is
    ignored. Redacting twice changes nothing more.
    """
    return _hide(text, _spellings(secrets))


def redact_json(value: object, secrets: Iterable[str] = ()) -> object:
    """A copy of a JSON value with its strings and member names redacted.

    The whole value of a member named like a credential is hidden, and so is whatever lies more
    than 64 levels deep.
    """
    return _copy(value, _spellings(secrets), depth=0)


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Each secret as it may be written, the longest first so that none hides a part of another."""
    spelled: set[str] = set()
    for secret in filter(None, secrets):
        for form in (
            secret,
            quote(secret, errors="replace"),
            quote(secret, safe="", errors="replace"),
            quote_plus(secret, errors="replace"),
        ):
            spelled |= {form, _PERCENT.sub(lambda code: code[0].lower(), form)}
    return sorted(spelled, key=lambda form: (-len(form), form))


def _hide(text: str, spellings: list[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, REDACTED)
    # Most texts name no credential, and two substring searches cost a tenth of the pattern.
    lowered = text.lower()
    if "key" in lowered or "bearer" in lowered:
        text = _LABELLED.sub(rf"\1{REDACTED}", text)
    return _SHAPED.sub(REDACTED, text)


def _copy(value: object, spellings: list[str], *, depth: int) -> object:
    if isinstance(value, str):
        return _hide(value, spellings)
    if not isinstance(value, dict | list):
        return value
    if depth >= _MAX_DEPTH:
        return REDACTED
    if isinstance(value, list):
        return [_copy(item, spellings, depth=depth + 1) for item in value]
    return {
        _copy(name, spellings, depth=depth): (
            REDACTED
            if isinstance(name, str) and name.lower() in _SECRET_NAMES
            else _copy(item, spellings, depth=depth + 1)
        )
        for name, item in value.items()
    }
