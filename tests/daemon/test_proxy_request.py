"""What is read from a proxied request's head."""

from types import SimpleNamespace

import pytest

from keypool_cli.daemon.proxy_request import (
    deadline_s,
    name_in,
    target_of,
    token_of,
    wait_s,
    wants_sse,
)
from keypool_cli.errors import UsageError


class Sent:
    """Headers as the server hands them over."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def get(self, name, default=None):
        return next(iter(self.get_all(name)), default)

    def __contains__(self, name):
        return any(each == name for each, _ in self.pairs)

    def get_all(self, name):
        return [value for each, value in self.pairs if each == name]

    def items(self):
        return list(self.pairs)


def a_scope(*headers, path="/v1beta/models", query=""):
    return SimpleNamespace(headers=Sent(*headers), path=path, query_string=query)


KEY, BEARER = ("x-goog-api-key", "kp_a"), ("authorization", "bearer kp_a")


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        pytest.param([KEY], "", "kp_a", id="a header"),
        pytest.param([BEARER], "", "kp_a", id="a bearer token"),
        pytest.param([], "alt=sse&key=kp_a", "kp_a", id="the query"),
        pytest.param([KEY, BEARER], "key=kp_a", "kp_a", id="the same everywhere"),
        pytest.param([], "", None, id="none"),
        pytest.param([KEY], "key=", "kp_a", id="an empty one beside it"),
        pytest.param([("x-goog-api-key", " "), BEARER], "", "kp_a", id="an empty header"),
        pytest.param([KEY, ("authorization", "Bearer ")], "", "kp_a", id="an empty bearer token"),
    ],
)
def test_the_token(headers, query, expected):
    scope = a_scope(*headers, query=query)
    assert token_of(scope, scope.headers) == expected


@pytest.mark.parametrize("other", ["bearer kp_b", "Basic kp_a"])
def test_two_credentials_are_one_too_many(other):
    scope = a_scope(KEY, ("authorization", other))
    with pytest.raises(UsageError, match="Multiple authentication credentials"):
        token_of(scope, scope.headers)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("alt=sse&key=kp_a", "?alt=sse"),
        ("key=kp_a", ""),
        ("%6Bey=kp_a&KEY=kp_a&+key=x&access_token=x&oauth_token=x", ""),
        ("$httpMethod=DELETE&%24httpHeaders=a&$alt=json", "?$alt=json"),
        ("pageSize=2&pageToken=a%3Db", "?pageSize=2&pageToken=a%3Db"),
        ("&&", ""),
        ("a=1;key=x&%62earer_token=x&callback=f", ""),
        ("%24alt=json%3Benum-encoding%3Dint", "?%24alt=json%3Benum-encoding%3Dint"),
        ("$alt=json;enum-encoding=int", "?$alt=json;enum-encoding=int"),
    ],
)
def test_credentials_leave_the_query(query, expected):
    assert target_of(a_scope(query=query)) == "/v1beta/models" + expected


@pytest.mark.parametrize(
    "query", ["alt=proto", "$alt=proto", "alt=json&%61lt=proto", "x;alt=proto"]
)
def test_answers_that_cannot_be_read_are_not_asked_for(query):
    with pytest.raises(UsageError, match="alt=proto is not forwarded"):
        target_of(a_scope(query=query))


def test_an_answer_that_must_be_read_is_asked_for_whole():
    scope = a_scope(query="fields=a&%24fields=b&alt=json")
    assert target_of(scope, whole=True) == "/v1beta/models?alt=json"
    assert target_of(scope) == "/v1beta/models?fields=a&%24fields=b&alt=json"


def test_a_path_is_quoted_again():
    scope = a_scope(path="/v1beta/models/ä b?c#d:countTokens")
    assert target_of(scope) == "/v1beta/models/%C3%A4%20b%3Fc%23d:countTokens"


def test_the_longest_wait_is_the_requests_own_else_the_pools():
    assert wait_s(a_scope(("x-keypool-wait-s", "2.5")).headers, 9.0) == 2.5
    assert wait_s(a_scope().headers, 9.0) == 9.0


@pytest.mark.parametrize("said", ["-1", "1e9", "inf", "nan", "300.5", "", "٣"])
def test_a_wait_that_is_no_wait(said):
    with pytest.raises(UsageError):
        wait_s(a_scope(("x-keypool-wait-s", said)).headers, 9.0)


@pytest.mark.parametrize(("said", "expected"), [("30", 30.0), ("9999", 600.0), ("soon", 600.0)])
def test_the_deadline(said, expected):
    assert deadline_s(a_scope(("x-server-timeout", said)).headers) == expected


@pytest.mark.parametrize(
    ("query", "expected"), [("alt=sse", True), ("$alt=SSE", True), ("alt=json", False), ("", False)]
)
def test_sse(query, expected):
    assert wants_sse(a_scope(query=query)) is expected


class Unreadable(Sent):
    """The server tells that a header is there, and gives none that is not ASCII."""

    def get_all(self, _name):
        return []


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("batch", "batch"),
        ("%D9%81%D8%B1%D9%8A%D9%82", "فريق"),
        ("cafe%CC%81", "café"),
        ("50%25", "50%"),
    ],
)
def test_a_header_holds_a_name_percent_encoded_where_it_is_not_ascii(said, name):
    assert name_in(Sent(("x-keypool-pool", said)), "x-keypool-pool") == name
    assert name_in(Sent(), "x-keypool-pool") is None


@pytest.mark.parametrize(
    "headers", [Unreadable(("x-keypool-pool", "")), Sent(("x-keypool-pool", "%FF"))]
)
def test_a_name_that_cannot_be_read_is_refused(headers):
    with pytest.raises(UsageError, match="x-keypool-pool"):
        name_in(headers, "x-keypool-pool")
