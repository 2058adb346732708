"""The rules of refusal: what each kind of evidence says about fault, scope and action.

Texts and reasons: https://ai.google.dev/gemini-api/docs/generate-content/api-errors, the enum
ErrorReason of google/api/error_reason.proto in github.com/googleapis/googleapis, and refusals that
users published until October 2026. Rule names are stable: they are stored, shown and filtered by.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_SECOND = 1000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE


class Fault(StrEnum):
    """Whose fault a refusal is."""

    PROJECT = "project"
    KEY = "key"
    BILLING = "billing"
    MODEL = "model"
    REQUEST = "request"
    NETWORK = "network"
    UPSTREAM = "upstream"


class Scope(StrEnum):
    """What a refusal says no to; NONE where it says nothing beyond the one call."""

    PROJECT_MODEL = "project_model"
    PROJECT = "project"
    BILLING = "billing"
    KEY = "key"
    MODEL = "model"
    NONE = "none"


class Action(StrEnum):
    """What to do about a refusal."""

    COOL = "cool"  # set the scope aside for a while
    EXCLUDE_MODEL = "exclude_model"  # stop offering the model to the project
    DISABLE = "disable"  # set the scope aside until someone repairs it
    RETRY = "retry"  # nothing is set aside; another attempt may succeed
    RETURN = "return"  # nothing is set aside; the caller gets upstream's answer


@dataclass(frozen=True, slots=True)
class Backoff:
    """A growing cooldown: full jitter below ``base_ms * 2**failures``, at most ``cap_ms``."""

    base_ms: int
    cap_ms: int


class Hold(StrEnum):
    """An end of a cooldown that is not a fixed time from now."""

    HINT = "hint"  # when upstream said
    DAY_END = "day_end"


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule: its stable name, its verdict, and the sentence that operators read.

    hold: how long a cooldown lasts, in ms where it is a number; None for every other action.
    """

    rule: str
    fault: Fault
    scope: Scope
    action: Action
    reason: str
    hold: int | Hold | Backoff | None = None


def _cool(rule: str, scope: Scope, hold: int | Hold | Backoff, reason: str) -> Ruling:
    fault = Fault.BILLING if scope is Scope.BILLING else Fault.PROJECT
    return Ruling(rule, fault, scope, Action.COOL, reason, hold)


def _exclude(rule: str, reason: str) -> Ruling:
    return Ruling(rule, Fault.PROJECT, Scope.PROJECT_MODEL, Action.EXCLUDE_MODEL, reason)


def _disable_key(rule: str, reason: str) -> Ruling:
    return Ruling(rule, Fault.KEY, Scope.KEY, Action.DISABLE, reason)


def _disable_project(rule: str, reason: str) -> Ruling:
    return Ruling(rule, Fault.PROJECT, Scope.PROJECT, Action.DISABLE, reason)


def _retry_model(rule: str, reason: str) -> Ruling:
    return Ruling(rule, Fault.MODEL, Scope.MODEL, Action.RETRY, reason)


def _return(rule: str, reason: str, fault: Fault = Fault.REQUEST) -> Ruling:
    return Ruling(rule, fault, Scope.NONE, Action.RETURN, reason)


# Rate and quota.
_PM = Scope.PROJECT_MODEL
PER_DAY = _cool("per-day", _PM, Hold.DAY_END, "The project's day quota for this model is used up")
PER_DAY_HINT = _cool(
    "per-day-hint", _PM, Hold.HINT, "The project's day quota for this model is used up"
)
PER_MINUTE = _cool(
    "per-minute", _PM, _MINUTE, "The project's minute quota for this model is used up"
)
PER_MINUTE_HINT = _cool(
    "per-minute-hint", _PM, Hold.HINT, "The project's minute quota for this model is used up"
)
RETRY_HINT = _cool("retry-hint", _PM, Hold.HINT, "Upstream set a time to come back, but no limit")
# Nothing says when it ends, so the wait grows with each refusal in a row.
OPAQUE = _cool(
    "opaque", _PM, Backoff(5 * _SECOND, 60 * _SECOND), "Upstream named neither limit nor time"
)
LIMIT_ZERO = _exclude("limit-zero", "The project's tier does not offer this model")
MODEL_CAPACITY = _retry_model("model-capacity", "The model has no capacity now")

# Money. The caps end on the 1st or when somebody raises them, and nothing announces that: they
# are tried again once a day.
PROJECT_CAP = _cool(
    "project-spend-cap", Scope.PROJECT, Hold.DAY_END, "The project's spend cap is reached"
)
ACCOUNT_CAP = _cool(
    "account-spend-cap", Scope.BILLING, Hold.DAY_END, "The billing account's spend cap is reached"
)
# The limit looks at the last 10 minutes of spending.
# Source: https://ai.google.dev/gemini-api/docs/rate-limits
SPEND_RATE = _cool(
    "spend-rate", Scope.BILLING, 10 * _MINUTE, "The billing account spends faster than it may"
)
# A top-up or the end of a false report (discuss.ai.google.dev/t/183654) must not wait for long, and
# one refused call an hour costs nothing: hence neither a day nor growth.
NO_CREDIT = _cool("no-credit", Scope.BILLING, _HOUR, "The billing account has no credit left")

MONEY_TEXTS = (
    ("spend-based rate limit", SPEND_RATE),
    ("account has exceeded its monthly spending cap", ACCOUNT_CAP),
    ("spending cap", PROJECT_CAP),
    ("credits are depleted", NO_CREDIT),
)
CAPACITY_TEXT = "resource exhausted. please try again later"
CAPACITY_REASON = "MODEL_CAPACITY_EXHAUSTED"

