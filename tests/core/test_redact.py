"""Secrets never survive redaction."""

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.redact import REDACTED, redact, redact_body, redact_json
from tests.support import bodies_faults

OPAQUE = "n0-published/shape+but secret"
STANDARD = "AIza" + "x" * 35
AUTH = "AQ." + "Ab8R" * 12

# Letters of secrets and of surroundings are disjoint, so that what is found is the secret.
secret_texts = st.text("GHJKNQV%/+ ?&:=_-", min_size=4, max_size=40).filter(
    lambda text: text.strip("%+ ") == text
)
surroundings = st.text("bcdflmz \n\"'", max_size=20)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Consumer 'api_key:abc'", f"Consumer 'api_key:{REDACTED}'", id="api_key:"),
        pytest.param("apiKey: abc, x", f"apiKey: {REDACTED}, x", id="apiKey: with a space"),
        pytest.param('{"api_key": "abc"}', f'{{"api_key": "{REDACTED}"}}', id="api_key in JSON"),
        pytest.param("/v1?key=abc&alt=sse", f"/v1?key={REDACTED}&alt=sse", id="a query's key="),
        pytest.param("GEMINI_API_KEY=abc", f"GEMINI_API_KEY={REDACTED}", id="a variable"),
        pytest.param("X-Goog-Api-Key: abc", f"X-Goog-Api-Key: {REDACTED}", id="the header"),
        pytest.param(
            "(b'x-goog-api-key', b'abc')",
            f"(b'x-goog-api-key', b'{REDACTED}')",
            id="the header as a pair of bytes",
        ),
        pytest.param(
            "Authorization: Bearer abc.d", f"Authorization: Bearer {REDACTED}", id="Bearer"
        ),
        pytest.param(f"<{STANDARD}>", f"<{REDACTED}>", id="a standard key anywhere"),
        pytest.param(f"%3A{STANDARD[:30]}", f"%3A{REDACTED}", id="a standard key cut off"),
        pytest.param(f"{AUTH}, x", f"{REDACTED}, x", id="an auth key anywhere"),
        pytest.param("kp_" + "a" * 22, REDACTED, id="a client's token"),
        pytest.param("the monkey has no key", "the monkey has no key", id="prose is left alone"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(OPAQUE, id="plain"),
        pytest.param(quote(OPAQUE), id="in a path"),
        pytest.param(quote(OPAQUE, safe=""), id="in a query"),
        pytest.param("n0-published%2fshape%2bbut%20secret", id="in lower-case hex"),
        pytest.param(quote_plus(OPAQUE), id="in a form"),
        pytest.param(OPAQUE.replace("/", "\\/"), id="with escaped slashes"),
        pytest.param(OPAQUE.replace("n", "\\u006e"), id="with an escaped letter"),
        pytest.param(OPAQUE.replace("+", "\\u002B"), id="with an escaped sign"),
        pytest.param("".join(f"\\u{ord(each):04x}" for each in OPAQUE), id="escaped throughout"),
    ],
)
def test_a_given_secret_is_hidden_however_it_is_written(written):
    assert redact(f"a {written} b", [OPAQUE]) == f"a {REDACTED} b"
    body = redact_body(f"\xe9 {written} b".encode() + b"\xff", OPAQUE)
    assert body == f"\xe9 {REDACTED} b".encode() + b"\xff"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_secret_is_hidden_wherever_it_lies_in_what_base64_encodes(encode, before, after):
    secret = "o-\xff\xfb" * 8
    written = encode(before + secret.encode() + after)
    shown = redact_body(b'{"x":"' + written + b'"}', secret)
    assert REDACTED.encode() in shown
    left = shown.removeprefix(b'{"x":"').removesuffix(b'"}').split(REDACTED.encode())
    assert len(left[0]) <= 4 * (len(before) + 2) // 3 + 1
    assert len(left[1]) <= 4 * (len(after) + 2) // 3 + 4


def test_a_secret_outside_ascii_is_hidden_as_json_writes_it():
    secret = 'k\xe4y-"of"-mine'
    for written in (json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
        assert redact_body(written.encode(), secret) == f'"{REDACTED}"'.encode()


def test_a_body_without_the_secret_stays_as_it_is():
    body = rb'{"a": "\u003ca href=\"x\"\u003e \/ \\u0041"}'
    assert redact_body(body, OPAQUE) == body


def test_where_an_escaped_secret_is_hidden_the_json_means_the_same_otherwise():
    body = rb'{"a": "\u003c\u0022\u005c\u0022 \u0041IzaSecretSecret1 \u00e9\/"}'
    shown = redact_body(body, "AIzaSecretSecret1")
    assert json.loads(shown) == {"a": f'<"\\" {REDACTED} \xe9/'}


def test_the_longer_of_two_secrets_goes_first():
    assert redact("abcd", ["ab", "abcd"]) == REDACTED


def test_an_empty_secret_hides_nothing():
    assert redact("abc", [""]) == "abc"


def test_json_is_redacted_in_values_and_names():
    value = {"a": [1, None, {"b": f"x {OPAQUE}"}], OPAQUE: True}
    assert redact_json(value, [OPAQUE]) == {"a": [1, None, {"b": f"x {REDACTED}"}], REDACTED: True}


@pytest.mark.parametrize("name", ["x-goog-api-key", "X-Goog-Api-Key", "api_key", "Authorization"])
def test_a_member_named_like_a_credential_is_hidden_whole(name):
    assert redact_json({name: ["abc"]}) == {name: REDACTED}


@pytest.mark.parametrize(
    "inside", [lambda deep: [deep], lambda deep: {"a": deep}], ids=["list", "object"]
)
def test_what_lies_too_deep_is_hidden(inside):
    deep: object = "abc"
    for _ in range(5000):
        deep = inside(deep)
    assert REDACTED in json.dumps(redact_json(deep))
    assert "abc" not in json.dumps(redact_json(deep))


def test_the_original_is_left_alone():
    value = {"a": [STANDARD]}
    redact_json(value)
    assert value == {"a": [STANDARD]}


def test_a_suspended_key_echoed_by_upstream_is_hidden():
    assert bodies_faults.ECHOED_KEY not in json.dumps(redact_json(bodies_faults.SUSPENDED))


@given(secret=secret_texts, before=surroundings, after=surroundings)
def test_no_given_secret_survives(secret, before, after):
    written = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret)]
    text = redact(before.join([*written, after]), [secret])
    assert not any(form in text for form in written)


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_and_any_secrets_are_taken(text, secrets):
    assert isinstance(redact(text, secrets), str)


@given(st.text("aAkey_:=-. \"'&,[]xB") | st.text())
def test_redacting_twice_changes_nothing_more(text):
    assert redact(redact(text)) == redact(text)
