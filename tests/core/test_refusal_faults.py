"""Every other recorded refusal names whose fault it is, and why."""

import math

import pytest

from keypool_cli.core.refusal import Scope
from tests.support import bodies, bodies_faults
from tests.support.refusals import COOL, judge, ruled

UNTIMED = [
    # 2.2 limit 0
    (429, bodies.LIMIT_ZERO_FREE, "project/project_model/exclude_model", "limit-zero",
     "four limits of 0 with seconds to wait"),
    (429, bodies.LIMIT_ZERO_HOURS, "project/project_model/exclude_model", "limit-zero",
     "a limit of 0 with hours to wait"),
    (429, bodies.LIMIT_ZERO_PAID, "project/project_model/exclude_model", "limit-zero",
     "a paid limit of 0 without RetryInfo"),
    (429, bodies.LIMIT_ZERO_VALUE, "project/project_model/exclude_model", "limit-zero",
     "a quotaValue of 0"),
    (429, bodies.INTERACTIONS_ZERO, "project/project_model/exclude_model", "limit-zero",
     "interactions: a limit of 0 in prose"),
    # 2.3 capacity
    (429, bodies.CAPACITY, "model/model/retry", "model-capacity", "resource exhausted, try later"),
    (429, bodies.CAPACITY_REASON, "model/model/retry", "model-capacity", "a reason of capacity"),
    # 3 the key
    (400, bodies_faults.KEY_INVALID, "key/key/disable", "key-invalid", "an invalid key"),
    (400, [bodies_faults.KEY_INVALID], "key/key/disable", "key-invalid", "an invalid key in an array"),
    (400, bodies_faults.KEY_INVALID["error"]["message"], "key/key/disable", "key-invalid",
     "an invalid key in prose"),
    (400, bodies_faults.KEY_INVALID_REASON_ONLY, "key/key/disable", "key-invalid",
     "an invalid key by its reason"),
    (200, bodies_faults.KEY_INVALID, "key/key/disable", "key-invalid", "an invalid key told by a 200"),
    (400, bodies_faults.KEY_EXPIRED, "key/key/disable", "key-expired", "an expired key"),
    (401, bodies_faults.UNAUTHENTICATED, "key/key/disable", "key-refused", "a 401 to our credential"),
    (401, None, "key/key/disable", "key-refused", "a 401 without a body"),
    (403, bodies_faults.LEAKED, "key/key/disable", "key-leaked", "a leaked key"),
    (403, bodies_faults.SUSPENDED, "key/key/disable", "key-suspended", "a suspended key"),
    (403, bodies.error(403, bodies_faults.SUSPENDED["error"]["message"]), "key/key/disable",
     "key-suspended", "a suspended key by its text"),
    (403, bodies.error(403, bodies_faults.BLOCKED_TEXT), "key/key/disable", "key-restricted",
     "a blocked API by its text"),
    (403, bodies_faults.forbidden("API_KEY_SERVICE_BLOCKED"), "key/key/disable", "key-restricted",
     "a key restricted to other APIs"),
    (403, bodies_faults.forbidden("API_KEY_HTTP_REFERRER_BLOCKED"), "key/key/disable", "key-restricted",
     "a key restricted to other referrers"),
    (403, bodies_faults.forbidden("API_KEY_IP_ADDRESS_BLOCKED"), "key/key/disable", "key-restricted",
     "a key restricted to other addresses"),
    # 3 the project
    (403, bodies_faults.SERVICE_DISABLED, "project/project/disable", "service-disabled",
     "an API that is off"),
    (403, bodies.error(403, bodies_faults.SERVICE_DISABLED["error"]["message"]),
     "project/project/disable", "service-disabled", "an API that is off by its text"),
    (403, bodies_faults.forbidden("BILLING_DISABLED"), "project/project/disable", "billing-disabled",
     "billing that is off"),
    (403, bodies_faults.forbidden("CONSUMER_INVALID"), "project/project/disable", "consumer-invalid",
     "an unknown project"),
    (403, bodies_faults.forbidden("USER_PROJECT_DENIED"), "project/project/disable", "project-denied",
     "a project that may not be used"),
    (403, bodies_faults.ACCESS_DENIED, "project/project_model/exclude_model", "access-denied",
     "a project denied access"),
    (404, bodies_faults.NEW_USERS_REFUSED, "project/project_model/exclude_model", "closed-to-new-users",
     "a model closed to new users"),
    # 3 the request
    (400, bodies_faults.TWO_CREDENTIALS, "request/none/return", "two-credentials", "two credentials"),
    (401, bodies_faults.TWO_CREDENTIALS, "request/none/return", "two-credentials",
     "two credentials told by a 401"),
    (400, bodies_faults.TOO_MANY_TOKENS, "request/none/return", "too-many-tokens", "too many tokens"),
    (400, bodies_faults.UNKNOWN_FIELD, "request/none/return", "request-refused", "an unknown field"),
    (400, None, "request/none/return", "request-refused", "a 400 without a body"),
    (403, bodies_faults.FOREIGN_FILE, "request/none/return", "foreign-file", "another project's file"),
    (403, bodies_faults.FOREIGN_CACHE, "request/none/return", "foreign-cache", "another project's cache"),
    (403, bodies_faults.CALLER, "request/none/return", "permission-denied", "a caller without permission"),
    (404, bodies_faults.UNKNOWN_MODEL, "request/none/return", "unknown-model", "an unknown model"),
    (404, bodies_faults.PROXY_PAGE, "request/none/return", "not-found", "a page for a wrong path"),
    (409, bodies.error(409, "Aborted."), "request/none/return", "request-refused", "a conflict"),
    (413, None, "request/none/return", "request-refused", "a body too large"),
    (499, bodies_faults.CANCELLED, "request/none/return", "client-closed", "a cancelled call"),
    (504, bodies_faults.DEADLINE, "request/none/return", "deadline", "a deadline"),
    (200, bodies.interactions_event("authentication"), "request/none/return", "request-refused",
     "a 401 inside a 200, which accepted the key"),
    # 3 the network, the model, upstream
    (400, bodies_faults.LOCATION, "network/none/return", "location", "a location that is not served"),
    (400, bodies_faults.FREE_TIER_LOCATION, "network/none/return", "location",
     "a country without free tier"),
    (500, bodies_faults.INTERNAL, "model/model/retry", "model-failed", "an internal error"),
    (503, bodies_faults.OVERLOADED, "model/model/retry", "model-overloaded", "an overloaded model"),
    (503, bodies_faults.HIGH_DEMAND, "model/model/retry", "model-overloaded", "high demand"),
    (503, None, "model/model/retry", "model-overloaded", "a 503 without a body"),
    (502, bodies_faults.PROXY_PAGE, "upstream/none/retry", "upstream-failed", "a proxy's page"),
    (501, bodies.error(501, "No."), "upstream/none/retry", "upstream-failed", "another 5xx"),
    (401, bodies_faults.PROXY_PAGE, "upstream/none/retry", "upstream-failed", "a proxy that wants a login"),
    (302, None, "upstream/none/retry", "upstream-failed", "a redirection"),
    (0, None, "network/none/retry", "no-answer", "no answer"),
    (0, "connection reset by peer", "network/none/retry", "no-answer", "no answer, and why"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "expected", "rule"),
    [pytest.param(*row, id=f"{sentence} ({row[0]})") for *row, sentence in UNTIMED],
)
def test_other_refusals_set_nothing_aside_for_a_time(status, body, expected, rule):
    verdict = judge(status, body)
    assert (ruled(verdict), verdict.rule) == (expected, rule)
    assert (verdict.until_at_ms, verdict.backoff, verdict.limits) == (None, None, ())