# The key.
KEY_INVALID = _disable_key("key-invalid", "Upstream does not know this key")
KEY_EXPIRED = _disable_key("key-expired", "The key has expired")
KEY_LEAKED = _disable_key("key-leaked", "Google reports the key as leaked; replace it for good")
KEY_SUSPENDED = _disable_key("key-suspended", "Google has suspended the key")
KEY_RESTRICTED = _disable_key(
    "key-restricted", "The key's restrictions (API, IP address or referrer) forbid this use"
)
KEY_REFUSED = _disable_key(
    "key-refused", "Upstream does not accept the key as a credential; an auth key may be needed"
)

# The project.
SERVICE_DISABLED = _disable_project(
    "service-disabled", "The Generative Language API is off in the project; enable it there"
)
BILLING_DISABLED = _disable_project("billing-disabled", "Billing is off for the project")
CONSUMER_INVALID = _disable_project("consumer-invalid", "Upstream does not know the project")
USER_PROJECT_DENIED = _disable_project("project-denied", "The project may not be used")
ACCESS_DENIED = _exclude("access-denied", "Google has denied the project access to this model")
NEW_USERS_REFUSED = _exclude("closed-to-new-users", "Projects new to this model no longer get it")

# The request, or the place it comes from.
TWO_CREDENTIALS = _return("two-credentials", "The call carried more than one credential")
TOO_MANY_TOKENS = _return("too-many-tokens", "The request is larger than the model takes")
FOREIGN_FILE = _return("foreign-file", "The file is not the project's, or does not exist")
FOREIGN_CACHE = _return("foreign-cache", "The cached content is not the project's, or is gone")
UNKNOWN_MODEL = _return("unknown-model", "Upstream has no such model or method")
REFUSED = _return("request-refused", "Upstream refused the request itself")
PERMISSION_DENIED = _return("permission-denied", "The request asks for what it may not have")
NOT_FOUND = _return("not-found", "The request names something upstream does not have")
CLIENT_CLOSED = _return("client-closed", "The call was cancelled")
DEADLINE = _return("deadline", "The request took longer than its deadline")
LOCATION = _return("location", "The API is not offered where the call came from", Fault.NETWORK)

# Upstream and the way there.
MODEL_FAILED = _retry_model("model-failed", "The model failed on this call")
MODEL_OVERLOADED = _retry_model("model-overloaded", "The model is overloaded")
UPSTREAM_FAILED = Ruling(
    "upstream-failed", Fault.UPSTREAM, Scope.NONE, Action.RETRY, "Upstream failed before the model"
)
NO_ANSWER = Ruling("no-answer", Fault.NETWORK, Scope.NONE, Action.RETRY, "No answer came")

# ErrorInfo reasons (google.api.ErrorReason) that are evidence in a 400, 401 or 403.
RULING_OF_REASON = {
    "API_KEY_INVALID": KEY_INVALID,
    "CONSUMER_SUSPENDED": KEY_SUSPENDED,
    "API_KEY_SERVICE_BLOCKED": KEY_RESTRICTED,
    "API_KEY_HTTP_REFERRER_BLOCKED": KEY_RESTRICTED,
    "API_KEY_IP_ADDRESS_BLOCKED": KEY_RESTRICTED,
    "API_KEY_ANDROID_APP_BLOCKED": KEY_RESTRICTED,
    "API_KEY_IOS_APP_BLOCKED": KEY_RESTRICTED,
    "SERVICE_DISABLED": SERVICE_DISABLED,
    "BILLING_DISABLED": BILLING_DISABLED,
    "CONSUMER_INVALID": CONSUMER_INVALID,
    "USER_PROJECT_DENIED": USER_PROJECT_DENIED,
}

# Each is matched at the start of upstream's message only: further in, a message may quote what
# the client sent, and no client may write a key's death sentence.
RULING_OF_TEXT = tuple(
    (re.compile(pattern, re.IGNORECASE), ruling)
    for pattern, ruling in (
        (r"Multiple authentication credentials", TWO_CREDENTIALS),
        (r"API key expired", KEY_EXPIRED),
        (r"API key not valid", KEY_INVALID),
        (r"Your API key was reported as leaked", KEY_LEAKED),
        (r"Permission denied: Consumer 'api_key:[^']{0,300}' has been suspended", KEY_SUSPENDED),
        (r"Requests to this API [^\n]{0,300}\bare blocked", KEY_RESTRICTED),
        (r"Generative Language API has not been used in project", SERVICE_DISABLED),
        (r"Your project has been denied access", ACCESS_DENIED),
        (
            r"This model (?:models/)?[\w.-]{1,200} is no longer available to new users",
            NEW_USERS_REFUSED,
        ),
        (r"User location is not supported", LOCATION),
        (r"(?:The )?(?:Gemini API )?free tier is not available in your country", LOCATION),
        (r"The input token count", TOO_MANY_TOKENS),
        (r"You do not have permission to access the File", FOREIGN_FILE),
        (r"CachedContent not found", FOREIGN_CACHE),
        (r"models/[^ ]{1,200} is not found", UNKNOWN_MODEL),
    )
)

RULING_OF_STATUS = {
    0: NO_ANSWER,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    499: CLIENT_CLOSED,
    500: MODEL_FAILED,
    503: MODEL_OVERLOADED,
    504: DEADLINE,
}
