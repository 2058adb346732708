"""What of a request is counted, what it costs beside its text, and what is reserved."""

import base64
import json

import pytest

from keypool_cli.core.estimator import (
    CACHED_TOKENS,
    Calibration,
    estimate_request,
    estimate_text,
)

MODEL = "gemini-2.5-flash"
SENTENCE = "The committee will publish its final report before the end of the month."
ARABIC = "ستنشر اللجنة تقريرها النهائي قبل نهاية الشهر."
TOOL = {
    "name": "get_weather",
    "description": "Returns the weather of a city for one day.",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
}


def tokens_of(body, model=MODEL):
    return estimate_request(body, model=model).tokens


def content(*texts, role="user"):
    return {"role": role, "parts": [{"text": text} for text in texts]}


ALONE = estimate_text(SENTENCE).tokens


def test_each_content_costs_one_token_beside_its_text():
    one = tokens_of({"contents": [content(SENTENCE)]})
    one_of_three_texts = tokens_of({"contents": [content(SENTENCE, SENTENCE, SENTENCE)]})
    three = tokens_of({"contents": [content(SENTENCE)] * 3})
    assert (one, three) == (ALONE + 1, one_of_three_texts + 2)


def test_a_system_instruction_costs_one_token_beside_its_text():
    plain = tokens_of({"contents": [content("Hi")]})
    with_system = tokens_of({"contents": [content("Hi")], "systemInstruction": content(SENTENCE)})
    assert with_system == plain + ALONE + 1


def test_models_before_2_5_add_nothing_for_contents():
    body = {"contents": [content(SENTENCE)], "systemInstruction": content(SENTENCE)}
    assert tokens_of(body, "gemini-2.0-flash") == pytest.approx(2 * ALONE, abs=1)


def test_an_empty_part_costs_only_its_content():
    assert tokens_of({"contents": [content("")]}) == 1


def test_a_request_without_anything_costs_nothing():
    empty = estimate_request({}, model=MODEL)
    assert (empty.tokens, empty.margin, dict(empty.parts)) == (0, 0, {})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"contents": [content(SENTENCE)]}, id="generateContent"),
        pytest.param({"contents": content(SENTENCE)}, id="a single content"),
        pytest.param({"contents": SENTENCE}, id="a bare string"),
        pytest.param({"contents": [{"text": SENTENCE}]}, id="loose parts"),
        pytest.param(
            {"generateContentRequest": {"model": "models/x", "contents": [content(SENTENCE)]}},
            id="the second form of countTokens",
        ),
        pytest.param(
            {"generate_content_request": {"contents": [content(SENTENCE)]}}, id="snake_case"
        ),
        pytest.param({"content": {"parts": [{"text": SENTENCE}]}}, id="embedContent"),
        pytest.param(
            {"requests": [{"model": "models/x", "content": {"parts": [{"text": SENTENCE}]}}]},
            id="batchEmbedContents",
        ),
        pytest.param({"messages": [{"role": "user", "content": SENTENCE}]}, id="chat completions"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": SENTENCE}]}]},
            id="chat completions with parts",
        ),
        pytest.param({"input": SENTENCE}, id="interactions or OpenAI embeddings"),
        pytest.param({"input": [{"type": "text", "text": SENTENCE}]}, id="interactions parts"),
        pytest.param({"input": [{"role": "user", "content": SENTENCE}]}, id="interactions turns"),
    ],
)
def test_every_form_of_the_same_request_costs_the_same(body):
    assert tokens_of(body) == ALONE + 1


def test_every_request_of_a_batch_counts():
    request = {"content": {"parts": [{"text": SENTENCE}]}}
    assert tokens_of({"requests": [request] * 4}) == pytest.approx(4 * (ALONE + 1), abs=2)


def test_a_system_message_of_a_chat_is_a_system_instruction():
    body = {
        "messages": [{"role": "system", "content": SENTENCE}, {"role": "user", "content": "Hi"}]
    }
    assert tokens_of(body) == ALONE + 1 + estimate_text("Hi").tokens + 1


def test_function_calls_and_their_results_are_counted():
    call = {"functionCall": {"name": "find", "args": {"query": SENTENCE}}}
    answer = {"functionResponse": {"name": "find", "response": {"text": SENTENCE}}}
    assert tokens_of({"contents": [{"parts": [call, answer]}]}) > 2 * ALONE


@pytest.mark.parametrize(
    "step",
    [
        {"type": "function_call", "name": "find", "arguments": {"query": SENTENCE}},
        {"type": "function_result", "name": "find", "call_id": "c1", "result": SENTENCE},
        {
            "type": "function_result",
            "call_id": "c1",
            "result": [{"type": "text", "text": SENTENCE}],
        },
    ],
)
def test_function_calls_and_results_of_interactions_are_counted(step):
    asked = {"type": "user_input", "content": [{"type": "text", "text": "Hi"}]}
    assert tokens_of({"input": [asked, step]}) > ALONE + tokens_of({"input": [asked]})
    assert tokens_of({"input": [step]}) > ALONE


def test_tool_calls_of_a_chat_are_counted():
    call = {"function": {"name": "find", "arguments": json.dumps({"query": SENTENCE})}}
    body = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    assert tokens_of(body) > ALONE + 1


