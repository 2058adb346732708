"""Google's own client against the simulator, over HTTP."""

import pytest
from google import genai
from google.genai import errors, types

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


def test_models_are_listed_and_described(client):
    models = client("open-1").models
    names = [model.name for model in models.list(config={"page_size": 2})]
    assert f"models/{FLASH}" in names
    assert len(names) == len(set(names)) > 2
    assert "generateContent" in models.get(model=FLASH).supported_actions
