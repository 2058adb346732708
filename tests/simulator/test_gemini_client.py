"""Google's own client against the simulator, over HTTP."""

import io
from typing import Literal

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

pytestmark = pytest.mark.e2e

FLASH = "gemini-2.5-flash"
ENGLISH = "What is the capital of France?"
ARABIC = "ما هي عاصمة فرنسا؟"


@pytest.fixture
def client(sim):
    """Makes a client that holds a key."""
    clients = []

    def _client(key):
        clients.append(genai.Client(api_key=key, http_options={"base_url": sim.url}))
        return clients[-1]

    yield _client
    for it in clients:
        it.close()


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        pytest.param(ENGLISH, 9, id="English"),
        pytest.param(ARABIC, 7, id="Arabic"),
    ],
)
def test_an_answer_is_counted_as_count_tokens_said(client, prompt, tokens):
    models = client("open-1").models
    assert models.count_tokens(model=FLASH, contents=prompt).total_tokens == tokens
    answer = models.generate_content(model=FLASH, contents=prompt)
    usage = answer.usage_metadata
    assert usage.prompt_token_count == tokens
    assert usage.prompt_tokens_details == [
        types.ModalityTokenCount(modality=types.MediaModality.TEXT, token_count=tokens)
    ]
    assert usage.total_token_count == tokens + usage.candidates_token_count
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.model_version == FLASH


def test_the_answer_is_in_the_language_of_the_prompt_and_always_the_same(client):
    models = client("open-1").models
    first, again, english = (
        models.generate_content(model=FLASH, contents=prompt).text
        for prompt in (ARABIC, ARABIC, ENGLISH)
    )
    assert first == again
    assert not first.isascii()
    assert english.isascii()


def test_a_stream_is_the_answer_in_parts_with_the_usage_last(client):
    models = client("open-1").models
    whole = models.generate_content(model=FLASH, contents=ENGLISH)
    parts = list(models.generate_content_stream(model=FLASH, contents=ENGLISH))
    assert len(parts) > 1
    assert "".join(part.text for part in parts) == whole.text
    grown = [part.usage_metadata.total_token_count for part in parts]
    assert grown == sorted(set(grown))
    assert parts[-1].usage_metadata == whole.usage_metadata


async def test_the_async_client_answers_and_streams(client):
    async with client("open-1").aio as aio:
        answer = await aio.models.generate_content(model=FLASH, contents=ENGLISH)
        stream = await aio.models.generate_content_stream(model=FLASH, contents=ENGLISH)
        assert "".join([part.text async for part in stream]) == answer.text


def test_a_429_is_a_client_error_with_its_details(client, sim):
    models = client("tight-1").models
    for _ in range(2):
        models.generate_content(model=FLASH, contents=ENGLISH)
    with pytest.raises(errors.ClientError) as caught:
        models.generate_content(model=FLASH, contents=ENGLISH)
    assert caught.value.code == 429
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    _, failure, retry = caught.value.details["error"]["details"]
    assert failure["violations"][0]["quotaValue"] == "2"
    assert retry["retryDelay"].endswith("s")
    assert sim.project("tight")["refused"] == {"rpm": 1}


def test_a_503_is_a_server_error(client, sim):
    sim.fault("overloaded")
    models = client("open-1").models
    with pytest.raises(errors.ServerError):
        models.generate_content(model=FLASH, contents=ENGLISH)
    assert models.generate_content(model=FLASH, contents=ENGLISH).text


def test_thinking_is_counted_beside_the_answer_and_shown_where_that_is_wanted(client):
    models = client("open-1").models

    def asked(**thinking):
        config = {"thinking_config": thinking} if thinking else None
        return models.generate_content(model=FLASH, contents=ENGLISH, config=config)

    plain, off, thought, shown = (
        asked(),
        asked(thinking_budget=0),
        asked(thinking_budget=100),
        asked(include_thoughts=True),
    )
    assert plain.usage_metadata.thoughts_token_count is None
    assert off.usage_metadata == plain.usage_metadata
    thoughts = thought.usage_metadata.thoughts_token_count
    assert thoughts > 0
    assert thought.usage_metadata.total_token_count == (
        plain.usage_metadata.total_token_count + thoughts
    )
    assert [part.thought for part in thought.candidates[0].content.parts] == [None]
    assert [part.thought for part in shown.candidates[0].content.parts] == [True, None]
    assert shown.text == plain.text


class Dish(BaseModel):
    name: str
    steps: list[str]
    kind: Literal["cold", "warm"]
    beside: "Dish | None" = None


@pytest.mark.parametrize("schema", [Dish, list[Dish], int])
def test_an_answer_has_the_shape_that_its_request_wants(client, schema):
    models = client("open-1").models
    config = {"response_mime_type": "application/json", "response_schema": schema}
    whole = models.generate_content(model=FLASH, contents=ENGLISH, config=config)
    assert isinstance(whole.parsed, list if schema == list[Dish] else schema)
    stream = models.generate_content_stream(model=FLASH, contents=ENGLISH, config=config)
    assert "".join(part.text for part in stream) == whole.text


def test_a_function_is_called_where_a_request_insists_on_it(client):
    def weather(city: str, days: int) -> str:
        """The weather of a city."""
        raise NotImplementedError

    def time(city: str) -> str:
        """The time in a city."""
        raise NotImplementedError

    calling = {"mode": "ANY", "allowed_function_names": ["time"]}
    config = {
        "tools": [weather, time],
        "tool_config": {"function_calling_config": calling},
        "automatic_function_calling": {"disable": True},
    }
    models = client("open-1").models
    whole = models.generate_content(model=FLASH, contents=ENGLISH, config=config)
    (called,) = whole.function_calls
    assert (called.name, called.args) == ("time", {"city": "text"})
    *_, last = models.generate_content_stream(model=FLASH, contents=ENGLISH, config=config)
    assert last.function_calls == [called]
    assert last.usage_metadata.prompt_token_count > 9


def test_an_error_within_a_stream_comes_after_so_many_chunks(client, sim):
    sim.fault("overloaded", within=2)
    models = client("open-1").models
    parts = iter(models.generate_content_stream(model=FLASH, contents=ENGLISH))
    assert next(parts).text
    assert next(parts).text
    with pytest.raises(errors.APIError) as caught:
        next(parts)
    assert caught.value.code == 503
    assert sim.project("open")["accepted"] == 1
    assert models.generate_content(model=FLASH, contents=ENGLISH).text


def test_an_interaction_comes_in_the_events_that_the_client_knows(client):
    interactions = client("open-1").interactions
    whole = interactions.create(model=FLASH, input=ENGLISH)
    events = list(interactions.create(model=FLASH, input=ENGLISH, stream=True))
    kinds = [each.event_type for each in events]
    assert kinds[:2] == ["interaction.created", "step.start"]
    assert kinds[-2:] == ["step.stop", "interaction.completed"]
    text = "".join(each.delta.text for each in events if each.event_type == "step.delta")
    assert text == whole.output_text
    assert events[-1].interaction.usage.total_tokens == whole.usage.total_tokens


def test_a_file_has_the_type_that_its_client_names(client):
    file = io.BytesIO(b"hello")
    made = client("open-1").files.upload(file=file, config={"mime_type": "text/plain"})
    assert made.mime_type == "text/plain"


def test_models_are_listed_and_described(client):
    models = client("open-1").models
    names = [model.name for model in models.list(config={"page_size": 2})]
    assert f"models/{FLASH}" in names
    assert len(names) == len(set(names)) > 2
    assert "generateContent" in models.get(model=FLASH).supported_actions