def test_a_page_for_a_401_is_a_proxys_word_and_no_evidence_against_the_key():
    assert judge(401, bodies_faults.PROXY_PAGE).scope is Scope.NONE


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"candidates": []}, id="an answer"),
        pytest.param([{"candidates": []}, {"usageMetadata": {}}], id="a stream's array"),
        pytest.param({"error": None, "id": "v1_x"}, id="an interaction without error"),
        pytest.param({"message": "Rate limit exceeded"}, id="a message that is no error"),
        pytest.param("data: [DONE]", id="a stream's end"),
        pytest.param("all good", id="prose"),
        pytest.param(None, id="no body"),
    ],
)
@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_yes_is_no_refusal(status, body):
    assert judge(status, body) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("invalid_request", "request/none/return"),
        ("failed_precondition", "request/none/return"),
        ("parameter_unknown", "request/none/return"),
        ("permission_denied", "request/none/return"),
        ("not_found", "request/none/return"),
        ("model_not_found", "request/none/return"),
        ("already_exists", "request/none/return"),
        ("aborted", "request/none/return"),
        ("out_of_range", "request/none/return"),
        ("rate_limit_exceeded", COOL),
        ("quota_exceeded", COOL),
        ("too_many_requests", COOL),
        ("cancelled", "request/none/return"),
        ("api_error", "model/model/retry"),
        ("unimplemented", "upstream/none/retry"),
        ("service_unavailable", "model/model/retry"),
        ("deadline_exceeded", "request/none/return"),
        ("RESOURCE_EXHAUSTED", COOL),
        (429, COOL),
        (503, "model/model/retry"),
        (8, COOL),
        (14, "model/model/retry"),
        (3, "request/none/return"),
        (16, "request/none/return"),
        ("what?", "upstream/none/retry"),
        (777, "upstream/none/retry"),
        (None, "upstream/none/retry"),
        (math.nan, "upstream/none/retry"),
        ([], "upstream/none/retry"),
    ],
)
def test_an_error_inside_a_200_is_judged_by_its_code(code, expected):
    assert ruled(judge(200, bodies.interactions_event(code))) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(bodies.FREE_MINUTE, id="alone"),
        pytest.param(bodies.IN_A_STREAM_ARRAY, id="as an array's last element"),
        pytest.param(bodies.AS_EVENT, id="as server-sent events"),
        pytest.param(
            {"name": "operations/1", "done": True} | bodies.FREE_MINUTE, id="in an object"
        ),
    ],
)
def test_an_error_inside_a_200_is_found(body):
    assert judge(200, body) == judge(429, bodies.FREE_MINUTE)


