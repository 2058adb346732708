"""Upstream's refusals beyond quota as users published them: whose fault is it?

Where a text was published without its frame, it has that of :mod:`tests.support.bodies`. Keys are
invented.
"""

from tests.support.bodies import error, error_info

KEY_INVALID = error(
    400,
    "API key not valid. Please pass a valid API key.",
    "INVALID_ARGUMENT",
    [
        error_info("API_KEY_INVALID", service="generativelanguage.googleapis.com"),
        {
            "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
            "locale": "en-US",
            "message": "API key not valid. Please pass a valid API key.",
        },
    ],
)
KEY_INVALID_REASON_ONLY = error(
    400, "Please pass another key.", "INVALID_ARGUMENT", [error_info("API_KEY_INVALID")]
)
KEY_EXPIRED = error(
    400,
    "API key expired. Please renew the API key.",
    "INVALID_ARGUMENT",
    [error_info("API_KEY_INVALID")],
)
TWO_CREDENTIALS = error(
    400,
    "Multiple authentication credentials received. Please pass only one.",
    "INVALID_ARGUMENT",
)
TOO_MANY_TOKENS = error(
    400,
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "INVALID_ARGUMENT",
)
UNKNOWN_FIELD = error(
    400,
    "Invalid JSON payload received. Unknown name \"foo\" at 'contents[0]': Cannot find field.",
    "INVALID_ARGUMENT",
)
LOCATION = error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION")
FREE_TIER_LOCATION = error(
    400,
    "Gemini API free tier is not available in your country. Please enable billing on your "
    "project in Google AI Studio.",
    "FAILED_PRECONDITION",
)
UNAUTHENTICATED = error(
    401,
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie "
    "or other valid authentication credential.",
    "UNAUTHENTICATED",
    [error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED")],
)
LEAKED = error(
    403,
    "Your API key was reported as leaked. Please use another API key.",
    "PERMISSION_DENIED",
)
ECHOED_KEY = "AIzaSyINVENTED-for-tests_0123456789abcdef"
SUSPENDED = error(
    403,
    f"Permission denied: Consumer 'api_key:{ECHOED_KEY}' has been suspended.",
    "PERMISSION_DENIED",
    [error_info("CONSUMER_SUSPENDED", consumer="projects/42", containerInfo=ECHOED_KEY)],
)
SERVICE_DISABLED = error(
    403,
    "Generative Language API has not been used in project 42 before or it is disabled. Enable it "
    "by visiting https://console.developers.google.com/apis/api/generativelanguage then retry.",
    "PERMISSION_DENIED",
    [error_info("SERVICE_DISABLED", consumer="projects/42", activationUrl="https://console")],
)
BLOCKED_TEXT = (
    "Requests to this API generativelanguage.googleapis.com method "
    "google.ai.generativelanguage.v1beta.GenerativeService.GenerateContent are blocked."
)


def forbidden(reason, message="Permission denied."):
    return error(403, message, "PERMISSION_DENIED", [error_info(reason)])


ACCESS_DENIED = error(
    403, "Your project has been denied access. Please contact support.", "PERMISSION_DENIED"
)
# gemini-balance#401
FOREIGN_FILE = error(
    403,
    "You do not have permission to access the File abc123 or it may not exist.",
    "PERMISSION_DENIED",
)
FOREIGN_CACHE = error(403, "CachedContent not found (or permission denied)", "PERMISSION_DENIED")
CALLER = error(403, "The caller does not have permission", "PERMISSION_DENIED")
UNKNOWN_MODEL = error(
    404,
    "models/nope is not found for API version v1beta, or is not supported for generateContent. "
    "Call ListModels to see the list of available models and their supported methods.",
    "NOT_FOUND",
)
NEW_USERS_REFUSED = error(
    404,
    "This model models/gemini-2.5-flash is no longer available to new users. Please update your "
    "code to use a newer model.",
    "NOT_FOUND",
)
CANCELLED = error(499, "The operation was cancelled.", "CANCELLED")
INTERNAL = error(500, "An internal error has occurred.", "INTERNAL")
OVERLOADED = error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
HIGH_DEMAND = error(
    503,
    "This model is currently experiencing high demand. Spikes in demand are usually temporary.",
    "UNAVAILABLE",
)
DEADLINE = error(504, "Deadline expired before operation could complete.", "DEADLINE_EXCEEDED")
PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
