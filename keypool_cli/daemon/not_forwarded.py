"""What the proxy does not forward, and why, in words for whoever asks for it."""

import re
from collections.abc import Mapping

from keypool_cli.errors import KeypoolError, NotFoundError, NotPermittedError
from keypool_cli.http.rsgi import Scope

_COLLECTION = re.compile(r"/v1(?:beta|alpha)?/([A-Za-z_]+)(?:[/:].*)?")

# What each of these is: google-genai 3.4.
_TOKENS = (
    "ephemeral tokens are not made through keypool: their holder would pass its limits by",
    "open the Live API on this daemon with a client token, one for each user: keypool client add",
)
_WEBHOOKS = (
    "webhooks are not made through keypool: each tells of all that everyone makes in one project",
    "ask for batches and interactions by their names",
)
_VOICES = (
    "voices are not forwarded: making one costs quota that cannot be reserved",
    "use Gemini's prebuilt voices, by their names",
)
_TRIGGERS = (
    "triggers are not made through keypool: what they start would pass the pool's limits by",
    "start interactions on a schedule of your own",
)
_CREDENTIALS = (
    "credentials are not kept through keypool: everyone in one project could use them",
    "give an MCP server its headers with each interaction",
)
_DECISIONS = (
    "decisions are not forwarded: what one counts as is not known, so it cannot be reserved",
    "ask for JSON with a response schema",
)
_REASONS: Mapping[str, tuple[type[KeypoolError], tuple[str, str]]] = {
    "auth_tokens": (NotPermittedError, _TOKENS),
    "authTokens": (NotPermittedError, _TOKENS),
    "webhooks": (NotPermittedError, _WEBHOOKS),
    "voices": (NotFoundError, _VOICES),
    "triggers": (NotPermittedError, _TRIGGERS),
    "credentials": (NotPermittedError, _CREDENTIALS),
    "decisions": (NotFoundError, _DECISIONS),
}

_BASE_URLS = (
    (
        re.compile(r"/v1(?:beta|alpha)?/(?:chat/completions|embeddings|responses|completions)"),
        "the base URL of OpenAI's clients ends in /v1beta/openai/ here",
    ),
    (
        re.compile(r"(?:/v1(?:beta|alpha)?){2,}/.*"),
        "the base URL of Google's clients names no version here: they add it",
    ),
)


def not_forwarded(scope: Scope) -> KeypoolError:
    """The error for a call that is not forwarded."""
    found = _COLLECTION.fullmatch(scope.path)
    reason = _REASONS.get(found[1]) if found is not None else None
    if reason is None:
        hint = next((told for path, told in _BASE_URLS if path.fullmatch(scope.path)), None)
        return NotFoundError(f"the proxy does not forward {scope.method} {scope.path}", hint=hint)
    kind, (told, hint) = reason
    return kind(told, hint=hint)
