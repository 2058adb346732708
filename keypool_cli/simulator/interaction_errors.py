"""Errors of the Interactions API: a word in place of the status, and prose in place of details.

As answers of October 2026 had them; those of credentials come from before it, in Google's shape.
"""

from typing import Any

from keypool_cli.simulator.faults import Kind
from keypool_cli.simulator.quota_bodies import go_duration
from keypool_cli.simulator.refusals import GeminiError, Json

_CODES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    429: "too_many_requests",
    503: "service_unavailable",
}
_AS_THEY_ARE = (Kind.RAW, Kind.KEY_INVALID)
"""What a fault gave, and what is refused before this API is reached."""

_TIERS = {"free": "Free Tier", "tier1": "Tier 1", "tier2": "Tier 2", "tier3": "Tier 3"}
_S = 10**9


def as_interaction_error(err: GeminiError, *, tier: str) -> GeminiError:
    """The same refusal as this API words it."""
    if err.kind in _AS_THEY_ARE or not isinstance(err.body, dict):
        return err
    told = err.body["error"]
    details = {str(each["@type"]).rpartition(".")[2]: each for each in told.get("details", ())}
    violations = details.get("QuotaFailure", {}).get("violations")
    message = _prose(violations, details.get("RetryInfo"), tier) if violations else told["message"]
    error = {"message": message, "code": _CODES.get(err.status, "api_error")}
    return GeminiError(err.kind, err.status, {"error": error}, counts=err.counts)


def _prose(violations: list[Json], retry: Json | None, tier: str) -> str:
    told: dict[str, Any] = max(violations, key=lambda each: "PerDay" in each["quotaId"])
    limit, model = told.get("quotaValue", "0"), told["quotaDimensions"]["model"]
    unit = "input tokens" if "InputTokens" in told["quotaId"] else "requests"
    span = "day" if "PerDay" in told["quotaId"] else "minute"
    advice = "Please upgrade your tier."
    if retry is not None and limit != "0":
        wait = go_duration(int(retry["retryDelay"].removesuffix("s")) * _S)
        advice = f"Please retry in {wait} or upgrade your tier at https://ai.dev/rate-limit."
    where = f"(limit: {limit} {unit} per {span} on {_TIERS[tier]})"
    return f"Rate limit exceeded for model {model} {where}. {advice}"
