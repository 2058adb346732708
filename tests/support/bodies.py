"""Upstream's quota refusals as users published them until October 2026, a name for each.

The frame is that of packages/core/src/utils/googleErrors.test.ts in github.com/google-gemini/
gemini-cli, also around texts that were published without theirs.
"""

import json

QUOTA_TEXT = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To "
    "monitor your current usage, head to: https://ai.dev/rate-limit. "
)
METRICS = "generativelanguage.googleapis.com/"
FREE_REQUESTS = METRICS + "generate_content_free_tier_requests"
FREE_TOKENS = METRICS + "generate_content_free_tier_input_token_count"
PAID_TOKENS = METRICS + "generate_content_paid_tier_input_token_count"
PER_MODEL_PER_DAY = METRICS + "generate_requests_per_model_per_day"

DAY_ID = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
MINUTE_ID = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
TOKENS_ID = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
TOKENS_DAY_ID = "GenerateContentInputTokensPerModelPerDay-FreeTier"
PAID_TOKENS_ID = "GenerateContentPaidTierInputTokensPerModelPerMinute"
PAID_DAY_ID = "GenerateRequestsPerDayPerProjectPerModel"

HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}


def error(code, message, status="", details=()):
    """The frame every error of the classic API comes in."""
    body = {"code": code, "message": message, "status": status}
    return {"error": body | ({"details": list(details)} if details else {})}


def violation(quota_id, metric, *, model="gemini-2.5-flash", value=None):
    """One exceeded quota; without a value as in limit-0 bodies."""
    found = {
        "quotaMetric": metric,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
    }
    return found | ({} if value is None else {"quotaValue": value})


def quota_failure(*violations):
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": list(violations),
    }


def retry_info(delay):
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def error_info(reason, **metadata):
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": metadata,
    }


def exhausted(*violations, delay=None, said=""):
    """A 429 in the full form of 2026."""
    lines = "".join(
        f"\n* Quota exceeded for metric: {v['quotaMetric']}, limit: {v.get('quotaValue', 0)}, "
        f"model: {v['quotaDimensions']['model']}"
        for v in violations
    )
    details = [HELP, quota_failure(*violations)] + ([retry_info(delay)] if delay else [])
    spoken = f"\nPlease retry in {said}." if said else ""
    return error(429, QUOTA_TEXT + lines + spoken, "RESOURCE_EXHAUSTED", details)


# --- the current full form
FREE_DAY = exhausted(violation(DAY_ID, FREE_REQUESTS, value="20"), delay="21s", said="21.04569123s")
FREE_MINUTE = exhausted(
    violation(MINUTE_ID, FREE_REQUESTS, value="5"), delay="45s", said="45.837906927s"
)
FREE_MINUTE_TOKENS = exhausted(
    violation(TOKENS_ID, FREE_TOKENS, model="gemini-3.8-flash", value="250000"), delay="12s"
)
PAID_MINUTE_TOKENS = exhausted(
    violation(PAID_TOKENS_ID, PAID_TOKENS, model="gemini-3.7-flash", value="2000000"),
    delay="45.837906927s",
)
PAID_TIER_2_TOKENS = exhausted(
    violation(
        "GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2",
        METRICS + "generate_content_paid_tier_2_input_token_count",
        value="3000000",
    ),
    delay="7s",
)
PAID_DAY = exhausted(
    violation(PAID_DAY_ID, PER_MODEL_PER_DAY, model="gemini-3.1-pro", value="250"),
    delay="18237s",
    said="5h3m57.766294982s",
)
# sent at 02:59:02 UTC, pointing at 00:00:00 UTC
PAID_DAY_TO_UTC_MIDNIGHT = exhausted(
    violation(PAID_DAY_ID, PER_MODEL_PER_DAY, value="10000"),
    delay="75659s",
    said="21h59.998565413s",
)
FREE_DAY_MISLEADING_HINT = exhausted(
    violation(DAY_ID, FREE_REQUESTS, model="gemini-3.1-flash-lite", value="500"), delay="29s"
)
SEVERAL = exhausted(
    violation(MINUTE_ID, FREE_REQUESTS, value="5"),
    violation(TOKENS_ID, FREE_TOKENS, value="250000"),
    violation(DAY_ID, FREE_REQUESTS, value="20"),
    delay="33s",
)
FREE_DAY_TOKENS = exhausted(violation(TOKENS_DAY_ID, FREE_TOKENS, value="1000000"), delay="20s")
EMBED_MINUTE = exhausted(
    violation(
        "EmbedContentRequestsPerMinutePerUserPerProjectPerModel-FreeTier",
        METRICS + "embed_content_free_tier_requests",
        model="gemini-embedding-1.0",
        value="100",
    ),
    delay="0s",
)
PREDICT_DAY = exhausted(
    violation(
        "PredictRequestsPerDayPerProjectPerModel-PaidTier1",
        METRICS + "predict_requests_per_model_per_day_paid_tier_1",
        model="imagen-4.0-generate",
        value="70",
    )
)
# quotaValue may be absent; then nothing is taught
NO_VALUE = error(
    429, QUOTA_TEXT, "RESOURCE_EXHAUSTED", [quota_failure(violation(MINUTE_ID, FREE_REQUESTS))]
)
# gemini-cli:packages/core/src/utils/googleErrors.test.ts: QuotaFailure, Help, RetryInfo, DebugInfo,
# and no model in the message
MINUTE_2025 = error(
    429,
    QUOTA_TEXT + f"\n* Quota exceeded for metric: {FREE_REQUESTS}, limit: 10\n"
    "Please retry in 551.874307ms.",
    "RESOURCE_EXHAUSTED",
    [
        quota_failure(violation(MINUTE_ID, FREE_REQUESTS, value="10")),
        HELP,
        {"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": "[ORIGINAL ERROR] quota"},
    ],
)

