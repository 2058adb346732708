"""Interactions: errors in a shape of their own, as real answers had it."""

import re

import pytest

FLASH = "gemini-2.5-flash"
PATH = "/v1beta/interactions"


@pytest.fixture
def ask(http):
    """Asks with a key; answers status and body."""

    def _ask(key, text="Hello", **more):
        body = {"model": FLASH, "input": text, **more}
        answer = http.post(PATH, headers={"x-goog-api-key": key}, json=body)
        return answer.status_code, answer.json()

    return _ask


def told(body):
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "code"}
    return body["error"]["code"], body["error"]["message"]


def test_a_spent_day_is_told_in_prose_without_details(ask):
    assert ask("short-day-1")[0] == 200
    status, body = ask("short-day-1")
    code, message = told(body)
    assert (status, code) == (429, "too_many_requests")
    assert re.fullmatch(
        rf"Rate limit exceeded for model {FLASH} \(limit: 1 requests per day on Free Tier\)\. "
        r"Please retry in (\d+m)?\d+s or upgrade your tier at https://ai\.dev/rate-limit\.",
        message,
    )


def test_the_same_code_stands_for_a_minutes_requests_and_tokens(ask):
    for _ in range(2):
        ask("tight-1")
    assert told(ask("tight-1")[1])[0] == "too_many_requests"
    assert "(limit: 2 requests per minute on Free Tier)" in told(ask("tight-1")[1])[1]
    assert (
        "(limit: 10 input tokens per minute on Free Tier)"
        in told(ask("few-tokens-1", "word " * 50)[1])[1]
    )


def test_a_model_that_is_not_offered_is_told_without_a_wait(ask):
    code, message = told(ask("none-1")[1])
    assert code == "too_many_requests"
    assert message.endswith("per day on Free Tier). Please upgrade your tier.")
    assert "limit: 0 " in message


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("credit", 402, "payment_required"),
        ("overloaded", 503, "service_unavailable"),
        ("internal", 500, "api_error"),
        ("leaked", 403, "permission_denied"),
        ("opaque", 429, "too_many_requests"),
    ],
)
def test_other_errors_have_a_word_in_place_of_the_status(ask, sim, kind, status, code):
    sim.fault(kind)
    found, body = ask("open-1")
    assert (found, told(body)[0]) == (status, code)


def test_what_is_wrong_and_what_is_unknown(ask, http):
    assert told(ask("open-1", "")[1])[0] == "invalid_request"
    headers = {"x-goog-api-key": "open-1"}
    missing = http.get(f"{PATH}/v1_nothing", headers=headers)
    assert told(missing.json())[0] == "permission_denied"
    assert told(ask("open-1", model="no-such")[1])[0] == "not_found"


def test_a_bad_key_is_refused_before_in_googles_shape(ask, sim):
    assert ask("nobody")[1]["error"]["status"] == "INVALID_ARGUMENT"
    sim.fault("key_invalid")
    assert ask("open-1")[1]["error"]["details"]


def test_usage_names_every_kind_of_tokens(ask):
    usage = ask("open-1")[1]["usage"]
    assert (usage["total_thought_tokens"], usage["total_cached_tokens"]) == (0, 0)
