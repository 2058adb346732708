"""Laws of the estimate that hold for every text and every JSON body."""

from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.estimator import Calibration, estimate_request, estimate_text
from keypool_cli.core.text_tokens import GROUPS, count_text

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
ORDINARY_TEXT = st.lists(
    st.sampled_from(
        ["the", "report", "كتاب", "مِنْ", "x1", "=", "{", "\n", "2026", "التقارير", "é", "漢"]
    ),
    max_size=60,
).map(" ".join)
KEYS = st.sampled_from(
    ["contents", "parts", "text", "role", "tools", "inlineData", "mimeType", "data", "fileData",
     "functionCall", "systemInstruction", "requests", "messages", "content", "input", "type",
     "image_url", "url", "videoMetadata", "fps", "startOffset", "generationConfig", "uri",
     "mediaResolution", "functionDeclarations", "generateContentRequest", "cachedContent"]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | ANY_TEXT
    | st.sampled_from(
        ["image/png", "application/pdf", "video/mp4", "text/plain", "data:,", "image"]
    )
)
ODD_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


def utf8_bytes(text):
    return len(text.encode("utf-8", "surrogatepass"))


@given(ANY_TEXT)
def test_a_text_costs_at_least_one_token_and_reserves_at_most_its_bytes(text):
    estimate = estimate_text(text)
    assert bool(text) <= estimate.tokens <= utf8_bytes(text)
    assert estimate.margin >= 0
    assert estimate.tokens + estimate.margin <= utf8_bytes(text)


@given(ANY_TEXT)
def test_the_groups_sum_to_the_text(text):
    counted = count_text(text)
    assert len(counted.tokens) == len(GROUPS)
    assert all(tokens >= 0 for tokens in counted.tokens)
    assert counted.utf8_bytes == utf8_bytes(text)
    assert bool(text) <= sum(counted.tokens) + 1e-9
    assert sum(counted.tokens) <= counted.utf8_bytes + 1e-9


@given(ORDINARY_TEXT, ORDINARY_TEXT)
def test_appending_text_never_makes_it_noticeably_cheaper(text, more):
    before, after = estimate_text(text).tokens, estimate_text(f"{text} {more}").tokens
    assert after >= before - 2


@given(ORDINARY_TEXT, ORDINARY_TEXT)
def test_two_texts_joined_cost_about_what_they_cost_apart(text, more):
    apart = sum(count_text(text).tokens) + sum(count_text(more).tokens)
    assert abs(sum(count_text(f"{text}\n{more}").tokens) - apart) <= 4


@given(ORDINARY_TEXT)
def test_the_same_text_always_costs_the_same(text):
    assert estimate_text(text) == estimate_text(text)


@given(st.dictionaries(KEYS, ODD_JSON, max_size=5), st.sampled_from(["gemini-2.5-pro", "", "x"]))
def test_no_json_body_makes_the_estimate_fail(body, model):
    estimate = estimate_request(body, model=model)
    assert estimate.tokens >= 0
    assert estimate.margin >= 0
    assert abs(sum(estimate.parts.values()) - estimate.tokens) <= 1


@given(ORDINARY_TEXT, st.floats(0.5, 2.0))
def test_calibrated_parts_stay_within_the_bytes(text, factor):
    calibration = Calibration(factors=dict.fromkeys(GROUPS, factor))
    estimate = estimate_text(text, calibration=calibration)
    assert estimate.tokens <= utf8_bytes(text)


def test_deep_nesting_is_survived():
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(100_000):
        inner["next"] = inner = {}
    call = {"functionCall": {"name": "f", "args": deep}}
    assert estimate_request({"contents": [{"parts": [call]}]}, model="m").tokens > 10_000


def test_deep_nesting_anywhere_else_is_survived():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    body = {"contents": deep, "systemInstruction": deep, "tools": deep, "requests": deep}
    assert estimate_request(body, model="m").tokens >= 0


def test_a_huge_frame_rate_or_a_flag_in_its_place_is_ignored():
    def tokens_of(fps):
        part = {"fileData": {"fileUri": "a"}, "videoMetadata": {"fps": fps}}
        return estimate_request({"contents": [{"parts": [part]}]}, model="m").tokens

    assert tokens_of(1e9) == tokens_of(True) == tokens_of("x") == tokens_of(1)
    assert tokens_of("nan") == tokens_of("1_0x") == tokens_of(1)
    assert tokens_of("2") == tokens_of("2e0") == tokens_of(" 2.0") == tokens_of(2)


def test_deep_nesting_of_what_functions_answered_is_survived():
    response: dict[str, object] = {"text": "Hello"}
    result: dict[str, object] = {"type": "text", "text": "Hello"}
    for _ in range(3000):
        response = {"functionResponse": {"name": "f", "parts": [response]}}
        result = {"type": "function_result", "result": [result]}
    body = {"contents": [{"parts": [response]}], "input": [result]}
    assert estimate_request(body, model="gemini-2.5-flash").tokens > 0


def test_lists_too_deep_for_json_still_count_their_strings():
    deep: list[object] = ["word " * 50, 10**5000]
    for _ in range(100_000):
        deep = [deep]
    call = {"functionCall": {"args": deep}}
    assert estimate_request({"contents": [{"parts": [call]}]}, model="m").tokens >= 50