@pytest.mark.parametrize("name", ["functionDeclarations", "function_declarations"])
def test_tools_are_expected_below_their_json_and_reserved_above_it(name):
    estimate = estimate_request({"tools": [{name: [TOOL]}]}, model=MODEL)
    as_json = estimate_text(json.dumps(TOOL, separators=(",", ":"))).tokens
    assert 0.5 * as_json <= estimate.tokens <= as_json
    assert estimate.tokens + estimate.margin >= 1.3 * as_json - 1
    assert set(estimate.parts) == {"tools"}


def test_tools_of_a_chat_cost_what_the_same_declaration_costs():
    theirs = {"tools": [{"type": "function", "function": TOOL}]}
    assert tokens_of(theirs) == tokens_of({"tools": [{"functionDeclarations": [TOOL]}]})


@pytest.mark.parametrize(
    "kept", [{"cachedContent": "cachedContents/abc"}, {"previous_interaction_id": "v1_abc"}]
)
def test_what_upstream_kept_and_whose_size_is_unknown_counts_as_the_least_that_is_cached(kept):
    body = {"contents": [content("Hi")], **kept}
    plain, cached = (
        estimate_request(each, model=MODEL) for each in ({"contents": [content("Hi")]}, body)
    )
    assert cached.tokens == plain.tokens + CACHED_TOKENS
    assert cached.margin == plain.margin + CACHED_TOKENS


def test_a_response_schema_costs_nothing():
    schema = {"generationConfig": {"responseSchema": {"type": "STRING", "description": SENTENCE}}}
    assert tokens_of({"contents": [content("Hi")], **schema}) == tokens_of(
        {"contents": [content("Hi")]}
    )


@pytest.mark.parametrize(
    "mime_type",
    ["TEXT/Plain", "application/json; charset=utf-8", "application/rtf", "image/svg+xml"],
)
def test_inline_text_is_known_by_any_spelling_of_its_type(mime_type):
    data = base64.b64encode(ARABIC.encode()).decode()
    inline = {"inlineData": {"mimeType": mime_type, "data": data}}
    assert tokens_of({"contents": [{"parts": [inline]}]}) == tokens_of(
        {"contents": [content(ARABIC)]}
    )


def test_inline_text_is_counted_as_text():
    data = base64.b64encode(ARABIC.encode()).decode()
    inline = {"inlineData": {"mimeType": "text/plain", "data": data}}
    assert tokens_of({"contents": [{"parts": [inline]}]}) == estimate_text(ARABIC).tokens + 1


def test_media_is_counted_apart_from_text():
    inline = {"inline_data": {"mime_type": "audio/mp3", "data": ""}}
    estimate = estimate_request({"contents": [{"parts": [inline]}]}, model=MODEL)
    assert estimate.parts["media"] > 0
    assert estimate.margin >= estimate.parts["media"]


def test_factors_scale_their_group_alone():
    body = {"contents": [content(f"{SENTENCE} {ARABIC}")]}
    plain = estimate_request(body, model=MODEL).parts
    scaled = estimate_request(
        body, model=MODEL, calibration=Calibration(factors={"arabic": 1.5})
    ).parts
    assert scaled["arabic"] == pytest.approx(1.5 * plain["arabic"])
    assert scaled["latin"] == plain["latin"]


def test_factors_cannot_lift_a_text_above_its_bytes():
    huge = Calibration(factors={"latin": 1000.0})
    assert estimate_text("hello", calibration=huge).tokens == 5


def test_overheads_come_from_the_calibration():
    calibration = Calibration(per_content=3.0, per_system=5.0, per_tool=7.0, tool_ratio=0.0)
    body = {
        "contents": [content("")],
        "systemInstruction": content(""),
        "tools": [{"functionDeclarations": [TOOL, TOOL]}],
    }
    estimate = estimate_request(body, model=MODEL, calibration=calibration)
    assert estimate.tokens == 3 + 5 + 2 * 7


def test_the_margin_grows_slower_than_the_text():
    short, long = estimate_text(SENTENCE), estimate_text(f"{SENTENCE} " * 200)
    assert long.margin / long.tokens < 0.12 < short.margin / short.tokens


def test_text_in_a_script_known_poorly_gets_a_wider_margin():
    ordinary, unusual = (
        estimate_text(ARABIC * 4),
        estimate_text("\u2d63\u2d30\u2d61\u2d30\u2d4d " * 6),
    )
    assert unusual.margin / unusual.tokens > 2 * ordinary.margin / ordinary.tokens


def test_two_bytes_never_reserve_more_than_two_tokens():
    estimate = estimate_text("Hi")
    assert estimate.tokens + estimate.margin <= 2


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        pytest.param(
            {"systemInstruction": SENTENCE}, {"system_instruction": SENTENCE}, id="system"
        ),
        pytest.param(
            {"tools": [{"functionDeclarations": [TOOL]}]},
            {"tools": [{"function_declarations": [TOOL]}]},
            id="tools",
        ),
    ],
)
def test_what_is_said_in_both_spellings_counts_twice(camel, snake):
    both = (
        camel | snake
        if "tools" not in camel
        else {"tools": [camel["tools"][0] | snake["tools"][0]]}
    )
    assert tokens_of(both) >= 2 * tokens_of(camel) - 1
