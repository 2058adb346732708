"""Usage and errors read from the end of an answer, whatever its form."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.upstream.tail import (
    KEPT,
    Tail,
    begins_with_error,
    error_in,
    may_become_error,
    usage_in,
)

ERROR = '{"error": {"code": 429, "message": "m"}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"usageMetadata": {"promptTokenCount": 3}}', 3, id="a whole answer"),
        pytest.param('{\n "usageMetadata" :\n {"promptTokenCount": 3}\n}', 3, id="pretty-printed"),
        pytest.param(
            'data: {"usageMetadata": {"promptTokenCount": 1}}\r\n\r\n'
            'data: {"usageMetadata": {"promptTokenCount": 3}}\r\n\r\n',
            3,
            id="the last event's",
        ),
        pytest.param(
            'data: {"usageMetadata": {"promptTokenCount": 3}}\r\n\r\ndata: {"usageMetadata": {"pro',
            3,
            id="the last complete one of an answer cut short",
        ),
        pytest.param('data: {"usage":{"prompt_tokens":3}}\n\ndata: [DONE]\n\n', 3, id="OpenAI's"),
        pytest.param(
            '{"usage":{"prompt_tokens":3}}\n\ndata: {"usage":null}', 3, id="null tells nothing"
        ),
        pytest.param('{"usage":{"total_input_tokens":3}}', 3, id="an interaction's"),
        pytest.param(
            '{"text": "\\"usageMetadata\\": {\\"promptTokenCount\\": 3}"}', None, id="quoted"
        ),
        pytest.param('{"usageMetadata": {"promptTokenCount": "many"}}', None, id="no number"),
        pytest.param('{"usageMetadata": {"promptTokenCount": NaN}}', None, id="NaN"),
        pytest.param(
            f'{{"usageMetadata": {{"promptTokenCount": 1{"0" * 400}}}}}', None, id="absurdly many"
        ),
        pytest.param("<html>", None, id="no JSON"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_usage(text, expected):
    usage = usage_in(text) or {}
    assert usage.get("promptTokenCount") == expected


def test_usage_counts_what_tools_added():
    usage = usage_in('{"usage": {"total_input_tokens": 3, "total_tool_use_tokens": 4}}')
    assert usage == {"promptTokenCount": 3, "toolUsePromptTokenCount": 4}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(f"data: {{}}\r\n\r\ndata: {ERROR}\r\n\r\n", True, id="the last event"),
        pytest.param(f'[{{"a": 1}}\n,\r\n{ERROR}]', True, id="the last element"),
        pytest.param(
            'event: error\ndata: {"event_type": "error", "error": {"code": "x"}}\n\n',
            True,
            id="an interaction's",
        ),
        pytest.param(f"data: {ERROR}\n\ndata: [DONE]\n\n", True, id="before OpenAI's end"),
        pytest.param(f"data: {ERROR}\n\n: the end\n\n", True, id="before a comment"),
        pytest.param(f'{{"args": {ERROR}, "more": 1}}', False, id="a member of something else"),
        pytest.param(json.dumps({"text": ERROR}), False, id="quoted"),
        pytest.param("data: {}\n\n", False, id="none"),
    ],
)
def test_an_error_at_the_end(text, found):
    assert (error_in(text) is not None) is found


@pytest.mark.parametrize(
    ("part", "is_error"),
    [
        (ERROR.encode(), True),
        (f"[{ERROR}".encode(), True),
        (f"data: {ERROR}".encode(), True),
        (b'event: error\ndata: {"event_type":"error"', True),
        (f": wait\n\n:\r\n\r\ndata: {ERROR}".encode(), True),
        (f"id: 7\nretry: 5\nevent: x\ndata: {ERROR}".encode(), True),
        (b': "error"\n\ndata: {"a": 1}', False),
        (b'data: {"candidates": [{"error": 1}]}', False),
        (b"", False),
    ],
)
def test_an_answer_that_begins_with_an_error(part, is_error):
    assert begins_with_error(part) is is_error


@given(st.lists(st.binary(max_size=KEPT // 3), max_size=12))
def test_a_tail_is_the_end_of_what_passed(parts):
    tail = Tail()
    for part in parts:
        tail.add(part)
    assert tail.kept() == b"".join(parts)[-KEPT:]


@given(st.text())
def test_no_text_breaks_the_reading(text):
    usage_in(text)
    error_in(text)
    usage_in('"usage": {' + text)
    error_in('{"error":' + text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"data: {ERROR}", id="an event"),
        pytest.param(f"[{{\n  {ERROR[1:]}]", id="an element of an array"),
        pytest.param(f"event: error\r\ndata: {ERROR}", id="a named event"),
        pytest.param('data: {"event_type": "error", "x": 1}', id="an interaction's"),
        pytest.param(f": wait\n\nid: 1\nretry: 5\ndata: {ERROR}", id="behind a comment"),
    ],
)
def test_an_error_is_known_or_awaited_however_little_of_it_has_come(text):
    parts = [text[:length].encode() for length in range(len(text) + 1)]
    assert all(may_become_error(each) or begins_with_error(each) for each in parts)


@pytest.mark.parametrize(
    "part",
    [b'data: {"candidates": [', b'{"usage": {', b"data: [DONE]", b"<html>", b"\xff", b" " * KEPT],
    ids=lambda part: repr(part[:12]),
)
def test_what_is_no_error_is_not_held_up(part):
    assert not may_become_error(part)


@pytest.mark.parametrize("text", ["[" * 60_000, " " * 60_000, "[ " * 30_000, ":\n" * 30_000])
def test_no_beginning_of_an_answer_takes_long_to_read(text):
    begun = time.thread_time()
    assert not begins_with_error(text.encode())
    may_become_error(text.encode())
    assert time.thread_time() - begun < 1


def test_nor_does_an_end():
    begun = time.thread_time()
    assert error_in('{"error": {}}' + "event:" * 1000 + "\n{") is None
    assert time.thread_time() - begun < 1


def test_of_a_long_answer_little_is_kept():
    tail = Tail()
    for _ in range(1000):
        tail.add(bytes(10_000))
    assert sum(map(len, tail._parts)) < KEPT + 10_000
