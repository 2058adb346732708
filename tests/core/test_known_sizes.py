"""What a request only names counts by its size, once that is known."""

import pytest

from keypool_cli.core.estimator import CACHED_TOKENS, estimate_request, estimate_text
from keypool_cli.core.json_text import json_text
from keypool_cli.core.known_sizes import Size, with_sizes

MODEL, OLD = "gemini-2.5-flash", "gemini-2.0-flash"
CACHE = "cachedContents/c"
URI = "https://generativelanguage.googleapis.com/v1beta/files/f"


def estimated(model=MODEL, **more):
    body = {"contents": [{"parts": [{"text": "Hi"}]}], **more}
    return estimate_request(body, model=model)


def naming(mime_type, **more):
    part = {"fileData": {"fileUri": URI, "mimeType": mime_type}, **more}
    return estimated(contents=[{"parts": [{"text": "Hi"}, part]}])


@pytest.mark.parametrize(
    ("field", "said", "name"),
    [
        ("cachedContent", CACHE, CACHE),
        ("cached_content", "c", CACHE),
        ("previous_interaction_id", "v1_x", "interactions/v1_x"),
    ],
)
def test_a_cache_of_known_size_counts_just_that(field, said, name):
    guessed, plain = estimated(**{field: said}), estimated()
    known = with_sizes(guessed, {name: Size(tokens=90_000)}, model=MODEL)
    assert (known.tokens, known.margin) == (plain.tokens + 90_000, plain.margin)
    assert known.unknown == ()


def test_what_stays_unknown_stays_guessed():
    guessed = estimated(cachedContent="c")
    assert guessed.tokens >= CACHED_TOKENS
    assert with_sizes(guessed, {}, model=MODEL) is guessed
    assert with_sizes(guessed, {CACHE: Size(mime_type="text/plain")}, model=MODEL) is guessed


@pytest.mark.parametrize("model", [MODEL, "gemini-3-flash"])
def test_a_text_that_is_named_counts_by_its_bytes(model):
    text = "The ferry leaves at nine, and comes back before the tide. " * 500
    named = estimate_request(
        {"contents": [{"parts": [{"fileData": {"fileUri": URI}}]}]}, model=model
    )
    known = with_sizes(named, {URI: Size(None, "text/markdown", len(text))}, model=model)
    true = estimate_text(text).tokens
    assert true < known.tokens + known.margin < 2.5 * true


def test_a_file_of_no_known_type_stays_guessed():
    guessed = naming("text/plain")
    assert with_sizes(guessed, {URI: Size(size_bytes=100)}, model=MODEL) is guessed


def test_what_a_request_can_cost_at_all_grows_with_what_it_names():
    guessed = estimated(cachedContent="c")
    known = with_sizes(guessed, {CACHE: Size(tokens=90_000)}, model=MODEL)
    assert known.most == estimated().most + 90_000
    unbounded = guessed._replace(most=None)
    assert with_sizes(unbounded, {CACHE: Size(tokens=90_000)}, model=MODEL).most is None


def test_figures_are_reserved_for_as_the_digits_they_are():
    table = "".join(f"{n * 7919 % 100_000},{n * 104_729 % 100_000}\n" for n in range(2000))
    known = with_sizes(naming("text/csv"), {URI: Size(None, "text/csv", len(table))}, model=MODEL)
    assert known.tokens + known.margin >= estimate_text(table).tokens


@pytest.mark.parametrize(
    ("asked", "told", "least"),
    [
        pytest.param("image/png", "text/plain", 100_000, id="a picture that is a text"),
        pytest.param("text/plain", "image/png", 100_000, id="a text that is a picture"),
        pytest.param("text/plain", "application/octet-stream", 100_000, id="a text of no type"),
    ],
)
def test_of_two_types_the_dearer_one_is_reserved(asked, told, least):
    known = with_sizes(naming(asked), {URI: Size(None, told, 400_000)}, model=MODEL)
    assert known.tokens >= least


def test_a_text_of_unknown_size_is_no_picture():
    text, picture = naming("text/plain"), naming("image/png")
    assert text.tokens > 4 * picture.tokens


@pytest.mark.parametrize(
    ("mime_type", "size", "tokens"),
    [
        pytest.param("video/mp4", Size(None, "video/mp4", 10**9, 10.0), 10 * 295, id="seconds"),
        pytest.param(
            "audio/mp3", Size(None, "audio/mp3", 1_600_000), 100 * 32, id="audio by bytes"
        ),
        pytest.param("application/pdf", Size(None, "application/pdf", 10**6), 20 * 258, id="PDF"),
    ],
)
def test_other_files_count_by_what_is_known_of_them(mime_type, size, tokens):
    known = with_sizes(naming(mime_type), {URI: size}, model=MODEL)
    assert known.tokens - estimated().tokens == tokens


def test_a_clip_counts_by_the_seconds_that_the_request_takes_of_it():
    clip = naming("video/mp4", videoMetadata={"startOffset": "2s", "endOffset": "5s"})
    known = with_sizes(clip, {URI: Size(None, "video/mp4", 10**9, 600.0)}, model=MODEL)
    assert known.tokens == clip.tokens


SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING", "description": "a city"}}}


@pytest.mark.parametrize(
    "body",
    [
        {"generationConfig": {"responseSchema": SCHEMA}},
        {"generation_config": {"response_json_schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    ],
)
def test_a_schema_is_reserved_for_where_upstream_may_count_it(body):
    plain, schema = estimated(OLD), estimated(OLD, **body)
    assert schema.tokens == plain.tokens
    assert schema.margin >= plain.margin + estimate_text(json_text(SCHEMA)).tokens
    assert estimated(MODEL, **body)[:2] == estimated(MODEL)[:2]
