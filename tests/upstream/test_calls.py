"""Which calls are forwarded, and which of them spend quota."""

import pytest

from keypool_cli.upstream.calls import Call, Cost, Touch, read_call


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
        ("POST", "/v1beta/models/a;b=c:generateContent"),
        ("POST", "/v1beta/models/a%2Fb:generateContent"),
        ("POST", "/v1beta/models/a?b:generateContent"),
        ("POST", "/v1beta/models/m:unheardOf"),
        ("POST", f"/v1beta/models/{'m' * 201}:generateContent"),
        ("GET", "/v1beta/models/.."),
        ("GET", "/v1beta/models/"),
        ("GET", "/v1beta/anything"),
    ],
)
def test_anything_else_is_no_call(method, path):
    assert read_call(method, path) is None


@pytest.mark.parametrize(
    ("method", "path", "touch", "resource"),
    [
        ("GET", "/v1beta/files", Touch.LIST, "files"),
        ("GET", "/v1/files/a", Touch.USE, "files/a"),
        ("DELETE", "/v1beta/files/a", Touch.REMOVE, "files/a"),
        ("GET", "/v1beta/files/a:download", Touch.USE, "files/a"),
        ("GET", "/download/v1beta/files/a:download", Touch.USE, "files/a"),
        ("POST", "/upload/v1beta/files", Touch.UPLOAD, "files"),
        (
            "POST",
            "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
            Touch.UPLOAD,
            "fileSearchStores/s",
        ),
        ("POST", "/v1beta/cachedContents", Touch.MAKE, "cachedContents"),
        ("PATCH", "/v1beta/cachedContents/c", Touch.USE, "cachedContents/c"),
        ("POST", "/v1beta/models/m:batchGenerateContent", Touch.MAKE, "batches"),
        ("POST", "/v1beta/models/m:asyncBatchEmbedContent", Touch.MAKE, "batches"),
        ("GET", "/v1beta/batches/b", Touch.WATCH, "batches/b"),
        ("POST", "/v1beta/batches/b:cancel", Touch.USE, "batches/b"),
        ("POST", "/v1beta/models/m:predictLongRunning", Touch.MAKE, "operations"),
        ("GET", "/v1beta/models/m/operations/o", Touch.WATCH, "models/m/operations/o"),
        ("GET", "/v1beta/fileSearchStores/s/documents/d", Touch.USE, "fileSearchStores/s"),
        ("POST", "/v1beta/fileSearchStores/s:importFile", Touch.USE, "fileSearchStores/s"),
        ("POST", "/v1beta/interactions", Touch.MAKE, "interactions"),
        ("GET", "/v1beta/interactions/v1_x", Touch.USE, "interactions/v1_x"),
        ("POST", "/v1beta/interactions/v1_x/cancel", Touch.USE, "interactions/v1_x"),
        ("DELETE", "/v1beta/interactions/v1_x", Touch.REMOVE, "interactions/v1_x"),
        ("POST", "/v1beta/tunedModels/t:generateContent", Touch.USE, "tunedModels/t"),
        ("POST", "/v1beta/agents", Touch.MAKE, "agents"),
        ("GET", "/v1beta/agents/a", Touch.USE, "agents/a"),
        ("GET", "/v1beta/openai/files", Touch.LIST, "files"),
        ("POST", "/v1beta/openai/files", Touch.UPLOAD, "files"),
        ("GET", "/v1beta/openai/files/a", Touch.USE, "files/a"),
        ("GET", "/v1beta/openai/files/files/a", Touch.USE, "files/a"),
        ("GET", "/v1beta/openai/files/files/a/content", Touch.USE, "files/a"),
        ("GET", "/v1beta/openai/files/file-a/content", Touch.USE, "files/file-a"),
        ("DELETE", "/v1beta/openai/files/files/a", Touch.REMOVE, "files/a"),
        ("GET", "/v1beta/openai/batches", Touch.LIST, "batches"),
        ("POST", "/v1beta/openai/batches", Touch.MAKE, "batches"),
        ("GET", "/v1beta/openai/batches/batches/b", Touch.WATCH, "batches/b"),
        ("DELETE", "/v1beta/openai/batches/b", Touch.REMOVE, "batches/b"),
        ("POST", "/v1beta/openai/batches/batches/b/cancel", Touch.USE, "batches/b"),
    ],
)
def test_a_call_about_what_one_project_keeps(method, path, touch, resource):
    call = read_call(method, path)
    assert call is not None
    assert (call.touch, call.resource) == (touch, resource)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1beta/files:register"),
        ("POST", "/v1beta/files/a"),
        ("GET", "/v1beta/files/.."),
        ("GET", "/v1beta/files/a/../b"),
        ("GET", "/upload/v1beta/files"),
        ("POST", "/upload/v1beta/anything"),
        ("POST", "/v1beta/tunedModels/t:transferOwnership"),
        ("GET", "/v1beta/tunedModels/t/permissions"),
        ("GET", "/v1beta/fileSearchStores/s/documents/.."),
        ("GET", "/v1beta/interactions"),
        ("POST", "/v1beta/openai/files/a"),
        ("POST", "/v1beta/openai/files/a/cancel"),
        ("GET", "/v1beta/openai/batches/b/content"),
        ("GET", "/v1beta/openai/files/.."),
        ("GET", "/v1beta/openai/files/../batches/b"),
        ("GET", "/v1beta/openai/files/batches/b"),
        ("POST", "/v1beta/openai/uploads"),
        ("POST", "/v1alpha/auth_tokens"),
        ("POST", "/v1beta/webhooks"),
        ("POST", "/v1beta/interactions/v1_x/share"),
    ],
)
def test_what_might_lead_elsewhere_or_hand_things_over_is_no_call(method, path):
    assert read_call(method, path) is None
