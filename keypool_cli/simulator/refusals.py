"""Gemini's error answers, as real ones read. Sources: ai.google.dev/gemini-api/docs and threads.

Quota bodies follow 429s seen from December 2025 to October 2026.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from keypool_cli.errors import KeypoolError

Json = dict[str, Any]

_TYPE = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"


class GeminiError(KeypoolError):
    """An error answer. kind: its name in the record; body: sent as it is, JSON or text.

    counts: whether the failed call counts against RPM and RPD; 400 and 500 do, once project and
    model are known. Source: https://ai.google.dev/gemini-api/docs/billing (FAQ).
    """

    def __init__(self, kind: str, status: int, body: object, *, counts: bool = False) -> None:
        super().__init__(f"refused: {kind}")
        self.kind = kind
        self.status = status
        self.body = body
        self.counts = counts


def body(code: int, status: str, message: str, details: Sequence[Json] = ()) -> Json:
    """Google's error object; ``details`` is left out when empty."""
    error: Json = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return {"error": error}


def error_info(reason: str, metadata: Mapping[str, str] | None = None) -> Json:
    """The detail that names a machine-readable reason."""
    return {
        "@type": _TYPE + "ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": _SERVICE, **(metadata or {})},
    }


def help_links() -> Json:
    """The detail that points at the documentation of rate limits."""
    return {
        "@type": _TYPE + "Help",
        "links": [
            {
                "description": "Learn more about Gemini API quotas",
                "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
            }
        ],
    }


def invalid_argument(message: str, *, counts: bool = True) -> GeminiError:
    """The request itself is wrong."""
    kind = "invalid_argument"
    return GeminiError(kind, 400, body(400, "INVALID_ARGUMENT", message), counts=counts)


def key_invalid(message: str = "API key not valid. Please pass a valid API key.") -> GeminiError:
    """The key is unknown, revoked or expired."""
    localized = {"@type": _TYPE + "LocalizedMessage", "locale": "en-US", "message": message}
    details = [error_info("API_KEY_INVALID"), localized]
    return GeminiError("key_invalid", 400, body(400, "INVALID_ARGUMENT", message, details))


def key_expired() -> GeminiError:
    """The key is past its end."""
    return key_invalid("API key expired. Please renew the API key.")


def two_credentials() -> GeminiError:
    """More than one credential came with the call."""
    message = "Multiple authentication credentials received. Please pass only one."
    return GeminiError("credentials", 400, body(400, "INVALID_ARGUMENT", message))


def no_credential() -> GeminiError:
    """No credential came with the call."""
    message = (
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API."
    )
    return GeminiError("credentials", 403, body(403, "PERMISSION_DENIED", message))


def bearer_refused() -> GeminiError:
    """A key came as a bearer token, which native paths do not take."""
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    details = [error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED")]
    return GeminiError("credentials", 401, body(401, "UNAUTHENTICATED", message, details))


def leaked() -> GeminiError:
    """The key was found in public and is dead for good."""
    message = "Your API key was reported as leaked. Please use another API key."
    return GeminiError("leaked", 403, body(403, "PERMISSION_DENIED", message))


def suspended(key: str, number: int) -> GeminiError:
    """The consumer is suspended; the real text repeats the key too."""
    message = f"Permission denied: Consumer 'api_key:{key}' has been suspended."
    metadata = {
        "consumer": f"projects/{number}",
        "containerInfo": str(number),
    }
    details = [error_info("CONSUMER_SUSPENDED", metadata)]
    return GeminiError("suspended", 403, body(403, "PERMISSION_DENIED", message, details))


def service_disabled(number: int) -> GeminiError:
    """The project has not enabled the API."""
    url = f"https://console.developers.google.com/apis/api/{_SERVICE}/overview?project={number}"
    message = (
        f"Generative Language API has not been used in project {number} before or it is disabled. "
        f"Enable it by visiting {url} then retry. If you enabled this API recently, wait a few "
        "minutes for the action to propagate to our systems and retry."
    )
    metadata = {"consumer": f"projects/{number}", "activationUrl": url}
    details = [error_info("SERVICE_DISABLED", metadata)]
    return GeminiError("service_disabled", 403, body(403, "PERMISSION_DENIED", message, details))


def model_unknown(model: str, version: str, method: str) -> GeminiError:
    """No such model, or it does not do this."""
    message = (
        f"models/{model} is not found for API version {version}, or is not supported for "
        f"{method}. Call ListModels to see the list of available models and their supported "
        "methods."
    )
    return GeminiError("not_found", 404, body(404, "NOT_FOUND", message))


def foreign(name: str) -> GeminiError:
    """Another project's resource, or none at all; Gemini does not tell which."""
    collection, _, own = name.partition("/")
    message = "The caller does not have permission"
    if collection == "files":
        message = f"You do not have permission to access the File {own} or it may not exist."
    elif collection == "cachedContents":
        message = "CachedContent not found (or permission denied)"
    return GeminiError("foreign", 403, body(403, "PERMISSION_DENIED", message))


def name_taken(name: str) -> GeminiError:
    """The project has something of this name already."""
    return GeminiError("taken", 409, body(409, "ALREADY_EXISTS", f"{name} already exists"))


def path_unknown() -> GeminiError:
    """Nothing lies at this path."""
    return GeminiError("not_found", 404, body(404, "NOT_FOUND", "Requested entity was not found."))


def overloaded() -> GeminiError:
    """The model has no capacity."""
    message = "The model is overloaded. Please try again later."
    return GeminiError("overloaded", 503, body(503, "UNAVAILABLE", message))


def internal() -> GeminiError:
    """An error inside; it counts against the quota."""
    message = "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"
    return GeminiError("internal", 500, body(500, "INTERNAL", message), counts=True)


def exhausted(
    kind: str, message: str, *, code: int = 429, details: Sequence[Json] = ()
) -> GeminiError:
    """A refusal that names no quota."""
    return GeminiError(kind, code, body(code, "RESOURCE_EXHAUSTED", message, details))
