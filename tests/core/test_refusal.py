"""Every recorded refusal of quota or money has its verdict."""

import json

import pytest

from keypool_cli.core.refusal import Action, Backoff
from tests.support import bodies, bodies_faults
from tests.support.refusals import BILLING, COOL, NOW, judge, limits, ruled

OPAQUE_BACKOFF = Backoff(base_ms=5000, cap_ms=60_000)

# Seconds are counted from now and include the 0.1 s that keeps a return from being early.
COOLDOWNS = [
    pytest.param(
        bodies.FREE_DAY, "per-day", 5 * 3600, limits(rpd=20),
        id="a day's refusal ignores its misleading short hint",
    ),
    pytest.param(
        bodies.FREE_DAY_MISLEADING_HINT, "per-day", 5 * 3600, limits(rpd=500),
        id="a flash-lite day with 29 s lasts to the day's end",
    ),
    pytest.param(
        bodies.PAID_DAY, "per-day-hint", 18_237.766295 + 0.1, limits(rpd=250),
        id="a day's refusal with a hint of hours is believed",
    ),
    pytest.param(
        bodies.PAID_DAY_TO_UTC_MIDNIGHT, "per-day-hint", 75_659.999 + 0.1, limits(rpd=10_000),
        id="the message's fraction completes RetryInfo's whole seconds",
    ),
    pytest.param(
        bodies.FREE_DAY_TOKENS, "per-day", 5 * 3600, (),
        id="tokens per day cool and teach nothing",
    ),
    pytest.param(
        bodies.PREDICT_DAY, "per-day", 5 * 3600, limits(rpd=70),
        id="a day's refusal without a hint lasts to the day's end",
    ),
    pytest.param(
        bodies.SEVERAL, "per-day", 5 * 3600, limits(rpd=20, rpm=5, tpm=250_000),
        id="the day decides though it is named last, and every limit is learned",
    ),
    pytest.param(
        bodies.FREE_MINUTE, "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="a minute's refusal ends when RetryInfo says",
    ),
    pytest.param(
        bodies.FREE_MINUTE_TOKENS, "per-minute-hint", 12.1, limits(tpm=250_000),
        id="free input tokens per minute",
    ),
    pytest.param(
        bodies.PAID_MINUTE_TOKENS, "per-minute-hint", 45.837907 + 0.1, limits(tpm=2_000_000),
        id="paid input tokens per minute, the hint with its fraction",
    ),
    pytest.param(
        bodies.PAID_TIER_2_TOKENS, "per-minute-hint", 7.1, limits(tpm=3_000_000),
        id="tier 2 input tokens per minute",
    ),
    pytest.param(
        bodies.EMBED_MINUTE, "per-minute-hint", 0.1, limits(rpm=100),
        id="an embedding minute that is over at once",
    ),
    pytest.param(
        bodies.MINUTE_2025, "per-minute-hint", 0.551875 + 0.1, limits(rpm=10),
        id="the 2025 order of details, with the delay in the message only",
    ),
    pytest.param(
        bodies.NO_VALUE, "per-minute", 60.1, (),
        id="a minute's refusal without value and delay lasts a minute",
    ),
    pytest.param(
        bodies.OLD_ERROR_INFO, "per-minute", 60.1, limits(rpm=15),
        id="the old ErrorInfo form names limit and window in its metadata",
    ),
    pytest.param(
        bodies.SPOKEN_DELAY, "retry-hint", 2728.1, (),
        id="a delay in the message alone is believed",
    ),
    pytest.param(
        bodies.RETRY_INFO_ONLY, "retry-hint", 11.1, (),
        id="RetryInfo alone is believed",
    ),
    pytest.param(
        bodies.INTERACTIONS_DAY, "per-day-hint", 15 * 3600 + 26 * 60 + 48.1, limits(rpd=20),
        id="interactions: a day in prose with a long hint",
    ),
    pytest.param(
        bodies.INTERACTIONS_DAY_MISLEADING, "per-day", 5 * 3600, limits(rpd=500),
        id="interactions: a day in prose with a misleading hint",
    ),
    pytest.param(
        bodies.INTERACTIONS_MINUTE, "per-minute-hint", 12.6, limits(rpm=5),
        id="interactions: requests per minute in prose",
    ),
    pytest.param(
        bodies.INTERACTIONS_TOKENS, "per-minute-hint", 40.1, limits(tpm=250_000),
        id="interactions: input tokens per minute in prose",
    ),
    pytest.param(
        bodies.ARRAY, "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="an error in an array, as the OpenAI-compatible paths send it",
    ),
    pytest.param(
        bodies.AS_TEXT, "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="an error as JSON text",
    ),
    pytest.param(
        json.dumps(bodies.AS_TEXT), "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="an error as JSON text within JSON text",
    ),
    pytest.param(
        bodies.AS_TEXT.encode(), "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="an error as bytes",
    ),
    pytest.param(
        bodies.REWRAPPED, "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="an error as JSON text in another error's message",
    ),
    pytest.param(
        bodies.FREE_MINUTE["error"], "per-minute-hint", 45.837907 + 0.1, limits(rpm=5),
        id="an error without its frame",
    ),
    pytest.param(
        "429 RESOURCE_EXHAUSTED: GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "per-day", 5 * 3600, (),
        id="prose that names the day's quota",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "rule", "seconds", "taught"), COOLDOWNS)
