"""Which calls are forwarded, and which of them spend quota."""

import pytest

from keypool_cli.upstream.calls import Call, Cost, read_call


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1beta/models/m:generateContent", Call(Cost.SPENDS, "generateContent", "m")),
        (
            "POST",
            "/v1/models/m:streamGenerateContent",
            Call(Cost.SPENDS, "streamGenerateContent", "m", in_array=True),
        ),
        ("POST", "/v1alpha/models/m:countTokens", Call(Cost.FREE, "countTokens", "m")),
        ("POST", "/v1beta/models/a:b:countTokens", Call(Cost.FREE, "countTokens", "a:b")),
        ("GET", "/v1beta/models", Call(Cost.FREE, "list")),
        ("GET", "/v1beta/models/m", Call(Cost.FREE, "get", "m")),
    ],
)
def test_a_known_call(method, path, expected):
    assert read_call(method, path) == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1beta/models/m:generateContent/x"),
        ("DELETE", "/v1beta/models/m"),
        ("POST", "/v2/models/m:generateContent"),
        ("POST", "/v1beta/models/:generateContent"),
        ("POST", "/v1beta/models/..:generateContent"),
        ("POST", "/v1beta/models/a\\b:generateContent"),
        ("POST", "/v1beta/models/a\nb:generateContent"),
        ("POST", "/v1beta/models/m:unheardOf"),
        ("GET", "/v1beta/models/.."),
        ("GET", "/v1beta/models/"),
        ("GET", "/v1beta/anything"),
    ],
)
def test_anything_else_is_no_call(method, path):
    assert read_call(method, path) is None
