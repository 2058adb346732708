"""429 bodies to the letter."""

import pytest

from keypool_cli.simulator.limiter import Excess
from keypool_cli.simulator.quota_bodies import go_duration, not_offered, over_quota
from tests.support.simulator import error_of

ADVICE = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To "
    "monitor your current usage, head to: https://ai.dev/rate-limit. "
)
SERVICE = "generativelanguage.googleapis.com/"


def test_a_free_day_is_refused_in_the_full_form():
    err = over_quota(
        [Excess("rpd", 20)], tier="free", model="gemini-2.5-flash", retry_ns=21_045_691_230
    )
    assert (err.status, err.kind, err.counts) == (429, "rpd", False)
    assert err.body == {
        "error": {
            "code": 429,
            "message": ADVICE + "\n* Quota exceeded for metric: generativelanguage.googleapis.com/"
            "generate_content_free_tier_requests, limit: 20, model: gemini-2.5-flash\n"
            "Please retry in 21.04569123s.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.Help",
                    "links": [
                        {
                            "description": "Learn more about Gemini API quotas",
                            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
                        }
                    ],
                },
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [
                        {
                            "quotaMetric": SERVICE + "generate_content_free_tier_requests",
                            "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                            "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
                            "quotaValue": "20",
                        }
                    ],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "21s"},
            ],
        }
    }


@pytest.mark.parametrize(
    ("limit", "tier", "metric", "quota_id"),
    [
        (
            "rpm",
            "free",
            "generate_content_free_tier_requests",
            "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        ),
        (
            "tpm",
            "free",
            "generate_content_free_tier_input_token_count",
            "GenerateContentInputTokensPerModelPerMinute-FreeTier",
        ),
        (
            "tpm",
            "tier1",
            "generate_content_paid_tier_input_token_count",
            "GenerateContentPaidTierInputTokensPerModelPerMinute",
        ),
        (
            "tpm",
            "tier2",
            "generate_content_paid_tier_2_input_token_count",
            "GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2",
        ),
        (
            "rpd",
            "tier3",
            "generate_requests_per_model_per_day",
            "GenerateRequestsPerDayPerProjectPerModel",
        ),
        (
            "rpm",
            "tier1",
            "generate_requests_per_model",
            "GenerateRequestsPerMinutePerProjectPerModel",
        ),
    ],
)
def test_limit_and_tier_choose_metric_and_id(limit, tier, metric, quota_id):
    err = over_quota([Excess(limit, 7)], tier=tier, model="m", retry_ns=10**9)
    assert error_of(err)["details"][1]["violations"] == [
        {
            "quotaMetric": SERVICE + metric,
            "quotaId": quota_id,
            "quotaDimensions": {"location": "global", "model": "m"},
            "quotaValue": "7",
        }
    ]


@pytest.mark.parametrize(("limit", "span"), [("rpm", "Minute"), ("rpd", "Day")])
def test_embedding_has_names_of_its_own(limit, span):
    err = over_quota([Excess(limit, 7)], tier="free", model="gemini-embedding-1.0", retry_ns=10**9)
    [violation] = error_of(err)["details"][1]["violations"]
    assert violation["quotaMetric"] == f"{SERVICE}embed_content_free_tier_requests"
    assert violation["quotaId"] == (
        f"EmbedContentRequestsPer{span}PerUserPerProjectPerModel-FreeTier"
    )


@pytest.mark.parametrize(
    ("model", "limit", "metric", "quota_id"),
    [
        (
            "imagen-4.0-generate",
            "rpd",
            "predict_requests_per_model_per_day_paid_tier_1",
            "PredictRequestsPerDayPerProjectPerModelPaidTier1",
        ),
        (
            "imagen-4.0-generate",
            "rpm",
            "predict_requests_per_model",
            "PredictRequestsPerMinutePerProjectPerModel",
        ),
        (
            "veo-3.0-generate",
            "rpd",
            "predict_long_running_requests_per_model_per_day",
            "PredictLongRunningRequestsPerDayPerProjectPerModel",
        ),
    ],
)
def test_predictions_have_names_of_their_own(model, limit, metric, quota_id):
    err = over_quota([Excess(limit, 70)], tier="tier1", model=model, retry_ns=10**9)
    [violation] = error_of(err)["details"][1]["violations"]
    assert (violation["quotaMetric"], violation["quotaId"]) == (SERVICE + metric, quota_id)


def test_several_violations_come_together_and_the_day_names_the_kind():
    err = over_quota([Excess("rpm", 5), Excess("rpd", 20)], tier="free", model="m", retry_ns=10**9)
    error = error_of(err)
    assert err.kind == "rpd"
    assert [it["quotaValue"] for it in error["details"][1]["violations"]] == ["5", "20"]
    assert error["message"].count("* Quota exceeded") == 2


def test_limit_0_of_the_free_tier_has_three_violations_without_values():
    error = error_of(not_offered(tier="free", model="m", retry_ns=10**9))
    violations = error["details"][1]["violations"]
    assert len(violations) == 3
    assert not any("quotaValue" in violation for violation in violations)
    assert error["message"].count(", limit: 0, model: m\n") == 3
    assert error["details"][2]["retryDelay"] == "1s"


def test_limit_0_of_a_paid_tier_is_one_day_violation_without_a_hint():
    error = error_of(not_offered(tier="tier1", model="m", retry_ns=10**9))
    [violation] = error["details"][1]["violations"]
    assert violation["quotaId"] == "GenerateRequestsPerDayPerProjectPerModel"
    assert "quotaValue" not in violation
    assert len(error["details"]) == 2
    assert error["message"].endswith("limit: 0")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (551_874_307, "551.874307ms"),
        (29_000_000_000, "29s"),
        (21_045_691_230, "21.04569123s"),
        (2_728_000_000_000, "45m28s"),
        (18_237_766_294_982, "5h3m57.766294982s"),
        (43_226_580_000_000, "12h26.58s"),
        (35_040_000_000_000, "9h44m"),
        (75_659_998_565_413, "21h59.998565413s"),
    ],
)
def test_waits_are_written_as_the_messages_do(nanoseconds, text):
    assert go_duration(nanoseconds) == text