def test_a_used_up_quota_cools_the_project_for_the_model(body, rule, seconds, taught):
    verdict = judge(429, body)
    assert (ruled(verdict), verdict.rule) == (COOL, rule)
    assert verdict.until_at_ms - NOW == pytest.approx(seconds * 1000, abs=1)
    assert verdict.backoff is None
    assert verdict.limits == taught


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(bodies.CHECK_QUOTA, id="no details: check quota"),
        pytest.param(bodies.HELP_ONLY, id="a Help link only"),
        pytest.param(None, id="no body at all"),
        pytest.param("", id="an empty text"),
        pytest.param({}, id="an empty object"),
        pytest.param([], id="an empty array"),
        pytest.param(bodies_faults.PROXY_PAGE, id="a page of HTML"),
        pytest.param('{"error": {"message": "cut o', id="JSON cut off"),
        pytest.param("[" * 100_000, id="JSON nested beyond reading"),
        pytest.param(bodies.error(429, "", details=[bodies.retry_info("0s")]), id="0 s alone"),
        pytest.param(bodies.error(429, "", details=[bodies.retry_info("30h")]), id="30 h alone"),
    ],
)
def test_a_429_without_limit_or_time_backs_off(body):
    verdict = judge(429, body)
    assert (ruled(verdict), verdict.rule) == (COOL, "opaque")
    assert (verdict.until_at_ms, verdict.backoff) == (None, OPAQUE_BACKOFF)


MONEY = [
    pytest.param(
        429, bodies.SPEND_RATE, BILLING, "spend-rate", 600.1,
        id="the spend rate looks at ten minutes",
    ),
    pytest.param(
        429, bodies.ACCOUNT_CAP, BILLING, "account-spend-cap", 5 * 3600,
        id="an account's cap is tried again each day",
    ),
    pytest.param(
        429, bodies.PROJECT_CAP, "project/project/cool", "project-spend-cap", 5 * 3600,
        id="a project's cap is tried again each day",
    ),
    pytest.param(
        402, bodies.NO_CREDIT, BILLING, "no-credit", 3600.1,
        id="spent credit is tried again each hour",
    ),
    pytest.param(
        429, bodies.NO_CREDIT_AS_429, BILLING, "no-credit", 3600.1,
        id="spent credit came as 429 before August 2026",
    ),
    pytest.param(402, None, BILLING, "no-credit", 3600.1, id="a 402 without a body"),
    pytest.param(
        402, bodies.ACCOUNT_CAP, BILLING, "account-spend-cap", 5 * 3600,
        id="a cap told by a 402",
    ),
    pytest.param(
        200, bodies.interactions_event("payment_required"), BILLING, "no-credit", 3600.1,
        id="a 402 told by an event",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "expected", "rule", "seconds"), MONEY)
def test_money_cools_whoever_pays(status, body, expected, rule, seconds):
    verdict = judge(status, body)
    assert (ruled(verdict), verdict.rule) == (expected, rule)
    assert verdict.until_at_ms - NOW == seconds * 1000


@pytest.mark.parametrize(
    ("text", "zero"),
    [
        ("limit: 0", True),
        ("limit:0, model: x", True),
        ("(limit: 0 requests per day on Free Tier)", True),
        ("limit: 0.5", False),
        ("limit: 05", False),
        ("limit: 20", False),
        ("limit: 10", False),
    ],
)
def test_only_a_limit_of_exactly_zero_excludes_the_model(text, zero):
    verdict = judge(429, bodies.error(429, text))
    assert (verdict.action is Action.EXCLUDE_MODEL) is zero
