"""Gemini's paths as they look on the wire: framing, refusals, credentials."""

import json

import pytest

pytestmark = pytest.mark.e2e

FLASH = "gemini-2.5-flash"
PATH = f"/v1beta/models/{FLASH}:generateContent"
BODY = {"contents": [{"parts": [{"text": "Hello there"}]}]}


def refusal(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["status"], error["message"]


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens"])
def test_every_version_answers_alike(call, version, method):
    assert call("open-1", version=version, method=method).status_code == 200


def test_a_stream_without_sse_is_one_json_array(call):
    answer = call("open-1", method="streamGenerateContent")
    assert answer.headers["content-type"].startswith("application/json")
    parts = answer.json()
    assert len(parts) > 1
    used = [part["usageMetadata"] for part in parts]
    assert len({each["promptTokenCount"] for each in used}) == 1
    grown = [each["candidatesTokenCount"] for each in used]
    assert grown == sorted(set(grown)), "each part tells what was used up to there"


def test_an_error_within_a_stream_without_sse_is_an_element_of_its_array(call, sim):
    sim.fault("internal", within=1)
    answer = call("open-1", method="streamGenerateContent")
    first, last = answer.json()
    assert answer.status_code == 200
    assert "candidates" in first
    assert last["error"]["status"] == "INTERNAL"


@pytest.mark.parametrize("stream", [False, True])
def test_openais_clients_get_json_of_the_schema_they_give(http, stream):
    schema = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/n"}, "more": {"type": "string"}},
        "required": ["n"],
        "$defs": {"n": {"type": ["integer", "null"]}},
    }
    body = {
        "model": FLASH,
        "messages": [{"role": "user", "content": "hello"}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "stream": stream,
    }
    bearer = {"authorization": "Bearer open-1"}
    answer = http.post("/v1beta/openai/chat/completions", headers=bearer, json=body)
    assert r'"content":"{\"n\":1}"' in answer.text


def test_openais_clients_are_told_who_owns_a_model(http):
    bearer = {"authorization": "Bearer open-1"}
    known = {"id": f"models/{FLASH}", "object": "model", "owned_by": "google"}
    listed = http.get("/v1beta/openai/models", headers=bearer).json()["data"]
    assert known in listed
    for name in (FLASH, f"models/{FLASH}"):
        assert http.get(f"/v1beta/openai/models/{name}", headers=bearer).json() == known
    assert http.get("/v1beta/openai/models/no-such", headers=bearer).status_code == 404


def test_server_sent_events_are_data_lines_without_an_end_mark(http):
    answer = http.post(
        f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse&key=open-1", json=BODY
    )
    assert answer.headers["content-type"] == "text/event-stream"
    lines = [line for line in answer.text.splitlines() if line]
    assert all(line.startswith("data: {") for line in lines)
    assert json.loads(lines[-1].removeprefix("data: "))["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize(("query", "wrapped"), [("", True), ("?alt=sse", False)])
def test_a_refused_stream_is_an_array_only_without_sse(http, query, wrapped):
    answer = http.post(f"/v1beta/models/{FLASH}:streamGenerateContent{query}", json=BODY)
    assert answer.status_code == 403
    assert isinstance(answer.json(), list) == wrapped


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        pytest.param(
            "",
            {},
            (403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers"),
            id="no credential",
        ),
        pytest.param(
            "?key=open-1",
            {"x-goog-api-key": "open-1"},
            (400, "INVALID_ARGUMENT", "Multiple authentication credentials received."),
            id="a header and a query",
        ),
        pytest.param(
            "",
            {"x-goog-api-key": "open-1", "authorization": "Bearer open-1"},
            (400, "INVALID_ARGUMENT", "Multiple authentication credentials received."),
            id="a header and a bearer token",
        ),
        pytest.param(
            "",
            {"authorization": "Bearer open-1"},
            (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            id="a bearer token",
        ),
        pytest.param(
            "?key=nobody",
            {},
            (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            id="an unknown key",
        ),
    ],
)
def test_credentials_that_are_refused(http, sim, query, headers, expected):
    status, name, message = refusal(http.post(PATH + query, headers=headers, json=BODY))
    assert (status, name) == expected[:2]
    assert message.startswith(expected[2])
    assert sum(sim.record()["outside"].values()) == 1


def test_the_query_is_a_credential_of_its_own(http):
    assert http.post(PATH + "?key=open-1", json=BODY).status_code == 200


def test_an_unknown_key_is_named_by_its_reason(http):
    details = http.post(PATH + "?key=nobody", json=BODY).json()["error"]["details"]
    assert details[0]["reason"] == "API_KEY_INVALID"
    assert details[0]["metadata"] == {"service": "generativelanguage.googleapis.com"}
    assert details[1]["@type"] == "type.googleapis.com/google.rpc.LocalizedMessage"


@pytest.mark.parametrize(
    ("model", "method"), [("gemini-0", "generateContent"), (FLASH, "unheardOf")]
)
def test_an_unknown_model_or_method_is_404_and_costs_nothing(call, sim, model, method):
    status, name, message = refusal(call("open-1", model=model, method=method))
    assert (status, name) == (404, "NOT_FOUND")
    assert message.startswith(
        f"models/{model} is not found for API version v1beta, or is not supported for {method}."
    )
    assert sim.project("open")["highest_requests"] == 0


def test_an_unknown_path_is_404(http):
    assert refusal(http.get("/v2/models"))[1] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"{bad", "Invalid JSON payload received.", id="not JSON"),
        pytest.param(b"\xff\xfe", "Invalid JSON payload received.", id="not even text"),
        pytest.param(b"[]", "Invalid JSON payload received.", id="not an object"),
        pytest.param(b"", "* GenerateContentRequest.contents: contents is not", id="nothing"),
        pytest.param(b'{"contents": 1}', "Invalid value at 'contents'", id="no list"),
        pytest.param(b'{"contents": [1]}', "Invalid value at 'contents'", id="no contents"),
        pytest.param(b'{"contents": [{"parts": [{"text": 1}]}]}', "Invalid value", id="no text"),
        pytest.param(b'{"contents": [{"role": "x"}]}', "Please use a valid role", id="a bad role"),
    ],
)
def test_a_bad_body_is_geminis_400_and_counts_as_a_request(http, sim, content, message):
    for number in (1, 2):
        status, name, text = refusal(http.post(PATH + "?key=tight-1", content=content))
        assert (status, name) == (400, "INVALID_ARGUMENT")
        assert text.startswith(message)
        assert sim.project("tight")["highest_requests"] == number
    assert http.post(PATH + "?key=tight-1", content=content).status_code == 429


