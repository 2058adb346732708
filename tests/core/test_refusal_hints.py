"""When a refusal ends, and what it teaches."""

import math

import pytest

from tests.support import bodies, bodies_faults
from tests.support.refusals import HOUR, NOW, judge, limits

# --- hints


@pytest.mark.parametrize(
    ("delay", "rule"),
    [
        ("599s", "per-day"),
        ("600s", "per-day-hint"),
        ("9h44m", "per-day-hint"),
        ("12h26.58s", "per-day-hint"),
        ("90000s", "per-day-hint"),
        ("90001s", "per-day"),
        ("999999999s", "per-day"),
        ("9" * 400 + "s", "per-day"),
        ("-700s", "per-day"),
        ("1e5s", "per-day"),
        ("", "per-day"),
        ("soon", "per-day"),
        ("1h" + "0s" * 30, "per-day"),
        (math.nan, "per-day"),
        (math.inf, "per-day"),
        (10**400, "per-day"),
        (-1, "per-day"),
        (3600, "per-day-hint"),
        (None, "per-day"),
        ({"seconds": 3600}, "per-day"),
    ],
)
def test_a_day_believes_hints_from_ten_minutes_to_twenty_five_hours(delay, rule):
    body = bodies.exhausted(bodies.violation(bodies.DAY_ID, bodies.FREE_REQUESTS, value="20"))
    body["error"]["details"].append(bodies.retry_info(delay))
    assert judge(429, body).rule == rule


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("0s", 0), ("599s", 599), ("600s", 60), ("30h", 60), ("-5s", 60), ("", 60)],
)
def test_a_minute_believes_hints_below_ten_minutes(delay, seconds):
    body = bodies.exhausted(bodies.violation(bodies.MINUTE_ID, bodies.FREE_REQUESTS, value="5"))
    body["error"]["details"].append(bodies.retry_info(delay))
    assert judge(429, body).until_at_ms == NOW + seconds * 1000 + 100


@pytest.mark.parametrize(
    ("told", "said", "seconds"),
    [
        pytest.param("21s", "21.9s", 21.9, id="the same delay, cut to seconds"),
        pytest.param("21s", "22s", 21, id="a second apart: RetryInfo"),
        pytest.param("21s", "20.5s", 21, id="an earlier message: RetryInfo"),
    ],
)
def test_retry_info_decides_unless_the_message_only_adds_its_fraction(told, said, seconds):
    violation = bodies.violation(bodies.MINUTE_ID, bodies.FREE_REQUESTS, value="5")
    body = bodies.exhausted(violation, delay=told, said=said)
    assert judge(429, body).until_at_ms == NOW + seconds * 1000 + 100


def test_jitter_only_ever_delays_and_by_less_than_a_second():
    soonest = judge(429, bodies.RETRY_INFO_ONLY, jitter=0.0).until_at_ms - NOW
    latest = judge(429, bodies.RETRY_INFO_ONLY, jitter=0.999_999).until_at_ms - NOW
    assert 11_000 < soonest < latest < 12_000


def test_a_believed_day_end_that_is_not_the_expected_one_is_reported():
    verdict = judge(429, bodies.PAID_DAY_TO_UTC_MIDNIGHT)
    assert verdict.day_hint_at_ms == NOW + 75_659_999


@pytest.mark.parametrize("off_s", [-300, -13, 0, 13, 300])
def test_a_hint_at_the_expected_day_end_reports_no_other(off_s):
    day_end = NOW + 75_659_999 + off_s * 1000
    verdict = judge(429, bodies.PAID_DAY_TO_UTC_MIDNIGHT, day_end_at_ms=day_end)
    assert (verdict.rule, verdict.day_hint_at_ms) == ("per-day-hint", None)


@pytest.mark.parametrize("body", [bodies.FREE_DAY, bodies.FREE_MINUTE, bodies.SPOKEN_DELAY])
def test_only_a_believed_hint_of_a_day_reports_a_day_end(body):
    assert judge(429, body).day_hint_at_ms is None


@pytest.mark.parametrize("day_end", [0, NOW, NOW + 40 * 24 * HOUR])
def test_an_absurd_day_end_is_kept_within_the_next_day(day_end):
    until = judge(429, bodies.FREE_DAY, day_end_at_ms=day_end).until_at_ms
    assert NOW < until <= NOW + 25 * HOUR


# --- what a refusal teaches


@pytest.mark.parametrize(
    ("quota_id", "value", "taught"),
    [
        (bodies.MINUTE_ID, "5", limits(rpm=5)),
        (bodies.MINUTE_ID, 5, limits(rpm=5)),
        (bodies.MINUTE_ID, "1000000000000", limits(rpm=10**12)),
        (bodies.MINUTE_ID, "1000000000001", ()),
        (bodies.MINUTE_ID, "9223372036854775807", ()),
        (bodies.MINUTE_ID, "-1", ()),
        (bodies.MINUTE_ID, "5.5", ()),
        (bodies.MINUTE_ID, "\u0665", ()),
        (bodies.MINUTE_ID, ["5"], ()),
        ("GenerateImagesPerMinutePerProjectPerModel", "10", ()),
        ("SearchGroundingRequestsPerDayPerProject", "500", ()),
        ("GenerateRequestsPerHourPerProject", "500", ()),
        (None, "5", ()),
    ],
)
def test_only_known_counts_of_requests_and_input_tokens_are_learned(quota_id, value, taught):
    found = bodies.violation(quota_id, bodies.FREE_REQUESTS, value=value)
    body = bodies.error(429, "", details=[bodies.quota_failure(found)])
    assert judge(429, body).limits == taught


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_only_a_429_teaches_limits(status):
    found = bodies.violation(bodies.MINUTE_ID, bodies.FREE_REQUESTS, value="5")
    body = bodies.error(status, "", details=[bodies.quota_failure(found)])
    assert judge(status, body).limits == ()


def test_the_lowest_of_several_values_is_learned():
    body = bodies.exhausted(
        *(bodies.violation(bodies.MINUTE_ID, "m", value=value) for value in ("7", "5", "9"))
    )
    assert judge(429, body).limits == limits(rpm=5)


def test_a_metric_names_the_window_where_the_id_does_not():
    found = bodies.violation("Requests", bodies.PER_MODEL_PER_DAY, value="20")
    body = bodies.error(429, "wait a per minute", details=[bodies.quota_failure(found)])
    assert judge(429, body).rule == "per-day"


@pytest.mark.parametrize(
    ("body", "model"),
    [
        pytest.param(bodies.PAID_DAY, "gemini-3.1-pro", id="the bucket's name"),
        pytest.param(
            bodies.exhausted(bodies.violation(bodies.DAY_ID, "m", model="models/x", value="1")),
            "x",
            id="without the collection",
        ),
        pytest.param(bodies.OLD_ERROR_INFO, None, id="none in the old form"),
        pytest.param(bodies.INTERACTIONS_DAY, None, id="none in prose"),
    ],
)
def test_the_model_that_upstream_counts_is_reported(body, model):
    assert judge(429, body).bucket_model == model


@pytest.mark.parametrize(
    ("status", "body", "number"),
    [
        (429, bodies.OLD_ERROR_INFO, "123456789"),
        (403, bodies_faults.SUSPENDED, "42"),
        (403, bodies_faults.SERVICE_DISABLED, "42"),
        (429, bodies.FREE_DAY, None),
        (403, bodies.error(403, "", details=[bodies.error_info("x", consumer="folders/1")]), None),
    ],
)
def test_a_projects_number_is_read_from_the_consumer(status, body, number):
    assert judge(status, body).project_number == number
