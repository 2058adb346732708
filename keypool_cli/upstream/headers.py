"""Which headers cross the proxy, in each direction."""

from collections.abc import Callable, Iterable
from functools import lru_cache

Header = tuple[str, str]

# RFC 9110, 7.6.1, and the older ones that are meant for one connection only.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# What names or proves an identity: upstream gets the key of the lease and nothing else beside it,
# for it refuses calls with two credentials ("Multiple authentication credentials received"). Its
# front end would also let x-http-method-override turn one call into another, and the two headers of
# its own change answers so that neither names nor keys are found in them.
_CLIENTS_OWN = frozenset(
    {
        "accept-encoding",
        "authorization",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "openai-organization",
        "openai-project",
        "origin",
        "referer",
        "via",
        "x-goog-api-key",
        "x-goog-encode-response-if-executable",
        "x-goog-fieldmask",
        "x-goog-iam-authorization-token",
        "x-goog-user-project",
        "x-http-method-override",
        "x-real-ip",
    }
)
_CLIENTS_OWN_PREFIXES = ("x-keypool-", "x-forwarded-", "sec-")

# Whoever knows the URL or the id of an upload may go on with it, without any credential.
_UPSTREAMS_OWN = frozenset(
    {
        "alt-svc",
        "content-length",
        "set-cookie",
        "strict-transport-security",
        "x-goog-upload-control-url",
        "x-goog-upload-url",
        "x-guploader-uploadid",
    }
)
_UPSTREAMS_OWN_PREFIXES = ("x-keypool-",)


def to_upstream(headers: Iterable[Header]) -> list[Header]:
    """The client's headers that upstream may see, without any credential.

    Answers are asked for uncompressed, so that usage and errors can be read from them.
    """
    kept = _kept(headers, _name_upstream)
    kept.append(("accept-encoding", "identity"))
    return kept


def to_client(headers: Iterable[Header]) -> list[Header]:
    """Upstream's headers that concern the client.

    A value that is not ASCII arrives empty, and an empty name of a file would be believed.
    """
    return [each for each in _kept(headers, _name_to_client) if each[1]]


def redirected_here(headers: Iterable[Header], upstream: str) -> list[Header]:
    """A redirect to upstream itself as one to whoever passes it on, where the client is known.

    Upstream answers the URI of a video so, and following it would take the client's token along:
    github.com/BerriAI/litellm/issues/13686.
    """
    own = f"{upstream}/"
    return [
        (name, value[len(upstream) :] if name == "location" and value.startswith(own) else value)
        for name, value in headers
    ]


def _without(own: frozenset[str], prefixes: tuple[str, ...]) -> Callable[[str], str | None]:
    @lru_cache(maxsize=1024)
    def shown(mixed: str) -> str | None:
        name = mixed.lower()
        stays = name in own or name in _HOP_BY_HOP or name.startswith(prefixes)
        return (None if name == "connection" else "") if stays else name

    return shown


_name_upstream = _without(_CLIENTS_OWN, _CLIENTS_OWN_PREFIXES)
_name_to_client = _without(_UPSTREAMS_OWN, _UPSTREAMS_OWN_PREFIXES)


def _kept(headers: Iterable[Header], shown: Callable[[str], str | None]) -> list[Header]:
    """shown: a name in lower case; empty for one that stays here, None for one that names others."""
    kept, named = [], ""
    for mixed, value in headers:
        name = shown(mixed)
        if name:
            kept.append((name, value))
        elif name is None:
            named += f",{value}"
    if not named or named == ",keep-alive":
        return kept
    hidden = {word.strip().lower() for word in named.split(",")}
    return [each for each in kept if each[0] not in hidden]
