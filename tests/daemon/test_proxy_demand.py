"""What a body asks of a project."""

import json

import pytest

from keypool_cli.daemon.proxy_demand import SHORTEST_CACHED, wanted_of
from keypool_cli.errors import UsageError
from keypool_cli.service.estimating import LARGE
from keypool_cli.upstream.calls import Call, Cost, read_call
from tests.support.estimates import Shipped

GENERATE = Call(Cost.SPENDS, "generateContent", "m")
BATCH = read_call("POST", "/v1beta/models/m:batchEmbedContents")
PREDICT = read_call("POST", "/v1beta/models/m:predict")
CHAT = read_call("POST", "/v1beta/openai/chat/completions")
EMBEDDINGS = read_call("POST", "/v1beta/openai/embeddings")
INTERACT = read_call("POST", "/v1beta/interactions")
LONG = {"parts": [{"text": "a long text " * 1000}]}


def wanted(call, body, estimates=None):
    return wanted_of(call, json.dumps(body).encode(), estimates or Shipped())


@pytest.mark.parametrize(
    ("call", "body", "model", "requests"),
    [
        pytest.param(GENERATE, {"contents": []}, "m", 1, id="the path names the model"),
        pytest.param(CHAT, {"model": "models/a"}, "a", 1, id="the body does, with a prefix"),
        pytest.param(INTERACT, {"agent": "deep"}, "deep", 1, id="an agent has quota too"),
        pytest.param(BATCH, {"requests": [{}, {}]}, "m", 2, id="each item of a batch counts"),
        pytest.param(EMBEDDINGS, {"model": "a", "input": ["x", "y"]}, "a", 2, id="each input"),
        pytest.param(EMBEDDINGS, {"model": "a", "input": "x"}, "a", 1, id="one input"),
        pytest.param(PREDICT, {"instances": [{"prompt": "x"}]}, "m", 1, id="a prediction"),
    ],
)
def test_model_and_requests(call, body, model, requests):
    found = wanted(call, body)
    assert (found.model, found.requests) == (model, requests)
    assert found.tokens >= 1


@pytest.mark.parametrize(
    ("call", "body"),
    [
        pytest.param(CHAT, {}, id="no model"),
        pytest.param(CHAT, {"model": 7}, id="a model that is no name"),
        pytest.param(CHAT, {"model": "x" * 201}, id="a name too long"),
        pytest.param(BATCH, {"requests": [{}] * 101}, id="too large a batch"),
        pytest.param(GENERATE, [], id="no object"),
    ],
)
def test_what_no_project_could_take(call, body):
    with pytest.raises(UsageError):
        wanted(call, body)


class NotAsked:
    """Estimates that nobody may need."""

    def request(self, body, *, model):
        raise AssertionError(body, model)

    text = request


def test_too_large_a_batch_is_refused_before_it_is_estimated():
    with pytest.raises(UsageError):
        wanted(BATCH, {"requests": [{}] * 101}, NotAsked())


def test_a_body_nested_without_end_is_no_body():
    with pytest.raises(UsageError):
        wanted_of(GENERATE, b'{"contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Shipped())


def test_a_longer_text_reserves_more():
    short, long = ({"instances": [{"prompt": "word " * n}]} for n in (1, 100))
    assert wanted(PREDICT, long).tokens > wanted(PREDICT, short).tokens


def test_only_a_long_prompt_has_a_prefix_and_later_turns_do_not_change_it():
    def turns(*texts):
        return {"contents": [{"role": "user", "parts": [{"text": text}]} for text in texts]}

    first = "a long beginning " * 1000
    assert wanted(GENERATE, turns("short")).prefix == ""
    assert wanted(GENERATE, turns(first)).prefix == wanted(GENERATE, turns(first, "more")).prefix
    assert wanted(GENERATE, turns(first)).prefix != wanted(GENERATE, turns(first + "!")).prefix


def test_an_interaction_begins_with_its_input():
    def prefix(given):
        return wanted(INTERACT, {"model": "m", "input": given}).prefix

    first = {"type": "text", "text": "a long beginning " * 1000}
    more = {"type": "text", "text": "more"}
    assert prefix([first]) == prefix([first, more]) != prefix([more, first])
    assert prefix(first["text"]) != prefix(first["text"] + "!")


@pytest.mark.parametrize(
    ("call", "body"),
    [
        pytest.param(BATCH, {"requests": [{"content": LONG}]}, id="a batch of embeddings"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": ["a long text " * 1000]}, id="OpenAI's"),
        pytest.param(PREDICT, {"instances": [LONG]}, id="a prediction"),
    ],
)
def test_what_no_cache_makes_cheaper_has_no_prefix(call, body):
    found = wanted(call, body)
    assert found.tokens > SHORTEST_CACHED
    assert found.prefix == ""


def test_large_prompts_that_begin_alike_have_one_prefix():
    def prefix(document, question):
        text = document * (LARGE // len(document)) + question
        return wanted(GENERATE, {"contents": [{"parts": [{"text": text}]}]}).prefix

    first = prefix("a long report, ", "what is new?")
    assert first == prefix("a long report, ", "who wrote it?")
    assert first != prefix("another report, ", "what is new?")
