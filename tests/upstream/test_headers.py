"""Which headers cross the proxy."""

import pytest

from keypool_cli.upstream.headers import to_client, to_upstream


def test_what_upstream_needs_is_passed_on():
    sent = [
        ("content-type", "application/json"),
        ("x-goog-api-client", "genai"),
        ("x-server-timeout", "30"),
        ("api-revision", "2026-05-20"),
        ("user-agent", "mine"),
    ]
    assert to_upstream(sent) == [*sent, ("accept-encoding", "identity")]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Accept-Encoding",
        "Origin",
        "Referer",
        "Transfer-Encoding",
        "Proxy-Authorization",
        "X-Goog-Api-Key",
        "X-Goog-FieldMask",
        "X-Goog-Encode-Response-If-Executable",
        "X-Goog-User-Project",
        "X-HTTP-Method-Override",
        "X-Forwarded-For",
        "X-Keypool-Pool",
        "OpenAI-Project",
        "Sec-Fetch-Mode",
    ],
)
def test_identities_and_connections_stay_behind(name):
    assert to_upstream([(name, "x")]) == [("accept-encoding", "identity")]


def test_what_connection_names_is_for_one_hop_only():
    headers = [("Connection", "close, X-Mine"), ("x-mine", "1"), ("x-yours", "2")]
    assert to_upstream(headers) == [("x-yours", "2"), ("accept-encoding", "identity")]
    assert to_client(headers) == [("x-yours", "2")]


def test_upstream_cannot_speak_for_keypool():
    assert to_client([("x-keypool-error", "x"), ("set-cookie", "a"), ("x-a", "b")]) == [
        ("x-a", "b")
    ]


def test_a_value_that_could_not_be_read_is_not_told_as_empty():
    headers = [("content-disposition", ""), ("etag", "x")]
    assert to_client(headers) == [("etag", "x")]