def test_an_error_event_without_an_error_is_one_too():
    verdict = judge(200, {"event_type": "error", "message": "no", "code": "too_many_requests"})
    assert verdict.rule == "opaque"


def test_a_status_of_upstream_beats_the_code_in_its_body():
    assert judge(503, bodies.FREE_MINUTE).rule == "model-overloaded"


def test_an_error_inside_a_200_is_named_by_its_status_where_its_code_says_nothing():
    body = {"error": {"message": "", "code": "x", "status": "UNAVAILABLE"}}
    assert judge(200, body).rule == "model-overloaded"


# --- what operators read


def test_a_reason_quotes_upstream_with_the_key_redacted():
    assert judge(403, bodies_faults.SUSPENDED).reason == (
        "Google has suspended the key: “Permission denied: Consumer 'api_key:[redacted]' "
        "has been suspended”."
    )


def test_a_quotation_is_one_line_of_at_most_200_characters():
    reason = judge(401, bodies.error(401, "a\n\x1b[31m\ud800 b" * 900)).reason
    assert reason.isprintable()
    assert len(reason.partition("“")[2]) == 200 + len("”.")
    assert reason.endswith("…”.")


def test_a_key_at_the_cut_is_not_shown_in_part():
    reason = judge(401, bodies.error(401, "x" * 170 + " " + bodies_faults.ECHOED_KEY)).reason
    assert "AIza" not in reason


def test_where_upstream_says_nothing_nothing_is_quoted():
    assert "“" not in judge(401, bodies.error(401, " ")).reason


def test_a_users_own_words_are_not_quoted():
    reason = judge(400, bodies_faults.UNKNOWN_FIELD).reason
    assert reason == "Upstream refused the request itself."
