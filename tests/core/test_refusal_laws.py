"""No body at all, however odd, has a harmful verdict."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from keypool_cli.core.refusal import Action, Fault, Scope
from tests.support import bodies, bodies_faults
from tests.support.refusals import DAY_END, HOUR, NOW, judge

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
RECORDED = [
    value
    for module in (bodies, bodies_faults)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, dict)
]
KEY_RULES = {"key-invalid", "key-expired", "key-leaked", "key-suspended", "key-restricted"}
KEY_REASONS = ["API_KEY_INVALID", "CONSUMER_SUSPENDED", "API_KEY_SERVICE_BLOCKED"]
HARMLESS_REASONS = ["SERVICE_DISABLED", "RATE_LIMIT_EXCEEDED", "BILLING_DISABLED", "OTHER"]
KEY_TEXTS = [
    bodies_faults.KEY_INVALID["error"]["message"],
    bodies_faults.KEY_EXPIRED["error"]["message"],
    bodies_faults.LEAKED["error"]["message"],
    bodies_faults.SUSPENDED["error"]["message"],
    bodies_faults.BLOCKED_TEXT,
]
hints = st.one_of(
    st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,9})?(h|ms|m|s)\Z"),
    st.floats(),
    st.integers(),
    st.text(),
)
members = st.sampled_from([
    "error", "code", "status", "message", "details", "violations", "quotaId", "quotaValue",
    "quotaMetric", "quotaDimensions", "model", "retryDelay", "reason", "metadata", "consumer",
    "quota_limit", "quota_limit_value", "event_type",
])  # fmt: skip
words = st.sampled_from([
    bodies.DAY_ID, bodies.MINUTE_ID, "error", "limit: 0", "Please retry in 29s", '{"error":{}}',
    "[", '"', "data: {", "per day", "20", "0", *HARMLESS_REASONS, "projects/7", "429",
])  # fmt: skip
shaped = st.recursive(
    words | hints | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=6),
    max_leaves=20,
)
statuses = st.sampled_from([0, 200, 400, 401, 402, 403, 404, 409, 429, 499, 500, 503, 504]) | (
    st.integers(-1, 700)
)
answers = json_values | shaped | st.sampled_from(RECORDED) | st.text() | st.binary()
fractions = st.floats(0, 1, exclude_max=True)


@given(status=statuses, body=answers, jitter=fractions, day_end=st.integers(0, 2 * NOW))
@example(status=429, body=bodies.PAID_DAY, jitter=0.5, day_end=0)
def test_no_body_breaks_the_contract_of_a_verdict(status, body, jitter, day_end):
    verdict = judge(status, body, jitter=jitter, day_end_at_ms=day_end)
    if verdict is None:
        assert 200 <= status < 300
        return
    ends = (verdict.until_at_ms is not None) + (verdict.backoff is not None)
    assert ends == (verdict.action is Action.COOL)
    assert NOW < (verdict.until_at_ms or DAY_END) <= NOW + 32 * 24 * HOUR
    assert all(1 <= limit.value <= 10**12 for limit in verdict.limits)
    assert verdict.reason.isprintable()
    assert verdict == judge(status, body, jitter=jitter, day_end_at_ms=day_end)


@given(status=statuses, body=answers, jitter=fractions)
def test_a_fault_outside_the_pool_sets_nothing_aside(status, body, jitter):
    verdict = judge(status, body, jitter=jitter)
    if verdict and verdict.fault in (Fault.REQUEST, Fault.NETWORK, Fault.UPSTREAM):
        assert verdict.scope is Scope.NONE
        assert verdict.action in (Action.RETURN, Action.RETRY)
    if verdict and verdict.fault is Fault.MODEL:
        assert verdict.action is Action.RETRY


@given(status=statuses.filter(lambda status: status != 401), body=json_values | shaped)
def test_no_body_without_evidence_against_the_key_disables_it(status, body):
    verdict = judge(status, body)
    assert verdict is None or verdict.scope is not Scope.KEY


@given(
    status=statuses.filter(lambda status: status != 401),
    before=st.text(min_size=1).filter(lambda text: text[0] not in "{[\"'" and text.strip()),
    sentence=st.sampled_from(KEY_TEXTS),
)
def test_a_keys_death_sentence_quoted_within_a_message_disables_no_key(status, before, sentence):
    verdict = judge(status, bodies.error(status, before + sentence))
    assert verdict is None or verdict.scope is not Scope.KEY


@given(body=answers, reason=st.sampled_from(KEY_REASONS), status=statuses)
@example(body=None, reason="API_KEY_INVALID", status=409)
def test_a_keys_reason_counts_only_where_credentials_are_judged(body, reason, status):
    body = {"error": {"message": "no", "details": [bodies.error_info(reason)], "x": body}}
    verdict = judge(status, body)
    dead = verdict is not None and verdict.scope is Scope.KEY
    assert dead == (status in (400, 401, 403, 404))


@given(body=answers)
def test_a_wrapping_changes_nothing(body):
    inner = {"error": {"code": 429, "message": "no", "details": body}}
    plain = judge(429, inner)
    text = json.dumps(inner, default=repr)
    if json.loads(text) == inner:
        assert judge(429, [inner]) == judge(429, text) == judge(200, f"data: {text}\n") == plain


def test_every_rule_about_a_key_is_covered_by_evidence():
    found = {judge(400, text).rule for text in KEY_TEXTS}
    assert found == KEY_RULES
