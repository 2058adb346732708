"""429 bodies that name the quota, its value and when to retry."""

from collections.abc import Sequence

from keypool_cli.simulator.limiter import Excess
from keypool_cli.simulator.refusals import GeminiError, Json, exhausted, help_links

_METRIC = "generativelanguage.googleapis.com/"
_ADVICE = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To "
    "monitor your current usage, head to: https://ai.dev/rate-limit. "
)

# By limit and kind of tier: the metric and the quotaId.
_NAMES = {
    ("rpm", "free"): (
        "generate_content_free_tier_requests",
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    ),
    ("rpd", "free"): (
        "generate_content_free_tier_requests",
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    ),
    ("tpm", "free"): (
        "generate_content_free_tier_input_token_count",
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    ),
    ("rpm", "paid"): (
        "generate_requests_per_model",
        "GenerateRequestsPerMinutePerProjectPerModel",
    ),
    ("rpd", "paid"): (
        "generate_requests_per_model_per_day",
        "GenerateRequestsPerDayPerProjectPerModel",
    ),
    ("tpm", "paid"): (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    ("tpm", "tier2"): (
        "generate_content_paid_tier_2_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2",
    ),
}
# By a word of the model's name, kind of tier and limit. Seen of predict: the metric and the quotaId
# of a day; the rest of it is like them.
_OTHERS = {
    ("embedding", "free", "rpm"): (
        "embed_content_free_tier_requests",
        "EmbedContentRequestsPerMinutePerUserPerProjectPerModel-FreeTier",
    ),
    ("embedding", "free", "rpd"): (
        "embed_content_free_tier_requests",
        "EmbedContentRequestsPerDayPerUserPerProjectPerModel-FreeTier",
    ),
    ("imagen", "paid", "rpm"): (
        "predict_requests_per_model",
        "PredictRequestsPerMinutePerProjectPerModel",
    ),
    ("imagen", "paid", "rpd"): (
        "predict_requests_per_model_per_day_paid_tier_1",
        "PredictRequestsPerDayPerProjectPerModelPaidTier1",
    ),
    ("veo", "paid", "rpm"): (
        "predict_long_running_requests_per_model",
        "PredictLongRunningRequestsPerMinutePerProjectPerModel",
    ),
    ("veo", "paid", "rpd"): (
        "predict_long_running_requests_per_model_per_day",
        "PredictLongRunningRequestsPerDayPerProjectPerModel",
    ),
}


_WORDS = ("embedding", "imagen", "veo")


def over_quota(excesses: Sequence[Excess], *, tier: str, model: str, retry_ns: int) -> GeminiError:
    """Refused by the limits named, which are not 0; the record's kind is the longest of them."""
    violations = [
        {**_violation(excess.limit, tier, model), "quotaValue": str(excess.value)}
        for excess in excesses
    ]
    lines = [
        _line(violation, excess.value)
        for violation, excess in zip(violations, excesses, strict=True)
    ]
    kinds = {excess.limit for excess in excesses}
    kind = next(name for name in ("rpd", "tpm", "rpm") if name in kinds)
    return _refusal(kind, violations, lines, retry_ns=retry_ns)


def not_offered(*, tier: str, model: str, retry_ns: int) -> GeminiError:
    """The model's limits are 0 for this project; no waiting helps. No value is given."""
    if tier != "free":
        violation = _violation("rpd", tier, model)
        return exhausted(
            "limit0",
            f"{_ADVICE}\n* Quota exceeded for metric: {violation['quotaMetric']}, limit: 0",
            details=[help_links(), _failure([violation])],
        )
    violations = [_violation(limit, tier, model) for limit in ("tpm", "rpm", "rpd")]
    lines = [_line(violation, 0) for violation in violations]
    return _refusal("limit0", violations, lines, retry_ns=retry_ns)


def _refusal(
    kind: str, violations: Sequence[Json], lines: Sequence[str], *, retry_ns: int
) -> GeminiError:
    message = "\n".join([_ADVICE, *lines, f"Please retry in {go_duration(retry_ns)}."])
    retry = {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": f"{retry_ns // 10**9}s",
    }
    return exhausted(kind, message, details=[help_links(), _failure(violations), retry])


def _violation(limit: str, tier: str, model: str) -> Json:
    kind = "free" if tier == "free" else "paid"
    named = _NAMES.get((limit, tier), _NAMES[limit, kind])
    word = next((each for each in _WORDS if each in model), "")
    metric, quota_id = _OTHERS.get((word, kind, limit), named)
    return {
        "quotaMetric": _METRIC + metric,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
    }


def _failure(violations: Sequence[Json]) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": list(violations)}


def _line(violation: Json, value: int) -> str:
    model = violation["quotaDimensions"]["model"]
    return (
        f"* Quota exceeded for metric: {violation['quotaMetric']}, limit: {value}, model: {model}"
    )


def go_duration(nanoseconds: int) -> str:
    """A wait as the messages write it: ``5h3m57.766294982s``, ``45m28s``, ``551.874307ms``.

    Parts that are zero are left out, and so are trailing zeros of a fraction.
    """
    if nanoseconds < 10**9:
        return _decimal(nanoseconds, 10**6) + "ms" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    parts.append(_decimal(rest, 10**9) + "s" if rest else "")
    return "".join(parts)


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