# --- limit 0: continuedev/continue#10062
LIMIT_ZERO_FREE = exhausted(
    violation(TOKENS_ID, FREE_TOKENS, model="gemini-2.5-pro"),
    violation(MINUTE_ID, FREE_REQUESTS, model="gemini-2.5-pro"),
    violation(DAY_ID, FREE_REQUESTS, model="gemini-2.5-pro"),
    violation(TOKENS_DAY_ID, FREE_TOKENS, model="gemini-2.5-pro"),
    delay="46s",
)
LIMIT_ZERO_HOURS = exhausted(
    violation(DAY_ID, FREE_REQUESTS, model="gemini-3.1-pro"), delay="26573s", said="7h22m53s"
)
# davidlary/PortraitGenerator, 2026-01-31
LIMIT_ZERO_PAID = error(
    429,
    QUOTA_TEXT + f"\n* Quota exceeded for metric: {PER_MODEL_PER_DAY}, limit: 0",
    "RESOURCE_EXHAUSTED",
    [quota_failure(violation(PAID_DAY_ID, PER_MODEL_PER_DAY))],
)
LIMIT_ZERO_VALUE = error(
    429,
    QUOTA_TEXT,
    "RESOURCE_EXHAUSTED",
    [quota_failure(violation(DAY_ID, FREE_REQUESTS, value="0")), retry_info("9s")],
)

# --- other 429 and 402 variants
CHECK_QUOTA = error(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED")
CAPACITY = error(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED")
CAPACITY_REASON = error(
    429,
    "No capacity available for model gemini-2.5-pro on the server",
    "RESOURCE_EXHAUSTED",
    [error_info("MODEL_CAPACITY_EXHAUSTED", model="gemini-2.5-pro")],
)
HELP_ONLY = error(429, QUOTA_TEXT, "RESOURCE_EXHAUSTED", [HELP])
SPOKEN_DELAY = error(429, QUOTA_TEXT + "\nPlease retry in 45m28s.", "RESOURCE_EXHAUSTED")
RETRY_INFO_ONLY = error(429, QUOTA_TEXT, "RESOURCE_EXHAUSTED", [retry_info("11s")])
# tech-shrimp#10
OLD_ERROR_INFO = error(
    429,
    "Quota exceeded for quota metric 'Generate Content API requests per minute' and limit "
    "'GenerateContent request limit per minute for a region' of service "
    "'generativelanguage.googleapis.com' for consumer 'project_number:123456789'.",
    "RESOURCE_EXHAUSTED",
    [
        error_info(
            "RATE_LIMIT_EXCEEDED",
            quota_limit="GenerateContentRequestsPerMinutePerProjectPerRegion",
            quota_limit_value="15",
            quota_location="us-east1",
            quota_metric=METRICS + "generate_content_requests",
            consumer="projects/123456789",
            service="generativelanguage.googleapis.com",
        )
    ],
)
SPEND_RATE = error(
    429,
    "You exceeded your spend-based rate limit. Your spending rate has exceeded the allowed limit "
    "for your account's billing history and tier.",
    "RESOURCE_EXHAUSTED",
)
ACCOUNT_CAP = error(
    429, "Your billing account has exceeded its monthly spending cap", "RESOURCE_EXHAUSTED"
)
PROJECT_CAP = error(429, "Your project has exceeded its monthly spending cap", "RESOURCE_EXHAUSTED")
CREDIT_TEXT = (
    "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects "
    "to manage your project and billing."
)
NO_CREDIT = error(402, CREDIT_TEXT, "RESOURCE_EXHAUSTED")
NO_CREDIT_AS_429 = error(429, CREDIT_TEXT, "RESOURCE_EXHAUSTED")

# --- wrappers
ARRAY = [FREE_MINUTE]
IN_A_STREAM_ARRAY = [{"candidates": [{"content": {}}]}, {"usageMetadata": {}}, FREE_MINUTE]
AS_TEXT = json.dumps(FREE_MINUTE)
AS_EVENT = 'event: error\ndata: {"candidates": []}\n\ndata: ' + json.dumps(FREE_MINUTE) + "\n\n"
REWRAPPED = error(429, json.dumps(FREE_MINUTE), "Too Many Requests")


# --- the Interactions API
def interactions(message, code="too_many_requests"):
    return {"error": {"message": message, "code": code}}


INTERACTIONS_DAY = interactions(
    "Rate limit exceeded for model gemini-3.6-flash (limit: 20 requests per day on Free Tier). "
    "Please retry in 15h26m48s or upgrade your tier at https://ai.dev/rate-limit."
)
INTERACTIONS_DAY_MISLEADING = interactions(
    "Rate limit exceeded for model gemini-3.5-flash-lite (limit: 500 requests per day on Free "
    "Tier). Please retry in 29s or upgrade your tier at https://ai.dev/rate-limit."
)
INTERACTIONS_MINUTE = interactions(
    "Rate limit exceeded for model gemini-3.6-flash (limit: 5 requests per minute on Free Tier). "
    "Please retry in 12.5s or upgrade your tier at https://ai.dev/rate-limit."
)
INTERACTIONS_TOKENS = interactions(
    "Rate limit exceeded for model gemini-3.8-flash (limit: 250000 input tokens per minute on "
    "Free Tier). Please retry in 40s or upgrade your tier at https://ai.dev/rate-limit."
)
INTERACTIONS_ZERO = interactions(
    "Rate limit exceeded for model gemini-3.1-pro (limit: 0 requests per day on Free Tier). "
    "Please upgrade your tier."
)


def interactions_event(code, message="It did not work."):
    return {"event_type": "error", "error": {"message": message, "code": code}}
