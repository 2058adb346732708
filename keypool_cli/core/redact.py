"""Taking secrets out of text and JSON before anyone logs, stores or shows it.

Upstream's own texts may echo a key (``Consumer 'api_key:AIza…' has been suspended``), so text
from upstream passes here before it goes anywhere.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
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
# As JSON may write what it could write plainly, but for quotes and backslashes.
_ESCAPED = re.compile(r"\\(?:u00(?!22|5c)([2-7][0-9a-f])|(/))", re.IGNORECASE)
_LONG = 16
"""Letters of a secret whose base64 is nothing else's by accident."""

_PERCENT = re.compile(r"%[0-9A-F]{2}")
_SECRET_NAMES = frozenset({"x-goog-api-key", "api_key", "api-key", "apikey", "authorization"})


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with every secret replaced by ``[redacted]``.

    Hidden are the given secrets (plain, URL-encoded, with JSON's escapes, or within base64),
    whatever follows ``key=``, ``api_key:``, ``x-goog-api-key`` or ``Bearer``, and strings of a
    published key shape. An empty secret is ignored. Redacting twice changes nothing more.
    """
    return _hide(text, _spellings(secrets))


def redact_json(value: object, secrets: Iterable[str] = ()) -> object:
    """A copy of a JSON value with its strings and member names redacted.

    The whole value of a member named like a credential is hidden, and so is whatever lies more
    than 64 levels deep.
    """
    return _copy(value, _spellings(secrets), depth=0)


def redact_body(body: bytes, secret: str) -> bytes:
    """An answer of upstream without one secret, however it is written; all else as it was.

    Unless the secret was written with JSON's escapes: then others mean the same, but are gone.
    """
    spellings = [form.encode().decode("latin-1") for form in _spellings([secret])]
    return _without(body.decode("latin-1"), spellings).encode("latin-1")


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Each secret as it may be written, the longest first so that none hides a part of another."""
    spelled: set[str] = set()
    for secret in filter(None, secrets):
        for form in (
            secret,
            quote(secret, errors="replace"),
            quote(secret, safe="", errors="replace"),
            quote_plus(secret, errors="replace"),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            *_in_base64(secret),
        ):
            spelled |= {form, _PERCENT.sub(lambda code: code[0].lower(), form)}
    return sorted(spelled, key=lambda form: (-len(form), form))


def _in_base64(secret: str) -> Iterator[str]:
    """What base64 makes of a secret, wherever it lies in what is encoded."""
    data = secret.encode(errors="replace")
    for before in range(3) if len(data) >= _LONG else ():
        own = slice((8 * before + 5) // 6, 8 * (before + len(data)) // 6)
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(before) + data)[own].decode()


def _without(text: str, spellings: list[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, REDACTED)
    if spellings and ("\\u00" in text or "\\/" in text):
        plain = _ESCAPED.sub(lambda found: found[2] or chr(int(found[1], 16)), text)
        if any(spelling in plain for spelling in spellings):
            return _without(plain, spellings)
    return text


def _hide(text: str, spellings: list[str]) -> str:
    text = _without(text, spellings)
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