def test_too_many_tokens_is_400(call):
    message = refusal(call("open-1", "1" * 1_048_576))[2]
    assert message == (
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
    )


def test_keys_of_one_project_share_its_quota_and_models_do_not(call, sim):
    statuses = [call(key).status_code for key in ("tight-1", "tight-2", "tight-1", "tight-2")]
    assert statuses == [200, 200, 429, 429]
    assert call("tight-1", model="other").status_code == 200
    assert call("open-1").status_code == 200
    record = sim.project("tight")
    assert record["models"][FLASH]["highest_requests"] == 2
    assert (record["accepted"], record["highest_requests"]) == (3, 3)
    assert record["keys"]["tight-1"] == {"accepted": 2, "refused": 1, "counted": 0}


@pytest.mark.parametrize(
    ("key", "text", "quota_id", "value"),
    [
        pytest.param(
            "few-tokens-1",
            "x" * 40,
            "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            "10",
            id="tokens",
        ),
        pytest.param(
            "short-day-1",
            "x",
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "1",
            id="the day",
        ),
        pytest.param(
            "paid-1", "x", "GenerateRequestsPerDayPerProjectPerModel", "1", id="a paid day"
        ),
    ],
)
def test_a_spent_limit_is_named(call, key, text, quota_id, value):
    call(key, "x")
    violation = call(key, text).json()["error"]["details"][1]["violations"][0]
    assert (violation["quotaId"], violation["quotaValue"]) == (quota_id, value)
    assert violation["quotaDimensions"] == {"location": "global", "model": FLASH}


def test_a_limit_of_0_is_a_model_that_is_not_offered(call, sim):
    assert "limit: 0" in refusal(call("none-1"))[2]
    assert sim.project("none")["refused"] == {"limit0": 1}


def test_an_alias_is_counted_under_the_name_of_its_bucket(call, sim):
    call("sim-p-1", model="gemini-flash-latest")
    assert list(sim.project("p")["models"]) == ["gemini-3.8-flash"]


def test_a_key_with_the_prefix_makes_its_project_from_the_template(call, sim):
    keys = ("sim-team-a-1", "sim-team-a-2", "sim-team-a-1", "sim-team-a-1")
    assert [call(key).status_code for key in keys] == [200, 200, 200, 429]
    assert set(sim.project("team-a")["keys"]) == {"sim-team-a-1", "sim-team-a-2"}
    assert call("sim-nothing").status_code == 400


def test_counting_is_free(call, sim):
    for _ in range(5):
        assert call("tight-1", method="countTokens").json()["totalTokens"] == 4
    assert sim.project("tight")["highest_requests"] == 0
    assert sim.project("tight")["keys"]["tight-1"]["counted"] == 5


INNER = {
    "model": f"models/{FLASH}",
    "contents": [{"parts": [{"text": "Hello there"}]}],
    "systemInstruction": {"parts": [{"text": "abcd"}]},
}


@pytest.mark.parametrize(
    ("body", "status", "tokens"),
    [
        pytest.param(BODY, 200, 4, id="contents only"),
        pytest.param({"generateContentRequest": INNER}, 200, 6, id="a whole request"),
        pytest.param({"generate_content_request": INNER}, 200, 6, id="in proto's names"),
        pytest.param({**BODY, "generateContentRequest": INNER}, 400, None, id="both"),
        pytest.param({"generateContentRequest": BODY}, 400, None, id="a request without its model"),
        pytest.param({}, 400, None, id="neither"),
    ],
)
def test_count_tokens_takes_either_form(http, body, status, tokens):
    answer = http.post(f"/v1beta/models/{FLASH}:countTokens?key=open-1", json=body)
    assert answer.status_code == status
    assert answer.json().get("totalTokens") == tokens


def test_media_and_tools_are_counted(http):
    parts = [{"text": "abcd"}, {"inlineData": {"mimeType": "image/png", "data": ""}}]
    tools = [{"functionDeclarations": [{"name": "f"}]}]
    body = {"contents": [{"parts": parts}], "tools": tools}
    usage = http.post(PATH + "?key=open-1", json=body).json()["usageMetadata"]
    assert usage["promptTokensDetails"] == [
        {
            "modality": "TEXT",
            "tokenCount": 2 + -(-len('{"functionDeclarations":[{"name":"f"}]}') // 4),
        },
        {"modality": "IMAGE", "tokenCount": 258},
    ]


@pytest.mark.parametrize("query", ["pageSize=x", "pageToken=-1"])
def test_a_bad_page_is_400(http, query):
    assert http.get(f"/v1beta/models?key=open-1&{query}").status_code == 400
